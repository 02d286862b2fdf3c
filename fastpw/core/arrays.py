"""New arrays for results."""

from math import prod

import numpy as np

CACHE_LINE = 64

# NumPy's own arrays begin 16 bytes past a line, so that every vector stored to them touches two. Where the
# result leaves the first-level cache that costs up to 1.4 of the time; below, making sure of it costs more.
LARGE = 32 << 10

# Beyond 32 MiB, glibc hands memory back when it is freed, and the system clears new pages for what follows:
# 16 -> 96 at 8 x 112 x 112 took three times as long. So what was freed last is kept, up to a limit.
LEAST_KEPT = 32 << 20
MOST_KEPT = 64 << 20


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """``np.empty``, but large arrays begin with a cache line, and may lie where one lay that is gone."""
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    memory = _kept(size + CACHE_LINE) if LEAST_KEPT <= size <= MOST_KEPT else _bytes(size + CACHE_LINE)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _bytes(size: int) -> np.ndarray:
    return np.empty(size, np.uint8)


_freed: list[np.ndarray] = []  # at most one


class _Loan:
    """What an array's memory belongs to; when the array and all its views are gone, the memory is kept."""

    def __init__(self, memory: np.ndarray):
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self, freed: list[np.ndarray] = _freed):  # (the module may be gone before)
        freed[:] = (self.memory,)


def _kept(size: int) -> np.ndarray:
    """Bytes: those that were freed last, if they suffice."""
    try:
        memory = _freed.pop()
    except IndexError:
        memory = None
    if memory is None or memory.size < size:
        memory = _bytes(size)
    return np.asarray(_Loan(memory))
