"""OpenVINO on blocks and networks, in whatever layouts its plugin likes best."""

from collections.abc import Callable
from typing import Any

import numpy as np
from openvino import opset13 as ops

from fastpw.bench.blocks.graph import Node
from fastpw.bench.blocks.parts import Branches, Channels, Convolution, GlobalAverage, Pool, Shuffle
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.peers.openvino import request

ACTIVATIONS: dict[str | None, Callable[[Any], Any]] = {
    None: lambda z: z,
    "relu": ops.relu,
    "relu6": lambda z: ops.clamp(z, 0.0, 6.0),
    "gelu": lambda z: ops.gelu(z, "ERF"),
}


def convolution(problem: BlockProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Between transpositions that it makes part of its own layout."""
    x = ops.parameter(problem.x.shape, np.float32, "x")
    results = [ops.transpose(x, ops.constant([0, 3, 1, 2]))]
    for number, node in enumerate(problem.graph.nodes[1:], 1):
        inputs = [results[read] for read in node.inputs]
        results.append(_operation(node, inputs, problem.weights.get(number)))
    y = results[-1]
    if len(problem.output_shape) == 4:
        y = ops.transpose(y, ops.constant([0, 2, 3, 1]))
    return request(problem, x, y)


def matmul(problem: BlockProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A block of 1x1 convolutions alone as products of pixels."""
    assert problem.graph.pointwise
    x = y = ops.parameter(problem.x.shape, np.float32, "x")
    for number, (kernel, bias) in problem.weights.items():
        products = ops.matmul(y, ops.constant(np.ascontiguousarray(kernel[:, 0, 0])), False, True)
        activation = problem.graph.nodes[number].part.activation
        y = ACTIVATIONS[activation](ops.add(products, ops.constant(bias)))
    return request(problem, x, y)


def _operation(node: Node, inputs: list[Any], weights: Any) -> Any:
    match node.part:
        case Convolution():
            return _convolution(node, inputs, *weights)
        case Pool():
            return _pool(node, *inputs)
        case GlobalAverage():
            return ops.reduce_mean(*inputs, ops.constant([2, 3]), False)
        case Shuffle(groups):
            return ops.shuffle_channels(*inputs, 1, groups)
        case Channels(first, stop):
            bounds = (ops.constant([number]) for number in (first, stop, 1, 1))  # ..., the step, the axis
            return ops.slice(*inputs, *bounds)
        case Branches():
            return ops.concat(inputs, 1)
    raise AssertionError(f"no such operation: {node.part}")


def _geometry(node):
    return {
        "strides": [node.part.stride] * 2,
        "pads_begin": [before for before, _ in node.sides],
        "pads_end": [after for _, after in node.sides],
    }


def _convolution(node, inputs, kernel, bias):
    x, *added = inputs
    if len(node.shape) == 2:
        z = ops.matmul(x, ops.constant(np.ascontiguousarray(kernel[:, 0, 0])), False, True)
        z = ops.add(z, ops.constant(bias))
    else:
        weight, groups = kernel.transpose(0, 3, 1, 2), node.part.groups
        operator = ops.convolution
        if groups > 1:
            weight = weight.reshape(groups, -1, *weight.shape[1:])
            operator = ops.group_convolution
        weight = ops.constant(np.ascontiguousarray(weight))
        z = operator(x, weight, dilations=[1, 1], **_geometry(node))
        z = ops.add(z, ops.constant(bias.reshape(1, -1, 1, 1)))
    for other in added:
        z = ops.add(z, other)
    return ACTIVATIONS[node.part.activation](z)


def _pool(node, x):
    geometry, size = _geometry(node), node.part.size
    if node.part.kind == "maximum":
        return ops.max_pool(x, dilations=[1, 1], kernel_shape=size, **geometry).output(0)
    return ops.avg_pool(x, kernel_shape=size, exclude_pad=True, **geometry)
