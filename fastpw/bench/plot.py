"""A Report as a roofline, by matplotlib: how near each layer comes to what the machine allows."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

MARKERS = {"fastpw": "o", "numpy": "v", "einsum": "x"}


def save(report, path):
    """Draw the roofline into a PNG file."""
    figure = Figure(figsize=(10, 6.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_roofs(axes, report)
    _draw_layers(axes, report)
    _name_lowest(axes, report)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="arithmetic intensity, FLOP per byte of the arrays",
        ylabel="GFLOP/s",
        title=f"1×1 convolutions of real networks, float32 + bias + ReLU, threads: {report.threads}",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    figure.savefig(path)


def _draw_roofs(axes, report):
    intensity = np.array([result.layer.intensity for result in report.results])
    lowest, highest = intensity.min() / 1.3, intensity.max() * 1.3
    ridge = report.peak_gflops / report.bandwidth_gbs
    axes.plot([lowest, highest], [report.peak_gflops] * 2, color="black", linewidth=1.5)
    axes.annotate(
        f"FMA peak {report.peak_gflops:.0f} GFLOP/s", (highest, report.peak_gflops), (0, 4),
        textcoords="offset points", ha="right", va="bottom",
    )  # fmt: skip
    slope = np.array([lowest, max(lowest, min(ridge, highest))])
    axes.plot(slope, slope * report.bandwidth_gbs, color="black", linewidth=1.5, linestyle="--")
    axes.annotate(
        f"memory {report.bandwidth_gbs:.0f} GB/s; a layer that stays in the caches may pass it",
        (lowest, lowest * report.bandwidth_gbs), (12, -6), textcoords="offset points",
        va="top", fontsize="small",
    )  # fmt: skip


def _draw_layers(axes, report):
    """A dot per layer and implementation: fastpw's in the network's colour, the others' fainter."""
    names = list(dict.fromkeys(result.layer.network for result in report.results))
    for index, network in enumerate(names):
        results = [result for result in report.results if result.layer.network == network]
        intensity = [result.layer.intensity for result in results]
        for name in report.implementations:
            main = name == "fastpw"
            axes.scatter(
                intensity, [result.gflops(name) for result in results], color=f"C{index}",
                marker=MARKERS.get(name, "."), s=36 if main else 16, alpha=1 if main else 0.4,
                edgecolors="white" if main else None, linewidths=0.5 if main else 1, zorder=3 if main else 2,
                label=network if main else None,
            )  # fmt: skip
    for name in report.others:
        axes.scatter([], [], color="gray", marker=MARKERS.get(name, "."), s=16, alpha=0.6, label=name)
    axes.figure.legend(loc="outside lower center", ncols=5, frameon=False)


def _name_lowest(axes, report, count=3):
    """Name the layers that are furthest from the peak: where there is something to gain."""
    for result in sorted(report.results, key=report.fraction)[:count]:
        axes.annotate(
            result.layer.name, (result.layer.intensity, result.gflops("fastpw")), (6, -3),
            textcoords="offset points", fontsize="x-small", va="top",
        )  # fmt: skip
