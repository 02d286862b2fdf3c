"""The specification itself: against plain loops, and its gradients against central differences."""

from itertools import product

import numpy as np
import pytest

from fastpw import _activations, reference


def loops(x, weight, bias, residual, stride, padding, groups):
    """z, one number at a time."""
    (sh, sw), ((top, bottom), (left, right)) = stride, padding
    N, H, W, C = x.shape
    K = len(weight)
    z = np.empty((N, (H + top + bottom - 1) // sh + 1, (W + left + right - 1) // sw + 1, K))
    for n, i, j, k in np.ndindex(*z.shape):
        row, column, first = i * sh - top, j * sw - left, k // (K // groups) * (C // groups)
        z[n, i, j, k] = bias[k] + residual[n, i, j, k]
        if 0 <= row < H and 0 <= column < W:
            z[n, i, j, k] += sum(x[n, row, column, first + c] * weight[k, c] for c in range(C // groups))
    return z


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((2, 1), (0, 3))])
def test_forward_is_the_loops(groups, stride, padding, rng):
    x, weight, bias = (
        rng.standard_normal((2, 3, 4, 4)),
        rng.standard_normal((8, 4 // groups)),
        rng.standard_normal(8),
    )
    options = {"stride": stride, "padding": padding, "groups": groups}
    residual = rng.standard_normal(reference.preactivation(x, weight, **options).shape)
    z = reference.preactivation(x, weight, bias, residual=residual, **options)
    assert np.allclose(z, loops(x, weight, bias, residual, **options), rtol=1e-13, atol=1e-13)
    y = reference.conv1x1(x, weight, bias, residual=residual, activation="relu", **options)
    assert np.array_equal(y, np.maximum(z, 0))


def slopes(function, array, h=1e-6):
    """Central differences of a scalar function by each element of an array, which is changed and restored."""
    gradient = np.empty_like(array)
    for at in np.ndindex(array.shape):
        value = array[at]
        array[at] = value + h
        above = function()
        array[at] = value - h
        below = function()
        array[at] = value
        gradient[at] = (above - below) / (2 * h)
    return gradient


OPTIONS = [
    {"stride": 1, "padding": 0, "groups": 1, "weight_layout": "OI"},
    {"stride": (2, 1), "padding": ((0, 1), (2, 0)), "groups": 1, "weight_layout": "OIHW"},
    {"stride": (1, 3), "padding": 1, "groups": 2, "weight_layout": "HWIO"},
    {"stride": 2, "padding": "same", "groups": 4, "weight_layout": "OHWI"},
    {"stride": 1, "padding": 0, "groups": 2, "weight_layout": "IO"},
]


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["weight_layout"])
def test_gradients_are_the_slopes(row, options, rng):
    x, bias = rng.standard_normal((2, 4, 3, 4)), rng.standard_normal(4)
    weight = rng.standard_normal((4, 4 // options["groups"]))
    weight = {
        "OI": weight,
        "OIHW": weight[:, :, None, None],
        "HWIO": weight.T[None, None],
        "IO": weight.T,
        "OHWI": weight[:, None, None, :],
    }[options["weight_layout"]]
    z = reference.preactivation(x, weight, bias, **options)
    residual, dy = rng.standard_normal(z.shape), rng.standard_normal(z.shape)
    arrays = {"x": x, "weight": weight, "bias": bias, "residual": residual}

    def loss():
        return np.sum(dy * reference.conv1x1(**arrays, activation=row.spec, **options))

    gradients = reference.conv1x1_backward(dy, **arrays, activation=row.spec, **options)
    for name, array in arrays.items():
        gradient = getattr(gradients, f"d{name}")
        assert gradient.shape == array.shape
        assert np.allclose(gradient, slopes(loss, array), rtol=1e-6, atol=1e-6), name


def test_gradients_take_the_pre_activation_that_is_given(rng):
    x, weight, dy = rng.standard_normal((5, 3)), rng.standard_normal((2, 3)), np.ones((5, 2))
    z = reference.preactivation(x, weight)
    given = reference.conv1x1_backward(dy, x, weight, z=z, activation="silu")
    computed = reference.conv1x1_backward(dy, x, weight, activation="silu")
    for a, b in zip(given, computed, strict=True):
        assert np.array_equal(a, b)
    assert not reference.conv1x1_backward(dy, x, weight, z=np.zeros_like(z), activation="relu").dx.any()


def test_activations_are_their_definitions():
    """Written otherwise than in reference.py, where nothing cancels."""
    z = np.linspace(-5, 5, 101)
    sigmoid = 1 / (1 + np.exp(-z))
    definitions = {
        "relu": np.where(z > 0, z, 0),
        "relu6": np.minimum(np.maximum(z, 0), 6),
        "clip": np.minimum(np.maximum(z, -1.5), 2.25),
        "leaky_relu": np.where(z > 0, z, z / 8),
        "hard_sigmoid": np.minimum(np.maximum(z / 6 + 0.5, 0), 1),
        "hard_swish": z * np.minimum(np.maximum(z / 6 + 0.5, 0), 1),
        "sigmoid": sigmoid,
        "tanh": 2 / (1 + np.exp(-2 * z)) - 1,
        "silu": z * sigmoid,
        "gelu_tanh": 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
        "linear": z,
        "gelu": z * np.array([_normal_cdf(at) for at in z]),
    }
    assert definitions.keys() == _activations.BY_NAME.keys()
    for name, y in definitions.items():
        assert np.allclose(
            reference.activate(z, _activations.BY_NAME[name].spec), y, rtol=1e-12, atol=1e-12
        ), name


def _normal_cdf(z):
    """By Simpson's rule."""
    t, h = np.linspace(0, z, 2001, retstep=True)
    density = np.exp(-t * t / 2) / np.sqrt(2 * np.pi)
    return 0.5 + h / 3 * (density[0] + density[-1] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum())


def test_limits_at_infinity():
    for row, at in product(_activations.TABLE, (np.inf, -np.inf)):
        limit = reference.activate(np.copysign(1e30, at), row.spec)
        if abs(limit) > 1e20:
            limit = np.copysign(np.inf, limit)
        assert reference.activate(at, row.spec) == limit, row.name
