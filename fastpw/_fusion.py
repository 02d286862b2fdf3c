"""Which layers of a chain run as one, for an input of a shape."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ._fused import Fused, all_pointwise, stages
from ._layer import Layer
from .core import fusing
from .core.partition import CACHES

Shape = tuple[int, ...]

# A thread that begins in the middle of a plane computes rows that another computes, too: this part of its work.
MOST_REPEATED = 0.05

# A band of fewer pixels reads the weights of its layers for too little work, if they do not stay at hand.
LEAST_PIXELS = 64

# What lies between layers and takes so little is at hand in any case.
SMALL_BETWEEN = CACHES.second // 4

# That core takes.
MOST_LAYERS = 8


class Part(NamedTuple):
    """Some layers of a chain, and how they run."""

    first: int
    last: int  # behind the last
    way: str  # "bands", "panels" or "alone"
    why: str
    stages: tuple[fusing.Stage, ...] = ()
    cut: fusing.Cut | None = None


class Joined(Layer):
    """Layers that run as one."""

    __slots__ = ()

    def __init__(self, layers: tuple[Layer, ...], panels: bool) -> None:
        self._begin(Fused(layers, panels), None)


def parts(layers: tuple[Layer, ...], shapes: list[Shape], dtype: np.dtype, threads: int) -> list[Part]:
    """A chain, from its first layer to its last, in parts that run one after the other.

    `shapes` are those of the input and of each layer's result.
    """
    found, first = [], 0
    while first < len(layers):
        part = _longest(layers, shapes, first, dtype.itemsize, threads)
        found.append(part)
        first = part.last
    return found


def _longest(layers, shapes, first, element, threads) -> Part:
    """The most layers from the first on that are worth running as one."""
    why = "nothing follows that could run with it"
    for last in range(min(len(layers), first + MOST_LAYERS), first + 1, -1):
        some = layers[first:last]
        planes, described = _described(some, shapes[first : last + 1])
        if described is None:
            continue
        cut = fusing.by_bands(described, planes, element, threads)
        why = _against_bands(described, planes, cut, element)
        if not why:
            return Part(first, last, "bands", "", described, cut)
        if last == first + 2 and described[0].panel and threads > 1:
            return Part(first, last, "panels", why, described, fusing.by_panels(described, planes, threads))
    return Part(first, first + 1, "alone", why)


def _described(layers, shapes) -> tuple[int, tuple[fusing.Stage, ...] | None]:
    """The layers as stages, and over how many planes."""
    if len(shapes[0]) not in (2, 3, 4) or not all(hasattr(layer, "_operation") for layer in layers):
        return 0, None
    if all_pointwise(layers):
        shapes = [(1, prod(shape[:-1]), 1, shape[-1]) for shape in shapes]
    shapes = [(1,) * (4 - len(shape)) + shape for shape in shapes]
    return shapes[0][0], stages(layers, shapes)


def _against_bands(described, planes: int, cut: fusing.Cut, element: int) -> str:
    """Why the layers do not run as one in bands of rows; empty if they do."""
    size = fusing.scratch(described, cut.bands, element)
    if size > fusing.SCRATCH_BYTES:
        return f"the rows between the layers take {size} bytes of {fusing.SCRATCH_BYTES}"
    repeated = fusing.repeated(described, planes, cut)
    if repeated > MOST_REPEATED:
        return f"{repeated:.0%} of a thread's work would be rows that another computes, too"
    weights = sum(stage.depth * stage.channels for stage in described) * element
    pixels = -(-described[-1].rows.outputs // cut.bands) * described[-1].columns
    if weights > CACHES.second // 2 and pixels < LEAST_PIXELS and cut.bands > 1:
        return f"{weights} bytes of weights would be read for every {pixels} pixels"
    between = sum(s.rows.outputs * s.columns * s.channels for s in described[:-1]) * planes * element
    if between <= SMALL_BETWEEN and not any(stage.panel for stage in described):
        return f"what lies between takes {between} bytes, which stay in the cache in any case"
    return ""
