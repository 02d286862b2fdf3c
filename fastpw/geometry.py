"""Which input pixel feeds which output pixel: stride, padding and leading axes as views, never as copies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

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


def met(a: np.ndarray, stride: Pair) -> np.ndarray:
    """The pixels that outputs meet where there is no padding."""
    return a if stride == (1, 1) else a[..., :: stride[0], :: stride[1], :]


def rows(*arrays: np.ndarray | None) -> Iterator[tuple[np.ndarray | None, ...]]:
    """Brings arrays (..., channels) with the same leading axes to four axes: views, pixels in the same order.

    Neighbouring axes become one where all arrays' strides allow it; what is left beyond four is walked here.
    """
    present = [a for a in arrays if a is not None]
    lead = _merged(present[0].shape[:-1], [a.strides[:-1] for a in present])
    lead = (1,) * (3 - len(lead)) + lead
    views = [None if a is None else a.reshape(*lead, a.shape[-1]) for a in arrays]
    for outer in product(*map(range, lead[:-3])):
        yield tuple(None if v is None else v[outer] for v in views)


def _merged(shape: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape with neighbouring axes as one wherever all arrays' strides let a reshape be a view."""
    merged: list[int] = []
    distances: list[int] = []  # of the axis last merged, per array
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1:
            continue
        here = [s[axis] for s in strides]
        if merged and all(h == merged[-1] * d for h, d in zip(here, distances, strict=True)):
            merged[-1] *= shape[axis]
        else:
            merged.append(shape[axis])
            distances = here
    return tuple(reversed(merged))


def group(number: int, groups: int, *arrays: np.ndarray | None) -> Iterator[np.ndarray | None]:
    """The channels of one group of each array."""
    for a in arrays:
        if a is None:
            yield None
        else:
            size = a.shape[-1] // groups
            yield a[..., number * size : (number + 1) * size]
