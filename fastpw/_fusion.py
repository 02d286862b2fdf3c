"""Which layers of a chain run as one, for an input of a shape."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ._fused import all_pointwise, stages
from ._layer import Layer
from .core import fusing
from .core.partition import CACHES

Shape = tuple[int, ...]

# The part of a thread's work that may be rows which another thread computes, too.
MOST_REPEATED = 0.05

# A band of fewer pixels reads the weights of its layers for too little work, if they do not stay at hand.
LEAST_PIXELS = 64

# What lies between two layers and takes so little of each thread's cache is at hand in any case.
SMALL_BETWEEN = CACHES.second // 2

# So many multiply-adds for each byte that lies between take so long that it does not show whether the byte is
# written and read.
MOST_WORK = 40

# That core takes.
MOST_LAYERS = 8


class Part(NamedTuple):
    """Some layers of a chain, and how they run."""

    first: int  # the number of the first layer
    last: int  # behind that of the last
    way: str  # "bands" of rows, or "alone"
    why: str  # not in bands, or nothing
    threads: int
    bands: int  # of an image
    rows: int  # of a band, at most
    scratch: int  # bytes between the layers that each thread works in
    saved: int  # bytes between the layers that are not written to memory and read again

    def __str__(self) -> str:
        if self.way == "alone":
            return f"layer {self.first} by itself: {self.why}"
        numbers = f"layers {self.first} to {self.last - 1} as one"
        room = f"{_bytes(self.scratch)} between them for each of {self.threads} threads, "
        room += f"{_bytes(self.saved)} saved"
        return f"{numbers}, in {self.bands} bands of {self.rows} rows: {room}"


class Description(tuple[Part, ...]):
    """How a chain runs, part by part; printed, a line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def _bytes(size: int) -> str:
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"


def describe(layers: tuple[Layer, ...], shapes: list[Shape], dtype: np.dtype, threads: int) -> Description:
    """A chain, from its first layer to its last, in parts that run one after the other.

    `shapes` are those of the input and of each layer's result.
    """
    found, first = [], 0
    while first < len(layers):
        part = _longest(layers, shapes, first, dtype.itemsize, threads)
        found.append(part)
        first = part.last
    return Description(found)


class _Run(NamedTuple):
    """Layers that may run as one, as stages over planes."""

    stages: tuple[fusing.Stage, ...]
    planes: int
    element: int  # bytes of a number

    def part(self, first: int, cut: fusing.Cut) -> Part:
        """The layers, of which that is the first, in bands."""
        rows = -(-self.stages[-1].rows.outputs // cut.bands)
        scratch = fusing.scratch(self.stages, cut.bands, self.element)
        last = first + len(self.stages)
        return Part(first, last, "bands", "", cut.threads, cut.bands, rows, scratch, self.between())

    def between(self) -> int:
        """Bytes of all results but the last layer's."""
        rows = (stage.rows.outputs * stage.columns * stage.channels for stage in self.stages[:-1])
        return self.planes * sum(rows) * self.element

    def largest(self) -> int:
        """Bytes of the largest of them, for one image."""
        return max(s.rows.outputs * s.columns * s.channels for s in self.stages[:-1]) * self.element

    def work(self) -> int:
        """Multiply-adds."""
        return self.planes * sum(stage.work(stage.rows.outputs) for stage in self.stages)

    def weights(self) -> int:
        return sum(stage.depth * stage.channels for stage in self.stages) * self.element


def _longest(layers, shapes, first, element, threads) -> Part:
    """The most layers from the first on that are worth running as one."""
    why = "nothing follows that could run with it"
    for last in range(min(len(layers), first + MOST_LAYERS), first + 1, -1):
        run = _as_run(layers[first:last], shapes[first : last + 1], element)
        if run is None:
            continue
        cut = fusing.by_bands(run.stages, run.planes, element, threads)
        why = _against_bands(run, cut)
        if not why:
            return run.part(first, cut)
    return Part(first, first + 1, "alone", why, threads, 0, 0, 0, 0)


def _as_run(layers, shapes, element) -> _Run | None:
    if len(shapes[0]) not in (2, 3, 4):
        return None
    if all_pointwise(layers):
        shapes = [(1, prod(shape[:-1]), 1, shape[-1]) for shape in shapes]
    shapes = [(1,) * (4 - len(shape)) + shape for shape in shapes]
    found = stages(layers, shapes)
    return None if found is None else _Run(found, shapes[0][0], element)


def _against_bands(run: _Run, cut: fusing.Cut) -> str:
    """Why the layers do not run as one in bands of rows; empty if they do."""
    share = run.largest() // cut.threads
    if share <= SMALL_BETWEEN:
        return f"what lies between takes {_bytes(share)} for each thread, which stay in the cache in any case"
    if run.work() > MOST_WORK * run.between():
        return f"the {_bytes(run.between())} between are little beside the work of the layers"
    size = fusing.scratch(run.stages, cut.bands, run.element)
    if size > fusing.SCRATCH_BYTES:
        return f"their rows take {_bytes(size)}, and there is room for {_bytes(fusing.SCRATCH_BYTES)}"
    repeated = fusing.repeated(run.stages, run.planes, cut)
    if repeated > MOST_REPEATED:
        return f"{repeated:.0%} of a thread's work would be rows that another computes, too"
    pixels = -(-run.stages[-1].rows.outputs // cut.bands) * run.stages[-1].columns
    if cut.bands > 1 and pixels < LEAST_PIXELS and run.weights() > CACHES.second // 2:
        return f"{_bytes(run.weights())} of weights would be read for every {pixels} pixels"
    return ""
