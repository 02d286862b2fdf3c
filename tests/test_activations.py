"""Every row of the table: its error bound over the whole range of floats, its derivative, its kinks."""

import pickle
from functools import cache

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _bounds, reference

pytestmark = pytest.mark.pairwise

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
        assert _bounds.excess(y.flat[: x.size], *expected(row.name, dtype)) <= 1


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


# What is written in their place, the same to the bit.
SAME = {
    "linear": None,
    "identity": None,
    "swish": "silu",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
    np.str_("relu"): "relu",
    np.str_("hardswish"): "hard_swish",
}
LISTS = [["clip", -1, 2.5], ["leaky_relu", np.float32(0.25)], [np.str_("clip"), 0, np.inf]]
PAIRS = [*SAME.items(), *((spec, tuple(spec)) for spec in LISTS)]


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize(("spec", "own"), PAIRS, ids=str)
def test_aliases(spec, own, dtype, conv, rng):
    x, weight, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((9, 6), (10, 6), (9, 10)))
    assert conv(x, weight, activation=spec).tobytes() == conv(x, weight, activation=own).tobytes()
    assert np.array_equal(
        reference.conv1x1(x, weight, activation=spec), reference.conv1x1(x, weight, activation=own)
    )
    expected = fastpw.conv1x1_backward(dy, x, weight, activation=own)
    for _ in range(2):
        grads = fastpw.conv1x1_backward(dy, x, weight, activation=spec)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(grads[:3], expected, strict=False))


@pytest.mark.parametrize(("spec", "own"), PAIRS, ids=str)
def test_a_layer_keeps_an_activations_own_name(spec, own):
    layer = fastpw.Conv1x1(np.ones((2, 3)), activation=spec, weight_layout=np.str_("OI"))
    if isinstance(spec, list):
        spec.append("changed later")
    for same in (layer, pickle.loads(pickle.dumps(layer))):
        assert same.activation == own
        assert type(same.activation) in (str, tuple, type(None))
        assert type(same.weight_layout) is str
    if isinstance(spec, list):
        spec.pop()


def test_every_activation_is_listed():
    listed = fastpw.activations()
    assert [row.name for row in listed] == [*_activations.BY_NAME]
    for row in listed:
        for name in (row.name, *row.aliases):
            spec = (name, *(1.0, 2.0)[: len(row.parameters)]) if row.parameters else name
            assert _activations.find(spec)[0].name == row.name
            fastpw.conv1x1(np.ones((1, 1)), np.ones((1, 1)), activation=spec)


@pytest.mark.parametrize("row", fastpw.activations(), ids=lambda row: row.name)
def test_what_the_backward_pass_reads(row):
    """With that of y and z that it reads, and no other, it needs no x."""
    dy, x, weight = np.ones((4, 3)), np.ones((4, 2)), np.ones((3, 2))
    spec = (row.name, 0.5, 0.75)[: 1 + len(row.parameters)] if row.parameters else row.name
    z = np.empty((4, 3))
    made = {"y": fastpw.conv1x1(x, weight, activation=spec, out_z=z), "z": z, None: None}
    for name, array in made.items():
        given = {} if name is None else {name: array}
        call = dict(**given, wrt="x", activation=spec)
        if row.backward_reads in (None, name) or (row.backward_reads == "y" and name == "z"):
            fastpw.conv1x1_backward(dy, None, weight, **call)
        else:
            with pytest.raises(TypeError, match="x: an array is needed"):
                fastpw.conv1x1_backward(dy, None, weight, np.zeros(3), **call)


def test_the_list_of_activations_is_the_callers():
    fastpw.activations().clear()
    assert fastpw.activations()
