"""LiteRT on integers: one convolution with scales, or one that quantizes float32 rows on the way in.

XNNPACK takes both. Weights have a scale for each output channel and the zero point 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from fastpw.bench.peers.litert import buffer, invoked, packed
from fastpw.bench.quantized_problem import Quantized

TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}
ACTIVATIONS: dict[str | None, int] = {
    None: schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


def conv2d(problem: Quantized) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One operator on int8."""
    bias_scale = np.float32(problem.x_scale) * problem.weight_scale
    parts = [
        tensor(b"x", problem.x.shape, problem.x.dtype, problem.x_scale, problem.x_zero_point),
        tensor(b"weight", problem.kernel.shape, problem.weight.dtype, problem.weight_scale),
        tensor(b"bias", problem.bias.shape, problem.bias.dtype, bias_scale),
        tensor(b"y", problem.output_shape, problem.x.dtype, problem.y_scale, problem.y_zero_point),
    ]
    arrays = problem.kernel, problem.bias
    return invoked(problem, one_convolution(parts, arrays, problem.layer.stride, "relu"))


def dynamic(problem: Quantized) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One operator on float32 with weights in int8."""
    parts = [
        tensor(b"x", problem.x.shape, problem.x.dtype),
        tensor(b"weight", problem.kernel.shape, problem.weight.dtype, problem.weight_scale),
        tensor(b"bias", problem.bias.shape, problem.bias.dtype),
        tensor(b"y", problem.output_shape, problem.x.dtype),
    ]
    arrays = problem.kernel, problem.bias
    return invoked(problem, one_convolution(parts, arrays, problem.layer.stride, "relu"))


def tensor(
    name: bytes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    scale: float | NDArray[np.float32] | None = None,
    zero_point: int = 0,
) -> Any:  # schema.TensorT
    """A tensor; an array of scales has one for each index along the first axis."""
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, list(shape), TYPES[dtype], 0
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        made.quantization.scale = scales
        made.quantization.zeroPoint = np.full(scales.size, zero_point, np.int64)
        made.quantization.quantizedDimension = 0
    return made


def one_convolution(
    tensors: list[Any],
    constants: tuple[NDArray[Any], NDArray[Any]],
    stride: int,
    activation: str | None,
) -> bytes:
    """The flatbuffer of a model of one CONV_2D of the tensors x, weight, bias and y.

    Weights and bias are buffers 1 and 2, buffer 0 is the empty one by convention.
    """
    for number, one in enumerate(tensors[1:3], start=1):
        one.buffer = number
    code, operator, options = schema.OperatorCodeT(), schema.OperatorT(), schema.Conv2DOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = stride
    options.fusedActivationFunction = ACTIVATIONS[activation]
    operator.inputs, operator.outputs, operator.builtinOptions = [0, 1, 2], [3], options
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [3], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), *map(buffer, constants)]
    return packed(model)
