"""Who computes a layer's gradients: as implementations.py, but the result is (dx, dweight, dbias)."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fastpw
from fastpw.bench.problem import Backward


def _new_arrays(problem):
    """dx (0 where the stride skips pixels), dweight, dbias."""
    allocate = np.zeros_like if problem.layer.stride > 1 else np.empty_like
    return allocate(problem.x), np.empty_like(problem.weight), np.empty_like(problem.bias)


def einsum(problem: Backward) -> Callable[[], Any]:
    """The formulas as they are first written down."""
    dy, y, pixels, weight, out = problem.dy, problem.y, problem.pixels, problem.weight, problem.out()

    def run():
        dx, dweight, dbias = out or _new_arrays(problem)
        dz = dy * (y > 0)
        np.einsum("nhwk,kc->nhwc", dz, weight, out=problem.at_pixels(dx))
        np.einsum("nhwk,nhwc->kc", dz, pixels, out=dweight)
        np.einsum("nhwk->k", dz, out=dbias)
        return dx, dweight, dbias

    return run


def numpy_matmul(problem: Backward) -> Callable[[], Any]:
    """NumPy at its best: mask, two BLAS calls, sum; nothing allocated but the results."""
    dy, y, pixels, weight, out = problem.dy, problem.y, problem.pixels, problem.weight, problem.out()
    mask, dz = np.empty(y.shape, bool), np.empty_like(y)
    dz_rows = dz.reshape(-1, dz.shape[-1])
    strided = problem.layer.stride > 1

    def run():
        dx, dweight, dbias = out or _new_arrays(problem)
        np.greater(y, 0, out=mask)
        np.multiply(dy, mask, out=dz)
        if strided:
            problem.at_pixels(dx)[...] = np.matmul(dz_rows, weight).reshape(pixels.shape)
        else:
            np.matmul(dz_rows, weight, out=dx.reshape(-1, dx.shape[-1]))
        np.matmul(dz_rows.T, pixels.reshape(-1, pixels.shape[-1]), out=dweight)
        np.sum(dz_rows, axis=0, out=dbias)
        return dx, dweight, dbias

    return run


def fastpw_gradients(problem: Backward) -> Callable[[], Any]:
    """fastpw.conv1x1_backward: all three in one walk."""
    arrays = problem.dy, problem.x, problem.weight, problem.bias
    options = {"y": problem.y, "stride": problem.layer.stride, "activation": "relu"}
    out = problem.out()
    if out is not None:
        options["out"] = (*out, None)  # (no dresidual)
    return lambda: fastpw.conv1x1_backward(*arrays, **options)[:3]
