"""How far a result may lie from the reference: the promise on values, as a formula.

A dot product of n terms in floating point, in whatever order it is summed, is within γ_n·Σ|terms| of the
exact one, γ_n = n·u / (1 - n·u) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1). Here
n = C + 2: the products, the bias and the residual.
"""

from __future__ import annotations

import numpy as np

from . import _activations, reference


def gamma(n, dtype):
    unit = np.finfo(dtype).eps / 2
    return n * unit / (1 - n * unit)


def _magnitude(array):
    return None if array is None else np.abs(np.asarray(array, np.float64))


def _steepest(row, parameters):
    return max(row.steepest, *parameters) if row.name == "leaky_relu" else row.steepest


def promise(x, weight, bias=None, *, groups=1, activation=None, residual=None, **geometry):
    """The reference's y, and how far from it a result in the dtype of ``x`` may lie; both float64.

    The arguments are those of reference.conv1x1.
    """
    dtype = np.asarray(x).dtype
    z = reference.preactivation(x, weight, bias, groups=groups, residual=residual, **geometry)
    arrays = (_magnitude(array) for array in (x, weight, bias))
    terms = reference.preactivation(*arrays, groups=groups, residual=_magnitude(residual), **geometry)
    y = reference.activate(z, activation)
    return y, _allowed(y, gamma(np.shape(x)[-1] // groups + 2, dtype) * terms, activation, dtype)


def promise_windowed(exact, x, weight, bias=None, *, activation=None, residual=None, **options):
    """The same of the reference's conv2d or depthwise_conv2d; n is the taps x channels of a group + 2."""
    dtype = np.asarray(x).dtype
    y = exact(x, weight, bias, residual=residual, activation=activation, **options)
    arrays = (_magnitude(array) for array in (x, weight, bias))
    terms = exact(*arrays, residual=_magnitude(residual), **options)
    ones = (np.ones_like(np.asarray(array), np.float64) for array in (x, weight))
    n = exact(*ones, **{**options, "padding": "valid"}).max(initial=0) if np.size(x) else 0
    return y, _allowed(y, gamma(n + 2, dtype) * terms, activation, dtype)


def _allowed(y, of_z, activation, dtype):
    """How far a result may lie from y, if its pre-activation may lie so far off."""
    row, parameters = _activations.find(activation)
    own = getattr(row, dtype.name)
    with np.errstate(invalid="ignore"):
        # Twice, because the reference rounds too: in float64, which counts when the result is float64 itself.
        allowed = 2 * _steepest(row, parameters) * of_z
        return allowed + own.ulps * np.finfo(dtype).eps * np.abs(y) + own.absolute


# What z's error does to a derivative (max |act''| < 1; read off y, twice that), and its own roundings.
SLOPE_PER_Z = 2
SLOPE_ULPS = 16


def promise_gradients(dy, x, weight, bias=None, *, activation=None, residual=None, **geometry):
    """The reference's gradients, and how far from each of them a result may lie; both reference.Gradients.

    y or z, where a derivative is read from one, are those of conv1x1. The arguments are those of
    reference.conv1x1_backward.
    """
    dtype = np.asarray(dy).dtype
    exact = reference.conv1x1_backward(
        dy, x, weight, bias, activation=activation, residual=residual, **geometry
    )
    z, z_allowed = promise(x, weight, bias, residual=residual, **geometry)
    slope_allowed = _slope_allowed(z, z_allowed, activation, np.finfo(dtype).eps)
    _, x, weight = magnitudes = [_magnitude(array) for array in (exact.dresidual, x, weight)]
    with np.errstate(all="ignore"):
        terms = reference.conv1x1_backward(*magnitudes, **geometry)
        carried = reference.conv1x1_backward(_magnitude(dy) * slope_allowed, x, weight, **geometry)
        filters, pixels = exact.dbias.size // geometry.get("groups", 1), exact.dresidual[..., :1].size
        allowed = (
            2 * gamma(n + 2, dtype) * own + due_to_dz
            for n, own, due_to_dz in zip((filters, pixels, pixels, 0), terms, carried, strict=True)
        )
        return exact, reference.Gradients(*allowed)


def _slope_allowed(z, z_allowed, activation, eps):
    """How far from the reference act'(z) may lie: at a kink that z may have crossed, on its other side."""
    row, parameters = _activations.find(activation)
    steepest = _steepest(row, parameters)
    if row.name == "linear":
        return np.zeros_like(z)
    alpha, beta = (*parameters, 0)[:2] if parameters else (row.alpha, row.beta)
    kinks = row.kinks(alpha, beta)
    # Read off y, and with kinks, it is a step function: between them z does not matter.
    bends = 0 if kinks and row.gradient_from == "y" else SLOPE_PER_Z
    allowed = bends * z_allowed + SLOPE_ULPS * eps * steepest
    for kink in kinks:
        near = np.abs(z - kink) <= z_allowed + SLOPE_ULPS * eps * abs(kink)
        allowed = np.where(near, allowed + steepest, allowed)
    return allowed


def excess(result, y, allowed):
    """The largest ``|result - y| / allowed``: at most 1 if the promise holds.

    Where only one of them is NaN or infinite, it is inf.
    """
    with np.errstate(all="ignore"):
        ratio = np.abs(result - y) / allowed
    same = (result == y) | (np.isnan(result) & np.isnan(y))
    ratio = np.where(same, 0, np.where(np.isnan(ratio), np.inf, ratio))
    return float(ratio.max(initial=0))
