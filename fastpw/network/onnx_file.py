"""An .onnx file as a graph. onnx, which only this module needs, parses, checks and infers ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, inliner, numpy_helper, shape_inference

from .graph import Graph, Node, Port
from .memory import Budget
from .opsets import renew

OLDEST = 7  # the oldest opset whose operators broadcast as NumPy does
_MUCH = 4096  # bytes: larger constants are left out where only their shapes matter

_DTYPES = {
    "bool", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
# The attribute in which an operator names a dtype.
_NAMING_DTYPES = {
    "Cast": "to", "DequantizeLinear": "output_dtype", "EyeLike": "dtype", "QuantizeLinear": "output_dtype",
}  # fmt: skip
_WITH_BODIES = {"If", "Loop", "Scan"}
_WIDENED = {"float16": "float32", "bfloat16": "float32"}


def read(path: str | os.PathLike[str], budget: Budget) -> Graph:
    """The network that a file holds.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no such network. The message says what is wrong, and where.
    """
    budget.check(os.path.getsize(path))
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf's own kinds
        raise ValueError(f"{path}: no ONNX file, or a truncated one: {error}") from error
    if not model.graph.node and not model.graph.output:
        raise ValueError(f"{path}: no ONNX file, or an empty one")
    _check_sizes(model, budget)
    try:
        onnx.external_data_helper.load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
        if model.functions:
            model = inliner.inline_local_functions(model)
        skeleton = _skeleton(model)
        onnx.checker.check_model(skeleton)
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error
    inferred = _inferred(skeleton)
    graph = _graph(model, inferred)
    graph.ranks = {name: len(port.type.tensor_type.shape.dim) for name, port in inferred.items()}
    renew(graph, _opset(model))
    return graph


def _opset(model: Any) -> int:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            if opset.version < OLDEST:
                raise ValueError(f"opset {OLDEST} or later is needed, got {opset.version}")
            return opset.version
    raise ValueError("an opset of ONNX's own operators is needed, got none")


def _check_sizes(model: Any, budget: Budget) -> None:
    """Whether the constants fit into memory, before any is made."""
    for tensor in model.graph.initializer:
        try:
            if min(tensor.dims, default=0) < 0:
                raise ValueError(f"a shape of numbers >= 0 is needed, got {list(tensor.dims)}")
            itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            count = 1
            for size in tensor.dims:
                count *= size
            budget.take(count * max(itemsize, 4))  # (float16 is widened)
        except KeyError as error:
            raise ValueError(f"constant {tensor.name!r}: {tensor.data_type} is no dtype") from error
        except ValueError as error:
            raise ValueError(f"constant {tensor.name!r}: {error}") from error


def _skeleton(model: Any) -> Any:
    """The model with its large constants as inputs: what is checked is not copied with them."""
    skeleton = ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    graph, given = skeleton.graph, {port.name for port in model.graph.input}
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(port for port in model.graph.output if _typed(port))
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= _MUCH:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return skeleton


def _typed(port: Any) -> bool:
    """Whether a port says that it is a tensor, and of how many axes."""
    return port.type.HasField("tensor_type") and port.type.tensor_type.HasField("shape")


def _inferred(skeleton: Any) -> dict[str, Any]:
    """The values of which ONNX can tell the number of axes, by name."""
    try:
        graph = shape_inference.infer_shapes(skeleton).graph
    except Exception:  # what it cannot infer is not known, and costs no more than time
        graph = skeleton.graph
    return {port.name: port for port in [*graph.input, *graph.output, *graph.value_info] if _typed(port)}


def _graph(model: Any, inferred: dict[str, Any]) -> Graph:
    source = model.graph
    constants = {tensor.name: _array(tensor, f"constant {tensor.name!r}") for tensor in source.initializer}
    if source.sparse_initializer:
        raise ValueError(
            f"constant {source.sparse_initializer[0].values.name!r}: sparse tensors are not supported"
        )
    inputs = [_port(port, "input") for port in source.input if port.name not in constants]
    # (some files do not say what their outputs are)
    outputs = [port if _typed(port) else inferred.get(port.name, port) for port in source.output]
    outputs = [_port(port, "output") for port in outputs]
    graph = Graph(inputs, outputs, [], constants)
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    for node in source.node:
        _enter(graph, node, versions)
    graph.sort()
    return graph


def _is_body(value: Any) -> bool:
    return isinstance(value, GraphProto)


def _with_bodies(node: Node, versions: dict[str, int], names: dict[str, str]) -> None:
    """Branches and bodies of loops as graphs; what they read of the values around becomes an input.

    Names are unique within a body only: `names` says how those around it are called here.
    """
    protos = {key: value for key, value in node.attributes.items() if _is_body(value)}
    captured = dict.fromkeys(name for proto in protos.values() for name in _read_outside(proto))
    node.attributes["captured"] = len(captured)
    for key, proto in protos.items():
        stem = f"{next(filter(None, node.outputs), '')}/{key}/"
        node.attributes[key] = _body(proto, stem, versions, [*captured])
    node.inputs += [names.get(name, name) for name in captured]


def _read_outside(proto: Any) -> Iterator[str]:
    """The values that a body reads and does not make."""
    made = {port.name for port in proto.input} | {tensor.name for tensor in proto.initializer} | {""}
    for node in proto.node:
        inner = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        read = [*node.input, *(name for body in inner for name in _read_outside(body))]
        yield from (name for name in read if name not in made)
        made.update(node.output)
    yield from (port.name for port in proto.output if port.name not in made)


def _body(proto: Any, stem: str, versions: dict[str, int], captured: list[str]) -> Graph:
    own = [port.name for port in proto.input if port.name]
    names = {name: f"{stem}{name}" for name in [*own, *captured]}
    names |= {t.name: f"{stem}{t.name}" for t in proto.initializer}
    names |= {name: f"{stem}{name}" for node in proto.node for name in node.output if name}
    inputs = [Port(names[name], (), np.dtype(np.float32)) for name in [*own, *captured]]
    outputs = [_loose_port(port, names[port.name]) for port in proto.output]
    constants = {names[t.name]: _array(t, f"constant {t.name!r}") for t in proto.initializer}
    graph = Graph(inputs, outputs, [], constants)
    for node in proto.node:
        _enter(graph, node, versions, names)
    graph.sort()
    renew(graph, versions.get("", OLDEST))
    return graph


def _loose_port(port: Any, name: str) -> Port:
    """An output of a body, which need not say what it is."""
    tensor = port.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    known = tensor.elem_type in helper.get_all_tensor_dtypes() and tensor.elem_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if known else np.dtype(np.float32)
    return Port(name, shape, np.dtype(_WIDENED[dtype.name]) if dtype.name in _WIDENED else dtype)


def _port(port: Any, kind: str) -> Port:
    if not port.type.HasField("tensor_type"):
        raise ValueError(f"{kind} {port.name!r}: a tensor is needed")
    tensor = port.type.tensor_type
    if kind == "input" and not tensor.HasField("shape"):
        raise ValueError(f"input {port.name!r}: a number of axes is needed, got none")
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim
    )
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = np.dtype(object)
    if dtype.name not in _DTYPES | {"float16"}:
        raise TypeError(f"{kind} {port.name!r}: dtype {dtype} is not supported")
    return Port(port.name, shape, dtype)


def _array(tensor: Any, told: str) -> np.ndarray:
    """The numbers of a constant; those of two bytes are widened."""
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:
        raise ValueError(f"{told}: {error}") from error
    if array.dtype.name in _WIDENED:
        array = array.astype(_WIDENED[array.dtype.name])
    if array.dtype.name not in _DTYPES:
        raise TypeError(f"{told}: dtype {array.dtype} is not supported")
    return array


def _enter(graph: Graph, proto: Any, versions: dict[str, int], names: dict[str, str] | None = None) -> None:
    """Put a node into the graph, or its numbers among the constants. `names`: how values are called here."""
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    attributes = dict(_attributes(proto))
    node = Node(proto.op_type, list(proto.input), list(proto.output), attributes, proto.name, domain)
    if names is not None:
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
    node.version = versions.get(domain, 1)
    if domain:
        node.opset = node.version
    elif node.op == "Constant":
        graph.constants[node.outputs[0]] = _constant(node)
        return
    elif node.op in _WITH_BODIES:
        _with_bodies(node, versions, names or {})
    elif any(not isinstance(v, (int, float, str, list, np.ndarray)) for v in attributes.values()):
        node.opset = versions.get("", OLDEST)  # with bodies of other operators: only as it came
    elif (
        node.op in _NAMING_DTYPES and _NAMING_DTYPES[node.op] in attributes
    ) or node.op == "ConstantOfShape":
        _with_dtypes(graph, node)
    graph.add(node)


def _attributes(proto: Any) -> Iterator[tuple[str, Any]]:
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, TensorProto):
            told = f"node {proto.name or proto.output[0]!r} ({proto.op_type}), attribute {attribute.name!r}"
            value = _array(value, told)
        elif not isinstance(value, (int, float, str)) and hasattr(value, "__iter__"):
            value = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
        yield attribute.name, value


def _constant(node: Node) -> np.ndarray:
    for name, dtype in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if name in node.attributes:
            return np.array(node.attributes[name], dtype)
    raise ValueError(f"{node}: numbers are needed, got {', '.join(node.attributes)}")


def _with_dtypes(graph: Graph, node: Node) -> None:
    """Cast names a dtype by a number; ConstantOfShape has an array as an attribute."""
    if node.op == "ConstantOfShape":
        number = node.attributes.pop("value", None)
        if number is not None:
            node.inputs.append(graph.new_constant(f"{node.outputs[0]}:value", number))
        return
    key = _NAMING_DTYPES[node.op]
    if not node.attributes[key] and node.op != "Cast":  # (undefined: as if it were left out)
        del node.attributes[key]
        return
    try:
        name = np.dtype(helper.tensor_dtype_to_np_dtype(node.attributes[key])).name
    except KeyError as error:
        raise ValueError(f"{node}: {node.attributes[key]} is no dtype") from error
    node.attributes[key] = _WIDENED.get(name, name)
    if node.attributes[key] not in _DTYPES:
        raise TypeError(f"{node}: dtype {name} is not supported")
