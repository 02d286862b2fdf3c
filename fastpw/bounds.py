"""How far a result may lie from the reference: the promise on values, as a formula.

A dot product of n terms in floating point, in whatever order it is summed, is within γ_n·Σ|terms| of the
exact one, γ_n = n·u / (1 - n·u) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1). Here
n = C + 2: the products, the bias and the residual.
"""

from __future__ import annotations

import numpy as np

from . import activations, reference


def _gamma(n, dtype):
    unit = np.finfo(dtype).eps / 2
    return n * unit / (1 - n * unit)


def _magnitude(array):
    return None if array is None else np.abs(np.asarray(array, np.float64))


def promise(x, weight, bias=None, *, groups=1, activation=None, residual=None, **geometry):
    """The reference's y, and how far from it a result in the dtype of ``x`` may lie; both float64.

    The arguments are those of reference.conv1x1.
    """
    dtype = np.asarray(x).dtype
    z = reference.preactivation(x, weight, bias, groups=groups, residual=residual, **geometry)
    arrays = (_magnitude(array) for array in (x, weight, bias))
    terms = reference.preactivation(*arrays, groups=groups, residual=_magnitude(residual), **geometry)
    y = reference.activate(z, activation)
    row, parameters = activations.find(activation)
    own = getattr(row, dtype.name)
    steepest = max(row.steepest, *parameters) if row.name == "leaky_relu" else row.steepest
    with np.errstate(invalid="ignore"):
        # Twice, because the reference rounds too: in float64, which counts when the result is float64 itself.
        allowed = 2 * steepest * _gamma(np.shape(x)[-1] // groups + 2, dtype) * terms
        return y, allowed + own.ulps * np.finfo(dtype).eps * np.abs(y) + own.absolute


def excess(result, y, allowed):
    """The largest ``|result - y| / allowed``: at most 1 if the promise holds.

    Where only one of them is NaN or infinite, it is inf.
    """
    with np.errstate(all="ignore"):
        ratio = np.abs(result - y) / allowed
    same = (result == y) | (np.isnan(result) & np.isnan(y))
    ratio = np.where(same, 0, np.where(np.isnan(ratio), np.inf, ratio))
    return float(ratio.max(initial=0))
