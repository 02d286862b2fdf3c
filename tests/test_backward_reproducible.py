"""Promise 2 for gradients: the same bits for any team, any strides, and whatever else is wanted with them."""

from itertools import product

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]

ALL = ("x", "weight", "bias", "residual")

# (pixels, K, C): one block and several, slices of pixels and shared weights, odd everything.
SHAPES = [
    (49, 512, 300),
    (3137, 24, 96),
    (1, 1000, 640),
    (1500, 200, 190),
    (2101, 72, 20),
    (999, 33, 7),
    (5, 3, 7),
]


def bits(grads):
    return [None if a is None else a.tobytes() for a in grads]


@pytest.fixture
def problem(request, dtype, rng):
    """dy, x, weight, bias"""
    m, K, C = request.param
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((m, K), (m, C), (K, C), K))


each_shape = pytest.mark.parametrize("problem", SHAPES, indirect=True, ids=str)
each_source = pytest.mark.parametrize("activation", ["tanh", "silu", None, "relu"])


def read(problem, activation):
    """What the derivative is read from: given for relu, whose dz may be formed as the weights are summed."""
    _, x, weight, bias = problem
    return {"y": fastpw.conv1x1(x, weight, bias, activation=activation)} if activation == "relu" else {}


@each_shape
@each_source
def test_any_number_of_threads(problem, activation):
    options = {"activation": activation, "wrt": ALL, **read(problem, activation)}
    with fastpw.num_threads(1):
        expected = bits(fastpw.conv1x1_backward(*problem, **options))
    for n in (2, 3, 4, 7):
        with fastpw.num_threads(n):
            assert bits(fastpw.conv1x1_backward(*problem, **options)) == expected, n


@pytest.mark.usefixtures("threads")
@each_shape
@each_source
def test_one_at_a_time_and_all_together(problem, activation):
    options = {"activation": activation, **read(problem, activation)}
    together = bits(fastpw.conv1x1_backward(*problem, wrt=ALL, **options))
    for flags in product((False, True), repeat=4):
        wrt = [name for name, wanted in zip(ALL, flags, strict=True) if wanted]
        some = bits(fastpw.conv1x1_backward(*problem, wrt=wrt, **options))
        assert some == [a if wanted else None for a, wanted in zip(together, flags, strict=True)], wrt


@pytest.mark.usefixtures("threads")
@each_shape
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_given_and_recomputed(problem, activation):
    """What the walk recomputes is what the forward pass gave."""
    dy, x, weight, bias = problem
    residual, z = np.cos(dy), np.empty_like(dy)
    options = {"residual": residual, "activation": activation}
    y = fastpw.conv1x1(x, weight, bias, out_z=z, **options)
    options["wrt"] = ALL
    expected = bits(fastpw.conv1x1_backward(*problem, **options))
    for given in ({"y": y}, {"z": z}, {"y": y, "z": z}):
        assert bits(fastpw.conv1x1_backward(*problem, **given, **options)) == expected


def crop(array):
    """The same values inside a larger array."""
    wide = np.zeros([size + 7 for size in array.shape], array.dtype)
    inside = wide[(slice(4, -3),) * array.ndim]
    inside[...] = array
    return inside


@pytest.mark.usefixtures("threads")
@each_shape
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_any_strides(problem, accumulate, activation, rng):
    dy, x, weight, bias = problem
    options = {"activation": activation, "wrt": ALL, "accumulate": accumulate, **read(problem, activation)}
    before = [rng.standard_normal(a.shape).astype(a.dtype) for a in (x, weight, bias, dy)]

    def gradients(dy, x, weight, bias, views=(np.copy,) * 4):
        out = [view(array) for view, array in zip(views, before, strict=True)]
        return bits(fastpw.conv1x1_backward(dy, x, weight, bias, out=out, **options))

    def pixels_reversed(a):
        return a[::-1].copy()[::-1]

    expected = gradients(*problem)
    assert gradients(crop(dy), crop(x), crop(weight), crop(bias)) == expected
    if "y" in options:
        options["y"] = crop(options["y"])
        assert gradients(*problem) == expected
    assert (
        gradients(pixels_reversed(dy), np.asfortranarray(x), weight.T.copy().T, bias[::-1].copy()[::-1])
        == expected
    )
    for view in (crop, pixels_reversed):
        assert gradients(*problem, views=(view,) * 4) == expected
    for view in (
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[:, ::-1].copy()[:, ::-1],
    ):
        assert gradients(*problem, views=(crop, view, crop, crop)) == expected


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_leading_axes_are_rows(activation, dtype, rng):
    """However many there are, and whether or not they lie at one distance."""
    shape = (3, 4, 5, 2, 6)
    dy, x = rng.standard_normal((*shape, 20)).astype(dtype), rng.standard_normal((*shape, 11)).astype(dtype)
    weight = rng.standard_normal((20, 11)).astype(dtype)
    options = {"activation": activation, "wrt": ALL}
    expected = bits(fastpw.conv1x1_backward(dy.reshape(-1, 20), x.reshape(-1, 11), weight, **options))
    for lead in ((3, 240), (12, 10, 6), (3, 20, 2, 6), shape):
        arrays = dy.reshape(*lead, 20), x.reshape(*lead, 11)
        assert bits(fastpw.conv1x1_backward(*arrays, weight, **options)) == expected
        out = fastpw.Gradients(
            *(crop(np.zeros(s, dtype)) for s in (arrays[1].shape, (20, 11), (20,), arrays[0].shape))
        )
        fastpw.conv1x1_backward(*map(crop, arrays), weight, out=out, **options)
        assert bits(out) == expected


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_images_in_any_geometry(groups, activation, dtype, rng):
    x, weight = rng.standard_normal((2, 61, 59, 12)).astype(dtype), rng.standard_normal((12, 12 // groups))
    weight = weight.astype(dtype)
    options = {"groups": groups, "stride": (2, 3), "padding": ((1, 0), (2, 3)), "activation": activation}
    y = fastpw.conv1x1(x, weight, **options)
    dy = rng.standard_normal(y.shape).astype(dtype)
    if activation == "relu":
        options["y"] = y
    with fastpw.num_threads(1):
        expected = bits(fastpw.conv1x1_backward(dy, x, weight, wrt=ALL, **options))
    assert bits(fastpw.conv1x1_backward(dy, x, weight, wrt=ALL, **options)) == expected
    assert bits(fastpw.conv1x1_backward(crop(dy), crop(x), weight, wrt=ALL, **options)) == expected
    for number, name in enumerate(ALL):
        alone = fastpw.conv1x1_backward(dy, x, weight, wrt=name, **options)[number]
        assert alone.tobytes() == expected[number]
