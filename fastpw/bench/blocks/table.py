"""A BlockReport as two tables, by rich: of the blocks, and of the families' means."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

import fastpw
from fastpw.bench.blocks.report import LAYERS, OWN, BlockReport
from fastpw.bench.report import chosen_isa


def title(report: BlockReport) -> str:
    """What was measured, where."""
    return (
        f"fastpw {fastpw.__version__}, {chosen_isa(report.setting.dtype)}; {report.setting.title}: "
        f"{report.setting}; FMA peak {report.peak_gflops:.0f} GFLOP/s"
    )


def of_blocks(report: BlockReport) -> Any:  # rich.table.Table
    """A row per block, a gap between families."""
    table = _table("block", "input")
    for name in report.implementations:
        table.add_column(f"{name} µs", justify="right")
    table.add_column("of peak", justify="right")
    table.add_column("× layers", justify="right")
    if report.peers:
        table.add_column("best peer")
        table.add_column("× best", justify="right")
    for way in OWN:
        table.add_column(f"{way} KiB", justify="right")
    families = [result.layer.family for result in report.results]
    for result, following in zip(report.results, [*families[1:], None], strict=True):
        ends_family = following not in (None, result.layer.family)
        table.add_row(*_cells(report, result), end_section=ends_family)
    return table


def of_families(report: BlockReport) -> Any:  # rich.table.Table
    """A row per family: how many times faster fastpw is."""
    table = _table("family")
    for heading in ("blocks", "of peak", *(f"× {name}" for name in report.others)):
        table.add_column(heading, justify="right")
    if report.peers:
        table.add_column("× best", justify="right")
    table.add_column("memory", justify="right")
    for family, results in report.families().items():
        means = report.means(results)
        cells = [means["fraction_of_peak"], *means["speedup"].values()]
        cells += [means["speedup_over_best_peer"]] * bool(report.peers)
        cells.append(means["memory_ratio"])
        table.add_row(family, str(len(results)), *(_number(cell, 3) for cell in cells))
    return table


def _table(*columns):
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cells(report, result):
    N, H, W, C = result.layer.shape
    yield result.layer.name
    yield f"{f'{N}×' if N > 1 else ''}{H}×{W}×{C}"
    for name in report.implementations:
        yield f"{result.timings[name].best * 1e6:.1f}" if name in result.timings else "–"
    yield f"{result.fraction():.3f}"
    yield _number(result.speedup_over(LAYERS))
    if report.peers:
        yield result.best_peer or "–"
        yield _number(result.speedup_over(result.best_peer))
    for way in OWN:
        used = result.memory[way]
        yield "–" if used is None else f"{used >> 10}"


def _number(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"
