"""Scales, offsets and activations of images and rows, and what is made of two of them.

A 1x1 convolution with as many groups as channels multiplies each channel by its weight. It adds a bias and a
residual, and applies an activation. What is the same for all channels is a program on elements.
"""

from __future__ import annotations

import math

import numpy as np

from ..._typing import Activation
from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Tensor, Value, axis_last, order_of
from .images import bound, is_float
from .registry import operator
from .rows import FIRST_RESULT, activated, arithmetic, elements, pair, per_channel, then


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
    y = combine(plan, "Add", a, b, activation)
    return activate(plan, _sum(plan, a, b), activation) if y is None else y


def combine(plan: Plan, op: str, a: Value, b: Value, activation: Activation = None) -> Value | None:
    """activation(a op b) for Add, Sub, Mul and Div, by kernels; None where they cannot.

    The product of an image and one number for each image and channel, (N, C, 1, 1), which is squeeze and
    excitation, may become part of the convolution after it.
    """
    found = pair(op, a, b) if is_float(a) and a.dtype == b.dtype else None
    if found is None or not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        return None
    program, inputs = found
    shape = np.broadcast_shapes(a.shape, b.shape)
    y = elements(plan, then(program, activation), inputs, shape, main_order(shape, *inputs))
    for x, gates in ((a, b), (b, a)):
        if op == "Mul" and activation is None and isinstance(y, Tensor) and per_channel(x, gates):
            plan.gated[y] = x, gates
    return y


def everywhere(plan: Plan, x: Value, scale: float, offset: float, activation: Activation) -> Value:
    """The same of every element, whatever its axes mean."""
    if not is_float(x) and (scale, offset) == (1.0, 0.0):
        return _kept_between(plan, x, activation)
    if not is_float(x):
        raise TypeError(f"float32 or float64 is needed, got {x.dtype}")
    if x.ndim == 0:
        flat = plan.view(x, lambda a: a.reshape(1))
        return plan.view(everywhere(plan, flat, scale, offset, activation), lambda a: a.reshape(()))
    program = ()
    for op, number in (("Mul", scale), ("Add", offset)):
        if number != (1.0 if op == "Mul" else 0.0):
            program += (arithmetic(op, FIRST_RESULT if program else 0, -1, number),)
    program = then(program, activation) if program else (activated(0, activation),)
    return elements(plan, program, [x], x.shape, order_of(x))


def _kept_between(plan: Plan, x: Value, activation: Activation) -> Value:
    """The activations of integers: those that keep them between two numbers."""
    name, *parameters = [activation] if isinstance(activation, str) else activation
    bounds = {"relu": (0, np.inf), "relu6": (0, 6), "clip": parameters}.get(name)
    if x.dtype.kind not in "iu" or bounds is None:
        raise TypeError(f"float32 or float64 is needed, got {x.dtype}")
    info = np.iinfo(x.dtype)
    low, high = (int(min(max(bound, info.min), info.max)) for bound in bounds)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.clip(x, low, high, out=out)

    return plan.compute(run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))


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
