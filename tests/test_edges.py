"""How the rows of a dense window are cut where taps lie beyond an edge, and that no bit shows it."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw.core import edges


def inside(along, row):
    """The taps of a row that are."""
    taps, step, stride, origin, _, size = along
    return [t for t in range(taps) if 0 <= origin + row * stride + t * step < size]


def windows():
    for taps, step, stride, origin, rows, size in product(
        (1, 2, 3, 7), (1, 2), (1, 2), (0, -1, -3, -9, 2), (1, 4, 9), (1, 3, 9)
    ):
        yield edges.Along(taps, step, stride, origin, rows, size)


def test_each_row_once_with_all_taps_that_are_inside():
    for lines in windows():
        for places in (edges.Along(3, 1, 1, -1, 9, 9), edges.Along(5, 2, 2, -4, 3, 8), lines):
            seen = np.zeros((lines.rows, places.rows), int)
            for box in edges.cut(lines, places):
                seen[box.lines.start : box.lines.stop, box.places.start : box.places.stop] += 1
                for some, along in (box.lines, lines), (box.places, places):
                    for row in range(some.start, some.stop):
                        assert set(inside(along, row)) <= set(range(some.first_tap, some.stop_tap))
                    assert 0 <= some.first_tap < some.stop_tap <= along.taps
            assert (seen == 1).all()


def test_what_is_left_out():
    """A 3x3 over 7 x 7: the inner 5 x 5 have all taps, lines at the edges 2 x 3 and places 3 x 2."""
    along = edges.Along(3, 1, 1, -1, 7, 7)
    boxes = edges.cut(along, along)
    assert [(box.rows, box.lines.taps, box.places.taps) for box in boxes] == [
        (25, 3, 3),
        (7, 2, 3),
        (7, 2, 3),
        (5, 3, 2),
        (5, 3, 2),
    ]
    assert len(edges.cut(along._replace(origin=0, rows=5), along._replace(origin=0, rows=5))) == 1
    assert len(edges.cut(along._replace(rows=2, size=2), along._replace(rows=1, size=1))) == 1
    wide = along._replace(rows=1000, size=1000)
    assert len(edges.cut(wide, wide)) == 1, "two lines and two places in a thousand are not worth it"


def test_a_kernel_of_very_many_taps_stays_whole(monkeypatch):
    """That is known before its spans are joined, which would take half a second."""
    one, many = edges.Along(1, 1, 1, 0, 1, 1), edges.Along(2001, 1, 1, -1000, 2000, 2000)
    few = edges.Along(9, 1, 1, -4, 40, 40)
    assert len(edges.cut(one, few)) > 1
    monkeypatch.setattr(edges, "_joined", lambda *_: pytest.fail("spans were joined"))
    assert len(edges.cut.__wrapped__(one, many)) == len(edges.cut.__wrapped__(many, one)) == 1


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_a_special_weight_meets_the_zeros(isa, dtype, special):
    """Wherever it is the only one: its products with zeros beyond an edge are NaN."""
    x = np.ones((1, 7, 8, 20), dtype)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    for i, j in np.ndindex(3, 3):
        weight = np.ones((33, 3, 3, 20), dtype)
        weight[32 if i else 0, i, j, 19] = special
        for layout, order in ("OHWI", (0, 1, 2, 3)), ("HWIO", (1, 2, 3, 0)):
            given = np.ascontiguousarray(weight.transpose(order))
            y = fastpw.conv2d(x, given, padding=1, weight_layout=layout)
            with np.errstate(invalid="ignore"):
                met = padded[:, i : i + 7, j : j + 8, 19] * np.dtype(dtype).type(special)
            assert np.array_equal(np.isnan(y[..., 32 if i else 0]), np.isnan(met)), (i, j)
            assert np.isfinite(y[..., 1:32]).all()


def test_no_zero_tells_what_was_left_out(isa, machine_size, dtype):
    """Sums of -0 become 0 where a zero beyond an edge meets a positive weight, in a chain or not."""
    x = np.zeros((1, 9, 9, 20), dtype)
    for positive in np.ndindex(3, 3):
        weight, bias = np.full((20, 3, 3, 20), -1, dtype), np.full(20, -0.0, dtype)
        weight[:, *positive] = 1
        layers = [
            fastpw.Conv2d(weight, bias, padding=1, activation="relu"),
            fastpw.Conv2d(weight, bias, padding=1),
        ]
        y = layers[1](layers[0](x))
        assert not y.any()
        assert np.array_equal(np.signbit(fastpw.Chain(layers)(x)), np.signbit(y))


def test_crops_and_batches_have_the_same_bits(isa, threads, machine_size, dtype):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3, 9, 11, 24)).astype(dtype)
    for size, dilation, stride, padding in (
        ((3, 3), 1, 1, 1),
        ((5, 5), 1, 2, 2),
        ((1, 7), 1, 1, (0, 3)),
        (3, 4, 1, 4),
    ):
        weight = rng.standard_normal((48, *np.broadcast_to(size, 2), 24)).astype(dtype)
        layer = fastpw.Conv2d(weight, padding=padding, stride=stride, dilation=dilation)
        y = layer(x)
        out = np.empty((3, y.shape[1], 2 * y.shape[2], 50), dtype)[:, :, ::2, 1:49]
        assert np.array_equal(layer(x, out=out), y)
        for number, image in enumerate(x):
            assert np.array_equal(layer(image), y[number])
