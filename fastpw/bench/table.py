"""A Report as a table with a summary line, by rich."""

from rich.table import Table
from rich.text import Text


def render(report):
    """The table: a row per layer, a rule between networks."""
    table = Table(title=title(report), caption=summary(report), caption_justify="left", caption_style="bold")
    table.add_column("layer")
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
    yield f"{layer.N}×{layer.H}×{layer.W}" + (f" /{layer.stride}" if layer.stride > 1 else "")
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
