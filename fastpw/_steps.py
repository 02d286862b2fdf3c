"""Operations one after the other as one program: where each finds its operands, what lies between them."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from . import _checks
from .core.chain import Sequence
from .core.kept import LINE
from .runtime import threads

Shape = tuple[int, ...]

# The base of what lies between the steps; those of the arrays of a call, (x, y, residual, z), are 0 to 3.
ROOM = 4


def placeholder(shape: Shape, dtype: np.dtype) -> np.ndarray:
    """An array laid out as a new one, for what looks at its layout only: there is no memory behind it."""
    sizes = [dtype.itemsize]
    for size in reversed(shape[1:]):
        sizes.append(sizes[-1] * max(size, 1))
    try:
        return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, sizes[::-1])
    except (ValueError, OverflowError):
        raise _checks.too_large(shape) from None


class Place(NamedTuple):
    """An operand of a step: how it is laid out, and how many bytes behind the beginning of its base."""

    array: np.ndarray
    base: int
    offset: int = 0

    def channels(self, first: int, stop: int) -> Place:
        """Some of its channels."""
        return Place(self.array[..., first:stop], self.base, self.offset + first * self.array.itemsize)


class Places(NamedTuple):
    """The operands of a step."""

    x: Place
    y: Place
    residual: Place | None = None
    z: Place | None = None

    @property
    def arrays(self) -> tuple[np.ndarray | None, ...]:
        """As they are laid out."""
        return tuple(None if place is None else place.array for place in self)


class Steps:
    """The steps of a program, and how much room they need between them."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, residual: np.ndarray | None, z: np.ndarray | None
    ) -> None:
        # What a program is described for must not change meanwhile, as an array's shape and strides may.
        others = (None if a is None else Place(a.view(), base) for base, a in ((2, residual), (3, z)))
        self.ends: Places = Places(Place(x.view(), 0), Place(y.view(), 1), *others)
        self._dtype = np.dtype(x.dtype.type)
        self._steps: list[tuple[Any, list[tuple[int, int] | None]]] = []
        self._room = 0

    def size(self, shape: Shape) -> int:
        """Bytes of a result, in whole cache lines."""
        return -(-prod(shape) * self._dtype.itemsize // LINE) * LINE

    def between(self, shape: Shape, start: int) -> Place:
        """A result between two steps, so many bytes behind the beginning of the room."""
        self._room = max(self._room, start + self.size(shape))
        return Place(placeholder(shape, self._dtype), ROOM, start)

    def add(self, program: Any, places: Places) -> None:
        """The next step."""
        ends = [None if place is None else (place.base, place.offset) for place in places]
        self._steps.append((program, ends))

    def program(self) -> Sequence:
        return Sequence(self.ends.arrays, self._steps, self._room, threads)
