"""Stride, padding and groups choose the right pixels: views that cover the output once."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import _geometry, _programs, reference
from fastpw.core import partition

pytestmark = pytest.mark.pairwise

SIDES = [(0, 0), (1, 0), (0, 2), (3, 3), (5, 1)]


def test_output_size_counts_the_strides_steps():
    for size, (before, after), stride in product(range(8), SIDES, range(1, 6)):
        steps = len(range(0, before + size + after, stride))
        assert _geometry.output_size(size, before, after, stride) == steps


def test_same_padding_is_tensorflows():
    """Ho = ceil(H / stride), for which max((Ho - 1) * stride + kernel - H, 0) pixels are padded: none."""
    for size, stride in product(range(1, 20), range(1, 7)):
        assert _geometry.output_size(size, 0, 0, stride) == -(-size // stride)
        assert max((-(-size // stride) - 1) * stride + 1 - size, 0) == 0


def test_boxes_cover_the_output_once_and_meet_their_inputs():
    for height, width in product((0, 1, 2, 5), (0, 1, 4)):
        pixels = 1 + np.arange(height * width, dtype=float).reshape(height, width, 1)
        for vertical, horizontal, stride in product(SIDES, SIDES, product((1, 2, 4), (1, 3, 7))):
            padding = (vertical, horizontal)
            expected = np.pad(pixels, (*padding, (0, 0)))[:: stride[0], :: stride[1]]
            shape = _geometry.output_shape(pixels.shape, 1, stride, padding)
            assert shape == expected.shape
            covered = np.full(shape, np.nan)
            for inputs, outputs in _geometry.boxes(pixels.shape, shape, stride, padding):
                assert covered[outputs].size
                assert np.all(np.isnan(covered[outputs]))
                covered[outputs] = 0 if inputs is None else pixels[inputs]
            assert np.array_equal(covered, expected)


def test_skipped_pixels_are_those_that_no_box_meets():
    for height, width in product((1, 2, 5), (1, 4)):
        for vertical, horizontal, stride in product(SIDES, SIDES, product((1, 2, 4), (1, 3, 7))):
            dx = np.full((2, 3, height, width, 6), 7.0)
            shape = _geometry.output_shape(dx.shape, 1, stride, (vertical, horizontal))
            inputs = next(_geometry.boxes(dx.shape, shape, stride, (vertical, horizontal)), (None,))[0]
            if inputs is None:
                continue
            expected = np.zeros_like(dx)
            expected[inputs] = 7
            for index in _geometry.skipped(dx.shape, inputs, stride):
                dx[index] = 0
            assert np.array_equal(dx, expected)


def test_skipped_pixels_in_many_boxes_are_cleared_with_all_others():
    inputs = next(_geometry.boxes((40, 50, 3), (2, 2, 5), (39, 41), ((0, 0), (0, 0))))[0]
    assert _geometry.skipped((40, 50, 3), inputs, (39, 41)) == [...]


@pytest.mark.parametrize("stride", [2, 3, (1, 5), (9, 2), 40])
@pytest.mark.parametrize("padding", [0, ((1, 0), (2, 1))])
def test_skipped_pixels_get_zeros(stride, padding, threads, monkeypatch, rng):
    monkeypatch.setattr(partition, "SMALL_CLEARING_BYTES", 0)
    x, weight = rng.standard_normal((2, 9, 11, 6)), rng.standard_normal((4, 6))
    options = {"stride": stride, "padding": padding}
    dy = rng.standard_normal(fastpw.conv1x1(x, weight, **options).shape)
    expected = reference.conv1x1_backward(dy, x, weight, **options).dx
    for frame in (np.full((2, 9, 11, 8), 7.0), np.full((2, 11, 9, 8), 7.0).swapaxes(1, 2)):
        dx = frame[..., 1:7]
        fastpw.conv1x1_backward(dy, x, weight, wrt="x", out=(dx, None, None, None), **options)
        assert np.allclose(dx, expected) and not dx[expected == 0].any()
        assert np.all(frame[..., 0] == 7) and np.all(frame[..., 7] == 7)


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5, 2), (1, 2, 1, 3, 1, 2), (2, 2, 2, 2, 2, 1), (2, 3, 2, 2, 3, 2, 4)]
)
def test_pixels_along_many_axes(shape, rng):
    """Used in place, in order, whatever the strides."""
    x, weight = rng.integers(-8, 9, shape).astype(float), rng.integers(-8, 9, (3, shape[-1])).astype(float)
    y = x @ weight.T
    frame = np.full([size + 1 for size in y.shape], np.nan)
    crop = frame[tuple(slice(size) for size in y.shape)]
    turned = np.ascontiguousarray(x.swapaxes(0, 2)).swapaxes(0, 2)
    for some in (x, turned, x[::-1].copy()[::-1], np.asfortranarray(x)):
        for out in (np.empty_like(y), crop, crop[:, ::-1]):
            assert fastpw.conv1x1(some, weight, out=out) is out
            assert np.array_equal(out, y)
    assert np.isnan(frame[-1]).all()
    grads = fastpw.conv1x1_backward(crop, turned, weight, wrt=("x", "weight", "bias"))
    flat = fastpw.conv1x1_backward(
        crop.reshape(-1, 3).copy(), x.reshape(-1, shape[-1]), weight, wrt=("x", "weight", "bias")
    )
    for one, other in zip(grads[:3], flat[:3], strict=True):
        assert one.tobytes() == other.tobytes()


def test_gradients_may_be_written_along_many_axes(rng):
    x, dy = (rng.integers(-8, 9, (2, 3, 2, 3, 2, n)).astype(float) for n in (4, 5))
    weight = rng.integers(-8, 9, (5, 4)).astype(float)
    dx, dresidual = (np.full((3, 4, 3, 4, 3, n), np.nan) for n in (4, 5))
    out = dx[1:, 1:, 1:, 1:, 1:], None, None, dresidual[:-1, :-1, :-1, :-1, :-1]
    fastpw.conv1x1_backward(dy, x, weight, wrt=("x", "residual"), out=out)
    assert np.array_equal(out[0], dy @ weight) and np.array_equal(out[3], dy)
    assert np.isnan(dx[0]).all() and np.isnan(dresidual[-1]).all()


def test_neighbouring_axes_are_one_where_their_strides_allow_it(monkeypatch):
    monkeypatch.setattr(_programs, "forward", _programs.Programs(9, _programs.MOST_BYTES))
    x, weight = np.zeros((2, 3, 4, 5, 6)), np.zeros((2, 6))
    fastpw.conv1x1(x, weight)
    assert [part["rows"] for part in _programs.forward.kept()[0].schedule()] == [120]
    _programs.forward.forget()
    fastpw.conv1x1(x[:, 1:, 1:, 1:], weight)
    assert [part["rows"] for part in _programs.forward.kept()[0].schedule()] == [24, 24]


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_every_stride_and_padding_is_exact(batch, groups, dtype, rng):
    weight, bias = rng.integers(-8, 9, (6, 6 // groups)).astype(dtype), rng.integers(-8, 9, 6).astype(dtype)
    for size, stride, padding in product(
        ((1, 1), (2, 7), (5, 4)),
        (1, 2, (1, 3), (5, 2)),
        (0, 1, (0, 2), [[3, 0], [1, 2]], "valid", "SAME", np.str_("Same")),
    ):
        x = rng.integers(-8, 9, (*batch, *size, 6)).astype(dtype)
        options = {"stride": stride, "padding": padding, "groups": groups, "activation": "relu"}
        y = reference.conv1x1(x, weight, bias, **options)
        residual, z = rng.integers(-8, 9, y.shape).astype(dtype), np.empty_like(y, dtype)
        assert np.array_equal(fastpw.conv1x1(x, weight, bias, **options), y), (size, options)
        assert np.array_equal(fastpw.Conv1x1(weight, bias, **options)(x), y), (size, options)
        got = fastpw.conv1x1(x, weight, bias, residual=residual, out_z=z, **options)
        assert np.array_equal(got, reference.conv1x1(x, weight, bias, residual=residual, **options))
        assert np.array_equal(got, np.maximum(z, 0))


MOST = 2**31 - 1


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1)])
def test_the_largest_strides_are_exact(size, groups, dtype, rng):
    x, weight = (
        rng.integers(-8, 9, (*size, 6)).astype(dtype),
        rng.integers(-8, 9, (4, 6 // groups)).astype(dtype),
    )
    for stride, padding in product((MOST, (1, MOST), (MOST, 2)), (0, ((0, 3), (0, 0)))):
        options = {"stride": stride, "padding": padding, "groups": groups}
        y = reference.conv1x1(x, weight, **options)
        layer = fastpw.Conv1x1(weight, **options)
        for got in (fastpw.conv1x1(x, weight, **options), layer(x), layer(x)):
            assert np.array_equal(got, y)
        dy = rng.integers(-8, 9, y.shape).astype(dtype)
        exact = reference.conv1x1_backward(dy, x, weight, **options)
        for _ in range(2):
            grads = fastpw.conv1x1_backward(dy, x, weight, **options)
            assert all(map(np.array_equal, grads[:3], exact))


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("distance", [2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_distances_along_axes_of_one_pixel_do_not_count(distance, dtype, rng):
    """NumPy lets them be anything; the stride multiplies them."""
    x, weight = rng.integers(-8, 9, (1, 1, 1, 6)).astype(dtype), rng.integers(-8, 9, (4, 6)).astype(dtype)
    far = np.lib.stride_tricks.as_strided(x, x.shape, (distance, distance, distance, x.itemsize))
    dx = np.lib.stride_tricks.as_strided(np.empty_like(x), x.shape, far.strides)
    for stride, padding in product((1, 2, MOST), (0, 1)):
        options = {"stride": stride, "padding": padding}
        y = reference.conv1x1(x, weight, **options)
        assert np.array_equal(fastpw.conv1x1(far, weight, **options), y)
        exact = reference.conv1x1_backward(y, x, weight, **options)
        for out in (None, (dx, None, None, None)):
            grads = fastpw.conv1x1_backward(y.astype(dtype), far, weight, **options, out=out)
            assert all(map(np.array_equal, grads[:3], exact))
