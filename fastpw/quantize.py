"""From real numbers to int8 and uint8, and back: scales, zero points, and the arrays themselves."""

from __future__ import annotations

from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._typing import ArrayLike, FloatArray, WeightLayout

MOST_WEIGHT = 127  # -128 is allowed and not made: what is symmetric has as many numbers below 0 as above

# In a bias's own steps: half of an int32's range and more is left to the products.
MOST_BIAS = 2.0**29

# Below this, a scale would have fewer digits than float32's other numbers, or none.
LEAST_SCALE = float(np.finfo(np.float32).tiny)


def quantize_weight(
    weight: ArrayLike, weight_layout: WeightLayout = "OI"
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The weights of a convolution in int8, with a scale for each output channel.

    The rule is that of TFLite's specification [1]_, symmetric: ``scale[k] = max(abs(weight[k])) / 127``,
    rounded to float32, and ``q[k] = round(weight[k] / scale[k])``, halves to the even neighbour, which lies
    within -127 and 127. An output channel of zeros has the scale 1. So has one of numbers so small that the
    scale would lie below 2**-126, where float32 loses digits: it becomes zeros.

    Parameters
    ----------
    weight : (K, C // groups) array
        Or as `weight_layout` says. float32 or float64, finite.
    weight_layout : {"OI", "IO", "OIHW", "HWIO", "OHWI"}
        As in `conv1x1`.

    Returns
    -------
    q : int8 array
        In the layout of `weight`.
    scale : (K,) array
        float32. ``weight[k]`` is about ``q[k] * scale[k]``, within ``scale[k] / 2``.

    Raises
    ------
    TypeError
        An array is not float32 or float64, or an argument is of another type than listed.
    ValueError
        A shape does not fit, or a weight is NaN, infinite or so large that float32 does not hold the scale.

    References
    ----------
    .. [1] "LiteRT 8-bit quantization specification", https://ai.google.dev/edge/litert/models/quantization_spec

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> q, scale = fastpw.quantize_weight(np.array([[0.5, -2.54], [0.0, 0.0]]))
    >>> q
    array([[  25, -127],
           [   0,    0]], dtype=int8)
    >>> scale
    array([0.02, 1.  ], dtype=float32)
    """
    layout = _checks.layout(weight_layout)
    given = _checks.array("weight", weight)
    matrix = _checks.weight(given, layout)
    _checks.finite("weight", matrix)
    scale = weight_scale(matrix)
    q = np.empty(given.shape, np.int8)
    _checks.matrix(q, layout)[...] = quantize_rows(matrix, scale)
    return q, scale


def weight_scale(matrix: FloatArray, least: ArrayLike = 0.0) -> NDArray[np.float32]:
    """The scale of each row of weights (K, C // groups), and at least so much."""
    largest = np.abs(matrix).max(axis=1, initial=0).astype(np.float64)
    wanted = np.maximum(largest / MOST_WEIGHT, least)
    _checks.scale_fits("weight", wanted)
    scale = wanted.astype(np.float32)
    return np.where(scale >= LEAST_SCALE, scale, np.float32(1))


def quantize_with_bias(
    weight: FloatArray, bias: FloatArray | None, x_scale: float, layout: str
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32] | None]:
    """A layer's weight, its scales, and its bias in steps of x_scale * scale[k], in int32.

    Where an output channel has next to no weights beside its bias, as training leaves it when it never
    responds, its scale is so large that the bias takes about 2**29 steps.
    """
    matrix = _checks.weight(weight, layout)
    _checks.finite("weight", matrix)
    of_x = float(np.float32(x_scale))
    if bias is None:
        scale, steps = weight_scale(matrix), None
    else:
        _checks.finite("bias", bias)
        scale = weight_scale(matrix, np.abs(bias, dtype=np.float64) / (of_x * MOST_BIAS))
        steps = np.rint(bias / (of_x * scale.astype(np.float64))).astype(np.int32)
    q = np.empty(weight.shape, np.int8)
    _checks.matrix(q, layout)[...] = quantize_rows(matrix, scale)
    return q, scale, steps


def quantize_rows(matrix: FloatArray, scale: NDArray[np.float32]) -> FloatArray:
    """Rows of weights in steps of the rows' scales: integers, still as floats."""
    steps = matrix / scale[:, None].astype(np.float64)
    return np.clip(np.rint(steps), -MOST_WEIGHT, MOST_WEIGHT)


def quantize(
    x: ArrayLike, scale: ArrayLike, zero_point: SupportsIndex = 0, dtype: DTypeLike = np.int8
) -> NDArray[np.int8] | NDArray[np.uint8]:
    """Real numbers in int8 or uint8: ``clip(round(x / scale) + zero_point)``, as ONNX's QuantizeLinear.

    Parameters
    ----------
    x : array
        float32 or float64. What lies beyond the type's range, infinity as well, becomes its end.
    scale : float or array
        Above 0; rounded to float32. An array broadcasts to x: ``(C,)`` has one scale for each channel,
        ``scale[:, None]`` one for each row of a weight ``(K, C)``.
    zero_point : int
        The number that stands for 0.0, which so is always exact: of the padding, and of what relu leaves.
    dtype : numpy.dtype or what makes one
        int8 or uint8.

    Returns
    -------
    array
        A new one, of x's shape.

    Raises
    ------
    TypeError
        An argument is of another type than listed.
    ValueError
        A scale that is not above 0, a zero point beyond the type's range, a shape that does not fit, or NaN.

    Notes
    -----
    The division is rounded in x's dtype, then to an integer, halves to the even neighbour. torch multiplies
    by ``1 / scale`` instead, and TFLite's own kernel rounds halves away from zero: at halves and beside them
    these differ by one step.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> fastpw.quantize(np.array([-1.0, 0.0, 0.25, 9.0]), 0.1, zero_point=3)
    array([-7,  3,  5, 93], dtype=int8)
    """
    given = _checks.array("x", x)
    of = _checks.quantized_dtype("dtype", dtype)
    zero = _checks.zero_point("zero_point", zero_point, of)
    scales = _checks.scales("scale", scale)
    _checks.broadcasts("scale", scales, given.shape)
    ends = np.iinfo(of)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        steps = given / scales.astype(given.dtype)
    _checks.no_nan("x", steps)
    return np.asarray(np.rint(np.clip(steps, ends.min - zero, ends.max - zero)) + zero, of)


def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: SupportsIndex = 0) -> NDArray[np.float32]:
    """The real numbers that integers stand for: ``(q - zero_point) * scale``.

    Parameters
    ----------
    q : array
        int8, uint8, or int32, as the accumulators of a quantized convolution are.
    scale : float or array
        As in `quantize`.
    zero_point : int
        Within q's type.

    Returns
    -------
    array
        float32, of q's shape. The difference is exact, and rounded to float32 only where q is int32.

    Raises
    ------
    TypeError, ValueError
        As in `quantize`.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> fastpw.dequantize(np.array([-7, 3, 5], np.int8), 0.5, zero_point=3)
    array([-5.,  0.,  1.], dtype=float32)
    """
    given = _checks.integers("q", q, (*_checks.QUANTIZED, _checks.INT32))
    zero = _checks.zero_point("zero_point", zero_point, given.dtype)
    scales = _checks.scales("scale", scale)
    _checks.broadcasts("scale", scales, given.shape)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.subtract(given, zero, dtype=np.int64).astype(np.float32) * scales, np.float32)


class Quantization(NamedTuple):
    """What integers stand for: ``(q - zero_point) * scale``."""

    scale: float  # a number of float32
    zero_point: int


def of_range(lo: float, hi: float, dtype: np.dtype) -> Quantization:
    """The scale and zero point of values from lo to hi, as TFLite and torch choose them.

    The range is widened to hold 0. The scale is its width over 255 steps. The zero point is rounded, so that
    0 is exact, from the end of the range at which that is more accurate. A range of nothing has the
    scale 1 and the zero point 0.
    """
    lo, hi, ends = min(lo, 0.0), max(hi, 0.0), np.iinfo(dtype)
    scale = float(np.float32((hi - lo) / (ends.max - ends.min)))
    if scale < LEAST_SCALE:
        return Quantization(1.0, 0)
    from_lo, from_hi = ends.min - lo / scale, ends.max - hi / scale
    error_of_lo, error_of_hi = abs(ends.min) + abs(lo / scale), abs(ends.max) + abs(hi / scale)
    nearest = round(from_lo if error_of_lo < error_of_hi else from_hi)
    return Quantization(scale, max(int(ends.min), min(int(ends.max), nearest)))
