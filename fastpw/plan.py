"""A convolution whose options are checked, and its forward pass with weights packed: what the calls share."""

from __future__ import annotations

import numpy as np

from . import checks, geometry
from .core import passes
from .runtime import threads


class Convolution:
    """The weights, as (K, C // groups), and the options of a convolution, checked."""

    __slots__ = (
        "activation",
        "bias",
        "channels",
        "dtype",
        "filters",
        "groups",
        "padding",
        "plain",
        "stride",
        "walks",
        "weight",
    )

    def __init__(self, weight, bias, stride, padding, groups, activation, weight_layout):
        self.weight = weight = checks.weight(weight, weight_layout)
        self.dtype = weight.dtype
        self.filters, depth = weight.shape
        self.bias = None if bias is None else checks.bias(bias, weight)
        self.groups = groups = checks.groups(groups, self.filters)
        self.channels = depth * groups
        self.stride = stride = checks.stride(stride)
        self.padding = padding = checks.padding(padding)
        # Passes over the pixels: where each channel has one weight, all groups in one, bound by memory.
        self.walks = 1 if groups == self.channels == self.filters else groups
        self.plain = stride == checks.ONCE and padding == checks.NOTHING
        self.activation = checks.activation(activation)

    def pack(self) -> tuple[passes.Panels, ...]:
        """W with its bias: panels for each walk."""
        bias, groups = self.bias, self.groups
        if self.walks == 1:
            if groups > 1:
                return (passes.pack_scale(self.weight.ravel(), bias),)
            return (passes.pack(self.weight, bias, threads()),)
        weights = np.split(self.weight, groups)
        return tuple(map(passes.pack, weights, [None] * groups if bias is None else np.split(bias, groups)))

    def checked_input(self, x) -> np.ndarray:
        """x with its C adjacent channels."""
        x = checks.with_channels("x", x)
        if x.dtype is not self.dtype and x.dtype != self.dtype:
            raise checks.mixed_dtypes(x=x, weight=self.weight, bias=self.bias)
        if x.shape[-1] != self.channels:
            raise checks.wrong_channels(x, self.channels, self.groups)
        return x

    def output_shape(self, x: np.ndarray) -> tuple[int, ...]:
        if self.plain:
            return (*x.shape[:-1], self.filters)
        checks.image(x)
        return geometry.output_shape(x.shape, self.filters, self.stride, self.padding)


class Plan(Convolution):
    """Makes forward passes."""

    __slots__ = ("panels",)

    def __init__(self, *options):
        super().__init__(*options)
        self.panels = self.pack() if self.filters else ()

    def run(self, x, residual=None, out=None, out_z=None) -> np.ndarray:
        """Checks what a call brings, then computes. Nothing is written before all is checked."""
        x = self.checked_input(x)
        shape, dtype = self.output_shape(x), self.dtype
        if residual is not None:
            residual = checks.like_result("residual", residual, shape, dtype)
        z = None if out_z is None else checks.output("out_z", out_z, shape, dtype)
        y = self._new(shape) if out is None else checks.output("out", out, shape, dtype)
        if out is not None or z is not None:
            x, residual = checks.apart(x, residual, y, z)
        if y.size:
            self._compute(x, y, residual, z)
        return y if out is None else out

    def _new(self, shape) -> np.ndarray:
        try:
            return passes.empty(shape, self.dtype)
        except (ValueError, OverflowError):
            raise checks.too_large(shape) from None

    def _compute(self, x, y, residual, z) -> None:
        if not self.plain:
            for inputs, outputs in geometry.boxes(x.shape, y.shape, self.stride, self.padding):
                box = (None if a is None else a[outputs] for a in (y, residual, z))
                self._compute_rows(None if inputs is None else x[inputs], *box)
        elif y.ndim <= 4:
            self._compute_rows(x, y, residual, z)
        else:
            for views in geometry.rows(x, y, residual, z):
                self._compute_rows(*views)

    def _compute_rows(self, x, y, residual, z) -> None:
        """At most four axes, and each pixel meets an input or, with x None, none does."""
        if len(self.panels) == 1:
            passes.forward(x, self.panels[0], y, residual, z, self.activation, threads())
        else:
            for group, panels in enumerate(self.panels):
                x_, y_, residual_, z_ = geometry.group(group, self.groups, x, y, residual, z)
                passes.forward(x_, panels, y_, residual_, z_, self.activation, threads())

    def replay(self, x, y):
        """Makes calls like the one that gave y of x, unchecked; None if that takes several passes."""
        if type(x) is not np.ndarray or type(y) is not np.ndarray:
            return None
        single = len(self.panels) == 1 and self.padding == checks.NOTHING and y.size and y.ndim <= 4
        if not single or (self.channels > 1 and x.strides[-1] != x.itemsize):
            return None
        return passes.Replay(x, geometry.met(x, self.stride), self.panels[0], y, self.activation, threads)
