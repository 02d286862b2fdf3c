"""Who computes a layer's result.

An implementation is a function of a Problem that does all that may be done once per layer (packing,
allocation) and returns the function to time, which computes the layer and returns its result: in an array of
its own, or in a new one for each call (`out` is None). A new row here appears in the pytest suite, and in the
table, the summary, the JSON and the plot of `fastpw bench` if SHOWN names it.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import fastpw
from fastpw.bench import backward, windowed
from fastpw.bench.problem import Forward
from fastpw.bench.quantized_problem import IN_FLOAT32, Quantized
from fastpw.bench.setting import Setting

Run: TypeAlias = Callable[[], Any]
Table: TypeAlias = dict[str, Callable[..., Run]]

SHOWN = ("einsum", "numpy", "fastpw", IN_FLOAT32)


def einsum(problem: Forward, optimize: bool = False) -> Run:
    """np.einsum as it is first written down, then bias and ReLU in place."""
    pixels, weight, bias, out = problem.pixels, problem.weight, problem.bias, problem.out()

    def run():
        y = np.einsum("nhwc,kc->nhwk", pixels, weight, out=out, optimize=optimize)
        np.add(y, bias, out=y)
        return np.maximum(y, 0, out=y)

    return run


def einsum_optimize(problem: Forward) -> Run:
    """The same, with NumPy looking for a better way."""
    return einsum(problem, optimize=True)


def numpy_matmul(problem: Forward) -> Run:
    """NumPy at its best: one BLAS call over all pixels, and nothing allocated but the result."""
    pixels, bias, out = problem.pixels, problem.bias, problem.out()
    weight = np.ascontiguousarray(problem.weight.T)
    out_rows = None if out is None else out.reshape(-1, out.shape[-1])

    def run():
        # (of a strided layer reshape copies the pixels, which is still faster than a BLAS call per image row)
        rows = np.matmul(pixels.reshape(-1, pixels.shape[-1]), weight, out=out_rows)
        np.add(rows, bias, out=rows)
        np.maximum(rows, 0, out=rows)
        return rows.reshape(problem.layer.output_shape)

    return run


def fastpw_layer(problem: Forward) -> Run:
    """fastpw.Conv1x1, its weights packed once."""
    layer = fastpw.Conv1x1(problem.weight, problem.bias, stride=problem.layer.stride, activation="relu")
    x, out = problem.x, problem.out()
    return lambda: layer(x, out=out)


def fastpw_function(problem: Forward) -> Run:
    """fastpw.conv1x1, which packs its weights at each call."""
    x, weight, bias, out = problem.x, problem.weight, problem.bias, problem.out()
    stride = problem.layer.stride
    return lambda: fastpw.conv1x1(x, weight, bias, stride=stride, activation="relu", out=out)


def in_float32(problem: Quantized) -> Run:
    """The layer before it was quantized, by fastpw.Conv1x1."""
    return fastpw_layer(problem.real)


def fastpw_integers(problem: Quantized) -> Run:
    """fastpw.QConv1x1, its weights packed once."""
    options = {"weight_scale": problem.weight_scale, "stride": problem.layer.stride, "activation": "relu"}
    if not problem.setting.dynamic:
        options |= {"x_scale": problem.x_scale, "x_zero_point": problem.x_zero_point}
        options |= {"y_scale": problem.y_scale, "y_zero_point": problem.y_zero_point}
    layer = fastpw.QConv1x1(problem.weight, problem.bias, **options)
    x, out = problem.x, problem.out()
    return lambda: layer(x, out=out)


FORWARD: Table = {
    "einsum": einsum,
    "einsum(optimize)": einsum_optimize,
    "numpy": numpy_matmul,
    "fastpw": fastpw_layer,
    "fastpw.conv1x1": fastpw_function,
}
BACKWARD: Table = {
    "einsum": backward.einsum,
    "numpy": backward.numpy_matmul,
    "fastpw": backward.fastpw_gradients,
}
INTEGERS: Table = {IN_FLOAT32: in_float32, "fastpw": fastpw_integers}

DENSE: Table = {"numpy": windowed.dense_numpy, "fastpw": windowed.fastpw_layer}
DEPTHWISE: Table = {"numpy": windowed.depthwise_numpy, "fastpw": windowed.fastpw_layer}
DENSE_BACKWARD: Table = {"numpy": windowed.dense_numpy_backward, "fastpw": windowed.fastpw_gradients}
DEPTHWISE_BACKWARD: Table = {"numpy": windowed.depthwise_numpy_backward, "fastpw": windowed.fastpw_gradients}
TABLES: dict[str, tuple[Table, Table]] = {
    "pointwise": (FORWARD, BACKWARD),
    "dense": (DENSE, DENSE_BACKWARD),
    "depthwise": (DEPTHWISE, DEPTHWISE_BACKWARD),
}


def table(setting: Setting) -> Table:
    """The implementations of the kind and the pass that are measured, by name."""
    return INTEGERS if setting.in_integers else TABLES[setting.kind][setting.backward]


def shown(setting: Setting) -> Table:
    """Those of `fastpw bench`."""
    return {name: prepare for name, prepare in table(setting).items() if name in SHOWN}
