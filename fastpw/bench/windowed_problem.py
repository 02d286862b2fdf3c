"""The gradients of layers whose pixels look at their neighbours: the arrays, and the check of a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastpw import _bounds, reference
from fastpw._typing import FloatArray
from fastpw.bench.arrays import Problem, spread
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting

CHECKED_PIXELS = 32  # of dx, each in some of its channels: together they are all
CHECKED_CHANNELS = 8  # that dweight is checked of, and as many outputs; each looks at every pixel


class WindowedBackward(Problem):
    """dz = dy where y > 0; dx and dweight sum over the taps of each window, dbias = Σ dz."""

    def __init__(self, layer: Layer, setting: Setting) -> None:
        super().__init__(layer, setting)
        self.dy: FloatArray = self.random(*layer.output_shape)
        self.y: FloatArray = self._forward()
        self._padded = self.padded(self.x)
        self._kernel = self.as_kernel(self.weight)
        self._checked = list(self._some_inputs())
        self._dx = [self._reference_dx(*some) for some in self._checked]
        self._outputs = spread(layer.K, CHECKED_CHANNELS)
        self._channels = slice(None) if self.groups > 1 else spread(layer.C, CHECKED_CHANNELS)
        self._sums = self._reference_sums()

    def _forward(self):
        """y, tap by tap."""
        layer = self.layer
        y = self._new(layer.output_shape)
        y[...] = self.bias
        for i, j, seen in self.taps(self.padded(self.x)):
            if self.groups > 1:
                y += seen * self.weight[i, j]
            else:
                y += (seen.reshape(layer.P, layer.C) @ self.weight[:, i, j].T).reshape(y.shape)
        return np.maximum(y, 0, out=y)

    def out(self) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """(dx, dweight, dbias) of an implementation's own, or None if each call makes new ones."""
        if self.setting.new_arrays:
            return None
        return self.nan(*self.x.shape), self.nan(*self.weight.shape), self.nan(*self.bias.shape)

    # ---- the reference -------------------------------------------------------------------------------------

    def _some_inputs(self):
        """Some pixels of x as (n, h, w), and the channels that are looked at there."""
        which = spread(self.x[..., 0].size, CHECKED_PIXELS)
        step = min(self.layer.C, len(which))
        for number, where in enumerate(zip(*np.unravel_index(which, self.x.shape[:3]), strict=True)):
            yield where, slice(number % step, None, step)

    def _meeting(self, axis, at):
        """The outputs whose windows hold input `at` of an axis: the first, and the one after the last."""
        stride, taps, before = self.layer.stride, self.layer.kernel[axis], self.layer.sides[axis][0]
        first = max(-(-(at + before - taps + 1) // stride), 0)
        return first, min((at + before) // stride + 1, self.layer.output_shape[1 + axis])

    def _reference_dx(self, where, channels):
        """dx of a pixel, from the outputs that see it, and how far from it a result may lie."""
        n, *at = where
        stride, sides, boxes, windows, seen_at = self.layer.stride, self.layer.sides, [], [], []
        for axis in (0, 1):
            first, stop = self._meeting(axis, at[axis])
            start = first * stride
            boxes.append(slice(first, stop))
            windows.append(slice(start, start + (stop - first - 1) * stride + self.layer.kernel[axis]))
            seen_at.append(at[axis] + sides[axis][0] - start)
        filters = channels if self.groups > 1 else slice(None)
        dy, y = (array[n : n + 1, *boxes, filters] for array in (self.dy, self.y))
        if not dy.size:  # a stride that is larger than the kernel skips it
            return np.zeros((2, self.x[n, 0, 0, channels].size))
        x = self._padded[n : n + 1, *windows, channels]
        terms = self.layer.kh * self.layer.kw * self.layer.K // self.groups
        exact, allowed = self._gradients(dy, x, y, self._part_of_kernel(filters, channels), terms)
        return exact.dx[0, *seen_at], allowed.dx[0, *seen_at]

    def _reference_sums(self):
        """dweight and dbias of some outputs, and how far from them a result may lie."""
        some = self._outputs
        seen = some if self.groups > 1 else self._channels
        dy, y, x = self.dy[..., some], self.y[..., some], self._padded[..., seen]
        exact, allowed = self._gradients(dy, x, y, self._part_of_kernel(some, seen), self.layer.P)
        return {name: (getattr(exact, name), getattr(allowed, name)) for name in ("dweight", "dbias")}

    def _part_of_kernel(self, filters, channels):
        return self._kernel[filters] if self.groups > 1 else self._kernel[filters][..., channels]

    def _gradients(self, dy, x, y, kernel, terms):
        """Those of a part of the layer, whose x holds its padding, and their bounds, for sums of `terms`."""
        groups = x.shape[-1] if self.groups > 1 else 1
        options = {"z": y, "activation": "relu", "stride": self.layer.stride, "groups": groups}
        gamma = _bounds.gamma(terms, self.x.dtype)
        magnitudes = reference.conv2d_backward(*map(np.abs, (dy, x, kernel)), **options)
        allowed = reference.Gradients(*(2 * gamma * magnitude for magnitude in magnitudes))
        return reference.conv2d_backward(dy, x, kernel, **options), allowed

    # ---- the check -----------------------------------------------------------------------------------------

    def check(self, gradients: Sequence[ArrayLike], name: str) -> None:
        """Raise ArithmeticError if (dx, dweight, dbias) of implementation `name` are not the layer's."""
        dx, dweight, dbias = gradients
        if not all(np.isfinite(gradient).all() for gradient in (dx, dweight, dbias)):
            raise ArithmeticError(f"{self.layer.name}: {name} left gradients out, or made NaN")
        for (where, channels), expected in zip(self._checked, self._dx, strict=True):
            self.hold(name, "dx", dx[where][channels], *expected)
        kernel = self.as_kernel(dweight)[self._outputs][..., self._channels]
        self.hold(name, "dweight", kernel, *self._sums["dweight"])
        self.hold(name, "dbias", dbias[self._outputs], *self._sums["dbias"])
