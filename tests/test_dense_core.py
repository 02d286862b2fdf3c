"""Forward with a window: k x k taps of every output pixel, against what their definition says."""

from itertools import cycle

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import fastpw
from fastpw import reference
from fastpw._checks import options
from fastpw.core import forward
from fastpw.runtime import threads as threads_in_use

ONCE, NOTHING = (1, 1), (0, 0)


def seen(x, sizes, window):
    """What each output pixel multiplies: (N, Ho, Wo, kh, kw, C), zeros beyond the edges."""
    taps, steps, strides, origins = window
    reach = [
        (n - 1) * stride + (t - 1) * step + 1
        for n, stride, t, step in zip(sizes, strides, taps, steps, strict=True)
    ]
    pads = [(0, 0)]
    for axis in range(2):
        before, after = -origins[axis], origins[axis] + reach[axis] - x.shape[1 + axis]
        x = x[(slice(None),) * (1 + axis) + (slice(max(0, -before), None),)]
        pads.append((max(0, before), max(0, after)))
    x = np.pad(x, [*pads, (0, 0)])[:, : reach[0], : reach[1]]
    spans = [(t - 1) * step + 1 for t, step in zip(taps, steps, strict=True)]
    views = sliding_window_view(x, spans, (1, 2))[:, :: strides[0], :: strides[1]]
    return np.moveaxis(views[..., :: steps[0], :: steps[1]], 3, -1)


def pre_activation(x, weight, bias, residual, sizes, window, groups):
    """In float64; weight (K, kh, kw, C / groups)."""
    rows = seen(x.astype(np.float64), sizes, window)
    parts = [
        np.einsum("nhwijc,kijc->nhwk", some, w.astype(np.float64))
        for some, w in zip(np.split(rows, groups, -1), np.split(weight, groups), strict=True)
    ]
    z = np.concatenate(parts, -1)
    if bias is not None:
        z += bias
    return z if residual is None else z + residual


def channels_of(array, group, groups):
    if array is None:
        return None
    size = array.shape[-1] // groups
    return array[..., group * size : (group + 1) * size]


def program(x, weight, bias, residual, y, z, window, groups, activation, packs=True):
    """The program of a call, and its weights as a matrix."""
    matrix, (kh, kw) = weight.reshape(len(weight), -1), window[0]
    arrays = x, y, residual, z
    parts = [(*(channels_of(a, g, groups) for a in arrays), g) for g in range(groups)]
    weights = (
        forward.PackedWeights(matrix, bias, groups, threads_in_use(), kh * kw)
        if packs
        else (weight, matrix, bias, groups)
    )
    return forward.Forward(arrays, parts, weights, options.activation(activation), threads_in_use, window)


def run(x, weight, bias, residual, y, z, window, groups=1, activation=None, packs=True):
    call = program(x, weight, bias, residual, y, z, window, groups, activation, packs)
    assert call.run_checked(x, residual, y, z, weight, bias)
    return y


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def act(z, activation):
    return z if activation is None else reference.activate(z, activation)


# Kernels, steps, strides and origins in turn; sizes of images and of results; channels and filters.
KERNELS = [(1, 1), (2, 2), (3, 3), (1, 7), (7, 1), (5, 5), (4, 3), (7, 7), (2, 6), (3, 1), (6, 6)]
PAIRS = [(1, 1), (2, 2), (1, 2), (3, 1), (2, 3), (3, 3)]
ORIGINS = [(0, 0), (-1, -1), (-3, -2), (2, 0), (0, 3), (-7, 4), (-20, 1), (5, -9)]
SIZES = [(1, 1), (2, 3), (5, 5), (7, 4), (13, 1), (1, 13), (9, 11), (13, 13)]
FILTERS = [*range(1, 41), 64, 130]
CHANNELS = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 32, 40, 64, 130]


def cases(number, seed):
    """Random ones, in which each list takes turns of its own."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        window = tuple(tuple(map(int, rng.choice(some))) for some in (KERNELS, PAIRS, PAIRS, ORIGINS))
        inputs, sizes = (tuple(map(int, rng.choice(SIZES))) for _ in range(2))
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        yield rng, window, inputs, sizes, groups, int(rng.choice(CHANNELS)), int(rng.choice(FILTERS))


def test_exact_values(isa, threads, dtype):
    """Integers, whose sums are exact."""
    activations = cycle([None, "relu", ("clip", -2, 9), ("leaky_relu", 0.5)])
    for turn, (rng, window, inputs, sizes, groups, depth, filters) in enumerate(cases(250, 1)):
        N, activation = 1 + turn % 3, next(activations)
        x = integers(rng, dtype, N, *inputs, depth * groups)
        weight = integers(rng, dtype, filters * groups, *window[0], depth)
        bias = integers(rng, dtype, filters * groups) if turn % 4 else None
        residual = integers(rng, dtype, N, *sizes, filters * groups) if turn % 3 else None
        y = np.full((N, *sizes, filters * groups), np.nan, dtype)
        z = np.full_like(y, np.nan) if turn % 5 == 0 else None
        expected = pre_activation(x, weight, bias, residual, sizes, window, groups)
        if turn % 3 == 1:
            y = residual
        run(x, weight, bias, residual, y, z, window, groups, activation, packs=turn % 2)
        case = turn, window, inputs, sizes, groups, depth, filters
        assert np.array_equal(y, act(expected, activation)), case
        assert z is None or np.array_equal(z, expected), case


@pytest.mark.parametrize("filters", [1, 4, 20, 32])
def test_real_numbers(isa, dtype, filters):
    """And the activations that are not cheap."""
    rng, window = np.random.default_rng(2), ((3, 3), ONCE, ONCE, (-1, -1))
    x = rng.standard_normal((2, 9, 8, 24)).astype(dtype)
    weight = rng.standard_normal((filters, 3, 3, 24)).astype(dtype)
    expected = pre_activation(x, weight, None, None, (9, 8), window, 1)
    for activation in ("silu", "gelu", "sigmoid", "tanh"):
        y, z = (np.empty(expected.shape, dtype) for _ in range(2))
        run(x, weight, None, None, y, z, window, activation=activation)
        tolerance = 400 * np.finfo(dtype).eps
        np.testing.assert_allclose(z, expected, tolerance, 100 * tolerance)
        np.testing.assert_allclose(y, act(expected, activation), tolerance, 100 * tolerance)


def views(array):
    """The same numbers in other places; channels stay adjacent."""
    *lead, n = array.shape
    wide = np.full((*lead, n + 5), np.nan, array.dtype)
    apart = np.full((lead[0], 2 * lead[1], 3 * lead[2], n), np.nan, array.dtype)
    for view in (
        wide[..., 2 : n + 2],
        apart[:, ::2, 1::3],
        np.empty_like(array)[::-1, ::-1, ::-1],
        np.empty((lead[2], lead[1], lead[0], n), array.dtype).transpose(2, 1, 0, 3),
        np.full((lead[0], lead[1] + 2, lead[2] + 3, n), np.nan, array.dtype)[:, 1:-1, 2:-1],
    ):
        view[...] = array
        yield view


@pytest.mark.parametrize("depth, filters", [(3, 16), (3, 5), (20, 20), (32, 32), (32, 4), (5, 40)])
def test_views_have_the_same_bits(isa, threads, dtype, depth, filters):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 8, 9, depth)).astype(dtype)
    for window in (
        ((3, 3), ONCE, ONCE, (-1, -1)),
        ((2, 5), (2, 1), (1, 2), (0, -3)),
        ((7, 7), ONCE, (2, 2), (-3, -3)),
    ):
        weight = rng.standard_normal((filters, *window[0], depth)).astype(dtype)
        residual = rng.standard_normal((2, 7, 6, filters)).astype(dtype)
        y, z = np.empty_like(residual), np.empty_like(residual)
        run(x, weight, None, residual, y, z, window, activation="relu")
        for a, r, out, out_z in zip(*map(views, (x, residual, y, z)), strict=True):
            out[...] = out_z[...] = 0
            run(a, weight, None, r, out, out_z, window, activation="relu")
            assert np.array_equal(out, y)
            assert np.array_equal(out_z, z)


@pytest.mark.parametrize("depth", [1, 3, 8, 20, 64])
def test_some_rows_have_the_same_bits(isa, dtype, depth):
    """One alone, some of a batch, a crop of the result, any number of threads."""
    rng, (kh, kw) = np.random.default_rng(4), (3, 3)
    x = rng.standard_normal((5, 19, 12, depth)).astype(dtype)
    for filters in (1, 3, 8, 12, 16, 24, 33):
        weight = rng.standard_normal((filters, kh, kw, depth)).astype(dtype)
        whole = None
        for threads in (1, 2, 3):
            fastpw.set_num_threads(threads)
            y = np.empty((5, 19, 12, filters), dtype)
            run(x, weight, None, None, y, None, ((kh, kw), ONCE, ONCE, (-1, -1)))
            whole = y if whole is None else whole
            assert np.array_equal(y, whole)
        for n, top, left, h, w in (
            (1, 0, 0, 1, 1),
            (1, 3, 5, 1, 7),
            (3, 18, 0, 1, 12),
            (5, 2, 3, 5, 1),
            (2, 4, 1, 15, 11),
        ):
            y = np.empty((n, h, w, filters), dtype)
            run(x[:n], weight, None, None, y, None, ((kh, kw), ONCE, ONCE, (top - 1, left - 1)))
            assert np.array_equal(y, whole[:n, top : top + h, left : left + w]), (filters, n, top, left, h, w)
    fastpw.set_num_threads(None)


def test_zeros_beyond_the_edges_are_multiplied(isa, dtype):
    for depth, filters in ((1, 1), (3, 20), (32, 32)):
        x = np.ones((1, 4, 4, depth), dtype)
        weight = np.full((filters, 3, 3, depth), np.inf, dtype)
        y = np.empty((1, 4, 4, filters), dtype)
        run(x, weight, None, None, y, None, ((3, 3), ONCE, ONCE, (-1, -1)))
        assert np.isnan(y[:, [0, -1]]).all()
        assert np.isnan(y[:, :, [0, -1]]).all()
        assert np.isposinf(y[:, 1:-1, 1:-1]).all()


def test_a_window_far_away(isa, dtype):
    """Sizes up to 2^31: all taps lie beyond the edges, or all but the first."""
    far = 2**31
    for depth in (3, 32):
        x, weight = np.ones((1, 2, 3, depth), dtype), np.ones((17, 2, 2, depth), dtype)
        y = np.full((1, 3, 3, 17), np.nan, dtype)
        for window in (
            ((2, 2), (far, far), ONCE, (-1, -1)),
            ((2, 2), (far, far), (far, far), (0, 0)),
            ((2, 2), ONCE, (far, far), (-far, -far)),
            ((2, 2), ONCE, ONCE, (far, -far)),
        ):
            run(x, weight, None, None, y, None, window)
            expected = np.zeros_like(y)
            for oy, ox, i, j in np.ndindex(3, 3, 2, 2):
                places = zip((oy, ox), window[2], window[3], (i, j), window[1], strict=True)
                row, column = (o * s + origin + t * d for o, s, origin, t, d in places)
                expected[0, oy, ox] += depth * (0 <= row < 2 and 0 <= column < 3)
            assert np.array_equal(y, expected), window


def test_wrong_windows_are_refused():
    x, y, weight = np.ones((1, 4, 4, 2), "f4"), np.ones((1, 4, 4, 3), "f4"), np.ones((3, 3, 3, 2), "f4")
    right = ((3, 3), ONCE, ONCE, (-1, -1))
    for window in (
        ((2, 3), *right[1:]),
        (*right[:1], (0, 1), *right[2:]),
        (*right[:2], (1, -1), NOTHING),
        (*right[:3], (0, 2**62)),
    ):
        with pytest.raises((ValueError, OverflowError)):
            run(x, weight, None, None, y, None, window)
    packed = forward.PackedWeights(weight.reshape(3, -1), None, 1, 1)
    with pytest.raises(ValueError, match="packed for 9 taps"):
        forward.Forward(
            (x, y, None, None), [(x, y, None, None, 0)], packed, (0, 0.0, 0.0), threads_in_use, right
        )
    other = np.ones((2, 4, 4, 3), "f4")
    with pytest.raises(ValueError, match="leading shape"):
        run(x, weight, None, None, other, None, right)
