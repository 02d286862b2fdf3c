"""The 1x1 convolution as an operation: weights and options checked, programs described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import _checks, _geometry
from ._operation import RowsOfStage, Weighted
from .core.forward import Forward, PackedWeights
from .runtime import threads


class Options(NamedTuple):
    """What is given with the weights, as it is compared and computed with."""

    stride: _checks.Pair
    padding: _checks.Padding
    groups: int
    activation: _checks.Epilogue
    weight_layout: str


def options(stride, padding, groups, activation, weight_layout) -> Options:
    """The options, checked; whether groups divides the channels shows in the weights."""
    stride, padding = _checks.steps("stride", stride), _checks.padding(padding)
    if padding is None:  # "same" pads nothing for a 1x1 kernel: Ho = ceil(H / stride)
        padding = _checks.NOTHING
    activation, layout = _checks.activation(activation), _checks.layout(weight_layout)
    return Options(stride, padding, _checks.groups(groups), activation, layout)


class Convolution(Weighted):
    """The weights, as (K, C // groups), and the options of a convolution."""

    __slots__ = ("bias", "channels", "dtype", "filters", "given", "options", "passes", "plain", "weight")

    def __init__(self, weight, bias, options: Options) -> None:
        self.options = options
        self.given = _checks.array("weight", weight)
        self.weight = matrix = _checks.weight(self.given, options.weight_layout)
        self.dtype = np.dtype(matrix.dtype.type)  # without what a user may have written to it
        self.filters, depth = matrix.shape
        self.bias = None if bias is None else _checks.bias(bias, matrix)
        _checks.divides(options.groups, self.filters)
        self.channels = depth * options.groups
        # Passes over the pixels: where each channel has one weight, all groups in one, bound by memory.
        self.passes = 1 if options.groups == self.channels == self.filters else options.groups
        self.plain = options.stride == _checks.ONCE and options.padding == _checks.NOTHING

    def pack(self) -> PackedWeights:
        return PackedWeights(self.weight, self.bias, self.options.groups, threads())

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.need_channels(shape)
        if self.plain:
            return (*shape[:-1], self.filters)
        _checks.image(shape, " for stride or padding")
        return _geometry.output_shape(shape, self.filters, self.options.stride, self.options.padding)

    def boxes(self, x: np.ndarray, y: np.ndarray) -> list[tuple[_geometry.Index | None, _geometry.Index]]:
        """Where pixels meet an input, and where they lie in the padding."""
        if self.plain:
            return [(..., ...)]
        return [*_geometry.boxes(x.shape, y.shape, self.options.stride, self.options.padding)]

    def stage(self, shape: tuple[int, ...]) -> RowsOfStage | None:
        depth = self.channels // self.options.groups
        if self.options.padding != _checks.NOTHING or depth == 0:
            return None
        return RowsOfStage(1, 1, self.options.stride[0], 0, depth)

    def describe(self, packed: PackedWeights | None, *arrays: np.ndarray | None) -> Forward:
        weights = packed
        if packed is None:
            weights = self.given, self.weight, self.bias, self.options.groups
        parts = self._parts(*arrays) if arrays[1].size else ()
        return Forward(arrays, parts, weights, self.options.activation, threads)

    def _parts(self, x, *of_outputs) -> Iterator[tuple]:
        """The GEMMs of a program: views of the arrays, and the group of channels."""
        for inputs, outputs in self.boxes(x, of_outputs[0]):
            views = [None if a is None else a[outputs] for a in of_outputs]
            for group in range(self.passes):
                seen = None if inputs is None else x[inputs]
                yield *_geometry.group(group, self.passes, seen, *views), group
