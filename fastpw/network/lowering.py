"""Nodes of ONNX that are one of our own: scales, products with constant weights, activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Graph, Node
from .operators.activations import NAMED, normalization


def lower(graph: Graph, node: Node) -> bool:
    """Say a node in our own words, where that can be done. True if it was."""
    lowering = _LOWERINGS.get(node.op)
    return lowering is not None and not node.domain and not node.opset and lowering(graph, node)


def replace(graph: Graph, node: Node, op: str, inputs: list[str], **attributes: object) -> bool:
    """Another node in the place of one."""
    graph.remove(node)
    graph.add(Node(op, inputs, node.outputs[:1], attributes, node.name))
    return True


def put_affine(
    graph: Graph, node: Node, x: str, scale: np.ndarray | None, offset: np.ndarray | None, axis: int
) -> bool:
    """x * scale + offset in the place of a node; the numbers are kept in float64 until they are used."""
    inputs = [x]
    for name, array in (("scale", scale), ("offset", offset)):
        stem = f"{node.outputs[0]}:{name}"
        inputs.append("" if array is None else graph.new_constant(stem, np.asarray(array, np.float64)))
    return replace(graph, node, "Affine", inputs, axis=axis)


def _passed(graph: Graph, node: Node) -> bool:
    """Identity and Dropout: who reads the result reads the input."""
    if node.input(2):  # a Dropout that may be training: its description looks
        training = graph.constant(node.input(2))
        if training is None or np.any(training):
            return False
    if any(graph.readers(value) or value in graph.results for value in node.outputs[1:] if value):
        return False
    graph.substitute(node.outputs[0], node.inputs[0])
    graph.remove(node)
    return True


def _sum(graph: Graph, node: Node) -> bool:
    return len(node.inputs) == 2 and replace(graph, node, "Add", node.inputs, **node.attributes)


def _batch_normalization(graph: Graph, node: Node) -> bool:
    arrays = [graph.constant(value) for value in node.inputs[1:5]]
    if any(array is None or array.ndim != 1 for array in arrays) or any(node.outputs[1:]):
        return False
    if node.attributes.get("training_mode", 0) or len({array.size for array in arrays}) != 1:
        return False
    scale, offset = normalization(node, arrays)
    return put_affine(graph, node, node.inputs[0], scale, offset, 1)


def _arithmetic(graph: Graph, node: Node) -> bool:
    """Mul, Add, Sub and Div by a constant: one number, or one for each along an axis."""
    if len(node.inputs) != 2 or node.attributes.get("activation") is not None:
        return False
    constants = [graph.constant(value) for value in node.inputs]
    if (constants[0] is None) == (constants[1] is None):
        return False
    first = constants[0] is not None  # whether the constant comes first
    constant, x = (constants[0], node.inputs[1]) if first else (constants[1], node.inputs[0])
    axis = _axis(graph, x, constant)
    if axis is None or (first and node.op == "Div"):
        return False
    numbers = constant.reshape(-1).astype(np.float64)
    numbers = numbers.reshape(()) if numbers.size == 1 else numbers
    with np.errstate(all="ignore"):
        scale, offset = {
            "Mul": lambda: (numbers, None),
            "Div": lambda: (1 / numbers, None),
            "Add": lambda: (None, numbers),
            "Sub": lambda: (np.float64(-1), numbers) if first else (None, -numbers),
        }[node.op]()
    return put_affine(graph, node, x, scale, offset, axis)


def _axis(graph: Graph, x: str, constant: np.ndarray) -> int | None:
    """Along which axis of x the constant varies, counted from the end; None if it is not so simple."""
    rank = graph.rank(x)
    if constant.dtype.kind != "f" or constant.size == 0:
        return None
    if rank is None or rank < constant.ndim:
        return -1 if constant.ndim == 0 else None
    long = [number - constant.ndim for number, size in enumerate(constant.shape) if size > 1]
    return None if len(long) > 1 else (long or [-1])[0]


def _gemm(graph: Graph, node: Node) -> bool:
    """With constant B and C it is a Linear; a transposed A is transposed before."""
    get = node.attributes.get
    weight, bias = graph.constant(node.inputs[1]), graph.constant(node.input(2))
    if (
        weight is None
        or weight.ndim != 2
        or (node.input(2) and bias is None)
        or get("activation") is not None
    ):
        return False
    weight = (weight if get("transB", 0) else weight.T) * weight.dtype.type(get("alpha", 1.0))
    if bias is not None:
        if bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1) or bias.size not in (1, len(weight)):
            return False
        bias = np.broadcast_to(bias.reshape(-1), len(weight)) * bias.dtype.type(get("beta", 1.0))
    x = node.inputs[0]
    if get("transA", 0):
        turned = graph.fresh(x)
        graph.add(Node("Transpose", [x], [turned], {"perm": [1, 0]}, node.name))
        x = turned
    return _linear(graph, node, x, weight, bias)


def _matmul(graph: Graph, node: Node) -> bool:
    weight = graph.constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or weight.dtype.kind != "f" or node.attributes.get("activation"):
        return False
    return _linear(graph, node, node.inputs[0], weight.T, None)


def _linear(graph: Graph, node: Node, x: str, weight: np.ndarray, bias: np.ndarray | None) -> bool:
    inputs = [x, graph.new_constant(f"{node.outputs[0]}:weight", np.ascontiguousarray(weight))]
    inputs.append("" if bias is None else graph.new_constant(f"{node.outputs[0]}:bias", bias))
    return replace(graph, node, "Linear", inputs)


def _activation(graph: Graph, node: Node) -> bool:
    get = node.attributes.get
    if node.op == "LeakyRelu":
        if not 0 <= get("alpha", 0.01) < np.inf:  # fastpw has no such activation
            slope = graph.new_constant(node.outputs[0], np.float32(get("alpha")))
            return replace(graph, node, "PRelu", [node.inputs[0], slope])
        spec = ["leaky_relu", get("alpha", 0.01)]
    elif node.op == "Gelu":
        spec = "gelu_tanh" if get("approximate", "none") == "tanh" else "gelu"
    else:
        spec = NAMED[node.op]
    return replace(graph, node, "Activation", node.inputs[:1], activation=spec)


def _clip(graph: Graph, node: Node) -> bool:
    bounds = [graph.constant(node.input(number)) for number in (1, 2)]
    if any(b is None and node.input(n) for n, b in zip((1, 2), bounds, strict=True)):
        return False
    if any(b is not None and (b.size != 1 or b.dtype.kind != "f") for b in bounds):
        return False
    low, high = (
        default if b is None else float(b.reshape(()))
        for default, b in zip((-np.inf, np.inf), bounds, strict=True)
    )
    if not low <= high or bounds == [None, None]:
        return False
    return replace(graph, node, "Activation", node.inputs[:1], activation=clipped(low, high))


def clipped(low: float, high: float) -> str | list[object]:
    """The activation that keeps numbers between two."""
    return {(0, np.inf): "relu", (0, 6): "relu6"}.get((low, high), ["clip", low, high])


def _prelu(graph: Graph, node: Node) -> bool:
    slope = graph.constant(node.inputs[1])
    if slope is None or slope.size == 0 or np.any(slope != slope.flat[0]) or not 0 <= slope.flat[0] < np.inf:
        return False
    rank = graph.rank(node.inputs[0])
    if slope.ndim > (rank or 0):
        return False
    return replace(
        graph, node, "Activation", node.inputs[:1], activation=["leaky_relu", float(slope.flat[0])]
    )


def _hard_sigmoid(graph: Graph, node: Node) -> bool:
    """A scale and a clip; `recognise` knows the one that fastpw has."""
    get = node.attributes.get
    inner = graph.fresh(node.outputs[0])
    numbers = (np.float64(get("alpha", 0.2)), np.float64(get("beta", 0.5)))
    names = [graph.new_constant(inner, np.asarray(number)) for number in numbers]
    graph.add(Node("Affine", [node.inputs[0], *names], [inner], {"axis": -1}, node.name))
    return replace(graph, node, "Activation", [inner], activation=["clip", 0.0, 1.0])


_LOWERINGS: dict[str, Callable[[Graph, Node], bool]] = {
    "Add": _arithmetic,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Div": _arithmetic,
    "Dropout": _passed,
    "Gelu": _activation,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "Identity": _passed,
    "LeakyRelu": _activation,
    "MatMul": _matmul,
    "Mul": _arithmetic,
    "PRelu": _prelu,
    "Sub": _arithmetic,
    "Sum": _sum,
    **dict.fromkeys(NAMED, _activation),
}
