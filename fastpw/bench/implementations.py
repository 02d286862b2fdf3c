"""Who computes a layer.

An implementation is a function of a Problem that does all that may be done once per layer (packing,
allocation) and returns the function to time, which computes the layer and returns its result. A new row here
appears in the table, the summary, the JSON and the plot.
"""

import numpy as np

import fastpw


def einsum(problem):
    """np.einsum as it is first written down, then bias and ReLU in place."""
    pixels, weight, bias, y = problem.pixels, problem.weight, problem.bias, problem.new_output()

    def run():
        np.einsum("nhwc,kc->nhwk", pixels, weight, out=y)
        np.add(y, bias, out=y)
        return np.maximum(y, 0, out=y)

    return run


def numpy_matmul(problem):
    """NumPy at its best: one BLAS call over all pixels, nothing allocated."""
    pixels, bias, y = problem.pixels, problem.bias, problem.new_output()
    weight = np.ascontiguousarray(problem.weight.T)
    rows = y.reshape(-1, y.shape[-1])

    def run():
        # (of a strided layer reshape copies the pixels, which is still faster than a BLAS call per image row)
        np.matmul(pixels.reshape(-1, pixels.shape[-1]), weight, out=rows)
        np.add(rows, bias, out=rows)
        np.maximum(rows, 0, out=rows)
        return y

    return run


def fastpw_layer(problem):
    """fastpw.Conv1x1, its weights packed once."""
    layer = fastpw.Conv1x1(problem.weight, problem.bias, stride=problem.layer.stride, activation="relu")
    x, y = problem.x, problem.new_output()
    return lambda: layer(x, out=y)


FORWARD = {"einsum": einsum, "numpy": numpy_matmul, "fastpw": fastpw_layer}
