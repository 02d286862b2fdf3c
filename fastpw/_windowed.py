"""Operations whose pixels look at their neighbours: dense and depthwise convolutions, pools."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from . import _checks, _geometry
from ._geometry import Taps, Window
from ._operation import Operation, Program, RowsOfStage, Weighted
from ._steps import Places, Steps
from .core.chain import Repeat
from .core.forward import Forward, PackedWeights
from .core.stencil import PackedStencil, Pool, Stencil, lanes_for
from .runtime import threads

ONE_TAP = Window((1, 1), _checks.ONCE, _checks.ONCE, _checks.NOTHING)


class Options(NamedTuple):
    """What is given with the weights, as it is compared and computed with."""

    stride: _checks.Pair
    padding: _checks.Padding | None  # None: "same"
    dilation: _checks.Pair
    groups: int
    activation: _checks.Epilogue
    weight_layout: str


def options(stride, padding, dilation, groups, activation, weight_layout) -> Options:
    """The options, checked; the layout is known by the kind of the weights."""
    return Options(
        _checks.steps("stride", stride),
        _checks.padding(padding),
        _checks.steps("dilation", dilation),
        _checks.groups(groups),
        _checks.activation(activation),
        weight_layout,
    )


def images(array: np.ndarray | None) -> np.ndarray | None:
    """(H, W, channels) as one of a batch."""
    return array if array is None or array.ndim == 4 else array[np.newaxis]


class Windowed(Operation):
    """What all have in common: a window, which says how large the result is."""

    __slots__ = ()

    window: Window

    def window_for(self, shape: tuple[int, ...]) -> Window:
        """That of an image of a shape."""
        return self.window

    def image_shape(self, shape: tuple[int, ...], filters: int) -> tuple[int, ...]:
        """Of the result for an input of a shape."""
        _checks.image(shape)
        window = self.window_for(shape)
        outputs = window.outputs(*shape[-3:-1])
        if min(shape[-3:-1]) or window.padding is not None:  # "same" makes no pixels of none
            _checks.holds_window(shape, outputs, window.reach)
        return (*shape[:-3], *outputs, filters)

    def taps(self, x: np.ndarray) -> Taps:
        return self.window_for(x.shape).taps(*x.shape[-3:-1])

    def depth(self) -> int:
        """Multiply-adds for a number of the result."""
        return prod(self.window.size)

    def stage(self, shape: tuple[int, ...]) -> RowsOfStage | None:
        taps = self.window.taps(*shape[-3:-1])
        return RowsOfStage(*(along[0] for along in taps), self.depth())


class WindowedConvolution(Windowed, Weighted):
    """What dense and depthwise convolutions have in common."""

    __slots__ = ()

    options: Options

    plain = False  # an output pixel has no input pixel of its own

    def checked_bias(self, bias) -> np.ndarray | None:
        return None if bias is None else _checks.bias_of("bias", bias, self.filters, self.weight)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.need_channels(shape)
        return self.image_shape(shape, self.filters)


class Dense(WindowedConvolution):
    """Each output channel looks at all input channels of its group: weights (K, kh, kw, C // groups)."""

    __slots__ = ("bias", "channels", "dtype", "filters", "given", "options", "weight", "window")

    def __init__(self, weight, bias, options: Options) -> None:
        self.options = options
        self.given = _checks.array("weight", weight)
        self.weight = _checks.dense(self.given, options.weight_layout)
        self.dtype = np.dtype(self.weight.dtype.type)
        self.filters, *size, depth = self.weight.shape
        self.bias = self.checked_bias(bias)
        _checks.divides(options.groups, self.filters)
        self.channels = depth * options.groups
        self.window = Window(tuple(size), options.dilation, options.stride, options.padding)

    def depth(self) -> int:
        return super().depth() * (self.channels // self.options.groups)

    def _group(self) -> int:
        """Channels of a group, if as many go out as come in."""
        group = self.weight.shape[-1]
        return group if self.options.groups > 1 and self.filters == self.channels else 0

    def pack(self) -> PackedWeights | PackedStencil:
        """Groups that fit into vectors go the way of depthwise convolutions."""
        group = self._group()
        if group in SMALL_GROUPS and lanes_for(self.weight) % group == 0:
            return pack_small_groups(self.weight, self.bias)
        return pack_dense(self.weight, self.bias, self.options.groups)

    def describe(
        self, packed: PackedWeights | PackedStencil, *arrays: np.ndarray | None
    ) -> Forward | Stencil:
        taps = self.taps(arrays[0])
        if isinstance(packed, PackedStencil):
            views, activation = tuple(map(images, arrays)), self.options.activation
            return Stencil(arrays, tuple(taps), packed, activation, threads, views, self._group())
        return describe_dense(arrays, packed, self.options, taps)


# A group of one channel is a depthwise convolution, but for the way in which its weights are given.
SMALL_GROUPS = 1, 2, 4, 8


def pack_small_groups(weight: np.ndarray, bias: np.ndarray | None) -> PackedStencil:
    """Weights (K, kh, kw, C // groups) of any strides, in the order in which such groups are added up."""
    by_rows = weight.transpose(1, 3, 2, 0)
    return PackedStencil(by_rows.reshape(-1, weight.shape[0]), bias, threads())


def pack_dense(weight: np.ndarray, bias: np.ndarray | None, groups: int) -> PackedWeights:
    """Weights (K, kh, kw, C // groups) of any strides, in the order in which taps are read."""
    filters, height, width, depth = weight.shape
    return pack_groups(weight.reshape(groups, filters // groups, height, width, depth), bias)


def pack_groups(weight: np.ndarray, bias: np.ndarray | None) -> PackedWeights:
    """The same of weights (groups, K // groups, kh, kw, C // groups)."""
    groups, _, height, width, _ = weight.shape
    return PackedWeights(weight, bias, groups, threads(), height * width)


def describe_dense(arrays: tuple, packed: PackedWeights, options: Options, taps: Taps) -> Forward:
    """The program that makes y of x; the arrays are (x, y, residual, z)."""

    def parts() -> Iterator[tuple]:
        views = [images(a) for a in arrays]
        for group in range(options.groups):
            yield *_geometry.group(group, options.groups, *views), group

    some = parts() if arrays[1].size else ()
    return Forward(arrays, some, packed, options.activation, threads, tuple(taps))


class Depthwise(WindowedConvolution):
    """Each output channel looks at one input channel: weights (kh, kw, C, m), m outputs of each channel."""

    __slots__ = ("bias", "channels", "dtype", "filters", "given", "multiplier", "options", "weight", "window")

    def __init__(self, weight, bias, options: Options) -> None:
        self.options = options
        self.given = _checks.array("weight", weight)
        self.weight = _checks.depthwise(self.given, options.weight_layout)
        self.dtype = np.dtype(self.weight.dtype.type)
        *size, self.channels, self.multiplier = self.weight.shape
        self.filters = self.channels * self.multiplier
        self.bias = self.checked_bias(bias)
        self.window = Window(tuple(size), options.dilation, options.stride, options.padding)

    def need_channels(self, shape: tuple[int, ...]) -> None:
        if shape[-1] != self.channels:
            raise _checks.wrong_depthwise_channels(shape, self.channels, self.options.weight_layout)

    def pack(self) -> PackedStencil:
        return pack_depthwise(self.weight, self.bias)

    def stage(self, shape: tuple[int, ...]) -> RowsOfStage | None:
        return super().stage(shape) if self.multiplier == 1 else None

    def _of_repeated(self) -> Depthwise:
        """The same for channels that were repeated."""
        weight = self.weight.reshape(*self.weight.shape[:2], self.filters)
        return Depthwise(weight, self.bias, self.options._replace(weight_layout="HWC"))

    def describe(self, packed: PackedStencil, *arrays: np.ndarray | None) -> Program:
        if self.multiplier > 1:
            return self._describe_repeated(packed, *arrays)
        taps, views = tuple(self.taps(arrays[0])), tuple(map(images, arrays))
        return Stencil(arrays, taps, packed, self.options.activation, threads, views)

    def _describe_repeated(self, packed: PackedStencil, *arrays: np.ndarray | None) -> Program:
        """Where a channel has several outputs, it is repeated first."""
        steps = Steps(*arrays)
        x = steps.ends.x
        repeated = Places(x, steps.between((*x.array.shape[:-1], self.filters), 0))
        steps.add(Repeat(repeated.arrays, threads), repeated)
        self._of_repeated().add_to(steps, packed, steps.ends._replace(x=repeated.y), 0)
        return steps.program()


def pack_depthwise(weight: np.ndarray, bias: np.ndarray | None) -> PackedStencil:
    """Weights (kh, kw, C, m) of any strides."""
    height, width, channels, multiplier = weight.shape
    return PackedStencil(weight.reshape(height * width, channels * multiplier), bias, threads())


class Pooled(Windowed):
    """The maximum or the average of each channel over a window; without one, over the whole image."""

    __slots__ = ("kind", "window")

    adds_residual = False

    def __init__(self, kind: str, window: Window | None) -> None:
        self.kind, self.window = kind, window

    def window_for(self, shape: tuple[int, ...]) -> Window:
        return ONE_TAP._replace(size=tuple(shape[-3:-1])) if self.window is None else self.window

    def stage(self, shape: tuple[int, ...]) -> RowsOfStage | None:
        return None if self.window is None else super().stage(shape)

    def checked_input(self, x) -> np.ndarray:
        return _checks.with_channels("x", x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _checks.image(shape)
        _checks.has_pixels(shape)
        if self.window is None:
            return (*shape[:-3], shape[-1])
        return self.image_shape(shape, shape[-1])

    def describe(self, packed: None, *arrays: np.ndarray | None) -> Pool:
        views, kind = list(map(images, arrays)), self.kind
        if self.window is None:
            kind = "plane"
            views[1] = images(arrays[1][..., np.newaxis, np.newaxis, :])
        return Pool(arrays, tuple(self.taps(arrays[0])), kind, threads, tuple(views))
