"""A Report as a table with a summary line, by rich."""

from rich import box
from rich.table import Table
from rich.text import Text


def render(report):
    """The table: a row per layer, a gap between networks."""
    table = Table(title=title(report), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    table.add_column("layer", overflow="fold")
    table.add_column("pixels", justify="right")
    table.add_column("C → K", justify="right")
    for name in report.implementations:
        table.add_column(f"{name} µs", justify="right")
    table.add_column("GFLOP/s", justify="right")
    table.add_column("of peak", justify="right")
    for name in report.others:
        table.add_column(f"× {name}", justify="right")
    for result in report.results:
        table.add_row(*_cells(report, result), end_section=_ends_network(report, result))
    return table


def title(report):
    what = report.as_dict()
    return Text(
        f"fastpw {what['fastpw']}, {what['isa']}, threads: {report.threads}, NumPy {what['numpy']}; float32, "
        f"bias + ReLU; FMA peak {report.peak_gflops:.0f} GFLOP/s, memory {report.bandwidth_gbs:.0f} GB/s"
    )


def summary(report):
    """One line with the geometric means."""
    speedups = ", ".join(f"{report.mean_speedup(name):.2f} × {name}" for name in report.others)
    means = f"{report.mean_fraction():.3f} of the FMA peak, {speedups}"
    return Text(f"geometric means of {len(report.results)} layers: {means}")


def _cells(report, result):
    layer = result.layer
    yield layer.name
    batch = f"{layer.N}×" if layer.N > 1 else ""
    stride = f" /{layer.stride}" if layer.stride > 1 else ""
    yield f"{batch}{layer.H}×{layer.W}{stride}"
    yield f"{layer.C} → {layer.K}"
    for timing in result.timings.values():
        yield f"{timing.best * 1e6:.1f}"
    yield f"{result.gflops('fastpw'):.1f}"
    yield f"{report.fraction(result):.3f}"
    for name in report.others:
        yield f"{result.speedup(name):.2f}"


def _ends_network(report, result):
    following = report.results[report.results.index(result) + 1 :]
    return bool(following) and following[0].layer.network != result.layer.network
