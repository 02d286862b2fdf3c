"""OpenVINO on integers: a product between what turns uint8 into real numbers and back, which it fuses.

Its oneDNN saturates at 16 bits on CPUs without VNNI.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from fastpw.bench.peers.openvino import compiled
from fastpw.bench.quantized_problem import Quantized


def matmul(problem: Quantized) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Real numbers as the graph has them are integers when it runs."""
    layer = problem.layer
    x = ops.parameter(problem.x.shape, np.uint8, "x")
    centred = ops.subtract(ops.convert(x, "f32"), _float32(problem.x_zero_point + 128))
    pixels = ops.multiply(centred, _float32(problem.x_scale))
    if layer.stride > 1:
        every = [1, layer.stride, layer.stride, 1]
        pixels = ops.strided_slice(pixels, [0] * 4, list(problem.x.shape), every, [0] * 4, [0] * 4)
    weight = ops.convert(ops.constant(problem.weight), "f32")
    weight = ops.multiply(weight, ops.constant(problem.weight_scale[:, np.newaxis]))
    bias = _float32(problem.bias * (np.float32(problem.x_scale) * problem.weight_scale))
    y = ops.relu(ops.add(ops.matmul(pixels, weight, False, True), bias))
    zero_point = problem.y_zero_point + 128
    ends = [_float32((end - zero_point) * problem.y_scale) for end in (0, 255)]
    integers = ops.fake_quantize(y, *ends, _float32(0), _float32(255), 256)
    return _bound(problem, compiled(problem.setting.threads, x, ops.convert(integers, "u8")))


def _float32(value):
    return ops.constant(np.asarray(value, np.float32))


def _bound(problem, request):
    """To the pixels and to an array of its own, or to a new one for each call."""
    x = problem.unsigned_x

    def bind(y):
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(y, shared_memory=True))

    def from_array_to_array():
        y = np.empty(problem.output_shape, np.uint8)
        bind(y)
        request.infer(share_outputs=True)
        return y

    if problem.setting.new_arrays:
        return from_array_to_array, from_array_to_array
    y = problem.own(np.uint8)
    bind(y)

    def run(held=x):  # which the request does not hold
        request.infer(share_outputs=True)

    return run, lambda: y
