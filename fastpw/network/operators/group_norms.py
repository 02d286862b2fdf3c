"""Normalizations of groups of channels, and by roots of squares: GroupNormalization, RMSNormalization, ..."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value, order_of
from .registry import operator
from .whole import axis_of, whole


@operator("GroupNormalization")
def group_norm(plan: Plan, node: Node, x: Value, scale: Value, offset: Value) -> Value:
    """Each group of channels with mean 0 and variance 1.

    The scale and the offset are of channels; before opset 21 they are of groups.
    Wu and He 2018, Group Normalization, arXiv:1803.08494.
    """
    groups, epsilon = node.attributes["num_groups"], node.attributes.get("epsilon", 1e-5)
    n, channels, *pixels = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(f"num_groups: a divisor of {channels} channels is needed, got {groups}")

    def run(x: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
        grouped = x.reshape(n, groups, channels // groups, *pixels)
        normal = _normal(grouped, tuple(range(2, grouped.ndim)), epsilon).reshape(x.shape)
        by_channel = [
            np.repeat(a, channels // a.size).reshape(-1, *[1] * len(pixels)) for a in (scale, offset)
        ]
        return normal * by_channel[0] + by_channel[1]

    return whole(plan, run, x, scale, offset, shape=x.shape, dtype=x.dtype, order=order_of(x))


def _normal(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """Mean 0 and variance 1 along some axes."""
    y = x - x.mean(axis=axes, keepdims=True)
    y /= np.sqrt(np.mean(np.square(y), axis=axes, keepdims=True) + x.dtype.type(epsilon))
    return y


@operator("MeanVarianceNormalization")
def mean_variance(plan: Plan, node: Node, x: Value) -> Value:
    """Mean 0 and deviation 1 along some axes."""
    axes = tuple(node.attributes.get("axes", (0, 2, 3)))

    def run(x: np.ndarray) -> np.ndarray:
        y = x - x.mean(axis=axes, keepdims=True)
        return y / (np.sqrt(np.mean(np.square(y), axis=axes, keepdims=True)) + x.dtype.type(1e-9))

    return whole(plan, run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))


@operator("RMSNormalization")
def rms_norm(plan: Plan, node: Node, x: Value, scale: Value) -> Value:
    """x / sqrt(mean(x ** 2) + epsilon) * scale, over the axes from `axis` on.

    Zhang and Sennrich 2019, Root Mean Square Layer Normalization, arXiv:1910.07467, section 3.
    """
    axes = tuple(range(axis_of(node, x.ndim, -1), x.ndim))
    epsilon = node.attributes.get("epsilon", 1e-5)

    def run(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        mean = np.mean(np.square(x), axis=axes, keepdims=True)
        return x / np.sqrt(mean + x.dtype.type(epsilon)) * scale

    return whole(plan, run, x, scale, shape=x.shape, dtype=x.dtype, order=order_of(x))


@operator("LpNormalization")
def lp_norm(plan: Plan, node: Node, x: Value) -> Value:
    """x divided by its norm along an axis; 0 where that is 0."""
    axis, p = axis_of(node, x.ndim, -1), node.attributes.get("p", 2)
    if p not in (1, 2):
        raise ValueError(f"p: 1 or 2 is needed, got {p}")

    def run(x: np.ndarray) -> np.ndarray:
        sums = np.sum(np.abs(x) ** p, axis=axis, keepdims=True)
        size = np.sqrt(sums) if p == 2 else sums
        return np.divide(x, size, out=np.zeros_like(x), where=size != 0)

    return whole(plan, run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))


def moments(plan: Plan, x: Value, axis: int, epsilon: float) -> tuple[Value, Value]:
    """The mean of a layer normalization over the axes from one on, and one divided by its deviation."""
    axes = tuple(range(axis, x.ndim))
    shape = (*x.shape[:axis], *[1] * len(axes))
    rows = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])

    def mean(x: np.ndarray) -> np.ndarray:
        return x.mean(axis=axes, keepdims=True)

    def inverse(x: np.ndarray) -> np.ndarray:
        variance = np.var(x.reshape(rows), axis=1).reshape(shape)
        return 1 / np.sqrt(variance + x.dtype.type(epsilon))

    return tuple(whole(plan, function, x, shape=shape, dtype=x.dtype) for function in (mean, inverse))
