"""A Report as a roofline, by matplotlib: how near each layer comes to what the machine allows."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from fastpw.bench.report import Report, Result

MARKERS = {"numpy": "v", "einsum": "x", "the best other": "_"}


def save(report: Report, path: str) -> None:
    """Draw the roofline into a PNG file."""
    figure = Figure(figsize=(10, 6.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_roofs(axes, report)
    _draw_others(axes, report)
    _draw_fastpw(axes, report)
    _name_lowest(axes, report)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="arithmetic intensity, FLOP per byte of the arrays",
        ylabel="GFLOP/s",
        title=f"{report.setting.title}: {report.setting}",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def _draw_roofs(axes, report):
    intensity = np.array([result.intensity for result in report.results])
    lowest, highest = intensity.min() / 1.3, intensity.max() * 1.3
    ridge = report.peak_gflops / report.bandwidth_gbs
    peak = "float32's FMA peak" if report.setting.in_integers else "FMA peak"
    axes.plot([lowest, highest], [report.peak_gflops] * 2, color="black", linewidth=1.5)
    axes.annotate(
        f"{peak} {report.peak_gflops:.0f} GFLOP/s", (highest, report.peak_gflops), (0, 4),
        textcoords="offset points", ha="right", va="bottom",
    )  # fmt: skip
    slope = np.array([lowest, max(lowest, min(ridge, highest))])
    axes.plot(slope, slope * report.bandwidth_gbs, color="black", linewidth=1.5, linestyle="--")
    axes.annotate(
        f"memory {report.bandwidth_gbs:.0f} GB/s; a layer that stays in the caches may pass it",
        (lowest, lowest * report.bandwidth_gbs), (12, -6), textcoords="offset points",
        va="top", fontsize="small",
    )  # fmt: skip


def _draw_fastpw(axes, report):
    """A dot per layer, in its network's colour."""
    networks = list(dict.fromkeys(result.layer.network for result in report.results))
    for index, network in enumerate(networks):
        results = [result for result in report.results if result.layer.network == network]
        axes.scatter(
            [result.intensity for result in results], [result.gflops() for result in results],
            color=f"C{index}", s=36, edgecolors="white", linewidths=0.5, zorder=3, label=network,
        )  # fmt: skip


def _draw_others(axes, report):
    """A fainter mark per layer and implementation; with peers, only of the best on each layer."""
    if report.peers:
        for result in report.results:
            ends = result.gflops(), result.gflops(result.best_other)
            axes.plot([result.intensity] * 2, ends, color="gray", linewidth=0.8, alpha=0.6)
        shown = {"the best other": [(result, result.best_other) for result in report.results]}
    else:
        shown = {name: [(result, name) for result in report.timed(name)] for name in report.others}
    for label, marks in shown.items():
        axes.scatter(
            [result.intensity for result, _ in marks], [result.gflops(name) for result, name in marks],
            color="black" if report.peers else "gray", marker=MARKERS.get(label, "."),
            s=36 if report.peers else 16, alpha=0.8 if report.peers else 0.5, zorder=2, label=label,
        )  # fmt: skip


def _name_lowest(axes, report, count=3):
    """Name the layers that are furthest from the peak: where there is something to gain."""
    for result in sorted(report.results, key=Result.fraction)[:count]:
        axes.annotate(
            result.layer.name, (result.intensity, result.gflops()), (6, -3),
            textcoords="offset points", fontsize="x-small", va="top",
        )  # fmt: skip
