"""The specification of integer convolutions: exact integers, then float32 at each step.

The tests, ``fastpw verify`` and the benchmarks compare with this. Arguments mean what they mean in
`qconv1x1`, and are valid; scales and the parameters of activations are rounded to float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _activations, reference
from ._activations import Spec
from ._typing import ArrayLike

# Their integers are clamped, and no float32 but the requantized accumulator is rounded.
CLAMPS = ("linear", "relu", "relu6", "clip")


def qconv1x1(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    weight_scale: ArrayLike,
    x_scale: float | None = None,
    x_zero_point: int = 0,
    y_scale: float | None = None,
    y_zero_point: int = 0,
    out_dtype: DTypeLike = None,
    activation: Spec = None,
    **geometry: Any,
) -> NDArray[Any]:
    """The result in its dtype. The geometry is stride, padding, groups and weight_layout."""
    x, weight_scale = np.asarray(x), np.asarray(weight_scale, np.float32)
    with np.errstate(all="ignore"):
        if x_scale is None:
            return _dynamic(x, weight, bias, weight_scale, activation, geometry)
        dtype = np.dtype(out_dtype or (x.dtype if y_scale is not None else np.float32))
        scale = np.float32(x_scale) * weight_scale
        if dtype == np.float32:
            z = accumulators(x, weight, x_zero_point=x_zero_point, **geometry).astype(np.float32) * scale
            return _activated(z if bias is None else z + np.asarray(bias, np.float32), activation)
        acc = accumulators(x, weight, bias, x_zero_point=x_zero_point, **geometry)
        if dtype == np.int32:
            return acc.astype(np.int32)
        return _requantized(acc, scale, np.float32(y_scale), y_zero_point, dtype, activation)


def accumulators(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    x_zero_point: ArrayLike = 0,
    **geometry: Any,
) -> NDArray[np.int64]:
    """Σ (x - zero point) w + bias. Float64 holds these integers exactly: all below 2**53."""
    centred = np.subtract(x, x_zero_point, dtype=np.int64)
    return reference.preactivation(centred, weight, bias, **geometry).astype(np.int64)


def _activated(z, activation):
    """act(z) of float32 values, computed in float64 and rounded once."""
    row, parameters = _activations.find(activation)
    rounded = (row.name, *map(float, map(np.float32, parameters))) if parameters else activation
    return reference.activate(z, rounded).astype(np.float32)


def _requantized(acc, scale, y_scale, y_zero_point, dtype, activation):
    """round_half_even(acc * scale / y_scale) + zero point, clamped; or that of act(acc * scale) / y_scale."""
    if _activations.find(activation)[0].name in CLAMPS:
        steps = acc.astype(np.float32) * (scale / y_scale)
    else:
        steps = _activated(acc.astype(np.float32) * scale, activation) / y_scale
    lo, hi = clamp(activation, y_scale, y_zero_point, dtype)
    return (np.rint(np.clip(steps, lo - y_zero_point, hi - y_zero_point)) + y_zero_point).astype(dtype)


def clamp(activation: Spec, y_scale: float, y_zero_point: int, dtype: DTypeLike) -> tuple[int, int]:
    """The least and the largest integer: the type's, or what stands for the activation's bounds.

    That is round_half_even(bound / y_scale + zero point). Where a half occurs it is not
    round_half_even(bound / y_scale) + zero point.
    """
    row, parameters = _activations.find(activation)
    ends = {"relu": (0, np.inf), "relu6": (0, 6), "clip": parameters}.get(row.name, (-np.inf, np.inf))
    steps = np.asarray(ends, np.float32) / np.float32(y_scale) + np.float32(y_zero_point)
    lo, hi = np.clip(np.rint(steps), np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(lo), int(hi)


def _dynamic(x, weight, bias, weight_scale, activation, geometry):
    """act(fma(acc * row scale, weight_scale, bias)); a padded pixel has acc = 0."""
    q, row_scale, zero_point = quantized_rows(x)
    acc = accumulators(q, weight, x_zero_point=zero_point, **geometry)
    stride, padding = geometry.get("stride", 1), geometry.get("padding", 0)
    row_scale = reference.pad_and_stride(row_scale, stride, padding)
    z = fma(acc.astype(np.float32) * row_scale, weight_scale, np.float32(0) if bias is None else bias)
    return _activated(z, activation)


def quantized_rows(x: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
    """Each row (..., C) of float32 in int8, with its scale and zero point (..., 1), by XNNPACK's rule.

    A row of zeros, or of numbers so small that 255 / (hi - lo) overflows, has the scale 1. A row that holds
    NaN or infinity, or whose hi - lo overflows, has the scale NaN, which makes NaN of its results.
    """
    f = np.float32
    x = np.asarray(x, f)
    with np.errstate(all="ignore"):
        lo, hi = x.min(-1, keepdims=True, initial=0), x.max(-1, keepdims=True, initial=0)
        finite = np.isfinite(hi - lo)
        x, lo, hi = (np.where(finite, array, f(0)) for array in (x, lo, hi))
        inv = f(255) / (hi - lo)
        inv = np.where(np.isfinite(inv), inv, f(1))
        dl, dh = lo * inv, hi * inv
        from_lo = (f(-128) + dl) + (f(127) + dh) > 0
        zero_point = np.rint(np.clip(np.where(from_lo, f(-128) - dl, f(127) - dh), f(-128), f(127)))
        q = np.clip(np.rint(x * inv) + zero_point, f(-128), f(127))
        row_scale = np.where(finite, f(1) / inv, f(np.nan))
    return q.astype(np.int8), row_scale, zero_point.astype(np.int32)


def fma(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> NDArray[np.float32]:
    """a * b + c of float32 numbers, rounded once.

    The product is exact in float64, the sum is not. Rounded to odd there, it rounds to float32 as the exact
    one does (Boldo and Melquiond, "Emulation of a FMA and Correctly Rounded Sums: Proved Algorithms Using
    Rounding to Odd", 2008).
    """
    with np.errstate(all="ignore"):
        product, c = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
        total = np.asarray(product + c)
        back = total - product
        error = (product - (total - back)) + (c - back)  # what the sum lost, exactly (Knuth's TwoSum)
        even = total.view(np.int64) & 1 == 0
        neighbour = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        odd = np.where(even & (error != 0) & np.isfinite(total), neighbour, total)
        return odd.astype(np.float32)
