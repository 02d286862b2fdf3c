"""Who computes layers whose pixels look at their neighbours: as implementations.py, and as backward.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fastpw
from fastpw.bench.problem import Forward
from fastpw.bench.windowed_problem import WindowedBackward
from fastpw.bench.windows import Phases, Rows


def dense_numpy(problem: Forward) -> Callable[[], Any]:
    """Windows copied to rows, then one BLAS call over all of them."""
    windows, bias, out, K = Rows(problem), problem.bias, problem.out(), problem.layer.K
    weight = np.ascontiguousarray(problem.weight.reshape(K, -1).T)
    out_rows = None if out is None else out.reshape(-1, K)

    def run():
        rows = np.matmul(windows.copy(), weight, out=out_rows)
        np.add(rows, bias, out=rows)
        np.maximum(rows, 0, out=rows)
        return rows.reshape(problem.layer.output_shape)

    return run


def depthwise_numpy(problem: Forward) -> Callable[[], Any]:
    """Products of shifted views, summed tap by tap."""
    phases, x, out = Phases(problem), problem.x, problem.out()
    bias, weights = phases.along_rows(problem.bias), _tap_rows(phases, problem.weight)

    def run():
        y = np.empty(problem.layer.output_shape, x.dtype) if out is None else out
        rows = phases.as_rows(y)
        phases.read(x)
        for block, seen in phases.blocks:
            into = rows[block]
            product = phases.product[: len(into)]
            into[...] = bias
            for pixels, weight in zip(seen, weights, strict=True):
                np.multiply(pixels, weight, out=product)
                np.add(into, product, out=into)
            np.maximum(into, 0, out=into)
        return y

    return run


def _tap_rows(phases, weight):
    return phases.along_rows(weight.reshape(-1, weight.shape[-1]))


def fastpw_layer(problem: Forward) -> Callable[[], Any]:
    """fastpw.Conv2d or DepthwiseConv2d, its weights packed once."""
    kind = fastpw.DepthwiseConv2d if problem.setting.kind == "depthwise" else fastpw.Conv2d
    options = {"stride": problem.layer.stride, "padding": "same", "activation": "relu"}
    layer = kind(problem.weight, problem.bias, **options)
    x, out = problem.x, problem.out()
    return lambda: layer(x, out=out)


# ---- gradients -------------------------------------------------------------------------------------------


def _relu_backward(problem):
    """A function that makes dz, always in the same memory."""
    dy, y = problem.dy, problem.y
    mask, dz = np.empty(y.shape, bool), np.empty_like(y)

    def run():
        np.greater(y, 0, out=mask)
        return np.multiply(dy, mask, out=dz)

    return run


def _new_arrays(problem):
    return tuple(map(np.empty_like, (problem.x, problem.weight, problem.bias)))


def dense_numpy_backward(problem: WindowedBackward) -> Callable[[], Any]:
    """Two BLAS calls over windows as rows; what each window gives is added up tap by tap."""
    layer, windows, relu, out = problem.layer, Rows(problem), _relu_backward(problem), problem.out()
    weight = problem.weight.reshape(layer.K, -1)
    drows = np.empty((layer.P, weight.shape[1]), weight.dtype)
    by_tap = drows.reshape(*layer.output_shape[:3], *layer.kernel, layer.C)
    dpadded = problem.padded(problem.x)
    (top, _), (left, _) = layer.sides
    inner = dpadded[:, top : top + layer.H, left : left + layer.W]

    def run():
        dx, dweight, dbias = out or _new_arrays(problem)
        dz = relu().reshape(layer.P, layer.K)
        np.matmul(dz.T, windows.copy(), out=dweight.reshape(weight.shape))
        np.matmul(dz, weight, out=drows)
        dpadded.fill(0)
        for i, j, into in problem.taps(dpadded):
            np.add(into, by_tap[..., i, j, :], out=into)
        dx[...] = inner
        np.sum(dz, axis=0, out=dbias)
        return dx, dweight, dbias

    return run


def depthwise_numpy_backward(problem: WindowedBackward) -> Callable[[], Any]:
    """Products of dz with shifted views for dweight, and with the weights for dx, added to shifted views."""
    phases, dphases, relu, out = Phases(problem), Phases(problem), _relu_backward(problem), problem.out()
    weights = _tap_rows(phases, problem.weight)
    sums, row = np.empty_like(weights), np.empty_like(weights[0])

    def run():
        dx, dweight, dbias = out or _new_arrays(problem)
        dz = relu()
        rows = phases.as_rows(dz)
        phases.read(problem.x)
        dphases.images.fill(0)
        sums.fill(0)
        for (block, seen), (_, dseen) in zip(phases.blocks, dphases.blocks, strict=True):
            some = rows[block]
            product = phases.product[: len(some)]
            for pixels, into, weight, total in zip(seen, dseen, weights, sums, strict=True):
                np.multiply(some, pixels, out=product)
                np.add(total, np.add.reduce(product, axis=0, out=row), out=total)
                np.multiply(some, weight, out=product)
                np.add(into, product, out=into)
        dphases.write(dx)
        np.sum(sums.reshape(*dweight.shape[:2], -1, dweight.shape[2]), axis=2, out=dweight)
        np.sum(dz, axis=(0, 1, 2), out=dbias)
        return dx, dweight, dbias

    return run


def fastpw_gradients(problem: WindowedBackward) -> Callable[[], Any]:
    """fastpw.conv2d_backward or depthwise_conv2d_backward, of which all three are asked."""
    depthwise = problem.setting.kind == "depthwise"
    function = fastpw.depthwise_conv2d_backward if depthwise else fastpw.conv2d_backward
    arrays = problem.dy, problem.x, problem.weight, problem.bias
    options = {"y": problem.y, "stride": problem.layer.stride, "padding": "same", "activation": "relu"}
    out = problem.out()
    if out is not None:
        options["out"] = (*out, None)  # (no dresidual)
    return lambda: function(*arrays, **options)[:3]
