"""OpenVINO: MatMul or a convolution, Add and ReLU, which it fuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.problem import Forward


def matmul(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A pointwise layer as a product of its pixels."""
    layer = problem.layer
    x = pixels = ops.parameter(problem.x.shape, np.float32, "x")
    if layer.stride > 1:
        every = [1, layer.stride, layer.stride, 1]
        pixels = ops.strided_slice(x, [0] * 4, list(problem.x.shape), every, [0] * 4, [0] * 4)
    products = ops.matmul(pixels, ops.constant(problem.weight), False, True)
    return request(problem, x, ops.relu(ops.add(products, ops.constant(problem.bias))))


def convolution(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A layer of any kind, between transpositions that it makes part of its own layout."""
    layer, groups = problem.layer, problem.groups
    x = ops.parameter(problem.x.shape, np.float32, "x")
    weight = problem.as_kernel(problem.weight).transpose(0, 3, 1, 2)
    operator = ops.convolution
    if groups > 1:
        weight = weight.reshape(groups, layer.K // groups, *weight.shape[1:])
        operator = ops.group_convolution
    products = operator(
        ops.transpose(x, ops.constant([0, 3, 1, 2])),
        ops.constant(np.ascontiguousarray(weight)),
        strides=[layer.stride] * 2,
        pads_begin=[before for before, _ in layer.sides],
        pads_end=[after for _, after in layer.sides],
        dilations=[1, 1],
    )
    y = ops.relu(ops.add(products, ops.constant(problem.bias.reshape(1, layer.K, 1, 1))))
    return request(problem, x, ops.transpose(y, ops.constant([0, 2, 3, 1])))


def compiled(threads: int, x: Any, result: Any) -> Any:  # openvino.InferRequest
    """An infer request of the model from `x` to `result`."""
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the CPU has it
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    model = openvino.Model([result], [x], "layer")
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


def request(
    problem: Forward | BlockProblem, x: Any, result: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """An infer request bound to the pixels and to an array of its own, or to a new one for each call."""
    infer_request = compiled(problem.setting.threads, x, result)

    def bind(x, y):
        infer_request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        infer_request.set_output_tensor(openvino.Tensor(y, shared_memory=True))

    def from_array_to_array():
        y = np.empty(problem.output_shape, np.float32)
        bind(problem.x, y)
        infer_request.infer(share_outputs=True)
        return y

    if problem.setting.new_arrays:
        return from_array_to_array, from_array_to_array
    y = problem.out()
    bind(problem.x, y)
    return lambda: infer_request.infer(share_outputs=True), lambda: y
