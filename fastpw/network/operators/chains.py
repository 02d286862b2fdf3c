"""Convolutions and pools one after the other, as a fastpw.Chain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..._layer import Layer
from ...chain import Chain
from ..graph import Node
from ..plan import Plan
from ..values import CHANNELS_FIRST, Shape, Tensor, Value
from .convolutions import convolution, convolution_layer
from .images import apply, is_float, shape_last
from .pools import OPERATORS_OF_POOLS, pool_layer
from .registry import operator


@operator("Chain")
def chain(plan: Plan, node: Node, x: Value, *others: Value) -> Value:
    """What the nodes of a chain compute, one after the other, for an image with a residual that fits."""
    nodes: list[Node] = node.attributes["nodes"]
    values = dict(zip(node.inputs, (x, *others), strict=True))
    residual = values.get(nodes[-1].input(3))
    if not isinstance(x, Tensor) or x.ndim != 4 or not is_float(x):
        return _one_by_one(plan, nodes, values)
    layers: list[Layer] = []
    shape, multiply_adds = x.shape, 0
    for part in nodes:
        layer = _layer(plan, part, shape, values)
        if layer is None:
            return _one_by_one(plan, nodes, values)
        layers.append(layer)
        shape = _after(layer, shape)
        if part.op == "Conv":
            multiply_adds += shape[0] * shape[2] * shape[3] * values[part.inputs[1]].size
    if residual is not None and residual.shape != shape:
        return _one_by_one(plan, nodes, values)
    plan.count(multiply_adds)
    plan.records[-1].layers = len(layers)
    return _in_parts(plan, layers, x, residual)


def _in_parts(plan: Plan, layers: list[Layer], x: Value, residual: Value | None) -> Value:
    """What the chain would run as one is a step; where a layer stays alone, the plan has the memory."""
    y = x
    for part in Chain(layers).describe(shape_last(x.shape)):
        some = layers[part.first : part.last]
        added = residual if part.last == len(layers) else None
        own = added is not None and added is y
        step = some[0]
        if len(some) > 1:
            plan.records[-1].joined += len(some)
            step = plan.layer(("chain", own, *map(id, some)), partial(Chain, some, add_input=own))
            added = None if own else added
        y = apply(plan, step, y, added)
    return y


def _after(layer: Layer, shape: Shape) -> Shape:
    last = layer.output_shape(shape_last(shape))
    return tuple(last[axis] for axis in CHANNELS_FIRST)


def _layer(plan: Plan, node: Node, shape: Shape, values: Mapping[str, Value]) -> Layer | None:
    """The layer that computes a node alone; None where it takes more than a layer."""
    try:
        if node.op != "Conv":
            return pool_layer(plan, node, shape)
        return convolution_layer(plan, node, shape, values[node.inputs[1]], values.get(node.input(2)))
    except ValueError as error:  # which of them
        raise ValueError(f"{node}: {error}") from error


def _one_by_one(plan: Plan, nodes: list[Node], values: dict[str, Value]) -> Value:
    for node in nodes:
        describe = convolution if node.op == "Conv" else OPERATORS_OF_POOLS[node.op]
        inputs = [values.get(name) for name in node.inputs]
        values[node.outputs[0]] = describe(plan, node, *inputs)
    return values[nodes[-1].outputs[0]]
