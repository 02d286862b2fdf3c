"""Rules on quantized numbers: their types, scales and zero points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import as_ndarray
from .options import MAX_FLOAT32, integer, shown

INT8, UINT8, INT32 = np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int32)
QUANTIZED = INT8, UINT8


def integers(name: str, value, dtypes: Sequence[np.dtype] = QUANTIZED) -> np.ndarray:
    """The argument as a plain ndarray of one of these dtypes, without a copy where it is one."""
    given = value if type(value) is np.ndarray else as_ndarray(name, value)
    if given.dtype not in dtypes:
        raise TypeError(f"{name}: {' or '.join(map(str, dtypes))} is needed, got {given.dtype}")
    return given


def quantized_dtype(name: str, value) -> np.dtype:
    try:
        wanted = np.dtype(value) if value is not None else None
    except Exception:
        wanted = None
    if wanted not in QUANTIZED:
        raise TypeError(f"{name}: int8 or uint8 is needed, got {shown(value)}")
    return wanted


def scale(name: str, value) -> np.float32:
    """A number that is finite and above zero in float32."""
    try:
        with np.errstate(over="ignore", under="ignore"):
            rounded = None if isinstance(value, (str, bytes)) or np.ndim(value) else np.float32(float(value))
    except OverflowError:
        rounded = np.float32(np.inf)
    except Exception:
        rounded = None
    if rounded is None:
        raise TypeError(f"{name}: a number is needed, got {shown(value)[:200]}")
    if not 0 < rounded < np.inf:
        raise ValueError(f"{name}: a number that float32 holds, above 0, is needed, got {shown(value)}")
    return rounded


def scales(name: str, value) -> np.ndarray:
    """The same of a number or of an array, as float32."""
    if np.ndim(value) == 0:
        return np.asarray(scale(name, value))
    given = as_ndarray(name, value)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name}: a number or an array of numbers is needed, got {given.dtype}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = given.astype(np.float32)
    wrong = given[~((rounded > 0) & (rounded < np.inf))]
    if wrong.size:
        raise ValueError(f"{name}: numbers that float32 holds, above 0, are needed, got {wrong[0]}")
    return rounded


def zero_point(name: str, value, dtype: np.dtype) -> int:
    info = np.iinfo(dtype)
    return integer(name, value, int(info.min), int(info.max))


def range_of(name: str, value) -> tuple[float, float]:
    """(lo, hi), finite."""
    try:
        lo, hi = (float(end) for end in value if not isinstance(end, (str, bytes)))
    except OverflowError:
        lo, hi = -np.inf, np.inf
    except Exception as error:
        raise TypeError(f"{name}: (lo, hi) is needed, got {shown(value)[:200]}") from error
    if not -MAX_FLOAT32 <= lo <= hi <= MAX_FLOAT32 or max(hi, 0) - min(lo, 0) > MAX_FLOAT32:
        raise ValueError(
            f"{name}: lo <= hi that float32 holds, and their distance, are needed, got {shown(value)}"
        )
    return lo, hi


def no_nan(name: str, rounded: np.ndarray) -> None:
    if np.isnan(rounded).any():
        raise ValueError(f"{name}: numbers are needed, got NaN, which no integer stands for")


def finite(name: str, value: np.ndarray) -> None:
    wrong = value[~np.isfinite(value)]
    if wrong.size:
        raise ValueError(f"{name}: finite numbers are needed, got {wrong[0]}")


def in_float32(name: str, value: np.ndarray) -> np.ndarray:
    """The numbers rounded to float32, of which none becomes infinite."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = value.astype(np.float32)
    wrong = value[np.isinf(rounded) & np.isfinite(value)]
    if wrong.size:
        raise ValueError(f"{name}: numbers that float32 holds are needed, got {wrong[0]}")
    return rounded


def scale_fits(name: str, scales: np.ndarray) -> None:
    """Whether float32 holds the scale of each row of weights."""
    if scales.max(initial=0) > MAX_FLOAT32:
        raise ValueError(f"{name}: numbers whose scale float32 holds are needed, got one of {scales.max()}")


def broadcasts(name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
    """Whether a scale for each of some parts of an array fits that array."""
    try:
        fits = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: a shape that broadcasts to x's {shape} is needed, got {value.shape}")
