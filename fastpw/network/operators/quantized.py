"""QConv and QLinear: 1x1 convolutions and products with weights in int8, on rows of float32."""

from __future__ import annotations

import math

import numpy as np

from ...quantized_layer import QConv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import Value
from .images import apply, as_image, bound, shape_last
from .registry import operator
from .scaling import activation_of, finish
from .windows import geometry


@operator("QConv")
def convolution(
    plan: Plan,
    node: Node,
    x: Value,
    weight: np.ndarray,
    bias: np.ndarray | None,
    residual: Value | None,
    scale: np.ndarray,
) -> Value:
    """activation(convolution + bias + residual), the weight being (K, C // groups, 1, 1)."""
    image, window = as_image(plan, x), geometry(node, 2, weight.shape[2:])
    groups, sides = node.attributes.get("group", 1), window.sides(image.shape[2:])
    if weight.shape[1] * groups != image.shape[1]:
        raise ValueError(f"x: {weight.shape[1] * groups} channels are needed, got shape {x.shape}")
    _check_dtype(x)
    joined = activation_of(node) if residual is None else None
    options = {"stride": window.stride, "padding": sides, "groups": groups, "activation": joined}
    layer = plan.layer(
        (node.name, node.outputs[0], sides),
        lambda: QConv1x1(weight, bias, weight_scale=scale, weight_layout="OIHW", **options),
    )
    n, h, w, _ = layer.output_shape(shape_last(image.shape))
    plan.count(n * h * w * weight.size)
    y = apply(plan, layer, image)
    return y if residual is None else finish(plan, y, residual, activation_of(node))


@operator("QLinear")
def linear(
    plan: Plan,
    node: Node,
    x: Value,
    weight: np.ndarray,
    bias: np.ndarray | None,
    residual: Value | None,
    scale: np.ndarray,
) -> Value:
    """activation(x @ weight.T + bias + residual) along the last axis, the weight being (K, C)."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x: {weight.shape[1]} numbers along the last axis are needed, got {x.shape}")
    _check_dtype(x)
    joined = activation_of(node) if residual is None else None
    layer = plan.layer(
        (node.name, node.outputs[0], "linear"),
        lambda: QConv1x1(weight, bias, weight_scale=scale, activation=joined),
    )
    shape = (*x.shape[:-1], len(weight))
    plan.count(math.prod(shape) * weight.shape[1])

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        return bound(layer, x, None, y)

    y = plan.step(bind, plan.adjacent(x, -1), shape=shape, dtype=x.dtype)
    return y if residual is None else finish(plan, y, residual, activation_of(node))


def _check_dtype(x: Value) -> None:
    if x.dtype != np.float32:
        raise TypeError(f"float32 is needed, got {x.dtype}")
