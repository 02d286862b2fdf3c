"""How a chain of stages is cut: its planes into bands of rows.

Nothing here decides the order of any additions: a result is the same however the work is cut.

bench/constants.md has what was measured of the constants.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from .partition import CACHES, LEAST_DEPTH, SMALL_WORK


class Slide(NamedTuple):
    """Along the rows, output o reads the inputs o * stride + origin + i * step, for each tap i."""

    taps: int
    step: int
    stride: int
    origin: int
    inputs: int
    outputs: int

    def reach(self, outputs: int) -> int:
        """From the first input of so many outputs to behind the last."""
        return min(self.inputs, (outputs - 1) * self.stride + (self.taps - 1) * self.step + 1)


class Stage(NamedTuple):
    """One stage, as far as it matters for how the chain is cut."""

    rows: Slide
    columns: int  # outputs in a row
    channels: int  # of its results
    depth: int  # multiply-adds for a number of its results

    def work(self, rows: int) -> int:
        """Multiply-adds of so many rows."""
        return rows * self.columns * self.channels * max(self.depth, LEAST_DEPTH)


class Cut(NamedTuple):
    """How a chain is run."""

    bands: int  # of each plane
    rooms: tuple[int, ...]  # rows behind each stage but the last
    threads: int


# What the rows between the stages take of a thread's second-level cache, through which weights, the input and
# the result pass, too.
SCRATCH_BYTES = CACHES.second // 2


def rooms(stages: tuple[Stage, ...], bands: int) -> tuple[int, ...]:
    """Rows that there must be room for behind each stage but the last."""
    rows = -(-stages[-1].rows.outputs // bands)
    found = []
    for stage in reversed(stages[1:]):
        rows = stage.rows.reach(rows)
        found.append(rows)
    return tuple(reversed(found))


def scratch(stages: tuple[Stage, ...], bands: int, element: int) -> int:
    """Bytes between the stages of a thread, about."""
    size = 0
    for stage, rows in zip(stages, rooms(stages, bands), strict=False):
        size += rows * stage.columns * stage.channels * element
    return size


def _least_bands(stages: tuple[Stage, ...], element: int) -> int:
    """So few that what lies between the stages stays in the caches, if it can."""
    # There may be as many as an image has rows, or pixels.
    too_few, enough = 0, stages[-1].rows.outputs
    while enough - too_few > 1:
        bands = (too_few + enough) // 2
        if scratch(stages, bands, element) <= SCRATCH_BYTES:
            enough = bands
        else:
            too_few = bands
    return enough


@lru_cache(maxsize=1024)
def by_bands(stages: tuple[Stage, ...], planes: int, element: int, threads: int) -> Cut:
    """Every task is a band of rows of the last stage, taken through all stages.

    Parameters
    ----------
    stages : tuple of Stage
        At least two.
    planes : int
        Each as the stages say.
    element : int
        Bytes of a number.
    threads : int
        The most that may be used.
    """
    rows = stages[-1].rows.outputs
    if planes * sum(stage.work(stage.rows.outputs) for stage in stages) < SMALL_WORK:
        threads = 1

    def busiest(bands):
        return -(-planes * bands // threads) * -(-rows // bands)

    least = _least_bands(stages, element)
    bands = min(range(least, min(rows, least + threads - 1) + 1), key=busiest)
    return Cut(bands, rooms(stages, bands), threads)


def repeated(stages: tuple[Stage, ...], planes: int, cut: Cut) -> float:
    """The part of a thread's work that is there because it does not begin with the first row of a plane."""
    tasks = planes * cut.bands
    beginnings = [tasks * member // cut.threads for member in range(1, cut.threads)]
    if all(task % cut.bands == 0 for task in beginnings):
        return 0.0
    overlap, extra = 0, 0
    for before, stage in reversed([*pairwise(stages)]):
        slide = stage.rows
        overlap = max(0, overlap * slide.stride + (slide.taps - 1) * slide.step + 1 - slide.stride)
        extra += before.work(overlap)
    whole = planes * sum(stage.work(stage.rows.outputs) for stage in stages)
    return extra * cut.threads / whole
