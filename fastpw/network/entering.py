"""The way of arrays into the memory of a call."""

from __future__ import annotations

import numpy as np

from ..core.stencil import Shuffle
from ..runtime import threads
from .values import adjacent, channels_last


class Entry:
    """Copies arrays of one shape to where a call reads them.

    Images that lie channel by channel become channels-last by a kernel, on all threads: NumPy would take the
    few numbers of each pixel as its innermost loop.
    """

    __slots__ = ("_program", "_target")

    def __init__(self, target: np.ndarray) -> None:
        self._target = target
        self._program: Shuffle | None = None  # of the last layout that came, if a kernel copies it

    def __call__(self, array: np.ndarray) -> None:
        target = self._target
        if self._program is not None and self._program(array, None, target, None) is not None:
            return
        self._program = self._described(array) if self._turns(array) else None
        if self._program is None or self._program(array, None, target, None) is None:
            np.copyto(target, array)

    def _turns(self, array: np.ndarray) -> bool:
        """Whether the pixels of an array lie side by side, and in the target their channels do."""
        target = self._target
        if array.ndim != 4 or array.dtype != target.dtype or target.dtype not in (np.float32, np.float64):
            return False
        if array.shape != target.shape or array.size == 0 or array.shape[1] == 1 or not array.flags.aligned:
            return False
        return adjacent(array, 3) and not adjacent(array, 1) and channels_last(target).flags.c_contiguous

    def _described(self, array: np.ndarray) -> Shuffle:
        target = self._target
        n, channels, height, width = array.shape
        rows = channels_last(target).reshape(n, height, width * channels)
        return Shuffle((array, target, None, None), (array.transpose(0, 2, 1, 3), rows), threads)
