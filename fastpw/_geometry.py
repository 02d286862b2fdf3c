"""Which input pixel feeds which output pixel: windows, strides, padding, and leading axes as views."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Index = tuple  # what selects a box of an array (..., H, W, channels)


def output_size(size: int, before: int, after: int, stride: int) -> int:
    return (size + before + after - 1) // stride + 1


def output_shape(x_shape: tuple[int, ...], filters: int, stride: Pair, padding: tuple[Pair, Pair]):
    height = output_size(x_shape[-3], *padding[0], stride[0])
    width = output_size(x_shape[-2], *padding[1], stride[1])
    return (*x_shape[:-3], height, width, filters)


def _inner(size: int, before: int, stride: int) -> tuple[slice, slice]:
    """Along one axis, the outputs that meet an input, and the inputs that they meet.

    Output o lies over input o * stride - before; before it starts and after it ends there is only padding.
    """
    first = -(-before // stride)
    stop = -(-(before + size) // stride)
    return slice(first, stop), slice(first * stride - before, size, stride)


def boxes(x_shape, y_shape, stride: Pair, padding: tuple[Pair, Pair]) -> Iterator[tuple[Index | None, Index]]:
    """Splits the output into its interior and up to four borders that lie in the padding, none of them empty.

    Yields (index into x, index into y), None for x where there is only padding. The boxes cover y once.
    """
    height, width = y_shape[-3:-1]
    inner_rows, x_rows = _inner(x_shape[-3], padding[0][0], stride[0])
    inner_columns, x_columns = _inner(x_shape[-2], padding[1][0], stride[1])
    all_columns = slice(0, width)
    for inputs, *outputs in (
        ((..., x_rows, x_columns, slice(None)), inner_rows, inner_columns),
        (None, slice(0, inner_rows.start), all_columns),
        (None, slice(inner_rows.stop, height), all_columns),
        (None, inner_rows, slice(0, inner_columns.start)),
        (None, inner_rows, slice(inner_columns.stop, width)),
    ):
        if all(side.start < side.stop for side in outputs):
            yield inputs, (..., *outputs, slice(None))


class Taps(NamedTuple):
    """The input pixel under a tap, output * stride + origin + tap * step; each as (h, w)."""

    size: Pair
    step: Pair
    stride: Pair
    origin: Pair


class Window(NamedTuple):
    """The options of a layer whose pixels look at their neighbours, each as (h, w)."""

    size: Pair
    dilation: Pair
    stride: Pair
    padding: Padding | None  # None: "same"

    @property
    def reach(self) -> Pair:
        """Pixels from a window's first tap to its last."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True))

    def sides(self, height: int, width: int) -> Padding:
        """The padding of an image of that size. "same" is TensorFlow's: what is odd lies behind."""
        if self.padding is not None:
            return self.padding
        totals = [
            max((-(-size // stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip((height, width), self.stride, self.reach, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in totals)

    def outputs(self, height: int, width: int) -> Pair:
        """Ho and Wo."""
        return tuple(
            (size + before + after - reach) // stride + 1
            for size, (before, after), reach, stride in zip(
                (height, width), self.sides(height, width), self.reach, self.stride, strict=True
            )
        )

    def taps(self, height: int, width: int) -> Taps:
        """For an image of that size."""
        (top, _), (left, _) = self.sides(height, width)
        return Taps(self.size, self.dilation, self.stride, (-top, -left))


def met(tap: int, outputs: int, size: int, stride: int) -> tuple[slice, slice]:
    """Along one axis, the outputs whose tap lies on an input, and those inputs.

    `tap` is where the tap of output 0 lies; an output further on is `stride` inputs further.
    """
    first = max(-(tap // stride), 0)
    stop = max(min((size - 1 - tap) // stride + 1, outputs), first)
    start = first * stride + tap
    return slice(first, stop), slice(start, start + (stop - first) * stride, stride)


class Phase(NamedTuple):
    """Along one axis, inputs `stride` apart, which the same taps of outputs lie on."""

    inputs: slice
    taps: slice  # in the order of the outputs, first to last
    count: int  # of the taps
    step: int  # from the output of one to that of the next
    origin: int  # the output of input 0 of the phase and the first of the taps


def phases(size: int, taps: int, dilation: int, stride: int, before: int) -> Iterator[Phase]:
    """What the derivative by the inputs of one axis is made of.

    Tap t of output o lies on input o * stride + t * dilation - before. So input i is met by the taps t with
    t * dilation = i + before (mod stride), every (stride / gcd)th of them, by output
    (i + before - t * dilation) / stride: the larger t, the smaller the output.
    """
    common = gcd(stride, dilation)
    for phase in range(min(stride, size)):
        found = [t for t in range(min(taps, stride)) if (phase + before - t * dilation) % stride == 0]
        if not found:
            yield Phase(slice(phase, None, stride), slice(0, 0), 0, 1, 0)
            continue
        every = stride // common
        first, count = found[0], -(-(taps - found[0]) // every)
        last = first + (count - 1) * every
        backwards = slice(last, first - 1 if first else None, -every)
        yield Phase(
            slice(phase, None, stride),
            backwards,
            count,
            dilation // common,
            (phase + before - last * dilation) // stride,
        )


@lru_cache(maxsize=1024)
def met_by_inputs(size: Pair, window: Window) -> tuple[tuple[Phase, Phase], ...]:
    """The phases of an image of a size, along both axes: for each its rows and its columns."""
    origin = window.taps(*size).origin
    along = zip(size, window.size, window.dilation, window.stride, origin, strict=True)
    rows, columns = ([*phases(*axis, -before)] for *axis, before in along)
    return tuple((down, across) for down in rows for across in columns)


# More boxes than so many take longer than to clear all of an image.
MOST_SKIPPED = 8


def skipped(shape: tuple[int, ...], inputs: Index, stride: Pair) -> list[Index]:
    """The pixels of an image (..., H, W, channels) that the box `inputs` leaves out, as boxes.

    Where those are many, one for all pixels.
    """
    _, rows, columns, _ = inputs
    between_rows = [
        slice(first, None, stride[0]) for first in range(min(stride[0], shape[-3])) if first != rows.start
    ]
    between_columns = [
        slice(first, None, stride[1]) for first in range(min(stride[1], shape[-2])) if first != columns.start
    ]
    if len(between_rows) + len(between_columns) > MOST_SKIPPED:
        return [...]
    return [(..., some, slice(None), slice(None)) for some in between_rows] + [
        (..., rows, some, slice(None)) for some in between_columns
    ]


def group(number: int, groups: int, *arrays: np.ndarray | None) -> Iterator[np.ndarray | None]:
    """The channels of one group of each array."""
    for a in arrays:
        if a is None:
            yield None
        else:
            size = a.shape[-1] // groups
            yield a[..., number * size : (number + 1) * size]
