"""The convolution of integers as an operation: weights, scales and options checked, programs described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import _checks
from ._convolution import Convolution, Options
from .core.quantized import PackedIntegers, Quantized
from .runtime import threads

# Activations that are bounds of the integers, by their codes: (low, high) of (alpha, beta).
BOUNDS = {
    0: lambda alpha, beta: (-np.inf, np.inf),
    1: lambda alpha, beta: (0, np.inf),
    2: lambda alpha, beta: (alpha, beta),
}
LINEAR = 0


class Numbers(NamedTuple):
    """What the integers stand for, as `numbers` checked it."""

    x_scale: np.float32 | None  # None: each row has one of its own
    x_zero_point: int
    weight_scale: np.ndarray  # a number or (K,)
    y_scale: np.float32 | None
    y_zero_point: int
    out_dtype: np.dtype | None


def numbers(x_scale, x_zero_point, weight_scale, y_scale, y_zero_point, out_dtype) -> Numbers:
    """The scales, zero points and result's dtype, checked as far as they go without the arrays."""
    checked = Numbers(
        None if x_scale is None else _checks.scale("x_scale", x_scale),
        _checks.integer_zero_point("x_zero_point", x_zero_point),
        _checks.scales("weight_scale", weight_scale),
        None if y_scale is None else _checks.scale("y_scale", y_scale),
        _checks.integer_zero_point("y_zero_point", y_zero_point),
        _checks.result_dtype(out_dtype),
    )
    _checks.goes_together(
        checked.x_scale, checked.x_zero_point, checked.y_scale, checked.y_zero_point, checked.out_dtype
    )
    if checked.out_dtype in _checks.QUANTIZED:
        _checks.zero_point_fits("y_zero_point", checked.y_zero_point, checked.out_dtype)
    return checked


class QuantizedConvolution(Convolution):
    """The weights, as (K, C // groups), the scales and the options of a convolution of integers."""

    __slots__ = ("in_floats", "numbers", "scales")

    adds_residual = False

    def __init__(self, weight: np.ndarray, bias, numbers: Numbers, options: Options) -> None:
        self.options, self.numbers, self.given = options, numbers, weight
        self.weight = matrix = _checks.integer_weight(weight, options.weight_layout)
        self.dtype = matrix.dtype
        self.filters, depth = matrix.shape
        self.in_floats = numbers.y_scale is None and numbers.out_dtype != _checks.INT32
        of_bias = _checks.FLOAT32 if self.in_floats else _checks.INT32
        self.bias = None if bias is None else _checks.typed_bias(bias, self.filters, of_bias)
        _checks.divides(options.groups, self.filters)
        self.channels, self.passes = depth * options.groups, 1
        self.plain = options.stride == _checks.ONCE and options.padding == _checks.NOTHING
        self.scales = self._scales()
        self._check_sums()

    def _scales(self) -> np.ndarray:
        """What the sums of each output channel are multiplied by, as float32 rounds it at each step."""
        n, filters = self.numbers, self.filters
        scales = _checks.per_filter_scales(n.weight_scale, filters)
        with np.errstate(over="ignore", under="ignore"):
            if n.x_scale is not None:
                scales = _checks.held_scales("x_scale, weight_scale", n.x_scale * scales)
            if n.y_scale is not None and self.options.activation[0] in BOUNDS:
                scales = _checks.held_scales("x_scale, weight_scale, y_scale", scales / n.y_scale)
        return scales

    def _check_sums(self) -> None:
        """Whether int32 holds them, at least for one of the types that x may have."""
        if self.numbers.x_scale is None:
            _checks.sums_fit(self.weight, None, 0, _checks.UINT8)
            return
        zero_point = self.numbers.x_zero_point
        fitting = [of for of in _checks.QUANTIZED if np.iinfo(of).min <= zero_point <= np.iinfo(of).max]
        for number, dtype in enumerate(fitting):
            try:
                return self._check_type(dtype)
            except ValueError:
                if number == len(fitting) - 1:
                    raise

    def _check_type(self, dtype: np.dtype) -> None:
        _checks.zero_point_fits("x_zero_point", self.numbers.x_zero_point, dtype)
        in_sums = None if self.in_floats else self.bias
        _checks.sums_fit(self.weight, in_sums, self.numbers.x_zero_point, dtype)

    @property
    def result_follows(self) -> str:
        return "as out_dtype says" if self.numbers.out_dtype is not None else "by x's dtype and y_scale"

    def pack(self) -> PackedIntegers:
        zeros = np.zeros(self.filters, np.int32)
        bias = zeros if self.bias is None else np.ascontiguousarray(self.bias)
        column_sums = self.weight.sum(axis=1, dtype=np.int32)
        in_sums, in_floats = (zeros, bias) if self.in_floats else (bias, zeros)
        return PackedIntegers(
            self.weight,
            self.options.groups,
            in_sums,
            column_sums,
            np.ascontiguousarray(self.scales),
            in_floats.astype(np.float32),
            None if self.numbers.x_scale is None else self.numbers.x_zero_point,
        )

    def checked_input(self, x: Any) -> np.ndarray:
        x = _checks.input_of(x, self.numbers.x_scale is None)
        if self.numbers.x_scale is not None:
            self._check_type(x.dtype)
            if self.numbers.y_scale is not None:
                _checks.zero_point_fits("y_zero_point", self.numbers.y_zero_point, self.result_dtype(x))
        return x

    def result_dtype(self, x: np.ndarray) -> np.dtype:
        if self.numbers.out_dtype is not None:
            return self.numbers.out_dtype
        return _checks.FLOAT32 if self.numbers.y_scale is None else np.dtype(x.dtype.type)

    def stage(self, shape: tuple[int, ...]) -> None:
        return None

    def describe(self, packed: PackedIntegers, *arrays: np.ndarray | None) -> Quantized:
        x, y = arrays[:2]
        parts = self._products(x, y) if y.size else ()
        return Quantized((x, y, None, None), parts, packed, self._epilogue(y.dtype), threads)

    def _products(self, x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        for inputs, outputs in self.boxes(x, y):
            yield None if inputs is None else x[inputs], y[outputs]

    def _epilogue(self, dtype: np.dtype) -> tuple:
        """What becomes of the sums: if the activation is computed, it, low, high, y_scale, zero point."""
        activation, n = self.options.activation, self.numbers
        computed = activation[0] not in BOUNDS
        if dtype not in _checks.QUANTIZED:
            code, *parameters = activation
            low, high = BOUNDS.get(code, BOUNDS[LINEAR])(*parameters)
            return computed, activation, float(low), float(high), 1.0, 0
        low, high = clamp(activation, n.y_scale, n.y_zero_point, dtype)
        ends = float(low - n.y_zero_point), float(high - n.y_zero_point)
        return computed, activation, *ends, float(n.y_scale), n.y_zero_point


def clamp(
    activation: _checks.Epilogue, scale: np.float32, zero_point: int, dtype: np.dtype
) -> tuple[int, int]:
    """The least and the largest integer of a result: those of its type, or where the activation's bounds lie.

    XNNPACK rounds a bound together with the zero point, which matters where a half occurs.
    """
    code, *parameters = activation
    ends = BOUNDS.get(code, BOUNDS[LINEAR])(*parameters)
    info = np.iinfo(dtype)
    with np.errstate(over="ignore", under="ignore"):
        steps = np.asarray(ends, np.float32) / scale + np.float32(zero_point)
    low, high = np.clip(np.rint(steps), info.min, info.max)
    return int(low), int(high)
