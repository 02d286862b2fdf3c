"""New arrays for results."""

from math import prod

import numpy as np

CACHE_LINE = 64

# NumPy's own arrays begin 16 bytes past a line, so that every vector stored to them touches two. Where the
# result leaves the first-level cache that costs up to 1.4 of the time; below, making sure of it costs more.
LARGE = 32 << 10


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """``np.empty``, but large arrays begin with a cache line."""
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)
