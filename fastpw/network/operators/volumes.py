"""Windows over any number of axes, tap by tap: what the layers, which know two axes of pixels, leave over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .registry import known, operator
from .whole import wants, whole


class Span(NamedTuple):
    """A window along one axis: its taps, and the padding so that `outputs` windows lie within."""

    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    outputs: int
    beyond: int  # what ceil_mode adds behind the padding


def spans(node: Node, sizes: Sequence[int], kernel: Sequence[int] | None = None) -> list[Span]:
    """The windows of a node along each axis of pixels."""
    get, count = node.attributes.get, len(sizes)
    kernel = tuple(get("kernel_shape") or kernel or ())
    strides, dilations = (tuple(get(name) or [1] * count) for name in ("strides", "dilations"))
    pads, auto = list(get("pads") or [0] * 2 * count), get("auto_pad", "NOTSET")
    if not len(kernel) == len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise ValueError(f"kernel_shape, strides, dilations and pads of {count} axes are needed")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise ValueError("kernel_shape, strides and dilations >= 1 and pads >= 0 are needed")
    found = []
    for axis, (n, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        reach, (before, after) = (k - 1) * d + 1, (pads[axis], pads[axis + count])
        if auto.startswith("SAME"):
            total = max((-(-n // s) - 1) * s + reach - n, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        elif auto == "VALID":
            before = after = 0
        room, beyond = n + before + after - reach, 0
        outputs = room // s + 1
        if get("ceil_mode", 0) and room % s and outputs * s < n + before:
            outputs, beyond = outputs + 1, s - room % s
        if outputs < 1:
            raise ValueError(f"x: at least {reach} elements along each axis with the padding are needed")
        found.append(Span(k, s, d, before, after, outputs, beyond))
    return found


def _taps(windows: Sequence[Span]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap, and what lies under it in a padded array."""
    for tap in product(*(range(w.taps) for w in windows)):
        yield (
            tap,
            tuple(
                slice(t * w.dilation, t * w.dilation + (w.outputs - 1) * w.stride + 1, w.stride)
                for t, w in zip(tap, windows, strict=True)
            ),
        )


def _padded(x: np.ndarray, windows: Sequence[Span], fill: object, first: int) -> np.ndarray:
    sides = [(0, 0)] * x.ndim
    for axis, w in enumerate(windows, first):
        sides[axis] = w.before, w.after + w.beyond
    return np.pad(x, sides, constant_values=fill)


# ---- convolutions


def convolve(plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None) -> Value:
    """A convolution over any number of axes: a product for each tap."""
    n, channels, *sizes = x.shape
    filters, depth, *kernel = weight.shape
    groups = node.attributes.get("group", 1)
    if depth * groups != channels or filters % groups:
        raise ValueError(f"x: {depth * groups} channels are needed by weight {weight.shape}, got {x.shape}")
    windows = spans(node, sizes, kernel)
    outputs = [w.outputs for w in windows]

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        image = _padded(np.moveaxis(x, 1, -1), windows, 0, 1)
        y = np.zeros((n, *outputs, groups, filters // groups), x.dtype)
        if bias is not None:
            y += bias.reshape(groups, -1)
        by_group = weight.reshape(groups, filters // groups, depth, *kernel)
        for tap, under in _taps(windows):
            part = image[:, *under].reshape(n, *outputs, groups, 1, depth)
            y += (
                (part @ by_group[(..., *tap)].transpose(0, 2, 1))[..., 0, :]
                if groups > 1
                else (part[..., 0, :] @ by_group[(0, ..., *tap)].T)
            )
        return np.moveaxis(y.reshape(n, *outputs, filters), -1, 1)

    plan.count(n * math.prod(outputs) * weight.size)
    return whole(plan, run, x, weight, bias, shape=(n, filters, *outputs), dtype=x.dtype)


def convolve_transposed(plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None) -> Value:
    """A transposed convolution over any number of axes: each tap adds its products to where they belong."""
    n, channels, *sizes = x.shape
    _, depth, *kernel = weight.shape
    groups, get = node.attributes.get("group", 1), node.attributes.get
    count = len(sizes)
    strides, dilations = (tuple(get(name) or [1] * count) for name in ("strides", "dilations"))
    extra, pads = list(get("output_padding") or [0] * count), list(get("pads") or [0] * 2 * count)
    full = [
        (size - 1) * s + (k - 1) * d + 1 + more
        for size, k, s, d, more in zip(sizes, kernel, strides, dilations, extra, strict=True)
    ]
    wanted = list(get("output_shape") or [])[-count:]
    auto = get("auto_pad", "NOTSET")
    if auto.startswith("SAME") and not wanted:
        wanted = [min(size * s, most) for size, s, most in zip(sizes, strides, full, strict=True)]
    before = pads[:count]
    if wanted:
        totals = [max(most - want, 0) for most, want in zip(full, wanted, strict=True)]
        before = [total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals]
    outputs = wanted or [most - a - b for most, a, b in zip(full, before, pads[count:], strict=True)]

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        image = np.moveaxis(x, 1, -1).reshape(n, *sizes, groups, 1, channels // groups)
        most = [max(f, o + b) for f, o, b in zip(full, outputs, before, strict=True)]
        y = np.zeros((n, *most, groups, depth), x.dtype)
        by_group = weight.reshape(groups, channels // groups, depth, *kernel)
        for tap in product(*map(range, kernel)):
            places = tuple(
                slice(t * d, t * d + (size - 1) * s + 1, s)
                for t, d, size, s in zip(tap, dilations, sizes, strides, strict=True)
            )
            y[:, *places] += (image @ by_group[(..., *tap)])[..., 0, :]
        inner = tuple(slice(b, b + o) for b, o in zip(before, outputs, strict=True))
        y = np.moveaxis(y[:, *inner].reshape(n, *outputs, groups * depth), -1, 1)
        return y if bias is None else y + bias.reshape(-1, *[1] * count)

    return whole(plan, run, x, weight, bias, shape=(n, groups * depth, *outputs), dtype=x.dtype)


# ---- pools


def _least(dtype: np.dtype) -> object:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def largest(plan: Plan, node: Node, x: Value) -> Value | tuple[Value, Value]:
    """The largest of each window and, if somebody asks, where it lies in the whole array."""
    windows = spans(node, x.shape[2:])
    shape = *x.shape[:2], *(w.outputs for w in windows)

    def run(x: np.ndarray) -> np.ndarray:
        image = _padded(x, windows, _least(x.dtype), 2)
        return np.maximum.reduce([image[:, :, *under] for _, under in _taps(windows)])

    y = whole(plan, run, x, shape=shape, dtype=x.dtype)
    if not wants(node, 1):
        return y
    by_columns = node.attributes.get("storage_order", 0)

    def places(x: np.ndarray) -> np.ndarray:
        sizes = x.shape[2:]
        inner = np.arange(math.prod(sizes)).reshape(sizes, order="F" if by_columns else "C")
        outer = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(sizes)) * inner.size
        image, numbers = _padded(x, windows, _least(x.dtype), 2), _padded(inner, windows, -1, 0)
        best, where = None, None
        for _, under in _taps(windows):
            part, number = image[:, :, *under], numbers[under]
            if best is None:
                best, where = part.copy(), np.broadcast_to(number, part.shape).copy()
                continue
            better = ((part > best) | (where < 0)) & (number >= 0)
            np.copyto(best, part, where=better)
            np.copyto(where, number, where=better)
        return where + outer

    return y, whole(plan, places, x, shape=shape, dtype=np.dtype(np.int64))


def mean(plan: Plan, node: Node, x: Value) -> Value:
    """The mean of each window: of what lies in the array, or in its padding, too."""
    windows = spans(node, x.shape[2:])
    with_padding = node.attributes.get("count_include_pad", 0)

    def run(x: np.ndarray) -> np.ndarray:
        image = _padded(x, windows, 0, 2)
        ones = np.ones(x.shape[2:])
        if with_padding:  # but what ceil_mode adds does not count
            ones = np.pad(ones, [(w.before, w.after) for w in windows], constant_values=1)
        bare = [w._replace(before=0, after=0) for w in windows] if with_padding else windows
        ones = _padded(ones, bare, 0, 0)
        counts = sum(ones[under] for _, under in _taps(windows))
        return sum(image[:, :, *under] for _, under in _taps(windows)) / counts.astype(x.dtype)

    return whole(plan, run, x, shape=(*x.shape[:2], *(w.outputs for w in windows)), dtype=x.dtype)


@operator("LpPool")
def norm_of_windows(plan: Plan, node: Node, x: Value) -> Value:
    """The norm of each window."""
    windows, p = spans(node, x.shape[2:]), node.attributes.get("p", 2)

    def run(x: np.ndarray) -> np.ndarray:
        image = _padded(np.abs(x) ** p, windows, 0, 2)
        return sum(image[:, :, *under] for _, under in _taps(windows)) ** (1 / p)

    return whole(plan, run, x, shape=(*x.shape[:2], *(w.outputs for w in windows)), dtype=x.dtype)


@operator("GlobalLpPool")
def norm_of_images(plan: Plan, node: Node, x: Value) -> Value:
    """The norm of each image's channels."""
    axes, p = tuple(range(2, x.ndim)), node.attributes.get("p", 2)

    def run(x: np.ndarray) -> np.ndarray:
        return np.sum(np.abs(x) ** p, axis=axes, keepdims=True) ** (1 / p)

    return whole(plan, run, x, shape=(*x.shape[:2], *[1] * len(axes)), dtype=x.dtype)


@operator("MaxUnpool")
def unpool(plan: Plan, node: Node, x: Value, indices: Value, wanted: Value | None = None) -> Value:
    """Each element where MaxPool has found it, zeros elsewhere."""
    get, count = node.attributes.get, x.ndim - 2
    kernel, pads = node.attributes["kernel_shape"], get("pads") or [0] * 2 * count
    strides = get("strides") or [1] * count
    sizes = [
        (n - 1) * s - pads[i] - pads[i + count] + k
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    inner = *x.shape[:2], *sizes
    shape = inner if wanted is None else tuple(int(n) for n in known(wanted, "a shape"))

    def run(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        y = np.zeros(inner, x.dtype)
        y.reshape(-1)[indices.reshape(-1)] = x.reshape(-1)
        result = np.zeros(shape, x.dtype)
        part = tuple(slice(min(a, b)) for a, b in zip(inner, shape, strict=True))
        result[part] = y[part]
        return result

    return whole(plan, run, x, indices, shape=shape, dtype=x.dtype)
