"""Normalizations that look at the numbers at hand: LayerNormalization, LRN, InstanceNormalization."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Value, axis_last, order_of
from .group_norms import moments
from .registry import operator
from .rows import normal_rows
from .whole import axis_of

# Elements that a normalization takes through all its passes at a time: they stay in the second-level cache.
BLOCK = 1 << 15


@operator("LayerNormalization")
def layer_norm(
    plan: Plan, node: Node, x: Value, scale: Value | None = None, offset: Value | None = None
) -> Value | tuple[Value, ...]:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, over the axes from `axis` on.

    Ba, Kiros and Hinton 2016, Layer Normalization, arXiv:1607.06450, section 3.
    """
    axis = axis_of(node, x.ndim, -1)
    if any(node.outputs[1:]):
        plain = Node(node.op, node.inputs, node.outputs[:1], node.attributes, node.name)
        more = moments(plan, x, axis, node.attributes.get("epsilon", 1e-5))
        return layer_norm(plan, plain, x, scale, offset), *more
    if axis == x.ndim - 1:
        y = normal_rows(plan, x, scale, offset, node.attributes.get("epsilon", 1e-5))
        if y is not None:
            return y
    epsilon = x.dtype.type(node.attributes.get("epsilon", 1e-5))
    length = math.prod(x.shape[axis:])
    order = order_of(x) if axis == x.ndim - 1 else tuple(range(x.ndim))
    if axis < x.ndim - 1:
        x = plan.copy(x, order)
    elif order[-1] != axis:
        x, order = plan.adjacent(x, axis), tuple(range(x.ndim))

    def bind(x: np.ndarray, scale: np.ndarray | None, offset: np.ndarray | None, y: np.ndarray) -> Bound:
        blocks = [*_blocks(x, y, length)]
        factor, added = (
            None if a is None else np.broadcast_to(a, x.shape[axis:]).reshape(-1).astype(x.dtype, copy=False)
            for a in (scale, offset)
        )

        def run() -> None:
            for rows, out in blocks:
                np.subtract(rows, rows.mean(axis=-1, keepdims=True), out=out)
                variance = np.einsum("...c,...c->...", out, out)[..., np.newaxis]
                variance /= length
                variance += epsilon
                np.sqrt(variance, out=variance)
                np.divide(out, variance, out=out)
                if factor is not None:
                    np.multiply(out, factor, out=out)
                if added is not None:
                    np.add(out, added, out=out)

        return run

    return plan.step(bind, x, scale, offset, shape=x.shape, dtype=x.dtype, order=order)


def _blocks(x: np.ndarray, y: np.ndarray, length: int):
    """Rows of both arrays, some at a time: (rows, length), or views of more axes where they do not lie so."""
    if x.flags.c_contiguous and y.flags.c_contiguous:
        x, y = x.reshape(-1, length), y.reshape(-1, length)
    elif x.shape[-1] != length:
        yield x.reshape(-1, length), y.reshape(-1, length)
        return
    step = max(BLOCK // max(math.prod(x.shape[1:]), 1), 1)
    for start in range(0, len(x), step):
        yield x[start : start + step], y[start : start + step]


@operator("LRN")
def local_response(plan: Plan, node: Node, x: Value) -> Value:
    """x / (bias + alpha / size * the squares of the channels around it) ** beta.

    Krizhevsky, Sutskever and Hinton 2012, ImageNet classification, section 3.3; alpha as ONNX has it.
    """
    size = node.attributes["size"]
    get = node.attributes.get
    alpha, beta, bias = get("alpha", 1e-4) / size, get("beta", 0.75), get("bias", 1.0)
    channels, before = x.shape[1], (size - 1) // 2
    shifts = [s for s in range(-before, size - before) if s and abs(s) < channels]

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        pixels, out = axis_last(x, 1), axis_last(y, 1)
        rows = [(pixels[i], out[i]) for i in np.ndindex(pixels.shape[:2])]  # of one line of an image each

        def run() -> None:
            for row, result in rows:
                square = np.square(row)
                square *= alpha
                sums = square + row.dtype.type(bias)
                for shift in shifts:
                    target = slice(max(-shift, 0), channels - max(shift, 0))
                    source = slice(max(shift, 0), channels - max(-shift, 0))
                    sums[..., target] += square[..., source]
                np.divide(row, _power(sums, beta), out=result)

        return run

    order = CHANNELS_LAST if x.ndim == 4 else order_of(x)
    return plan.step(bind, x, shape=x.shape, dtype=x.dtype, order=order)


def _power(x: np.ndarray, exponent: float) -> np.ndarray:
    """x ** exponent; by square roots, a fifth of the time, where they make it: 0.75 in all known networks."""
    if exponent == 0.75:
        root = np.sqrt(x)
        return np.multiply(root, np.sqrt(root, out=x), out=x)
    return np.power(x, exponent, out=x)


@operator("InstanceNormalization")
def instance_norm(plan: Plan, node: Node, x: Value, scale: Value, offset: Value) -> Value:
    """Each channel of each image with mean 0 and deviation 1, then scaled and moved."""
    axes = tuple(range(2, x.ndim))
    epsilon = node.attributes.get("epsilon", 1e-5)
    behind = (-1, *[1] * len(axes))

    def run(x: np.ndarray, scale: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
        np.subtract(x, x.mean(axis=axes, keepdims=True), out=out)
        variance = np.mean(np.square(out), axis=axes, keepdims=True)
        out *= scale.reshape(behind) / np.sqrt(variance + x.dtype.type(epsilon))
        out += offset.reshape(behind)

    return plan.compute(run, x, scale, offset, shape=x.shape, dtype=x.dtype, order=order_of(x))
