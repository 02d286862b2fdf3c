"""What a plan knows of an array before there is one: its shape, its dtype, and how it lies in memory.

All values keep the axes that ONNX gives them: an image is (N, C, H, W). What is channels-last is their
memory: the strides say that the channels of a pixel lie side by side. So a Transpose is a view, as it is in
NumPy, and a layer is given the view (N, H, W, C), which is contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]
Order: TypeAlias = tuple[int, ...]  # axes, from the outermost in memory to the innermost

CHANNELS_LAST: Order = (0, 2, 3, 1)
CHANNELS_FIRST: Order = (0, 3, 1, 2)  # the way back: the axes of (N, H, W, C) as (N, C, H, W)


class Tensor:
    """A value that each call computes.

    It has memory of its own, or it is a view of another's: `view` makes its array of its `base`'s.
    """

    __slots__ = ("base", "like", "pinned", "view", "viewed")

    def __init__(
        self,
        like: np.ndarray,
        base: Tensor | None = None,
        view: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.like: np.ndarray = like  # laid out as the array will be, without memory behind it
        self.base: Tensor | None = base
        self.view: Callable[[np.ndarray], np.ndarray] | None = view
        self.viewed: bool = False  # whether others are views of it
        self.pinned: bool = False  # whether a step counts on how it lies now

    @property
    def shape(self) -> Shape:
        return self.like.shape

    @property
    def dtype(self) -> np.dtype:
        return self.like.dtype

    @property
    def ndim(self) -> int:
        return self.like.ndim

    @property
    def size(self) -> int:
        return self.like.size

    @property
    def root(self) -> Tensor:
        """Whose memory it is."""
        return self if self.base is None else self.base.root

    def place(self, base: Tensor, view: Callable[[np.ndarray], np.ndarray]) -> None:
        """Give up its own memory for a part of another's."""
        self.base, self.view, self.like = base, view, view(base.like)
        base.viewed = True


Value: TypeAlias = np.ndarray | Tensor  # known when the plan is made, or computed by each call


def layout(value: Value) -> np.ndarray:
    """An array laid out as the value is; only of a known one may the elements be read."""
    return value.like if isinstance(value, Tensor) else value


def nbytes(shape: Sequence[int], dtype: np.dtype) -> int:
    return math.prod(map(int, shape)) * dtype.itemsize


def strides(shape: Shape, itemsize: int, order: Order) -> Shape:
    """Of an array without gaps whose axes lie in an order."""
    steps = [0] * len(shape)
    step = itemsize
    for axis in reversed(order):
        steps[axis] = step
        step *= max(shape[axis], 1)
    return tuple(steps)


def placeholder(shape: Shape, dtype: np.dtype, order: Order) -> np.ndarray:
    """An array laid out so, without memory: for what looks at its layout only."""
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides(shape, dtype.itemsize, order))


def order_of(value: Value) -> Order:
    """In which order its axes lie; images of which it cannot be told are channels-last."""
    array = layout(value)
    if array.ndim == 4 and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
        return CHANNELS_LAST
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def adjacent(value: Value, axis: int) -> bool:
    """Whether the elements along an axis lie side by side."""
    array = layout(value)
    return array.shape[axis] <= 1 or array.strides[axis] == array.itemsize


def dense(value: Value) -> bool:
    """Whether its memory has no gaps, whatever the order of its axes."""
    array = layout(value)
    return array.transpose(order_of(array)).flags.c_contiguous


def axis_last(array: np.ndarray, axis: int) -> np.ndarray:
    """The view with an axis moved to the end."""
    return array if axis % array.ndim == array.ndim - 1 else np.moveaxis(array, axis, -1)


def channels_last(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W) seen as (N, H, W, C)."""
    return array.transpose(CHANNELS_LAST)


def reshaped(array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """The view of another shape, None where that takes a copy."""
    try:
        return np.reshape(array, shape, copy=False)
    except TypeError:  # NumPy before 2.1
        view = array.view()
        try:
            view.shape = shape
        except AttributeError:
            return None
        return view
    except ValueError:
        return None
