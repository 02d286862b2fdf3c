"""Promise 4 for gradients: arrays are used where they are; overlap is as if there were none."""

import tracemalloc
from itertools import permutations

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

ALL = ("x", "weight", "bias", "residual")
N, H, W, C, K = 2, 9, 11, 20, 33


def unaligned(array):
    """A copy whose elements lie across their natural boundaries."""
    view = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def inside(array):
    """A crop of a larger array, in every axis."""
    wide = np.full([size + 5 for size in array.shape], np.nan, array.dtype)
    crop = wide[tuple(slice(2, 2 + size) for size in array.shape)]
    crop[...] = array
    return crop


VIEWS = {
    "crop": inside,
    "negative": lambda a: a[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, axis=1), 3, axis=2)[:, ::2, ::3],
    "reversed axes": lambda a: a.transpose(2, 1, 0, 3).copy().transpose(2, 1, 0, 3),
    "unaligned": unaligned,
}
INPUT_VIEWS = VIEWS | {
    "channels apart": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "channels first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
    "memory map's class": lambda a: a.view(np.memmap),
}
GEOMETRIES = [{}, {"stride": 2, "padding": 1}, {"groups": 4}]


@pytest.fixture(params=GEOMETRIES, ids=str)
def problem(request, dtype, rng):
    """The arguments of a call, and its gradients."""
    groups = request.param.get("groups", 1)
    shapes = (N, H, W, C), (K - 1, C // groups), K - 1
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    options = {"activation": "silu", **request.param}
    shape = fastpw.conv1x1(x, weight, bias, **options).shape
    options |= {"residual": rng.standard_normal(shape).astype(dtype), "wrt": ALL}
    arrays = rng.standard_normal(shape).astype(dtype), x, weight, bias
    return arrays, options, fastpw.conv1x1_backward(*arrays, **options)


def assert_same(got, expected):
    for name, a, b in zip(expected._fields, got, expected, strict=True):
        assert np.array_equal(a, b), name


@pytest.mark.parametrize("view", INPUT_VIEWS.values(), ids=INPUT_VIEWS)
def test_views_of_inputs(view, problem):
    (dy, x, *weights), options, expected = problem
    options["residual"] = view(options["residual"])
    for array in (dy := view(dy), x := view(x), options["residual"]):
        array.flags.writeable = False
    assert_same(fastpw.conv1x1_backward(dy, x, *weights, **options), expected)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_of_outputs(view, problem):
    arrays, options, expected = problem
    out = [np.zeros_like(a) for a in expected]
    out = (view(out[0]), inside(out[1]), inside(out[2]), view(out[3]))
    got = fastpw.conv1x1_backward(*arrays, out=out, **options)
    assert all(a is b for a, b in zip(got, out, strict=True))
    assert_same(got, expected)


def test_nothing_around_the_outputs_is_written(problem):
    arrays, options, expected = problem
    out = [inside(a) for a in expected]
    fastpw.conv1x1_backward(*arrays, out=out, **options)
    for a in out:
        a[...] = np.nan
        assert np.all(np.isnan(a.base))


def test_views_of_weights(problem):
    (dy, x, weight, bias), options, expected = problem
    for view in (np.asfortranarray, unaligned, inside, lambda a: a[::-1].copy()[::-1]):
        assert_same(fastpw.conv1x1_backward(dy, x, view(weight), view(bias), **options), expected)


def test_zero_strides(dtype, rng):
    """The gradient of a mean is one number, everywhere."""
    x, weight = rng.standard_normal((N, H, W, C)).astype(dtype), rng.standard_normal((K, C)).astype(dtype)
    dy = np.broadcast_to(dtype.type(1 / 64), (N, H, W, K))
    options = {"activation": "tanh", "wrt": ALL}
    expected = fastpw.conv1x1_backward(dy.copy(), x, weight, **options)
    assert_same(fastpw.conv1x1_backward(dy, x, weight, **options), expected)


# Overlap: the gradients of copies, when outputs lie on inputs.

SHIFTS = [0, 1, -1, 7, -300]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("given", [(), ("y",), ("z",)], ids="".join)
@pytest.mark.parametrize("groups", [1, 2, C])
def test_outputs_over_inputs(shift, accumulate, given, groups, dtype, rng):
    """Each output on each input in turn."""
    rows = 700
    options = {"activation": "tanh", "groups": groups, "wrt": ALL, "accumulate": accumulate}
    names = ["dy", "x", "weight", "residual", *given]
    shapes = {name: (C, C // groups) if name == "weight" else (rows, C) for name in names}
    values = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    outs = [(rows, C), (C, C // groups), (C,), (rows, C)]
    for name in names:
        for number, shape in enumerate(outs):
            memory = rng.standard_normal(rows * C + 2000).astype(dtype)
            there = memory[500 : 500 + values[name].size].reshape(shapes[name])
            there[...] = values[name]
            written = memory[500 + shift : 500 + shift + np.prod(shape)].reshape(shape)
            out = [None] * 4
            out[number] = written.copy()
            expected = fastpw.conv1x1_backward(**values, out=out, **options)
            out[number] = written
            got = fastpw.conv1x1_backward(**values | {name: there}, out=out, **options)
            assert_same(got, expected)


@pytest.mark.parametrize(("m", "channels"), [(2000, 16), (300, 300)])
def test_gradients_in_place_copy_nothing(m, channels, dtype, rng):
    """dx where dy was; dresidual where y was."""
    dy, x, y = (rng.standard_normal((m, channels)).astype(dtype) for _ in range(3))
    weight = rng.standard_normal((channels, channels)).astype(dtype)
    options = {"activation": "relu", "wrt": ("x", "residual")}
    expected = fastpw.conv1x1_backward(dy, x, weight, y=y, **options)
    for dx, dresidual in permutations((dy, y)):
        given = {"dy": dy.copy(), "y": y.copy()}
        out = (given["dy" if dx is dy else "y"], None, None, given["dy" if dresidual is dy else "y"])
        tracemalloc.start()
        try:
            got = fastpw.conv1x1_backward(x=x, weight=weight, out=out, **given, **options)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert_same(got, expected)
        assert peak < x.nbytes // 4


def test_x_is_not_copied_where_it_is_not_read(dtype):
    x = np.ones((5000, 40), dtype)
    weight = np.ones((40, 40), dtype)
    tracemalloc.start()
    try:
        fastpw.conv1x1_backward(np.ones((5000, 40), dtype), x, weight, wrt="x", out=(x, None, None, None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(x == 40)
    assert peak < 1.5 * x.nbytes  # dy


def test_one_pixel_of_a_stride_in_place(dtype):
    """x and dy have one shape, yet dx is cleared first for the pixels that the stride skips."""
    dy, weight = np.full((1, 1, 2), 3, dtype), np.eye(2, dtype=dtype)
    fastpw.conv1x1_backward(dy, np.ones_like(dy), weight, stride=2, out=(dy, None, None, None))
    assert np.array_equal(dy, [[[3, 3]]])
