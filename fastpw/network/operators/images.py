"""Layers on values with the axes of ONNX: (N, C, H, W), and (N, C, W) as images of height 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..._layer import Layer
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Shape, Value, channels_last
from .registry import Unsupported


def as_image(plan: Plan, x: Value) -> Value:
    """(N, C, W) as (N, C, 1, W); (N, C, H, W) as it is."""
    if x.ndim == 3:
        return plan.view(x, lambda a: a[:, :, np.newaxis])
    if x.ndim != 4:
        raise Unsupported(f"on arrays of {x.ndim} axes")
    return x


def as_row(plan: Plan, y: Value, ndim: int) -> Value:
    """The way back."""
    return plan.view(y, lambda a: a[:, :, 0]) if ndim == 3 else y


def shape_last(shape: Shape) -> Shape:
    """The shape (N, H, W, C) of (N, C, H, W)."""
    return tuple(shape[axis] for axis in CHANNELS_LAST)


def is_float(value: Value) -> bool:
    """Whether layers take it."""
    return value.dtype in (np.float32, np.float64)


def apply(plan: Plan, layer: Layer, x: Value, residual: Value | None = None) -> Value:
    """A layer on an image, of (N, C, H, W) and with a result of such axes."""
    n, h, w, c = layer.output_shape(shape_last(x.shape))
    x = plan.adjacent(x, 1)
    if residual is not None:
        residual = plan.adjacent(residual, 1)

    def bind(x: np.ndarray, residual: np.ndarray | None, y: np.ndarray) -> Bound:
        return bound(
            layer, channels_last(x), None if residual is None else channels_last(residual), channels_last(y)
        )

    return plan.step(bind, x, residual, shape=(n, c, h, w), dtype=x.dtype, order=CHANNELS_LAST)


def bound(layer: Callable, x: np.ndarray, residual: np.ndarray | None, y: np.ndarray) -> Bound:
    """The call of a layer with its arrays."""
    if residual is None:
        return lambda: layer(x, out=y)
    return lambda: layer(x, residual=residual, out=y)
