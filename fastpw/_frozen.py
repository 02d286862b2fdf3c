"""Arrays whose memory nobody can write: layers and networks share it."""

from __future__ import annotations

import mmap

import numpy as np


class Mapped(mmap.mmap):
    """A file as memory, opened for reading alone, of which its owner sees to it that nobody writes it."""


def is_frozen(array: np.ndarray) -> bool:
    """Whether nobody can make an array's memory writable again, and its elements lie in C order."""
    base = array.base
    while type(base) is np.ndarray:
        base = base.base
    return type(base) in (bytes, Mapped) and array.flags.c_contiguous


def frozen_array(array: np.ndarray) -> np.ndarray:
    """A copy that is frozen; the array itself, where that is so already."""
    return array if is_frozen(array) else np.ndarray(array.shape, array.dtype, array.tobytes())
