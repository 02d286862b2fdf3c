"""Layers that run as one, in bands of rows: their stages, and the program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._convolution import Convolution
from ._layer import Layer
from ._steps import placeholder
from ._windowed import images
from .core import fusing
from .core.chain import Chain
from .runtime import threads

Shape = tuple[int, ...]


def stages(layers: Sequence[Layer], shapes: Sequence[Shape]) -> tuple[fusing.Stage, ...] | None:
    """The layers as stages of a chain over (N, H, W, C); None if one of them cannot be.

    `shapes` are those of the input and of each layer's result.
    """
    found = []
    for number, layer in enumerate(layers):
        before, after = shapes[number : number + 2]
        rows = layer._operation.stage(before)
        if rows is None or 0 in before or 0 in after:
            return None
        *slide, depth = rows
        slide = fusing.Slide(*slide, before[-3], after[-3])
        found.append(fusing.Stage(slide, after[-2], after[-1], depth))
    return tuple(found)


def fused(layers: Sequence[Layer], *arrays: np.ndarray | None) -> Chain:
    """The program that runs layers which follow each other as one; the arrays are (x, y, residual)."""
    x = arrays[0]
    of_planes = tuple(as_planes(layers, *arrays))
    shapes = [of_planes[0].shape]
    for layer in layers:
        shapes.append(layer.output_shape(shapes[-1]))
    if of_planes[1].shape != shapes[-1]:
        raise ValueError(f"a result {shapes[-1]} is needed, got an array that was changed meanwhile")
    described = stages(layers, shapes)
    cut = fusing.by_bands(described, shapes[0][0], x.itemsize, threads())
    programs = _programs(layers, of_planes, shapes)
    return Chain((*arrays, None), (*of_planes, None), programs, described, cut, threads)


def _programs(layers: Sequence[Layer], of_planes: tuple, shapes: list[Shape]) -> tuple:
    """What each layer computes of one plane."""
    x, y, residual = (None if a is None else a[0] for a in of_planes)
    between = [placeholder(shape[1:], x.dtype) for shape in shapes[1:-1]]
    operands = [x, *between, y]
    programs = []
    for number, layer in enumerate(layers):
        ends = operands[number], operands[number + 1]
        added = residual if number == len(layers) - 1 else None
        programs.append(layer._operation.describe(layer._packed, *ends, added, None))
    return tuple(programs)


def as_planes(layers: Sequence[Layer], *arrays: np.ndarray | None):
    """The arrays as (N, H, W, channels).

    Where no layer looks at neighbours, all pixels are rows of one plane, if they lie one after the other.
    """
    there = [a for a in arrays if a is not None]
    if all_pointwise(layers) and all(a.flags.c_contiguous for a in there):
        return [None if a is None else a.reshape(1, -1, 1, a.shape[-1]) for a in arrays]
    return [_as_plane(a) for a in arrays]


def _as_plane(array: np.ndarray | None) -> np.ndarray | None:
    """Rows (M, channels) are a plane one pixel wide."""
    return array[np.newaxis, :, np.newaxis] if array is not None and array.ndim == 2 else images(array)


def all_pointwise(layers: Sequence[Layer]) -> bool:
    """Whether each pixel of the result depends on one pixel of the input, in the same place."""
    return all(isinstance(layer._operation, Convolution) and layer._operation.plain for layer in layers)
