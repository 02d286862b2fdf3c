"""Rules on the convolution of integers: its arrays, and which of its arguments go together."""

from __future__ import annotations

import numpy as np

from .arrays import as_ndarray, channels_adjacent, weight_matrix
from .options import integer, shown
from .scales import INT8, INT32, QUANTIZED, UINT8, integers

FLOAT32 = np.dtype(np.float32)
RESULTS = INT8, UINT8, INT32, FLOAT32
BIASES = INT32, FLOAT32


def _typed(name: str, value, dtypes: tuple[np.dtype, ...], why: str) -> np.ndarray:
    given = value if type(value) is np.ndarray else as_ndarray(name, value)
    if given.dtype not in dtypes:
        raise TypeError(f"{name}: {' or '.join(map(str, dtypes))} is needed {why}, got {given.dtype}")
    return given


def input_of(value, dynamic: bool) -> np.ndarray:
    """x with adjacent channels."""
    if dynamic:
        given = _typed("x", value, (FLOAT32,), "without x_scale")
    else:
        given = _typed("x", value, QUANTIZED, "with x_scale")
    if given.ndim == 0:
        raise ValueError("x: an array (..., channels) is needed, got a scalar")
    return given if channels_adjacent(given) else np.ascontiguousarray(given)


def integer_weight(value, layout: str) -> np.ndarray:
    """The weights as a view (K, C // groups)."""
    return weight_matrix(integers("weight", value, (INT8,)), layout)


def typed_bias(value, filters: int, dtype: np.dtype) -> np.ndarray:
    """An array (K,) of what is added to sums, or to numbers in float32."""
    why = "for results in float32" if dtype == FLOAT32 else "for results in integers"
    given = _typed("bias", value, (dtype,), why)
    if given.shape != (filters,):
        raise ValueError(f"bias: shape (K,) = ({filters},) is needed, got {given.shape}")
    return given


def per_filter_scales(scales: np.ndarray, filters: int) -> np.ndarray:
    """(K,) of them, from one or as many."""
    if scales.ndim and scales.shape != (filters,):
        raise ValueError(f"weight_scale: a number or shape (K,) = ({filters},) is needed, got {scales.shape}")
    return np.full(filters, scales, np.float32) if scales.ndim == 0 else scales


def held_scales(name: str, scales: np.ndarray) -> np.ndarray:
    """Products and quotients of scales, which float32 has to hold."""
    if not np.isfinite(scales).all():
        raise ValueError(f"{name}: scales are needed whose products float32 holds, got {scales.max()}")
    return scales


def result_dtype(value) -> np.dtype | None:
    """What `out_dtype` means; None where x's dtype or the scales decide."""
    if value is None:
        return None
    try:
        wanted = np.dtype(value)
    except Exception:
        wanted = np.dtype(object)
    if wanted not in RESULTS:
        allowed = ", ".join(map(str, RESULTS))
        raise TypeError(f"out_dtype: None or one of {allowed} is needed, got {shown(value)[:200]}")
    return wanted


def integer_zero_point(name: str, value) -> int:
    """One that int8 or uint8 has; which of them shows in the arrays."""
    return integer(name, value, -128, 255)


def zero_point_fits(name: str, value: int, dtype: np.dtype) -> None:
    info = np.iinfo(dtype)
    if not info.min <= value <= info.max:
        raise ValueError(f"{name}: {info.min} to {info.max} is needed for {dtype}, got {value}")


def goes_together(x_scale, x_zero_point: int, y_scale, y_zero_point: int, out: np.dtype | None) -> None:
    """Which scales there are, by what goes in and out."""
    if x_scale is None and x_zero_point:
        raise ValueError(
            f"x_zero_point: 0 is needed without x_scale, as rows have their own, got {x_zero_point}"
        )
    if x_scale is None and (y_scale is not None or out not in (None, FLOAT32)):
        raise ValueError("x_scale: a number is needed for results in integers, got None")
    if y_scale is None and out in QUANTIZED:
        raise ValueError(f"y_scale: a number is needed for results in {out}, got None")
    if y_scale is None and y_zero_point:
        raise ValueError(f"y_zero_point: 0 is needed without y_scale, got {y_zero_point}")
    if y_scale is not None and out in (INT32, FLOAT32):
        raise ValueError(f"y_scale: None is needed for results in {out}, got {y_scale}")


def no_activation(spec) -> ValueError:
    return ValueError(f"activation: None is needed for results in int32, got {shown(spec)[:200]}")


def sums_fit(weight: np.ndarray, bias: np.ndarray | None, zero_point: int, dtype: np.dtype) -> None:
    """Whether int32 holds every sum that numbers of a type can give."""
    info = np.iinfo(dtype)
    reach = max(zero_point - int(info.min), int(info.max) - zero_point)
    most = np.abs(weight, dtype=np.int64).sum(axis=1) * reach
    if bias is not None:
        most = most + np.abs(bias, dtype=np.int64)
    if most.max(initial=0) >= 2**31:
        k = int(most.argmax())
        raise ValueError(
            f"weight, bias: sums below 2**31 are needed, got up to {most[k]} in output channel {k} "
            f"for {dtype} with the zero point {zero_point}"
        )
