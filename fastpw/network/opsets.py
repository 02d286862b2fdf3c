"""Nodes of older opsets in the form of the newest one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Graph, Node


def renew(graph: Graph, opset: int) -> None:
    """Bring the nodes of a graph, which has one opset, into the form that the operators know."""
    for node in graph.nodes:
        if node.domain:
            continue
        for op, before, renewal in _RENEWALS:
            if op == node.op and opset < before:
                renewal(graph, node)
                node.version = 0
                break


def _to_inputs(*moves: tuple[str, int, type]) -> Callable[[Graph, Node], None]:
    """Attributes become inputs: each (its name, the number of the input, its dtype)."""

    def renewal(graph: Graph, node: Node) -> None:
        inputs = list(node.inputs)
        for name, number, dtype in moves:
            value = node.attributes.pop(name, None)
            if value is not None:
                inputs += [""] * (number + 1 - len(inputs))
                inputs[number] = graph.new_constant(f"{node.outputs[0]}:{name}", np.array(value, dtype))
        graph.set_inputs(node, inputs)

    return renewal


def _softmax(graph: Graph, node: Node) -> None:
    """Opsets before 13 take all axes from one on as one."""
    node.attributes.setdefault("axis", 1)
    node.attributes["flattened"] = 1


def _upsample(graph: Graph, node: Node) -> None:
    """What Resize does with its first coordinates, before it was called so."""
    _to_inputs(("scales", 1, np.float32))(graph, node)
    node.op = "Resize"
    _resize(graph, node)


def _resize(graph: Graph, node: Node) -> None:
    """Resize had no region of interest, and one way to find the pixels."""
    data, scales = node.inputs
    graph.set_inputs(node, [data, "", scales])
    node.attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


_AXES = _to_inputs(("axes", 1, np.int64))

# (operator, first opset in which it has the newest form, what brings it there)
_RENEWALS: tuple[tuple[str, int, Callable[[Graph, Node], None]], ...] = (
    ("Clip", 11, _to_inputs(("min", 1, np.float32), ("max", 2, np.float32))),
    ("Hardmax", 13, _softmax),
    ("LogSoftmax", 13, _softmax),
    ("Pad", 11, _to_inputs(("pads", 1, np.int64), ("value", 2, np.float32))),
    ("ReduceL1", 18, _AXES),
    ("ReduceL2", 18, _AXES),
    ("ReduceLogSum", 18, _AXES),
    ("ReduceLogSumExp", 18, _AXES),
    ("ReduceMax", 18, _AXES),
    ("ReduceMean", 18, _AXES),
    ("ReduceMin", 18, _AXES),
    ("ReduceProd", 18, _AXES),
    ("ReduceSum", 13, _AXES),
    ("ReduceSumSquare", 18, _AXES),
    ("Resize", 11, _resize),
    ("Slice", 10, _to_inputs(("starts", 1, np.int64), ("ends", 2, np.int64), ("axes", 3, np.int64))),
    ("Softmax", 13, _softmax),
    ("Split", 13, _to_inputs(("split", 1, np.int64))),
    ("Squeeze", 13, _AXES),
    ("TopK", 10, _to_inputs(("k", 1, np.int64))),
    ("Unsqueeze", 13, _AXES),
    ("Upsample", 10, _upsample),
)
