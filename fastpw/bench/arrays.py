"""What the problems of all kinds have in common: random arrays in the sizes of a layer, and the check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpw import _bounds
from fastpw._typing import FloatArray
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.core.forward import empty


def spread(size: int, count: int) -> NDArray[np.integer]:
    """`count` indices below `size`, or all of them."""
    return np.unique(np.linspace(0, size - 1, count).astype(int))


class Arrays:
    """Random arrays, the same ones each time, in every process; and arrays for results."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name: str = name
        self.setting: Setting = setting
        self._random = np.random.default_rng(0)

    def random(self, *shape: int) -> FloatArray:
        """Between -0.5 and 0.5."""
        array = self._random.random(out=self._new(shape), dtype=self.setting.dtype)
        array -= 0.5
        return array

    def nan(self, *shape: int) -> FloatArray:
        """An array for results: what is left out is noticed."""
        array = self._new(shape)
        array.fill(np.nan)
        return array

    def copy(self, array: FloatArray) -> FloatArray:
        """In the order of its axes."""
        copied = self._new(array.shape)
        copied[...] = array
        return copied

    def _new(self, shape):
        """Arrays begin with a cache line, as those do that peers make themselves."""
        return empty(shape, np.dtype(self.setting.dtype))

    def hold(self, name: str, what: str, result: Any, expected: Any, allowed: Any) -> None:
        """Raise ArithmeticError if `what` of implementation `name` is too far from the reference."""
        excess = _bounds.excess(result, expected, allowed)
        if excess > 1:
            raise ArithmeticError(
                f"{self.name}: {what} of {name} lies {excess:.3g} times further from the reference "
                "than rounding allows"
            )


class Problem(Arrays):
    """The arrays of a layer."""

    def __init__(self, layer: Layer, setting: Setting) -> None:
        super().__init__(layer.name, setting)
        self.layer: Layer = layer
        self.x: FloatArray = self.random(layer.N, layer.H, layer.W, layer.C)
        self.weight: FloatArray = self.random(*setting.weight_shape(layer))
        self.bias: FloatArray = self.random(layer.K)
        self.output_shape: tuple[int, ...] = layer.output_shape
        # Those that a pointwise layer computes from:
        self.pixels: FloatArray = self.x[:, :: layer.stride, :: layer.stride]

    def rows_at(self, which: NDArray[np.integer], array: FloatArray) -> FloatArray:
        """Some pixels of an (N, Ho, Wo, channels) array, as rows."""
        return array[np.unravel_index(which, array.shape[:3])]

    # ---- one way to see the kernels of all kinds -----------------------------------------------------------

    @property
    def groups(self) -> int:
        return self.layer.C if self.setting.kind == "depthwise" else 1

    def as_kernel(self, weight: FloatArray) -> FloatArray:
        """A weight, or its gradient, as (K, kh, kw, C // groups)."""
        if self.setting.kind == "depthwise":
            return weight.transpose(2, 0, 1)[..., np.newaxis]
        return weight.reshape(self.layer.K, *self.layer.kernel, self.layer.C)

    def as_weight(self, kernel: FloatArray) -> FloatArray:
        """The way back."""
        if self.setting.kind == "depthwise":
            return kernel[..., 0].transpose(1, 2, 0)
        return kernel.reshape(self.weight.shape)

    def padded(self, x: FloatArray) -> FloatArray:
        """With the zeros around each image that its windows reach into."""
        return np.pad(x, [(0, 0), *self.layer.sides, (0, 0)])

    def taps(self, padded: FloatArray) -> Iterator[tuple[int, int, FloatArray]]:
        """For each tap of the kernel its row and column, and what it sees, (N, Ho, Wo, C), as a view."""
        _, Ho, Wo, _ = self.layer.output_shape
        stride = self.layer.stride
        for i in range(self.layer.kh):
            for j in range(self.layer.kw):
                yield i, j, padded[:, i::stride, j::stride][:, :Ho, :Wo]
