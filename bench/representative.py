"""Chooses the layers that `fastpw bench` measures by default: a third that stands for all.

    python bench/representative.py

Of each network a third of its layers is taken, rounded, and of all such choices the one whose geometric
means are nearest to those of all layers. Compared are the means of what a layer is (pixels, channels,
multiply-adds, bytes) and of each column of figures in docs/results.md; the largest difference counts. The
search begins many times at random, and exchanges one layer for another of the same network as long as that
helps. It finds the same layers as long as the tables stay the same; fastpw/bench/layers.py has their names.
"""

import re
from pathlib import Path

import numpy as np

from fastpw.bench import layers
from fastpw.bench.setting import Setting

RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
ROW = re.compile(r"^\| (\S+\.\S+) \| [^|]* \| [^|]* \|(.*)\|$", re.MULTILINE)
STARTS = 300


def shapes(chosen):
    """Logarithms of what layers are, a row for each."""
    setting = Setting()
    figures = [(layer.P, layer.C, layer.K, setting.flops(layer), setting.bytes(layer)) for layer in chosen]
    return np.log(np.array(figures, dtype=float))


def measured(chosen, text):
    """Logarithms of the figures in the tables of results, a row for each layer."""
    figures = {layer.name: [] for layer in chosen}
    for name, cells in ROW.findall(text):
        if name in figures:
            figures[name] += [float(cell.split()[0]) for cell in cells.split("|")]
    return np.log(np.array([figures[layer.name] for layer in chosen]))


def differences(chosen, numbers, text):
    """How far the geometric means of the layers with these numbers lie from those of all: logarithms."""
    figures = np.hstack([shapes(chosen), measured(chosen, text)])
    return figures[numbers].mean(axis=0) - figures.mean(axis=0)


def best(chosen, text):
    """The numbers of the layers that stand for all."""
    figures = np.hstack([shapes(chosen), measured(chosen, text)])
    figures -= figures.mean(axis=0)
    networks = [layer.network for layer in chosen]
    groups = [np.flatnonzero([name == network for name in networks]) for network in dict.fromkeys(networks)]
    random = np.random.default_rng(0)
    found = (_descend(figures, groups, random) for _ in range(STARTS))
    return min(found, key=lambda taken: _badness(figures, taken)).nonzero()[0]


def _badness(figures, taken):
    return np.abs(figures[taken].mean(axis=0)).max()


def _descend(figures, groups, random):
    """From a choice at random, by exchanges within a network, to one that no exchange improves."""
    taken = np.zeros(len(figures), bool)
    for group in groups:
        taken[random.choice(group, round(len(group) / 3), replace=False)] = True
    while True:
        exchanges = [
            (leaves, comes)
            for group in groups
            for leaves in group[taken[group]]
            for comes in group[~taken[group]]
        ]
        tried = [_exchanged(taken, *exchange) for exchange in exchanges]
        nearest = min(tried, key=lambda choice: _badness(figures, choice))
        if _badness(figures, nearest) >= _badness(figures, taken):
            return taken
        taken = nearest


def _exchanged(taken, leaves, comes):
    taken = taken.copy()
    taken[[leaves, comes]] = False, True
    return taken


def main():
    chosen, text = layers.load(), RESULTS.read_text()
    numbers = best(chosen, text)
    for number in numbers:
        print(chosen[number].name)
    away = np.abs(differences(chosen, numbers, text)).max()
    print(f"{len(numbers)} of {len(chosen)} layers; no geometric mean is {np.expm1(away):.1%} away")


if __name__ == "__main__":
    main()
