"""Programs of earlier calls, kept for those that follow.

A call of a small layer takes microseconds, of which the checks of its arguments would take most. A program
was made for arrays laid out in one way, when all was checked: it runs others that are laid out so, without
checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Programs:
    """The programs of functions, by what their calls have in common; without room for more, all go."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: dict[tuple, Any] = {}
        self._bytes = 0

    def find(self, x, weight, options: tuple):
        """The program of the last call with these shapes and options, or None."""
        if type(x) is not np.ndarray or type(weight) is not np.ndarray:
            return None
        try:
            return self._kept.get((x.shape, weight.shape, options))
        except TypeError:  # an option has no hash
            return None

    def keep(self, x, weight, options: tuple, program) -> None:
        """Arrays of other types are asked for nothing: what they say need not be so."""
        if type(x) is not np.ndarray or type(weight) is not np.ndarray:
            return
        size = program.nbytes
        if size > self._most_bytes // 8:
            return
        if len(self._kept) >= self._most or self._bytes + size > self._most_bytes:
            self.forget()
        self._bytes += size
        self._kept[x.shape, weight.shape, options] = program

    def kept(self) -> list:
        return [*self._kept.values()]

    def forget(self) -> None:
        self._kept.clear()
        self._bytes = 0


# As many as the layers of a large network, forward and backward.
MOST_PROGRAMS, MOST_BYTES = 512, 16 << 20
forward = Programs(MOST_PROGRAMS, MOST_BYTES)
backward = Programs(MOST_PROGRAMS, MOST_BYTES)
