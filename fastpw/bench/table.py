"""A Report as a table with a few lines below, by rich."""

from typing import Any

from rich import box
from rich.table import Table

import fastpw
from fastpw.bench.report import Report, chosen_isa


def render(report: Report) -> Any:  # rich.table.Table
    """The table: a row per layer, a gap between networks."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    table.add_column("layer", overflow="fold")
    table.add_column("pixels", justify="right")
    if report.setting.kind != "pointwise":
        table.add_column("kernel", justify="right")
    table.add_column("C" if report.setting.kind == "depthwise" else "C → K", justify="right")
    for name in report.implementations:
        table.add_column(f"{name} µs", justify="right")
    table.add_column("GFLOP/s", justify="right")
    table.add_column("of peak", justify="right")
    if report.peers:
        table.add_column("best other")
        table.add_column("× best", justify="right")
    else:
        for name in report.others:
            table.add_column(f"× {name}", justify="right")
    for result in report.results:
        table.add_row(*_cells(report, result), end_section=_ends_network(report, result))
    return table


def title(report: Report) -> str:
    """What was measured, where."""
    peak = "float32's FMA peak" if report.setting.in_integers else "FMA peak"
    return (
        f"fastpw {fastpw.__version__}, {chosen_isa(report.setting.dtype)}; {report.setting.title}: "
        f"{report.setting}; {peak} {report.peak_gflops:.0f} GFLOP/s, memory {report.bandwidth_gbs:.0f} GB/s"
    )


def notes(report: Report) -> list[str]:
    """Lines that name whoever does not count, and why."""
    lines = [f"without {name}: {reason}" for name, reason in report.absent.items()]
    lines += [f"does not count: {reason}" for reason in report.failures.values()]
    return lines


def summary(report: Report) -> str:
    """The geometric means: one line, and with peers a line for each of the others."""
    own = f"geometric means of {len(report.results)} layers: {report.mean_fraction():.3f} of the FMA peak"
    if not report.peers:
        return ", ".join([own, *(f"{report.mean_speedup(name):.2f} × {name}" for name in report.others)])
    lines = [f"{own}, {report.mean_speedup_over_best():.3f} × the best other of each layer"]
    for name in report.others:
        if count := len(report.timed(name)):
            missing = f" ({count} layers)" if count < len(report.results) else ""
            layers, share = report.most_wrong(name)
            wrong = f"; wrong on {layers} layers, up to {share:.2%} of their outputs" if layers else ""
            lines.append(
                f"{name}: {report.mean_fraction(name):.3f} of the FMA peak, "
                f"fastpw {report.mean_speedup(name):.3f} × as fast{missing}{wrong}"
            )
    return "\n".join(lines)


def _cells(report, result):
    layer = result.layer
    yield layer.name
    batch = f"{layer.N}×" if layer.N > 1 else ""
    stride = f" /{layer.stride}" if layer.stride > 1 else ""
    yield f"{batch}{layer.H}×{layer.W}{stride}"
    if report.setting.kind != "pointwise":
        yield f"{layer.kh}×{layer.kw}"
    yield f"{layer.C}" if report.setting.kind == "depthwise" else f"{layer.C} → {layer.K}"
    for name in report.implementations:
        yield _time(result, name)
    yield f"{result.gflops():.1f}"
    yield f"{result.fraction():.3f}"
    if report.peers:
        yield result.best_other
        yield f"{result.speedup(result.best_other):.2f}"
    else:
        for name in report.others:
            yield f"{result.speedup(name):.2f}"


def _time(result, name):
    """In microseconds; of a result that is wrong in part, with the share of its wrong outputs."""
    if name not in result.timings:
        return "–"
    wrong = f" ({result.wrong[name]:.2%} wrong)" if name in result.wrong else ""
    return f"{result.timings[name].best * 1e6:.1f}{wrong}"


def _ends_network(report, result):
    following = report.results[report.results.index(result) + 1 :]
    return bool(following) and following[0].layer.network != result.layer.network
