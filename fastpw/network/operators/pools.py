"""Pools over windows and over whole images."""

from __future__ import annotations

from itertools import product

import numpy as np

from ...pool import AveragePool2d, MaxPool2d
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Shape, Value
from .images import apply, as_image, as_row, is_float
from .joins import padded
from .registry import operator
from .rows import means
from .volumes import largest, mean
from .whole import wants, whole
from .windows import Geometry, Sides, geometry


@operator("MaxPool")
def max_pool(plan: Plan, node: Node, x: Value) -> Value | tuple[Value, Value]:
    """The largest of each window; what lies beyond the image does not count."""
    if wants(node, 1) or not is_float(x) or x.ndim > 4:
        return largest(plan, node, x)
    ndim, image = x.ndim, as_image(plan, x)
    layer = pool_layer(plan, node, image.shape)
    if layer is not None:
        return as_row(plan, apply(plan, layer, image), ndim)
    window = geometry(node, ndim - 2)
    return as_row(plan, _dilated_max(plan, image, window, _all_sides(window, image.shape[2:])), ndim)


@operator("AveragePool")
def average_pool(plan: Plan, node: Node, x: Value) -> Value:
    """The mean of each window, with the padding that the node gives, or of the image's pixels alone."""
    if any(n != 1 for n in node.attributes.get("dilations") or ()) or not is_float(x) or x.ndim > 4:
        return mean(plan, node, x)
    ndim, image = x.ndim, as_image(plan, x)
    layer = pool_layer(plan, node, image.shape)
    if layer is None:
        window = geometry(node, ndim - 2)
        # The node's padding counts, what ceil_mode adds to it does not: put zeros into the one by hand.
        size = image.shape[2:]
        image = padded(plan, image, ((0, 0), (0, 0), *window.sides(size)), 0)
        beyond = tuple((0, more) for more in window.beyond(size))
        layer = _average_layer(plan, window, beyond, False)
    return as_row(plan, apply(plan, layer, image), ndim)


OPERATORS_OF_POOLS = {"AveragePool": average_pool, "MaxPool": max_pool}


def pool_layer(plan: Plan, node: Node, shape: Shape) -> MaxPool2d | AveragePool2d | None:
    """The layer that computes a node for an image (N, C, H, W) of that shape; None where one does not do."""
    axes = len(node.attributes.get("kernel_shape") or ())
    window = geometry(node, axes)
    if axes > 2 or window.dilation != (1, 1):
        return None
    sides = _all_sides(window, shape[2:])
    if node.op == "MaxPool":
        key = "max", window.kernel, window.stride, sides
        return plan.layer(key, lambda: MaxPool2d(window.kernel, stride=window.stride, padding=sides))
    counts = bool(node.attributes.get("count_include_pad", 0))
    if counts and any(window.beyond(shape[2:])):
        return None
    return _average_layer(plan, window, sides, counts)


def _average_layer(plan: Plan, window: Geometry, sides: Sides, counts: bool) -> AveragePool2d:
    return plan.layer(
        ("average", window.kernel, window.stride, sides, counts),
        lambda: AveragePool2d(window.kernel, stride=window.stride, padding=sides, count_padding=counts),
    )


def _all_sides(window: Geometry, size: Shape) -> Sides:
    """The padding, and what ceil_mode adds to it."""
    pairs = zip(window.sides(size), window.beyond(size), strict=True)
    return tuple((before, after + more) for (before, after), more in pairs)


@operator("GlobalAveragePool")
def global_average_pool(plan: Plan, node: Node, x: Value) -> Value:
    """The mean of each image's channels."""
    if x.ndim > 4:
        axes = tuple(range(2, x.ndim))
        shape = (*x.shape[:2], *[1] * len(axes))
        return whole(plan, lambda a: a.mean(axis=axes, keepdims=True), x, shape=shape, dtype=x.dtype)
    ndim, image = x.ndim, as_image(plan, x)
    return as_row(plan, mean_of_images(plan, image), ndim)


def mean_of_images(plan: Plan, x: Value) -> Value:
    """(N, C, H, W) to (N, C, 1, 1)."""
    return means(plan, x, CHANNELS_LAST)


@operator("GlobalMaxPool")
def global_max_pool(plan: Plan, node: Node, x: Value) -> Value:
    """The largest of each image's channels."""
    axes = tuple(range(2, x.ndim))

    def largest(x: np.ndarray, out: np.ndarray) -> None:
        np.max(x, axis=axes, out=out, keepdims=True)

    return plan.compute(largest, x, shape=(*x.shape[:2], *[1] * len(axes)), dtype=x.dtype)


def _dilated_max(plan: Plan, x: Value, window: Geometry, sides) -> Value:
    """Windows with gaps: the largest of the image moved to each tap."""
    x = padded(plan, x, ((0, 0), (0, 0), *sides), -np.inf)
    outputs = [
        (size - reach) // stride + 1
        for size, reach, stride in zip(x.shape[2:], window.reach, window.stride, strict=True)
    ]

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        taps = []
        for tap in product(*map(range, window.kernel)):
            starts = [t * d for t, d in zip(tap, window.dilation, strict=True)]
            taps.append(
                x[
                    :,
                    :,
                    *(
                        slice(start, start + (count - 1) * stride + 1, stride)
                        for start, count, stride in zip(starts, outputs, window.stride, strict=True)
                    ),
                ]
            )

        def run() -> None:
            np.copyto(y, taps[0])
            for tap in taps[1:]:
                np.maximum(y, tap, out=y)

        return run

    return plan.step(bind, x, shape=(*x.shape[:2], *outputs), dtype=x.dtype, order=CHANNELS_LAST)
