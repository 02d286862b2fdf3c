"""A ModelReport as bars, by matplotlib: of networks the ratios, of one network the time of its nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fastpw.bench.networks.report import ModelReport
from fastpw.network.tables import NodeTime

MOST_NODES = 60  # that are drawn by themselves
ROW = 0.22  # inches


def save_networks(report: ModelReport, path: str) -> None:
    """Bars of each network: how many times as fast fastpw is as each peer; alone, its share of the peak."""
    names = [result.layer.name for result in report.results]
    places, height = np.arange(len(names)), 0.8 / max(len(report.peers), 1)
    figure, axes = _figure(len(names) * max(len(report.peers), 1) * 0.8 + 2)
    for number, peer in enumerate(report.peers or ["fastpw"]):
        alone = not report.peers
        values = [r.fraction() if alone else r.speedup_over(peer) or np.nan for r in report.results]
        shift = (number - (max(len(report.peers), 1) - 1) / 2) * height
        bars = axes.barh(places + shift, values, height * 0.9, color=f"C{number}", label=peer)
        axes.bar_label(bars, fmt="{:.2f}", padding=2, fontsize="x-small")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    told = "fastpw is so many times as fast as the peer" if report.peers else "share of the FMA peak"
    axes.set(xlabel=told, title=f"{report.setting.title}: {report.setting}")
    axes.axvline(1, color="black", linewidth=1)
    if report.peers:
        figure.legend(loc="outside lower center", ncols=len(report.peers), frameon=False)
    figure.savefig(path)


def save_nodes(name: str, nodes: Sequence[NodeTime], told: str, path: str) -> None:
    """A bar for each node, in the order in which they are computed, in the colour of its operator."""
    longest = set(sorted(range(len(nodes)), key=lambda n: -nodes[n].seconds)[:MOST_NODES])
    rows = [(node.name, _kind(node), node.seconds) for n, node in enumerate(nodes) if n in longest]
    if len(rows) < len(nodes):
        rest = sum(node.seconds for n, node in enumerate(nodes) if n not in longest)
        rows.append((f"{len(nodes) - len(rows)} shorter ones", "others", rest))
    total = sum(node.seconds for node in nodes)
    kinds = list(dict.fromkeys(kind for _, kind, _ in rows))
    colours = {kind: "silver" if kind == "others" else f"C{n % 10}" for n, kind in enumerate(kinds)}
    figure, axes = _figure(len(rows))
    places = np.arange(len(rows))
    bars = axes.barh(places, [s * 1e6 for *_, s in rows], 0.8, color=[colours[kind] for _, kind, _ in rows])
    axes.bar_label(bars, [f"{s / total:.1%}" for *_, s in rows], padding=2, fontsize="x-small")
    axes.set_yticks(places, [row[0] for row in rows], fontsize="x-small")
    axes.invert_yaxis()
    axes.set(xlabel="µs", title=f"{name}: {total * 1e3:.2f} ms in {len(nodes)} nodes; {told}")
    handles = [Patch(color=colours[kind], label=kind) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(kinds), 6), frameon=False)
    figure.savefig(path)


def _figure(rows):
    figure = Figure(figsize=(10, 1.8 + ROW * rows), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.margins(y=0.01)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _kind(node):
    """The operator without what has been joined to it."""
    return node.operator.split(" + ")[0]
