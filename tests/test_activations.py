"""Every row of the table: its error bound over the whole range of floats, its derivative, its kinks."""

from functools import cache

import numpy as np
import pytest

import fastpw
from fastpw import _activations, bounds, reference

each_row = pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)

STEP = 8191  # odd: successive samples differ in their low bits too


@cache
def samples(dtype):
    """One in STEP of float32's bit patterns, 1,024 in every binade; in float64 as many.

    Besides, the neighbourhoods of where the formulas change, and the extremes.
    """
    patterns = np.arange(0, 1 << 32, STEP, dtype=np.uint64)
    if dtype == np.float32:
        values = patterns.astype(np.uint32).view(np.float32)
    else:
        values = (patterns << 32 | patterns * 2654435761 % (1 << 32)).view(np.float64)
    limits = np.finfo(dtype)
    changes = np.array([0, 0.5, 1, 1.5, 2.25, 3, 6], dtype)
    extremes = np.array([limits.smallest_subnormal, limits.tiny, limits.max, np.inf, np.nan], dtype)
    around = [np.nextafter(changes, dtype.type(-9)), changes, np.nextafter(changes, dtype.type(9))]
    special = np.concatenate([*around, extremes])
    return np.concatenate([values, special, -special])


@cache
def expected(name, dtype):
    row = _activations.BY_NAME[name]
    y = reference.activate(samples(dtype), row.spec)
    own = getattr(row, dtype.name)
    return y, own.ulps * np.finfo(dtype).eps * np.abs(y) + own.absolute


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("channels", [1, 67])
@each_row
def test_error_bound_over_the_whole_range(row, channels, dtype):
    """z is x itself: one channel of weight 1, then a weight of 1 for each of many."""
    x = samples(dtype)
    padded = np.zeros((-(-x.size // channels), channels), dtype)
    padded.flat[: x.size] = x
    z = np.empty_like(padded)
    weight = np.ones((channels, 1), dtype)
    y = fastpw.conv1x1(padded, weight, groups=channels, activation=row.spec, out_z=z)
    assert np.array_equal(z, padded, equal_nan=True)
    with np.errstate(all="ignore"):
        assert bounds.excess(y.flat[: x.size], *expected(row.name, dtype)) <= 1


@each_row
def test_reference_derivative_is_the_slope(row):
    """By central differences, away from the kinks."""
    z, h = np.linspace(-12, 12, 4001), 1e-5
    kinks = row.kinks(row.alpha, row.beta)
    z = z[[all(abs(at - kink) > h for kink in kinks) for at in z]]
    slope = (reference.activate(z + h, row.spec) - reference.activate(z - h, row.spec)) / (2 * h)
    assert np.allclose(reference.derivative(z, row.spec), slope, rtol=0, atol=1e-9)


@each_row
def test_reference_derivative_at_kinks_and_specials(row):
    for kink, stated in row.kinks(row.alpha, row.beta).items():
        left, at, right = reference.derivative([kink - 1e-9, kink, kink + 1e-9], row.spec)
        assert at == stated
        assert abs(right - left) > 0.1
        assert min(abs(at - left), abs(at - right)) < 1e-6
    at_infinity = reference.derivative([-np.inf, np.inf], row.spec)
    assert np.allclose(at_infinity, reference.derivative([-1e6, 1e6], row.spec))
    assert np.isnan(reference.derivative(np.nan, row.spec))


@each_row
def test_steepest(row):
    steepest = np.abs(reference.derivative(np.linspace(-10, 10, 100_001), row.spec)).max()
    assert 0.99 * row.steepest <= steepest <= row.steepest
