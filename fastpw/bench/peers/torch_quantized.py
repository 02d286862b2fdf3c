"""torch on integers: its quantized linear layer by oneDNN, and the dynamic one of its x86 engine."""

from collections.abc import Callable
from typing import Any

import torch

from fastpw.bench.peers.torch import start
from fastpw.bench.quantized_problem import Quantized


def onednn(problem: Quantized) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """quantized.linear_relu: uint8 pixels, int8 weights; a stride copies the pixels first."""
    packed = _packed(problem, "onednn", problem.bias * (problem.x_scale * problem.weight_scale))
    linear = torch.ops.quantized.linear_relu
    y_scale, y_zero_point = problem.y_scale, problem.y_zero_point + 128
    pixels = torch.from_numpy(problem.unsigned_x)

    def compute(pixels):
        x = torch._make_per_tensor_quantized_tensor(pixels, problem.x_scale, problem.x_zero_point + 128)
        return linear(_strided(problem, x), packed, y_scale, y_zero_point).int_repr().numpy()

    if problem.setting.new_arrays:
        return (lambda: compute(pixels)), (lambda: compute(pixels))
    x = torch._make_per_tensor_quantized_tensor(pixels, problem.x_scale, problem.x_zero_point + 128)
    return (lambda: linear(_strided(problem, x), packed, y_scale, y_zero_point)), lambda: compute(pixels)


def dynamic(problem: Quantized) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """quantized.linear_relu_dynamic: x is quantized as a whole."""
    packed = _packed(problem, "x86", problem.bias)
    linear = torch.ops.quantized.linear_relu_dynamic
    x = torch.from_numpy(problem.x)
    return (lambda: linear(_strided(problem, x), packed)), lambda: linear(
        _strided(problem, x), packed
    ).numpy()


def _packed(problem, engine, bias):
    """The weights in the engine's own layout."""
    start(problem)
    if engine not in torch.backends.quantized.supported_engines:
        raise RuntimeError(f"torch has no {engine} engine here")
    torch.backends.quantized.engine = engine
    scales = torch.from_numpy(problem.weight_scale).double()
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    weight = torch._make_per_channel_quantized_tensor(torch.from_numpy(problem.weight), scales, zeros, 0)
    return torch.ops.quantized.linear_prepack(weight, torch.from_numpy(bias).float())


def _strided(problem, x):
    step = problem.layer.stride
    return x if step == 1 else x[:, ::step, ::step].contiguous()
