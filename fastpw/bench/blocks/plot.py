"""A BlockReport as bars, by matplotlib: how many times faster fastpw's chains are."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastpw.bench.blocks.report import LAYERS, BlockReport

HEIGHT = 0.38  # of a bar; there are two for each block


def save(report: BlockReport, path: str) -> None:
    """Draw the bars into a PNG file: over the best peer, and over the same layers called one by one."""
    places = np.arange(len(report.results))
    figure = Figure(figsize=(10, 1.6 + 0.36 * len(places)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = [
        (
            "as its layers called one by one",
            "silver",
            [result.speedup_over(LAYERS) for result in report.results],
        )
    ]
    if report.peers:
        best = [result.speedup_over(result.best_peer) for result in report.results]
        bars.insert(0, ("as the best peer, in brackets", "C0", best))
    for number, (label, colour, ratios) in enumerate(bars):
        shift = (number - (len(bars) - 1) / 2) * HEIGHT
        _draw(axes, places + shift, ratios, colour, label)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(places, [_label(report, result) for result in report.results])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(
        xlabel="fastpw's chains are so many times as fast", title=f"{report.setting.title}: {report.setting}"
    )
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(bars), frameon=False)
    figure.savefig(path)


def _draw(axes, places, ratios, colour, label):
    """A bar of each ratio that is known, with its number."""
    known = [(place, ratio) for place, ratio in zip(places, ratios, strict=True) if ratio is not None]
    drawn = axes.barh(
        [place for place, _ in known], [ratio for _, ratio in known], HEIGHT, color=colour, label=label
    )
    axes.bar_label(drawn, fmt="{:.2f}", padding=2, fontsize="x-small")


def _label(report, result):
    """The block's name, and against whom it is measured."""
    best = result.best_peer
    return f"{result.layer.name} ({best})" if best else result.layer.name
