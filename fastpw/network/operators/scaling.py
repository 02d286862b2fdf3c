"""Scales, offsets and activations of images and rows, and sums of two of them, by layers of one weight per
channel.

A 1x1 convolution with as many groups as channels multiplies each channel by its weight. It adds a bias and a
residual, applies an activation and uses all threads, so it serves for whatever has no layer of its own.
"""

from __future__ import annotations

import math

import numpy as np

from ..._typing import Activation
from ...depthwise import depthwise_conv2d
from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Tensor, Value, adjacent, axis_last, dense, order_of
from .images import bound, is_float
from .registry import operator

# Channels of a layer that is used on rows made of a whole array: the more, the fewer rows.
_WIDTHS = (256, 128, 64, 32, 16, 8, 4, 2, 1)
# Fewer channels than these, and rows are made of the whole array.
_FEW = 16


def activation_of(node: Node) -> Activation:
    """The activation that `simplify` has joined to a node."""
    given = node.attributes.get("activation")
    return tuple(given) if isinstance(given, (list, tuple)) else given


@operator("Activation")
def activation(plan: Plan, node: Node, x: Value) -> Value:
    """One of fastpw's activations."""
    return activate(plan, x, activation_of(node))


@operator("Affine")
def affine(
    plan: Plan,
    node: Node,
    x: Value,
    scale: np.ndarray | None,
    offset: np.ndarray | None,
    residual: Value | None = None,
) -> Value:
    """activation(x * scale + offset + residual); scale and offset: one number, or one each along `axis`."""
    axis = node.attributes.get("axis", -1) % max(x.ndim, 1)
    size = max((a.size for a in (scale, offset) if a is not None), default=1)
    fits = is_float(x) and x.ndim > 0 and size in (1, x.shape[axis])
    if not fits or (residual is not None and residual.shape != x.shape):
        y = _broadcast(plan, x, axis, scale, offset)
        return finish(plan, y, residual, activation_of(node))
    if size == 1 and residual is None:
        number = 1.0 if scale is None else float(scale.reshape(()))
        added = 0.0 if offset is None else float(offset.reshape(()))
        return everywhere(plan, x, number, added, activation_of(node))
    if size == 1:  # all axes will do
        axis = order_of(x)[-1]
    channels = x.shape[axis]
    weight = np.ones(channels) if scale is None else np.broadcast_to(scale.reshape(-1), channels)
    bias = None if offset is None else np.broadcast_to(offset.reshape(-1), channels).astype(x.dtype)
    layer = plan.layer(
        (node.outputs[0], channels, x.dtype.str, "affine"),
        lambda: _scale_layer(weight.astype(x.dtype), bias, activation_of(node)),
    )
    return _by_channels(plan, layer, x, axis, residual)


def activate(plan: Plan, x: Value, activation: Activation) -> Value:
    """The activation of each element."""
    return x if activation is None else everywhere(plan, x, 1.0, 0.0, activation)


def finish(plan: Plan, y: Value, residual: Value | None, activation: Activation) -> Value:
    """activation(y + residual), for a y that is already computed."""
    if residual is None:
        return activate(plan, y, activation)
    return add(plan, y, residual, activation)


def add(plan: Plan, a: Value, b: Value, activation: Activation = None) -> Value:
    """activation(a + b)"""
    if not (is_float(a) and a.shape == b.shape and a.dtype == b.dtype and a.ndim):
        return activate(plan, _sum(plan, a, b), activation)
    if not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        return activate(plan, _sum(plan, a, b), activation)
    axis = order_of(a)[-1]
    channels = a.shape[axis]
    if adjacent(a, axis) and adjacent(b, axis) and channels >= _FEW:
        return _by_channels(plan, _ones(plan, channels, a.dtype, 0.0, activation), a, axis, b)
    return activate(plan, _sum(plan, a, b), activation)


def gate(plan: Plan, x: Value, gates: Value) -> Value | None:
    """x (N, C, H, W) times one number for each image and channel, (N, C, 1, 1): squeeze and excitation.

    None where that is not what they are.
    """
    if x.ndim != 4 or gates.shape != (*x.shape[:2], 1, 1) or not is_float(x) or x.dtype != gates.dtype:
        return None
    if not isinstance(x, Tensor) or x.size == gates.size or not adjacent(gates, 1):
        return None
    x = plan.adjacent(x, 1)

    def bind(x: np.ndarray, gates: np.ndarray, y: np.ndarray) -> Bound:
        images = [
            (image.transpose(1, 2, 0), gate.reshape(1, 1, -1), out.transpose(1, 2, 0))
            for image, gate, out in zip(x, gates, y, strict=True)
        ]

        def run() -> None:
            for image, weight, out in images:
                depthwise_conv2d(image, weight, out=out)

        return run

    return plan.step(bind, x, gates, shape=x.shape, dtype=x.dtype, order=CHANNELS_LAST)


def everywhere(plan: Plan, x: Value, scale: float, offset: float, activation: Activation) -> Value:
    """The same of every element, whatever its axes mean."""
    if not is_float(x):
        raise TypeError(f"float32 or float64 is needed, got {x.dtype}")
    if x.ndim == 0:
        flat = plan.view(x, lambda a: a.reshape(1))
        return plan.view(everywhere(plan, flat, scale, offset, activation), lambda a: a.reshape(()))
    order = order_of(x)
    axis = order[-1]
    if adjacent(x, axis) and x.shape[axis] >= _FEW:
        layer = _ones(plan, x.shape[axis], x.dtype, offset, activation, scale)
        return _by_channels(plan, layer, x, axis, None)
    if not dense(x):
        x = plan.copy(x, order)
    width = next(width for width in _WIDTHS if x.size % width == 0)
    layer = _ones(plan, width, x.dtype, offset, activation, scale)

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        rows, out = x.transpose(order).reshape(-1, width), y.transpose(order).reshape(-1, width)
        return bound(layer, rows, None, out)

    y = plan.step(bind, x, shape=x.shape, dtype=x.dtype, order=order)
    for value in (x, y):
        if isinstance(value, Tensor):
            value.pinned = True
    return y


def _by_channels(plan: Plan, layer: Conv1x1, x: Value, axis: int, residual: Value | None) -> Value:
    """A layer of one weight for each element along an axis."""
    x = plan.adjacent(x, axis)
    if residual is not None:
        residual = plan.adjacent(residual, axis)
    order = order_of(x)
    if order[-1] != axis:  # of one element, which may lie anywhere
        order = (*(a for a in order if a != axis), axis)

    def bind(x: np.ndarray, residual: np.ndarray | None, y: np.ndarray) -> Bound:
        added = None if residual is None else axis_last(residual, axis)
        return bound(layer, axis_last(x, axis), added, axis_last(y, axis))

    return plan.step(bind, x, residual, shape=x.shape, dtype=x.dtype, order=order)


def _ones(
    plan: Plan, channels: int, dtype: np.dtype, offset: float, activation: Activation, scale: float = 1.0
) -> Conv1x1:
    """The layer that scales all channels alike; the network has one of each."""
    key = "ones", channels, dtype.str, scale, offset, activation
    bias = None if offset == 0 else np.full(channels, offset, dtype)
    return plan.layer(key, lambda: _scale_layer(np.full(channels, scale, dtype), bias, activation))


def _scale_layer(weight: np.ndarray, bias: np.ndarray | None, activation: Activation) -> Conv1x1:
    return Conv1x1(weight[:, np.newaxis], bias, groups=len(weight), activation=activation)


def _sum(plan: Plan, a: Value, b: Value) -> Value:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return plan.compute(np.add, a, b, shape=shape, dtype=a.dtype, order=main_order(shape, a, b))


def _broadcast(plan: Plan, x: Value, axis: int, scale: np.ndarray | None, offset: np.ndarray | None) -> Value:
    """x * scale + offset where they broadcast x, or x has other numbers than floats."""
    behind = [1] * (max(x.ndim, 1) - 1 - axis)
    for ufunc, by in ((np.multiply, scale), (np.add, offset)):
        if by is not None:
            # (one number leaves an array without axes as it is)
            factor = by.reshape((-1, *behind) if by.size > 1 else ()).astype(x.dtype)
            shape = np.broadcast_shapes(x.shape, factor.shape)
            x = plan.compute(ufunc, x, factor, shape=shape, dtype=x.dtype, order=main_order(shape, x))
    return x


def main_order(shape: tuple[int, ...], *values: Value) -> tuple[int, ...]:
    """The order in memory of the largest of some values that make one of a shape."""
    most = max(values, key=lambda value: value.size)
    if most.ndim == len(shape) and most.size == math.prod(shape):
        return order_of(most)
    return CHANNELS_LAST if len(shape) == 4 else tuple(range(len(shape)))
