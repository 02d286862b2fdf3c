"""Stride, padding and groups choose the right pixels: views that cover the output once."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import geometry, reference
from fastpw.core import partition, passes

SIDES = [(0, 0), (1, 0), (0, 2), (3, 3), (5, 1)]


def test_output_size_counts_the_strides_steps():
    for size, (before, after), stride in product(range(8), SIDES, range(1, 6)):
        steps = len(range(0, before + size + after, stride))
        assert geometry.output_size(size, before, after, stride) == steps


def test_same_padding_is_tensorflows():
    """Ho = ceil(H / stride), for which max((Ho - 1) * stride + kernel - H, 0) pixels are padded: none."""
    for size, stride in product(range(1, 20), range(1, 7)):
        assert geometry.output_size(size, 0, 0, stride) == -(-size // stride)
        assert max((-(-size // stride) - 1) * stride + 1 - size, 0) == 0


def test_boxes_cover_the_output_once_and_meet_their_inputs():
    for height, width in product((0, 1, 2, 5), (0, 1, 4)):
        pixels = 1 + np.arange(height * width, dtype=float).reshape(height, width, 1)
        for vertical, horizontal, stride in product(SIDES, SIDES, product((1, 2, 4), (1, 3, 7))):
            padding = (vertical, horizontal)
            expected = np.pad(pixels, (*padding, (0, 0)))[:: stride[0], :: stride[1]]
            shape = geometry.output_shape(pixels.shape, 1, stride, padding)
            assert shape == expected.shape
            covered = np.full(shape, np.nan)
            for inputs, outputs in geometry.boxes(pixels.shape, shape, stride, padding):
                assert covered[outputs].size
                assert np.all(np.isnan(covered[outputs]))
                covered[outputs] = 0 if inputs is None else pixels[inputs]
            assert np.array_equal(covered, expected)


@pytest.mark.parametrize("layout", ["apart", "adjacent"])
def test_skipped_pixels_are_those_that_no_box_meets(layout, threads, monkeypatch):
    monkeypatch.setattr(partition, "SMALL_CLEARING_BYTES", 0)
    for height, width in product((1, 2, 5), (1, 4)):
        for vertical, horizontal, stride in product(SIDES, SIDES, product((1, 2, 4), (1, 3, 7))):
            dx = np.full((2, 3, height, width, 6), 7.0)[:, :, ::-1, :, : 3 if layout == "apart" else 6]
            shape = geometry.output_shape(dx.shape, 1, stride, (vertical, horizontal))
            inputs = next(geometry.boxes(dx.shape, shape, stride, (vertical, horizontal)), (None,))[0]
            if inputs is None:
                continue
            expected = np.zeros_like(dx)
            expected[inputs] = 7
            first = inputs[1].start, inputs[2].start
            for images in dx:
                passes.clear_skipped(images, first, stride, threads)
            assert np.array_equal(dx, expected)
            assert layout == "adjacent" or np.all(dx.base[..., 3:] == 7)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 2), (1, 2, 1, 3, 1, 2), (2, 2, 2, 2, 2, 1)])
def test_rows_of_many_axes_are_views_in_order(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    wide = np.zeros([size + 1 for size in shape], int)
    y = wide[tuple(slice(size) for size in shape)]
    y[...] = x
    for a, b in ((x, x), (x, y), (y, x), (x[::-1], y[:, ::-1]), (x, np.asfortranarray(x))):
        seen = []
        for rows_a, none, rows_b in geometry.rows(a, None, b):
            assert none is None
            assert rows_a.ndim == rows_b.ndim == 4
            assert np.may_share_memory(rows_a, a)
            assert np.may_share_memory(rows_b, b)
            seen += [*zip(rows_a.flat, rows_b.flat, strict=True)]
        assert seen == [*zip(a.flat, b.flat, strict=True)]


def test_rows_of_contiguous_arrays_are_one_run():
    x = np.zeros((2, 3, 4, 5, 6))
    assert [view.shape for (view,) in geometry.rows(x)] == [(1, 1, 120, 6)]
    assert [view.shape for (view,) in geometry.rows(x[:, :, :, 1:])] == [(1, 24, 4, 6)]


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
