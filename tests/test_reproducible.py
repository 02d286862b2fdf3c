"""Promise 2: the same inputs give the same bits on one instruction set, however they are computed."""

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]

# (m, n, k): few rows and many columns, many rows and few columns, depth past every block, odd everything.
SHAPES = [(49, 512, 300), (3137, 24, 96), (1, 1000, 640), (333, 77, 2050), (5, 3, 7)]


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture
def problem(request, dtype, rng):
    m, n, k = request.param
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (n, k), n))


@pytest.mark.parametrize("problem", SHAPES, indirect=True)
def test_any_number_of_threads(problem):
    with fastpw.num_threads(1):
        y = fastpw.conv1x1(*problem, activation="gelu")
    for n in (2, 3, 4, 7):
        with fastpw.num_threads(n):
            assert same_bits(fastpw.conv1x1(*problem, activation="gelu"), y), n


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("problem", SHAPES, indirect=True)
def test_function_and_layer(problem):
    x, weight, bias = problem
    y = fastpw.conv1x1(x, weight, bias, activation="silu")
    layer = fastpw.Conv1x1(weight, bias, activation="silu")
    assert same_bits(layer(x), y)
    assert same_bits(layer(x), y)  # a call that may be a replay


def crop(array):
    """The same values inside a larger array."""
    wide = np.zeros([size + 7 for size in array.shape], array.dtype)
    wide[4:-3, 4:-3] = array
    return wide[4:-3, 4:-3]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("problem", SHAPES, indirect=True)
def test_any_strides(problem, rng):
    x, weight, bias = problem
    residual = rng.standard_normal((len(x), len(weight))).astype(x.dtype)
    options = {"residual": residual, "activation": "tanh"}
    y = fastpw.conv1x1(x, weight, bias, **options)
    for view in (crop(x), x[::-1].copy()[::-1], np.repeat(x, 2, axis=0)[::2], np.asfortranarray(x)):
        assert same_bits(fastpw.conv1x1(view, weight, bias, **options), y)
    for view in (crop(weight), np.asfortranarray(weight), weight[::-1].copy()[::-1]):
        assert same_bits(fastpw.conv1x1(x, view, np.repeat(bias, 2)[::2], **options), y)
    out, z = crop(np.zeros_like(y)), np.zeros_like(y)[::-1]
    fastpw.conv1x1(x, weight, bias, residual=crop(residual), activation="tanh", out=out, out_z=z)
    assert same_bits(out, y)
    assert same_bits(z, fastpw.conv1x1(x, weight, bias, residual=residual))


@pytest.mark.usefixtures("threads")
def test_images_in_any_geometry(dtype, rng):
    """Stride and padding choose pixels; they do not change what is computed of one."""
    x = rng.standard_normal((2, 31, 29, 40)).astype(dtype)
    weight, bias = rng.standard_normal((50, 40)).astype(dtype), rng.standard_normal(50).astype(dtype)
    y = fastpw.conv1x1(x, weight, bias)
    assert same_bits(fastpw.conv1x1(x, weight, bias, stride=(2, 3)), y[:, ::2, ::3].copy())
    assert same_bits(fastpw.conv1x1(x[:, ::2, ::3], weight, bias), y[:, ::2, ::3].copy())
    padded = fastpw.conv1x1(x, weight, bias, padding=((1, 0), (2, 3)))
    assert same_bits(padded[:, 1:, 2:-3].copy(), y)
