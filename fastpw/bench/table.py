"""A Report as a table, row by row as it is measured, with a few lines around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fastpw
from fastpw.bench.layers import Layer
from fastpw.bench.report import Report, Result, chosen_isa

BEST_OTHER = 14  # characters: the longest name of a peer is shorter
WITH_WRONG = 22  # columns of a time and the share of wrong outputs


@dataclass(frozen=True)
class Column:
    """One of a table whose rows are written before the last of them is known: it has its width beforehand."""

    head: str
    width: int
    cell: Callable[[Result], str]
    left: bool = False
    spare: int = 0  # where the terminal is narrow, the columns with the largest go first

    def padded(self, text: str) -> str:
        return text.ljust(self.width) if self.left else text.rjust(self.width)


class Table:
    """Lines of text for the results of a report.

    Parameters
    ----------
    report : Report
        Its implementations and its setting choose the columns.
    chosen : sequence of Layer
        What will be measured: the longest of their names and sizes say how wide columns are.
    width : int or None, optional
        Of the terminal, in characters. A narrower table is made by leaving columns out. None: any width.
    """

    def __init__(self, report: Report, chosen: Sequence[Layer], width: int | None = None) -> None:
        self._columns = [*_layer_columns(report, chosen), *_figure_columns(report)]
        while width is not None and len(self.head()) > width and any(c.spare for c in self._columns):
            most = max(column.spare for column in self._columns)
            self._columns = [column for column in self._columns if column.spare < most]

    def head(self) -> str:
        return self._line(column.padded(column.head) for column in self._columns)

    def row(self, result: Result) -> str:
        return self._line(column.padded(column.cell(result)) for column in self._columns)

    @staticmethod
    def _line(cells):
        return " ".join(cells).rstrip()


def _layer_columns(report, chosen):
    """Who a layer is."""

    def column(head, of, left=False):
        longest = max([len(head), *(len(of(layer)) for layer in chosen)])
        return Column(head, longest, lambda result: of(result.layer), left)

    yield column("layer", lambda layer: layer.name, left=True)
    yield column("pixels", _pixels)
    if report.setting.kind != "pointwise":
        yield column("kernel", lambda layer: f"{layer.kh}×{layer.kw}")
    if report.setting.kind == "depthwise":
        yield column("C", lambda layer: f"{layer.C}")
    else:
        yield column("C→K", lambda layer: f"{layer.C}→{layer.K}")


def _pixels(layer):
    batch = f"{layer.N}×" if layer.N > 1 else ""
    stride = f"/{layer.stride}" if layer.stride > 1 else ""
    return f"{batch}{layer.H}×{layer.W}{stride}"


def _figure_columns(report):
    """How fast everybody is."""
    for name in report.implementations:
        spare = 0 if name == "fastpw" else 2
        least = WITH_WRONG if report.setting.in_integers and name in report.others else 8
        yield _of(f"{name} µs", _time, name, least, spare)
    yield Column("GFLOP/s", 7, lambda r: f"{r.gflops():.1f}", spare=1)
    yield Column("of peak", 7, lambda r: f"{r.fraction():.3f}")
    if report.peers:
        yield Column("best other", BEST_OTHER, lambda r: r.best_other, left=True)
        yield Column("× best", 6, lambda r: f"{r.speedup(r.best_other):.2f}")
    else:
        for name in report.others:
            yield _of(f"× {name}", lambda r, n: f"{r.speedup(n):.2f}", name, 6)


def _time(result, name):
    """In microseconds; of a result that is wrong in part, with the share of its wrong outputs."""
    wrong = f" ({result.wrong[name]:.2%} wrong)" if name in result.wrong else ""
    return f"{result.timings[name].best * 1e6:.1f}{wrong}"


def _of(head, figure, name, least, spare=0):
    """A column of one implementation, which may have failed on a layer."""

    def cell(result):
        return figure(result, name) if name in result.timings else "–"

    return Column(head, max(len(head), least), cell, spare=spare)


def title(report: Report) -> str:
    """What is measured."""
    return (
        f"fastpw {fastpw.__version__}, {chosen_isa(report.setting.dtype)}; {report.setting.title}: "
        f"{report.setting}"
    )


def roofs(report: Report) -> str:
    """What the machine reached in the same run."""
    peak = "float32's FMA peak" if report.setting.in_integers else "FMA peak"
    return f"{peak} {report.peak_gflops:.0f} GFLOP/s, memory {report.bandwidth_gbs:.0f} GB/s"


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
