"""One layer's arrays, and the check of a result against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpw import _bounds, reference
from fastpw._typing import FloatArray
from fastpw.bench.arrays import Arrays, Problem, spread
from fastpw.bench.blocks.parts import Block
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.layers import Layer
from fastpw.bench.networks.model import Model
from fastpw.bench.networks.problem import ModelProblem
from fastpw.bench.quantized_problem import Quantized
from fastpw.bench.setting import Setting
from fastpw.bench.windowed_problem import WindowedBackward

# Of a result, spread evenly: the reference takes float64 and its time.
CHECKED_PIXELS = 64
CHECKED_OUTPUTS = 16  # of dweight and dbias, which look at every pixel


@lru_cache(maxsize=1)
def of(layer: Layer | Block | Model, setting: Setting) -> Arrays:
    """The problem that a layer, a block or a network is in this setting."""
    if isinstance(layer, Block):
        return BlockProblem(layer, setting)
    if isinstance(layer, Model):
        return ModelProblem(layer, setting)
    if setting.in_integers:
        return Quantized(Forward(layer, replace(setting, dtype="float32", dynamic=False)), setting)
    if not setting.backward:
        return Forward(layer, setting)
    return (Backward if setting.kind == "pointwise" else WindowedBackward)(layer, setting)


class Forward(Problem):
    """y = ReLU(convolution + bias), of any kind."""

    def __init__(self, layer: Layer, setting: Setting) -> None:
        super().__init__(layer, setting)
        self.checked: NDArray[np.integer] = spread(layer.P, CHECKED_PIXELS)
        y, allowed = _bounds.promise_windowed(
            reference.conv2d,
            self._windows(),
            self.as_kernel(self.weight),
            self.bias,
            groups=self.groups,
            padding="valid",
            activation="relu",
        )
        self._promise = y[:, 0, 0], allowed[:, 0, 0]

    def _windows(self):
        """What the checked pixels look at, each as an image."""
        padded, stride, (kh, kw) = self.padded(self.x), self.layer.stride, self.layer.kernel
        where = zip(*np.unravel_index(self.checked, self.layer.output_shape[:3]), strict=True)
        corners = ((n, i * stride, j * stride) for n, i, j in where)
        return np.stack([padded[n, top : top + kh, left : left + kw] for n, top, left in corners])

    def out(self) -> FloatArray | None:
        """Where a result goes: an array of the implementation's own, or None if each call makes a new one."""
        return None if self.setting.new_arrays else self.nan(*self.layer.output_shape)

    def check(self, y: ArrayLike, name: str) -> None:
        """Raise ArithmeticError if the result `y` of implementation `name` is not the layer's."""
        y = np.reshape(y, self.layer.output_shape)
        if not np.isfinite(y).all():
            raise ArithmeticError(f"{self.layer.name}: {name} left pixels out or made them NaN or infinite")
        self.hold(name, "the result", self.rows_at(self.checked, y), *self._promise)


class Backward(Problem):
    """Of a pointwise layer: dz = dy where y > 0; dx = dz W, dweight = dzᵀ pixels, dbias = Σ dz."""

    def __init__(self, layer: Layer, setting: Setting) -> None:
        super().__init__(layer, setting)
        self.dy: FloatArray = self.random(*layer.output_shape)
        self.y: FloatArray = np.maximum(self.pixels @ self.weight.T + self.bias, 0)
        self._checked = spread(layer.P, CHECKED_PIXELS)
        self._outputs = spread(layer.K, CHECKED_OUTPUTS)
        self._expect()

    def _expect(self):
        """The reference at some pixels (dx) and at some outputs (dweight, dbias), and the bounds there."""
        rows = [self.rows_at(self._checked, array) for array in (self.dy, self.pixels, self.y)]
        columns = [array[..., self._outputs] for array in (self.dy, self.y)]
        some = self.weight[self._outputs]
        gamma_K, gamma_P = (_bounds.gamma(n, self.x.dtype) for n in (self.layer.K, self.layer.P))

        def at_pixels(dy, x, y, weight):
            return reference.conv1x1_backward(dy, x, weight, z=y, activation="relu").dx

        def at_outputs(dy, y, x, weight):
            return reference.conv1x1_backward(dy, x, weight, z=y, activation="relu")[1:3]

        self._dx = at_pixels(*rows, self.weight)
        self._dx_allowed = 2 * gamma_K * at_pixels(*map(np.abs, rows), np.abs(self.weight))
        self._sums = at_outputs(*columns, self.pixels, some)
        terms = at_outputs(*map(np.abs, columns), np.abs(self.pixels), some)
        self._sums_allowed = [2 * gamma_P * magnitude for magnitude in terms]

    def out(self) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """(dx, dweight, dbias) of an implementation's own, dx 0 where no output pixel looks; or None."""
        if self.setting.new_arrays:
            return None
        dx = self.nan(*self.x.shape)
        if self.layer.stride > 1:
            dx[...] = 0
            self.at_pixels(dx)[...] = np.nan
        return dx, self.nan(*self.weight.shape), self.nan(*self.bias.shape)

    def at_pixels(self, dx: FloatArray) -> FloatArray:
        """The view of dx at the pixels that the layer computes from."""
        return dx[:, :: self.layer.stride, :: self.layer.stride]

    def check(self, gradients: Sequence[ArrayLike], name: str) -> None:
        """Raise ArithmeticError if (dx, dweight, dbias) of implementation `name` are not the layer's."""
        dx, dweight, dbias = gradients
        dx, dweight = np.reshape(dx, self.x.shape), np.reshape(dweight, self.weight.shape)
        if not all(np.isfinite(gradient).all() for gradient in (dx, dweight, dbias)):
            raise ArithmeticError(f"{self.layer.name}: {name} left gradients out, or made NaN")
        if self.layer.stride > 1 and np.count_nonzero(dx) != np.count_nonzero(self.at_pixels(dx)):
            raise ArithmeticError(f"{self.layer.name}: dx of {name} is not 0 where the stride skips a pixel")
        self.hold(name, "dx", self.rows_at(self._checked, self.at_pixels(dx)), self._dx, self._dx_allowed)
        sums = dweight[self._outputs], dbias[self._outputs]
        for what, *compared in zip(("dweight", "dbias"), sums, self._sums, self._sums_allowed, strict=True):
            self.hold(name, what, *compared)
