"""Promise 1: exact where the arithmetic is, within Higham's bound elsewhere."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import _activations, reference
from fastpw.core import machine

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

UNTOUCHED = -77


def integers(rng, dtype, *shape):
    """So small that all partial sums of a thousand products are exact in float32."""
    return rng.integers(-8, 9, shape).astype(dtype)


def largest_edges(isa, dtype):
    """2·MR, 2·NR + 1, and 2·step + 1 (or the least depth and one) of the largest tiles of a kernel set."""
    tiles = next(row["tiles"] for row in machine.kernel_sets() if (row["isa"], row["dtype"]) == (isa, dtype))
    rows, columns, steps, least_depths = map(max, zip(*tiles, strict=True))
    return 2 * rows, 2 * columns + 1, max(2 * steps, least_depths) + 1


def test_integers_at_all_edge_sizes_are_exact(isa, dtype, rng):
    most_m, most_n, most_k = largest_edges(isa, dtype)
    x, weight = integers(rng, dtype, most_m, most_k), integers(rng, dtype, most_n, most_k)
    bias = integers(rng, dtype, most_n)
    for k in range(most_k + 1):
        y = reference.conv1x1(x[:, :k], weight[:, :k], bias)
        for n in range(1, most_n + 1):
            layer = fastpw.Conv1x1(weight[:n, :k], bias[:n])
            canvas = np.full((most_m + 2, n + 2), UNTOUCHED, dtype)
            expected = canvas.copy()
            for m in range(1, most_m + 1):
                expected[1 : m + 1, 1:-1] = y[:m, :n]
                layer(x[:m, :k], out=canvas[1 : m + 1, 1:-1])
                assert np.array_equal(canvas, expected), (m, n, k)


def test_integers_at_the_edges_with_everything_fused_are_exact(isa, dtype, rng):
    most_m, most_n, most_k = largest_edges(isa, dtype)
    x, weight = integers(rng, dtype, most_m, most_k), integers(rng, dtype, most_n, most_k)
    bias, residual = integers(rng, dtype, most_n), integers(rng, dtype, most_m, most_n)
    for k in range(1, most_k + 1):
        z = reference.preactivation(x[:, :k], weight[:, :k], bias, residual=residual)
        y = np.maximum(z, 0)
        for n in range(1, most_n + 1):
            for m in (1, most_m // 2 - 1, most_m // 2 + 1, most_m):
                got_z = np.empty((m, n), dtype)
                got = fastpw.conv1x1(
                    x[:m, :k],
                    weight[:n, :k],
                    bias[:n],
                    residual=residual[:m, :n],
                    activation="relu",
                    out_z=got_z,
                )
                assert np.array_equal(got, y[:m, :n]), (m, n, k)
                assert np.array_equal(got_z, z[:m, :n]), (m, n, k)


@pytest.mark.parametrize("gap", [0, 3])
def test_few_columns_of_long_rows_are_exact(gap, isa, dtype, rng):
    """Whose tiles fetch the rows below, the last of which lie beyond the array."""
    m, n, k = 61, 25, 90
    x = integers(rng, dtype, m, k + gap)[:, :k]
    weight, bias, residual = integers(rng, dtype, n, k), integers(rng, dtype, n), integers(rng, dtype, m, n)
    z = reference.preactivation(x, weight, bias, residual=residual)
    for columns, rows in product(range(1, n + 1), (*range(1, 14), m)):
        here = slice(0, rows), slice(0, columns)
        got_z = np.empty((rows, columns), dtype)
        given = weight[:columns], bias[:columns]
        got = fastpw.conv1x1(x[:rows], *given, residual=residual[here], activation="relu", out_z=got_z)
        assert np.array_equal(got_z, z[here]), (rows, columns)
        assert np.array_equal(got, np.maximum(z, 0)[here]), (rows, columns)


def test_a_single_row_is_exact_and_like_others(isa, dtype, rng, keeps_promise):
    """It meets several panels at a time."""
    _, columns, _ = largest_edges(isa, dtype)
    n, k = 3 * columns, 37
    x, weight, bias = integers(rng, dtype, 3, k), integers(rng, dtype, n, k), integers(rng, dtype, n)
    residual = integers(rng, dtype, 3, n)
    fractions = rng.standard_normal((3, k)).astype(dtype)
    z = reference.preactivation(x, weight, bias, residual=residual)
    for columns in range(1, n + 1):
        first = slice(0, columns)
        given = weight[first], bias[first]
        got_z = np.empty((1, columns), dtype)
        got = fastpw.conv1x1(x[:1], *given, residual=residual[:1, first], activation="relu", out_z=got_z)
        assert np.array_equal(got_z, z[:1, first]), columns
        assert np.array_equal(got, np.maximum(z, 0)[:1, first]), columns
        single = fastpw.conv1x1(fractions[:1], *given, activation="gelu")
        assert keeps_promise(single, fractions[:1], *given, activation="gelu"), columns
        assert np.array_equal(single, fastpw.conv1x1(fractions, *given, activation="gelu")[:1]), columns


# Past the blocks of the caches, past the threshold for two threads, few rows and many, few columns and many.
LARGE = [
    (1, 3000, 700),
    (49, 512, 1030),
    (50, 33, 2048),
    (784, 16, 256),
    (1000, 130, 70),
    (3137, 24, 145),
    (20000, 3, 5),
]


@pytest.mark.parametrize(("m", "n", "k"), LARGE)
def test_large_integers_are_exact(m, n, k, dtype, rng, conv):
    x, weight, bias = integers(rng, dtype, m, k), integers(rng, dtype, n, k), integers(rng, dtype, n)
    residual = integers(rng, dtype, m, n)
    y = np.maximum(x.astype(float) @ weight.astype(float).T + bias + residual, 0)
    assert np.array_equal(conv(x, weight, bias, activation="relu", residual=residual), y)


GROUPED = [(12, 12, 12), (100, 100, 100), (12, 24, 12), (12, 18, 3), (64, 64, 2)]


@pytest.mark.parametrize(("C", "K", "groups"), GROUPED)
def test_integers_in_groups_are_exact(C, K, groups, dtype, rng, conv):
    x, weight = integers(rng, dtype, 2, 23, 17, C), integers(rng, dtype, K, C // groups)
    bias, residual = integers(rng, dtype, K), integers(rng, dtype, 2, 23, 17, K)
    options = {"groups": groups, "activation": ("clip", -20, 30), "residual": residual}
    assert np.array_equal(conv(x, weight, bias, **options), reference.conv1x1(x, weight, bias, **options))


def test_integers_in_one_group_per_channel_at_all_edge_sizes_are_exact(isa, dtype, rng):
    _, most, _ = largest_edges(isa, dtype)
    x, weight, bias = integers(rng, dtype, 5, most), integers(rng, dtype, most, 1), integers(rng, dtype, most)
    y = x * weight[:, 0] + bias
    for n in range(1, most + 1):
        for m in range(1, 6):
            canvas = np.full((7, n + 2), UNTOUCHED, dtype)
            expected = canvas.copy()
            expected[1 : m + 1, 1:-1] = y[:m, :n]
            fastpw.conv1x1(x[:m, :n], weight[:n], bias[:n], groups=n, out=canvas[1 : m + 1, 1:-1])
            assert np.array_equal(canvas, expected), (m, n)


@pytest.mark.parametrize("layout", ["OI", "IO", "OIHW", "HWIO", "OHWI"])
def test_weight_layouts(layout, dtype, rng, conv):
    x, weight = integers(rng, dtype, 9, 6), integers(rng, dtype, 10, 6)
    given = {
        "OI": weight,
        "OIHW": weight[:, :, None, None],
        "HWIO": weight.T[None, None],
        "IO": weight.T,
        "OHWI": weight[:, None, None, :],
    }[layout]
    assert np.array_equal(conv(x, given, weight_layout=layout), x @ weight.T)


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize(("m", "n", "k"), [(7, 70, 31), (200, 50, 300), (65, 4, 2000)])
def test_error_bound(m, n, k, row, dtype, rng, conv, keeps_promise):
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (n, k), n))
    options = {"activation": row.spec, "residual": rng.standard_normal((m, n)).astype(dtype)}
    assert keeps_promise(conv(x, weight, bias, **options), x, weight, bias, **options)


def test_error_bound_under_cancellation(dtype, rng, conv, keeps_promise):
    """The right half of each row nearly undoes the left, over sixty binades."""
    x, weight = (np.ldexp(rng.standard_normal(s), rng.integers(-30, 30, s)) for s in ((30, 200), (40, 200)))
    x, weight = np.hstack([x, -x]).astype(dtype), np.hstack([weight, weight * (1 + 1e-6)]).astype(dtype)
    assert keeps_promise(conv(x, weight), x, weight)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (2, 0, 4, 5), (0,), (0, 0)])
@pytest.mark.parametrize("K", [0, 4])
def test_empty_arrays(shape, K, dtype, conv):
    bias = np.arange(K, dtype=dtype)
    y = conv(np.ones(shape, dtype), np.ones((K, shape[-1]), dtype), bias, activation="relu")
    assert y.dtype == dtype
    assert np.array_equal(y, np.broadcast_to(bias, (*shape[:-1], K)))


def test_empty_images_have_borders(dtype):
    bias = np.array([2, -2], dtype)
    y = fastpw.conv1x1(np.ones((0, 3, 5), dtype), np.ones((2, 5), dtype), bias, padding=1, activation="relu")
    assert np.array_equal(y, np.broadcast_to(np.array([2, 0], dtype), (2, 5, 2)))


def test_lists_and_scalar_leading_axes(conv):
    assert np.array_equal(conv([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]], [1.0, -1.0]), [12, 16])
    assert np.array_equal(conv([[[[[1.0, 2.0]]]]], [[3.0, 4.0]]), [[[[[11]]]]])
