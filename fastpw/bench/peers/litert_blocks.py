"""LiteRT on blocks and networks: all of XNNPACK's own operators, on its own layout, which is fastpw's."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from fastpw.bench.blocks.graph import Node
from fastpw.bench.blocks.parts import Branches, Channels, Convolution, GlobalAverage, Pool, Shuffle
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.peers.litert import buffer, invoked, packed, tensor

FUSED: dict[str | None, str] = {None: "NONE", "relu": "RELU", "relu6": "RELU6"}
LATEST_OLD_CODE = 127  # operators with higher numbers are newer than the old field for the code


def block(problem: BlockProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A model of the whole block."""
    return invoked(problem, model(problem))


def model(problem: BlockProblem) -> bytes:
    """The flatbuffer."""
    made = _Model()
    x = made.tensor(problem.x.shape)
    results = [x]
    for number, node in enumerate(problem.graph.nodes[1:], 1):
        inputs = [results[read] for read in node.inputs]
        results.append(_operators(made, node, inputs, problem.weights.get(number)))
    return made.packed(x, results[-1])


class _Model:
    """A flatbuffer in the making; buffer 0 is the empty one by convention."""

    def __init__(self) -> None:
        self._buffers, self._tensors, self._operators = [schema.BufferT()], [], []
        self._codes: dict[int, int] = {}  # where in the model's list each operator's code is

    def tensor(self, shape: Sequence[int]) -> int:
        """Of the run; its number."""
        self._tensors.append(tensor(b"t%d" % len(self._tensors), shape, buffer=0))
        return len(self._tensors) - 1

    def constant(self, array: NDArray[Any]) -> int:
        """float32 or int32."""
        number = self.tensor(array.shape)
        self._tensors[number].buffer = len(self._buffers)
        if array.dtype == np.int32:
            self._tensors[number].type = schema.TensorType.INT32
        self._buffers.append(buffer(array))
        return number

    def operator(self, name: str, inputs: Sequence[int], shape: Sequence[int], options: Any) -> int:
        """Append one, with the values of its options; returns the tensor of its result."""
        code, result = getattr(schema.BuiltinOperator, name), self.tensor(shape)
        kind, values = options
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        made.inputs, made.outputs = list(inputs), [result]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        made.builtinOptions = getattr(schema, f"{kind}T")()
        for field, value in values.items():
            assert hasattr(made.builtinOptions, field)
            setattr(made.builtinOptions, field, value)
        self._operators.append(made)
        return result

    def packed(self, x: int, y: int) -> bytes:
        """The flatbuffer, from tensor x to tensor y."""
        graph, made = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._operators, [x], [y]
        made.version, made.subgraphs, made.buffers = 3, [graph], self._buffers
        made.operatorCodes = [_operator_code(code) for code in self._codes]
        return packed(made)


def _operator_code(code):
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode = code, min(code, LATEST_OLD_CODE)
    return made


def _operators(made: _Model, node: Node, inputs: list[int], weights: Any) -> int:
    """The operators of a node; the tensor of its result."""
    match node.part:
        case Convolution():
            return _convolution(made, node, inputs, weights)
        case Pool(kind):
            name = "MAX_POOL_2D" if kind == "maximum" else "AVERAGE_POOL_2D"
            h, w = node.part.size
            options = {**_geometry(node), "filterHeight": h, "filterWidth": w}
            return made.operator(name, inputs, node.shape, ("Pool2DOptions", options))
        case GlobalAverage():
            axes = made.constant(np.array([1, 2], np.int32))
            return made.operator("MEAN", [*inputs, axes], node.shape, ("ReducerOptions", {"keepDims": False}))
        case Shuffle(groups):
            return _shuffle(made, inputs, node.shape, groups)
        case Channels(first):
            corner, size = np.array([0, 0, 0, first], np.int32), np.array(node.shape, np.int32)
            bounds = [made.constant(corner), made.constant(size)]
            return made.operator("SLICE", [*inputs, *bounds], node.shape, ("SliceOptions", {}))
        case Branches():
            return made.operator("CONCATENATION", inputs, node.shape, ("ConcatenationOptions", {"axis": 3}))
    raise AssertionError(f"no such operation: {node.part}")


def _geometry(node):
    padding = schema.Padding.SAME if node.part.padding == "same" else schema.Padding.VALID
    return {"padding": padding, "strideH": node.part.stride, "strideW": node.part.stride}


def _convolution(made, node, inputs, weights):
    """It fuses an activation if nothing is added before; else the addition does."""
    (kernel, bias), (x, *added), activation = weights, inputs, node.part.activation
    fused = {"fusedActivationFunction": getattr(schema.ActivationFunctionType, FUSED.get(activation, "NONE"))}
    own = {} if added else fused
    name, options = "CONV_2D", ("Conv2DOptions", {**_geometry(node), **own})
    if len(node.shape) == 2:
        name, options, kernel = "FULLY_CONNECTED", ("FullyConnectedOptions", own), kernel[:, 0, 0]
    elif node.depthwise:
        name, kernel = "DEPTHWISE_CONV_2D", kernel[..., 0].transpose(1, 2, 0)[np.newaxis]
        options = "DepthwiseConv2DOptions", {**options[1], "depthMultiplier": 1}
    y = made.operator(name, [x, made.constant(kernel), made.constant(bias)], node.shape, options)
    if added:
        y = made.operator("ADD", [y, *added], node.shape, ("AddOptions", fused))
    if activation not in FUSED:
        y = made.operator(activation.upper(), [y], node.shape, (f"{activation.capitalize()}Options", {}))
    return y


def _shuffle(made, inputs, shape, groups):
    *outer, channels = shape
    split, swapped = [*outer, groups, channels // groups], [*outer, channels // groups, groups]
    y = _reshape(made, inputs, split)
    order = made.constant(np.array([0, 1, 2, 4, 3], np.int32))
    y = made.operator("TRANSPOSE", [y, order], swapped, ("TransposeOptions", {}))
    return _reshape(made, [y], shape)


def _reshape(made, inputs, shape):
    wanted = made.constant(np.array(shape, np.int32))
    return made.operator("RESHAPE", [*inputs, wanted], shape, ("ReshapeOptions", {"newShape": list(shape)}))
