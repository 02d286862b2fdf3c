"""LiteRT (TensorFlow Lite), which computes float convolutions by XNNPACK: a convolution with fused ReLU."""

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.problem import Forward


def conv2d(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One operator."""
    return invoked(problem, _model(problem))


def invoked(problem: Forward | BlockProblem, model: bytes) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """`invoke` alone, on a tensor that holds the pixels; or set_tensor, invoke, get_tensor."""
    interpreter = Interpreter(model_content=model, num_threads=problem.setting.threads)
    interpreter.allocate_tensors()
    x = interpreter.get_input_details()[0]["index"]
    y = interpreter.get_output_details()[0]["index"]

    def from_array_to_array():
        interpreter.set_tensor(x, problem.x)
        interpreter.invoke()
        return interpreter.get_tensor(y)

    if problem.setting.new_arrays:
        return from_array_to_array, from_array_to_array
    interpreter.set_tensor(x, problem.x)
    return interpreter.invoke, lambda: interpreter.get_tensor(y)


def _model(problem):
    """Weights and bias are buffers 1 and 2, buffer 0 is the empty one by convention."""
    layer, weight = problem.layer, problem.as_kernel(problem.weight)
    code = schema.OperatorCodeT()
    if problem.setting.kind == "depthwise":
        code.builtinCode, options = schema.BuiltinOperator.DEPTHWISE_CONV_2D, _depthwise()
        weight = problem.weight[np.newaxis]
    else:
        code.builtinCode, options = schema.BuiltinOperator.CONV_2D, schema.Conv2DOptionsT()
    code.deprecatedBuiltinCode = code.builtinCode
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(b"x", problem.x.shape, buffer=0),
        tensor(b"weight", weight.shape, buffer=1),
        tensor(b"bias", (layer.K,), buffer=2),
        tensor(b"y", layer.output_shape, buffer=0),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [_convolution(layer, options)]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), buffer(problem.weight), buffer(problem.bias)]
    return packed(model)


def packed(model: Any) -> bytes:  # schema.ModelT
    """The flatbuffer of a model."""
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _depthwise():
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    return options


def _convolution(layer, options):
    options.padding = schema.Padding.VALID if layer.kernel == (1, 1) else schema.Padding.SAME
    options.strideH = options.strideW = layer.stride
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    operator.builtinOptions = options
    return operator


def tensor(name: bytes, shape: Sequence[int], buffer: int) -> Any:  # schema.TensorT
    """A tensor whose values are in a buffer, or of the run if that is the empty one."""
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, list(shape), buffer
    made.type = schema.TensorType.FLOAT32
    return made


def buffer(array: NDArray[Any]) -> Any:  # schema.BufferT
    """A buffer that holds an array."""
    made = schema.BufferT()
    made.data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return made
