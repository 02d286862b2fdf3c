"""Which input pixel feeds which output pixel: stride, padding and leading axes as views, never as copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Pair = tuple[int, int]
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
