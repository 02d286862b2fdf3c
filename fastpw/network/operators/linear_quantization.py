"""ONNX's integers: QuantizeLinear, DequantizeLinear, and products and convolutions of quantized arrays.

Sums of products of integers are computed in float64, which holds them exactly.
"""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value, order_of
from .convolutions import convolution
from .products import matmul
from .registry import operator
from .whole import axis_of, whole

_FLOAT32, _FLOAT64, _INT32 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)


def _along(x: np.ndarray, numbers: np.ndarray | None, axis: int, block: int) -> np.ndarray:
    """Scales or zero points as they meet the elements: one, one for each along an axis, or for each block."""
    if numbers is None:
        return np.zeros((), np.int8)
    if block:
        return np.repeat(numbers, block, axis)[(slice(None),) * axis + (slice(x.shape[axis]),)]
    return numbers.reshape(()) if numbers.size == 1 else numbers.reshape(-1, *[1] * (x.ndim - 1 - axis))


def _rounded(values: np.ndarray, zero: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Integers by rounding to even, within what their dtype holds."""
    info = np.iinfo(dtype)
    return np.clip(np.rint(values) + zero, info.min, info.max).astype(dtype)


@operator("QuantizeLinear")
def quantize(plan: Plan, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """x / scale, rounded to even, plus the zero point."""
    get = node.attributes.get
    axis, block = axis_of(node, x.ndim, 1) if scale.size > 1 else 0, get("block_size", 0)
    dtype = np.dtype(get("output_dtype", "uint8")) if zero is None else zero.dtype

    def run(x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        return _rounded(x / _along(x, scale, axis, block), _along(x, zero, axis, block), dtype)

    return whole(plan, run, x, scale, zero, shape=x.shape, dtype=dtype, order=order_of(x))


@operator("DequantizeLinear")
def dequantize(plan: Plan, node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """(x - zero point) * scale"""
    get = node.attributes.get
    axis, block = axis_of(node, x.ndim, 1) if scale.size > 1 else 0, get("block_size", 0)

    def run(x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        apart = x.astype(scale.dtype) - _along(x, zero, axis, block).astype(scale.dtype)
        return apart * _along(x, scale, axis, block)

    return whole(plan, run, x, scale, zero, shape=x.shape, dtype=scale.dtype, order=order_of(x))


@operator("DynamicQuantizeLinear")
def quantize_dynamic(plan: Plan, node: Node, x: Value) -> tuple[Value, Value, Value]:
    """x as uint8, with the scale and the zero point that its extremes ask for."""

    def scale_of(x: np.ndarray) -> np.ndarray:
        return np.float32((max(x.max(initial=0), 0) - min(x.min(initial=0), 0)) / np.float32(255))

    def zero_of(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        low = min(x.min(initial=0), 0)
        return np.clip(np.rint(-low / scale), 0, 255) if scale else np.zeros(())

    def run(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        return _rounded(x / (scale or np.float32(1)), zero, np.dtype(np.uint8))

    scale = whole(plan, scale_of, x, shape=(), dtype=_FLOAT32)
    zero = whole(plan, zero_of, x, scale, shape=(), dtype=np.dtype(np.uint8))
    y = whole(plan, run, x, scale, zero, shape=x.shape, dtype=zero.dtype, order=order_of(x))
    return y, scale, zero


def _apart(plan: Plan, x: Value, zero: Value | None, axis: int) -> Value:
    """Integers less their zero point, as float64. A zero point for each row of a matrix has its axis."""

    def run(x: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        if zero is None:
            return x
        by = zero if zero.ndim == x.ndim else _along(x, zero, axis % x.ndim, 0)
        return x.astype(np.float64) - by

    return whole(plan, run, x, zero, shape=x.shape, dtype=_FLOAT64, order=order_of(x))


def _converted(plan: Plan, y: Value, dtype: np.dtype) -> Value:
    return whole(plan, lambda a: a, y, shape=y.shape, dtype=dtype, order=order_of(y))


@operator("MatMulInteger")
def matmul_integer(
    plan: Plan, node: Node, a: Value, b: Value, a_zero: Value | None = None, b_zero: Value | None = None
) -> Value:
    """The product of integers less their zero points, in int32."""
    y = matmul(plan, node, _apart(plan, a, a_zero, -2), _apart(plan, b, b_zero, -1))
    return _converted(plan, y, _INT32)


@operator("ConvInteger")
def convolution_integer(
    plan: Plan, node: Node, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None
) -> Value:
    """The convolution of integers less their zero points, in int32."""
    y = convolution(plan, node, _apart(plan, x, x_zero, 0), _apart(plan, w, w_zero, 0))
    return _converted(plan, y, _INT32)


def _requantized(plan: Plan, y: Value, scales: tuple[Value, Value, Value], zero: Value, axis: int) -> Value:
    """Sums of products as integers of another scale: those of a, b and the result."""

    def run(y: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, zero: np.ndarray) -> np.ndarray:
        by = _along(y, b, axis, 0) if b.ndim < 2 else b
        return _rounded(y * (a * by / c), zero, zero.dtype)

    return whole(plan, run, y, *scales, zero, shape=y.shape, dtype=zero.dtype, order=order_of(y))


@operator("QLinearMatMul")
def qlinear_matmul(
    plan: Plan, node: Node, a: Value, a_scale: Value, a_zero: Value, b: Value, *others: Value
) -> Value:
    """The product of quantized matrices, quantized."""
    b_scale, b_zero, y_scale, y_zero = others
    y = matmul(plan, node, _apart(plan, a, a_zero, -2), _apart(plan, b, b_zero, -1))
    return _requantized(plan, y, (a_scale, b_scale, y_scale), y_zero, y.ndim - 1)


@operator("QLinearConv")
def qlinear_convolution(
    plan: Plan, node: Node, x: Value, x_scale: Value, x_zero: Value, w: Value, *others: Value
) -> Value:
    """The convolution of quantized arrays, quantized; its bias has the scale of the sums."""
    w_scale, w_zero, y_scale, y_zero, bias = [*others, None][:5]
    added = None if bias is None else _converted(plan, bias, _FLOAT64)
    y = convolution(plan, node, _apart(plan, x, x_zero, 0), _apart(plan, w, w_zero, 0), added)
    return _requantized(plan, y, (x_scale, w_scale, y_scale), y_zero, 1)
