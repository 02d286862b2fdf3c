"""A million pixels: dweight and dbias are sums of blocks' sums, not one long sum in float32."""

import numpy as np
import pytest

import fastpw
from fastpw import _bounds

pytestmark = pytest.mark.usefixtures("isa", "threads")


def sums(dy, x, groups=1):
    weight = np.zeros((dy.shape[1], x.shape[1] // groups), dy.dtype)
    return fastpw.conv1x1_backward(dy, x, weight, groups=groups, wrt=("weight", "bias"))


def test_within_highams_bound_of_the_number_of_pixels(dtype, rng):
    pixels = 10**6
    dy, x = rng.standard_normal((pixels, 5)).astype(dtype), rng.standard_normal((pixels, 4)).astype(dtype)
    grads = sums(dy, x)
    gamma = 2 * _bounds.gamma(pixels, dtype)
    exact_dy, exact_x = dy.astype(np.longdouble), x.astype(np.longdouble)
    assert (
        _bounds.excess(grads.dweight, exact_dy.T @ exact_x, gamma * (np.abs(exact_dy.T) @ np.abs(exact_x)))
        <= 1
    )
    assert _bounds.excess(grads.dbias, exact_dy.sum(axis=0), gamma * np.abs(exact_dy).sum(axis=0)) <= 1


# Slices of blocks; one weight per channel; all threads at one block after the other.
@pytest.mark.parametrize(("pixels", "channels", "groups"), [(10**6, 3, 1), (10**6, 3, 3), (10**5, 192, 1)])
def test_no_error_grows_with_the_number_of_pixels(pixels, channels, groups, dtype):
    """The same product over and over: a long sum rounds it the same way ten thousands of times."""
    dy, x = np.full((pixels, channels), 0.1, dtype), np.full((pixels, channels), 0.3, dtype)
    grads = sums(dy, x, groups)
    u = np.finfo(dtype).eps / 2
    for got, product in ((grads.dweight, float(dy[0, 0]) * float(x[0, 0])), (grads.dbias, float(dy[0, 0]))):
        assert np.all(np.abs(got / (pixels * product) - 1) <= 1500 * u)
