"""A ModelReport as tables that fit 80 columns, by rich."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.table import Table

import fastpw
from fastpw.bench.networks.report import ModelReport, ModelResult
from fastpw.bench.report import chosen_isa
from fastpw.network.tables import NodeTime

MOST_NODES = 12  # of a network, in the table of those that take the most time


def title(report: ModelReport) -> str:
    """What was measured, where."""
    return (
        f"fastpw {fastpw.__version__}, {chosen_isa('float32')}; {report.setting.title}: {report.setting}; "
        f"FMA peak {report.peak_gflops:.0f} GFLOP/s"
    )


def of_times(report: ModelReport) -> Any:  # rich.table.Table
    """A row per network: everyone's best time, and how far fastpw's result lies from that in float64."""
    table = _table("network", *(f"{name} ms" for name in report.implementations), "of peak")
    if report.peers:
        table.add_column("× best", justify="right")
    table.add_column("differs", justify="right")
    for result in report.results:
        cells = [_of(result, name, lambda r, n: r.timings[n].best * 1e3) for name in report.implementations]
        cells.append(f"{result.fraction():.3f}")
        if report.peers:
            ratio = result.speedup_over(result.best_peer)
            cells.append("–" if ratio is None else f"{ratio:.2f}")
        table.add_row(result.layer.name, *cells, f"{result.accounts['fastpw'].difference:.0e}")
    return table


def of_starts(report: ModelReport) -> Any:  # rich.table.Table
    """A row per network: from the file to the first answer, the time and the memory of everyone."""
    figures = [(name, unit) for unit in ("load ms", "MiB") for name in report.implementations]
    table = _table("network", *(f"{unit}\n{name}" for name, unit in figures))
    for result in report.results:
        cells = [_of(result, name, _load if unit == "load ms" else _memory) for name, unit in figures]
        table.add_row(result.layer.name, *cells)
    return table


def of_one(report: ModelReport) -> Any:  # rich.table.Table
    """Of one network a row per implementation."""
    (result,) = report.results
    table = _table("", "best ms", "median ms", "of peak", "load ms", "memory MiB", "differs")
    if report.peers:
        table.add_column("fastpw is", justify="right")
    for name in report.implementations:
        if name not in result.timings:
            continue
        cells = [
            f"{result.timings[name].best * 1e3:.2f}",
            f"{result.timings[name].median * 1e3:.2f}",
            f"{result.fraction(name):.3f}",
            _of(result, name, _load),
            _of(result, name, _memory),
            f"{result.accounts[name].difference:.0e}",
        ]
        ratio = "" if name == "fastpw" else f"{result.speedup(name):.2f} ×"
        table.add_row(name, *cells, *([ratio] if report.peers else []))
    return table


def of_nodes(nodes: Sequence[NodeTime]) -> Any:  # rich.table.Table
    """The nodes that take the most time."""
    total = sum(node.seconds for node in nodes)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for name in ("node", "operator"):
        table.add_column(name, overflow="fold")
    for name in ("µs", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    longest = sorted(nodes, key=lambda node: -node.seconds)[:MOST_NODES]
    for node in longest:
        table.add_row(node.name, node.operator, f"{node.seconds * 1e6:.0f}", f"{node.seconds / total:.1%}")
    rest = total - sum(node.seconds for node in longest)
    if len(nodes) > len(longest):
        name = f"{len(nodes) - len(longest)} others"
        table.add_row(name, "", f"{rest * 1e6:.0f}", f"{rest / total:.1%}")
    return table


def summary(report: ModelReport) -> str:
    """The geometric means, a line each."""
    own = f"geometric means of {len(report.results)} networks: {report.mean_fraction():.3f} of the FMA peak"
    lines = [own] if len(report.results) > 1 else []
    for name in report.others:
        if (ratio := report.mean_speedup(name)) is not None:
            lines.append(f"{name}: fastpw {ratio:.3f} × as fast")
    best = report.mean_speedup_over_best()
    if len(report.peers) > 1 and best is not None:
        lines.append(f"the best peer of each network: fastpw {best:.3f} × as fast")
    return "\n".join(lines)


def line(report: ModelReport) -> str:
    """What is told of one network."""
    (result,) = report.results
    name, pixels = result.layer.name, "×".join(map(str, result.layer.shapes[0]))
    best = result.timings["fastpw"].best
    return (
        f"a whole network, {name} on {pixels}: {best * 1e3:.1f} ms from array to array, "
        f"{result.fraction():.3f} of the FMA peak"
    )


def _load(result: ModelResult, name: str) -> float | None:
    return result.accounts[name].seconds * 1e3


def _memory(result: ModelResult, name: str) -> float | None:
    used = result.accounts[name].bytes
    return None if used is None else used / 2**20


def _of(result: ModelResult, name: str, figure: Callable[[ModelResult, str], float | None]) -> str:
    """A figure of an implementation, if it counts."""
    value = figure(result, name) if name in result.timings else None
    return "–" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _table(first, *others):
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table
