"""The derivative of every activation: by central differences, and at the kinks as the table states."""

import numpy as np
import pytest

import fastpw
from fastpw import _activations

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

each_row = pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)


def far_from_kinks(z, row, distance):
    """z, moved where an activation has a kink nearby."""
    for kink in row.kinks(row.alpha, row.beta):
        z = np.where(np.abs(z - kink) < distance, kink + distance, z)
    return z


@each_row
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((5,), {}),
        ((4, 5), {"stride": 2, "padding": 1}),
        ((2, 3, 4), {"stride": (1, 3), "padding": ((0, 2), (1, 0)), "groups": 2}),
        ((3, 4), {"groups": 6}),
    ],
    ids=str,
)
def test_central_differences(row, shape, options, rng):
    """The gradients of sum(y * dy) by every element of x, weight, bias and residual."""
    groups, step = options.get("groups", 1), 1e-6
    options = options | {"activation": row.spec}
    x, weight, bias = (rng.standard_normal(s) for s in ((*shape, 6), (6, 6 // groups), 6))
    # The residual brings z where it is wanted: over all the bends, and off the kinks.
    z = np.zeros_like(fastpw.conv1x1(x, weight, bias, **options))
    fastpw.conv1x1(x, weight, bias, out_z=z, **options)
    residual = far_from_kinks(rng.uniform(-4, 4, z.shape), row, 1e-3) - z
    dy = rng.standard_normal(z.shape)

    grads = fastpw.conv1x1_backward(
        dy, x, weight, bias, residual=residual, wrt=("x", "weight", "bias", "residual"), **options
    )
    for name, array, gradient in zip(grads._fields, (x, weight, bias, residual), grads, strict=True):
        for at in np.ndindex(array.shape):
            value, loss = array[at], []
            for array[at] in (value - step, value + step):
                loss.append(np.sum(fastpw.conv1x1(x, weight, bias, residual=residual, **options) * dy))
            array[at] = value
            assert np.isclose(np.diff(loss)[0] / (2 * step), gradient[at], rtol=1e-6, atol=1e-7), (name, at)


def derivative(z, row, given, channels=1):
    """Ours, in a column of z: of y = act(z), from one source."""
    z = np.repeat(z[:, None], channels, axis=1)
    ones, options = np.ones((channels, 1), z.dtype), {"activation": row.spec, "groups": channels}
    made = {"y": fastpw.conv1x1(z, ones, **options), "z": z}
    given = {name: made[name] for name in given}
    call = np.ones_like(z), z, ones, np.zeros(channels, z.dtype)
    got = fastpw.conv1x1_backward(*call, wrt="residual", **given, **options).dresidual
    assert np.array_equal(got, np.repeat(got[:, :1], channels, axis=1), equal_nan=True)
    return got[:, 0]


@each_row
@pytest.mark.parametrize("given", ["", "y", "z"])
@pytest.mark.parametrize("channels", [1, 70])
def test_kinks(row, given, channels, dtype):
    kinks = row.kinks(row.alpha, row.beta)
    got = derivative(np.array([*kinks], dtype), row, given, channels)
    assert np.array_equal(got, np.array([*kinks.values()], dtype))


# act' far to the left and far to the right, where it is not 0 and 1.
FAR_SLOPES = {"linear": (1, 1), "leaky_relu": (_activations.BY_NAME["leaky_relu"].alpha, 1)}
FAR_SLOPES |= dict.fromkeys(("relu6", "clip", "hard_sigmoid", "sigmoid", "tanh"), (0, 0))


@each_row
@pytest.mark.parametrize("given", ["", "y", "z"])
def test_far_out_and_not_a_number(row, given, dtype):
    got = derivative(np.array([-1e30, 1e30, -np.inf, np.inf, np.nan], dtype), row, given)
    assert np.allclose(got[:4], FAR_SLOPES.get(row.name, (0, 1)) * 2, rtol=0, atol=np.finfo(dtype).tiny)
    assert np.isnan(got[4]) or row.name == "linear"


@each_row
@pytest.mark.parametrize("bias", [None, 0, 1])
@pytest.mark.parametrize("given", ["", "y", "z", "yz"])
def test_what_is_given_tells_the_same(row, bias, given, dtype, rng):
    """Whatever is missing of y and z is recomputed, if the bias is known."""
    x, weight, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((9, 6), (10, 6), (9, 10)))
    bias = None if bias is None else bias * rng.standard_normal(10).astype(dtype)
    options, z = {"activation": row.spec, "wrt": ("x", "weight", "residual")}, np.empty_like(dy)
    made = {"y": fastpw.conv1x1(x, weight, bias, activation=row.spec, out_z=z), "z": z}
    expected = fastpw.conv1x1_backward(dy, x, weight, bias, **made, **options)
    call = dy, x, weight, bias
    made = {name: made[name] for name in given}
    if bias is None and given == "y" and row.reads == "z":
        with pytest.raises(ValueError, match=r"^z: .* pass z, or bias=zeros if there was none"):
            fastpw.conv1x1_backward(*call, **made, **options)
        call = dy, x, weight, np.zeros(10, dtype)
    grads = fastpw.conv1x1_backward(*call, **made, **options)
    for got, exact in zip(grads, expected, strict=True):
        assert exact is None or np.allclose(got, exact, rtol=0, atol=200 * np.finfo(dtype).eps)
