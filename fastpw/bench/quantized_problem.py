"""A layer in int8: the arrays with their scales, and the check of a result against the exact one."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastpw
from fastpw import quantized_reference
from fastpw.bench.arrays import Arrays
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.core.forward import empty
from fastpw.quantize import of_range

if TYPE_CHECKING:
    from fastpw.bench.problem import Forward

IN_FLOAT32 = "fastpw float32"  # who computes the layer as it is without integers
EXACT = "fastpw"  # who has to have the reference's bits

# A result of another formula (a scale in double or in fixed point, other halves) may lie one step off.
STEPS = 1
# And so many elements of x may be rounded to another integer.
ROUNDED_ELSEWHERE = 2


class Quantized(Arrays):
    """ReLU(convolution + bias) of integers, pointwise.

    Weights are normally distributed, which is between those of trained networks and the uniform ones that a
    kernel with 16-bit sums gets wrong most often; the pixels take all integers alike.

    Parameters
    ----------
    real : Forward
        The layer in float32.

    Attributes
    ----------
    x : (N, H, W, C) array
        int8; where the setting is dynamic, float32.
    weight, weight_scale : (K, C) and (K,) array
    bias : (K,) array
        int32, in steps of x_scale * weight_scale; where the setting is dynamic, float32.
    x_scale, x_zero_point, y_scale, y_zero_point
        Where the setting is dynamic, those that x as a whole would have.
    """

    def __init__(self, real: Forward, setting: Setting) -> None:
        layer = real.layer
        super().__init__(layer.name, setting)
        self.real: Forward = real
        self.layer: Layer = layer
        self.output_shape: tuple[int, ...] = layer.output_shape
        self.weight: NDArray[np.int8]
        self.weight_scale: NDArray[np.float32]
        self.x: NDArray[Any]
        self.bias: NDArray[Any]
        self.x_scale: float
        self.x_zero_point: int
        self.y_scale: float
        self.y_zero_point: int
        normal = self._random.standard_normal((layer.K, layer.C), np.float32) / np.sqrt(layer.C)
        self.weight, self.weight_scale = fastpw.quantize_weight(normal.astype(np.float32))
        lo, hi = float(self.real.x.min()), float(self.real.x.max())
        self.x_scale, self.x_zero_point = of_range(lo, hi, self.dtype)
        if setting.dynamic:
            self.x, self.bias = self.real.x, self.real.bias
            return
        self.x = self._aligned(fastpw.quantize(self.real.x, self.x_scale, self.x_zero_point))
        steps = np.float32(self.x_scale) * self.weight_scale
        self.bias = np.rint(self.real.bias / steps).astype(np.int32)
        of_sums = self._sums() * steps
        self.y_scale, self.y_zero_point = of_range(0, max(float(of_sums.max()), 0.1), self.dtype)

    dtype: np.dtype[np.int8] = np.dtype(np.int8)

    def _aligned(self, array):
        """A copy that begins with a cache line, as the arrays of other problems do."""
        copied = empty(array.shape, array.dtype)
        copied[...] = array
        return copied

    def _sums(self):
        """At the pixels that the float problem checks, to choose the scale of the result."""
        rows = self.real.rows_at(self.real.checked, self.pixels)
        return quantized_reference.accumulators(rows, self.weight, self.bias, x_zero_point=self.x_zero_point)

    @property
    def pixels(self) -> NDArray[Any]:
        """The view of x that the layer computes from."""
        return self.x[:, :: self.layer.stride, :: self.layer.stride]

    @property
    def kernel(self) -> NDArray[np.int8]:
        """The weight as (K, 1, 1, C)."""
        return self.weight[:, np.newaxis, np.newaxis]

    @property
    def unsigned_x(self) -> NDArray[np.uint8]:
        """The same integers in uint8, whose zero point is 128 higher."""
        return self._aligned(self.x.view(np.uint8) ^ 128)

    def out(self) -> NDArray[Any] | None:
        """Where a result goes: an array of the implementation's own, or None if each call makes a new one."""
        return None if self.setting.new_arrays else self.own(np.float32 if self.setting.dynamic else np.int8)

    def own(self, dtype: Any) -> NDArray[Any]:
        """An array for a result: what is left out is noticed, as NaN or as a number that is seldom right."""
        y = empty(self.output_shape, np.dtype(dtype))
        y.fill(np.nan if y.dtype.kind == "f" else 85)
        return y

    # ---- the check ---------------------------------------------------------------------------------------

    def check(self, y: ArrayLike, name: str) -> float | None:
        """The share of wrong outputs in the result `y` of implementation `name`.

        Raises ArithmeticError where nothing may be wrong: for fastpw. Of the layer in float32 it is None.
        """
        if name == IN_FLOAT32:
            return self.real.check(y, name)
        y = np.reshape(y, self.output_shape)
        wrong = self._wrong_floats(y, name) if self.setting.dynamic else self._wrong_integers(y, name)
        share = float(wrong.mean())
        if name == EXACT and share:
            raise ArithmeticError(
                f"{self.name}: {share:.3%} of the outputs of {name} are not the reference's"
            )
        return share

    def _wrong_integers(self, y, name):
        steps = y.astype(np.int16) - (128 if y.dtype == np.uint8 else 0) - self.expected
        return np.abs(steps) > (0 if name == EXACT else STEPS)

    def _wrong_floats(self, y, name):
        """Peers quantize rows, as fastpw does, or x as a whole; they round other halves."""
        if name == EXACT:
            return y != self.expected
        allowed = np.float32(ROUNDED_ELSEWHERE * 127 * self.x_scale) * self.weight_scale
        return ~((np.abs(y - self.expected) <= allowed) | (np.abs(y - self._of_whole) <= allowed))

    @cached_property
    def expected(self) -> NDArray[Any]:
        """The exact result; int16 where it is int8, so that differences fit."""
        options: dict[str, Any] = {"stride": self.layer.stride, "activation": "relu"}
        if not self.setting.dynamic:
            options |= {"x_scale": self.x_scale, "x_zero_point": self.x_zero_point}
            options |= {"y_scale": self.y_scale, "y_zero_point": self.y_zero_point}
        y = quantized_reference.qconv1x1(
            self.x, self.weight, self.bias, weight_scale=self.weight_scale, **options
        )
        return y if self.setting.dynamic else y.astype(np.int16)

    @cached_property
    def _of_whole(self):
        """The same of x quantized as a whole."""
        quantized = fastpw.quantize(self.pixels, self.x_scale, self.x_zero_point)
        acc = quantized_reference.accumulators(quantized, self.weight, x_zero_point=self.x_zero_point)
        return np.maximum(acc * (np.float32(self.x_scale) * self.weight_scale) + self.bias, 0)
