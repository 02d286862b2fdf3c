"""Operators that fastpw does not have, by ONNX's reference implementation: right, and slow."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np

from .graph import Graph, Node
from .operators import DependsOnInput
from .plan import Bound, Plan
from .values import Tensor, Value


def is_foreign(node: Node, known: Collection[str]) -> bool:
    """Whether a node has an operator that is not among those known."""
    return bool(node.domain or node.opset) or node.op not in known


def missing(graph: Graph, known: Collection[str]) -> list[str]:
    """The operators of a graph that nobody can run, each with one node; empty if all can."""
    lacking: dict[str, str] = {}
    for node in graph.all_nodes():
        if is_foreign(node, known) and not _evaluator(node, len(node.inputs)):
            named = f"{node.domain}.{node.op}" if node.domain else node.op
            lacking.setdefault(named, f"{named} (node {node.name or node.outputs[0]!r})")
    return list(lacking.values())


def foreign(plan: Plan, node: Node, inputs: list[Value | None], reason: str) -> tuple[Value | None, ...]:
    """The outputs of a node, by onnx.reference. What comes must tell their shapes.

    Raises
    ------
    ValueError
        onnx is not installed, or does not know the operator.
    DependsOnInput
        The shapes of the outputs cannot be told.
    """
    plan.records[-1].foreign = True
    evaluator = _evaluator(node, len(inputs))
    if evaluator is None:
        raise ValueError(f"{reason}, and onnx's reference cannot be used")
    names = [name for name, value in zip(_names(inputs), inputs, strict=True) if value is not None]
    values = [value for value in inputs if value is not None]
    if not any(isinstance(value, Tensor) for value in values):
        made = iter(evaluator.run(None, dict(zip(names, values, strict=True))))
        return tuple(next(made) if name else None for name in node.outputs)
    ports = _inferred(node, inputs)
    warn(node, reason)
    made = []
    for number, (shape, dtype) in enumerate(ports):

        def bind(*arrays: np.ndarray, number: int = number) -> Bound:
            feeds = dict(zip(names, arrays[:-1], strict=True))
            return lambda: np.copyto(arrays[-1], evaluator.run(None, feeds)[number])

        made.append(plan.step(bind, *values, shape=shape, dtype=dtype))
    results = iter(made)
    return tuple(next(results) if name else None for name in node.outputs)


def warn(node: Node, reason: str) -> None:
    """Tell that a node is slow."""
    warnings.warn(f"{node}: {reason}, so onnx's reference computes it, slowly", RuntimeWarning, stacklevel=2)


def _onnx() -> Any:
    """The library; None where it is not installed."""
    try:
        import onnx.reference  # noqa: PLC0415 - most networks do without
    except ImportError:
        return None
    return onnx


def _names(inputs: list) -> list[str]:
    return [f"input{number}" if value is not None else "" for number, value in enumerate(inputs)]


def _model(node: Node, inputs: list[Any], known: dict[str, np.ndarray], types: list[Any]) -> Any:
    """A model of this node alone."""
    onnx = _onnx()
    helper = onnx.helper
    outputs = [f"output{number}" if name else "" for number, name in enumerate(node.outputs)]
    proto = helper.make_node(node.op, inputs, outputs, domain=node.domain, **node.attributes)
    graph = helper.make_graph(
        [proto],
        "node",
        types,
        [helper.make_empty_tensor_value_info(name) for name in outputs if name],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in known.items()],
    )
    opsets = [helper.make_opsetid(node.domain, _version(node))]
    return helper.make_model(graph, opset_imports=opsets)


def _version(node: Node) -> int:
    """The opset of the file; the newest for a node that has been brought into its form."""
    return node.opset or node.version or _onnx().defs.onnx_opset_version()


def _evaluator(node: Node, count: int) -> Any:
    """What runs a node; None if nothing does."""
    onnx = _onnx()
    if onnx is None:
        return None
    names = [
        f"input{number}" if number >= len(node.inputs) or node.inputs[number] else ""
        for number in range(count)
    ]
    try:
        types = [onnx.helper.make_empty_tensor_value_info(name) for name in names if name]
        return onnx.reference.ReferenceEvaluator(_model(node, names, {}, types))
    except Exception:  # it raises what it likes for an operator that it does not know
        return None


def _inferred(node: Node, inputs: list[Value | None]) -> list[tuple[tuple[int, ...], np.dtype]]:
    """The shapes and dtypes of a node's outputs."""
    onnx = _onnx()
    helper = onnx.helper
    names = _names(inputs)
    pairs = [(name, value) for name, value in zip(names, inputs, strict=True) if value is not None]
    known = {name: value for name, value in pairs if not isinstance(value, Tensor)}
    types = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in pairs
        if isinstance(value, Tensor)
    ]
    model = onnx.shape_inference.infer_shapes(_model(node, names, known, types), data_prop=True)
    ports = []
    for output in model.graph.output:
        tensor = output.type.tensor_type
        sizes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim]
        if not tensor.elem_type or not tensor.HasField("shape") or min(sizes, default=0) < 0:
            raise DependsOnInput(", whose result has a shape that depends on the network's input")
        ports.append((tuple(sizes), np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))))
    return ports
