"""The specification of integers itself: against plain loops over Python's integers and fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from fastpw import _activations
from fastpw import quantized_reference as reference

# ---- plain Python --------------------------------------------------------------------------------------


def rounded(value):
    """An exact number as the nearest float32, halves to the even neighbour, itself exact again."""
    value = Fraction(value)
    if value == 0:
        return value
    exponent = math.floor(math.log2(abs(value)))
    exponent += (abs(value) >= Fraction(2) ** (exponent + 1)) - (abs(value) < Fraction(2) ** exponent)
    step = Fraction(2) ** (max(exponent, -126) - 23)
    return round(value / step) * step


def sums(x, zero_points, weight, options):
    """Σ (x - zero point) w of each output pixel, one number at a time; a zero point for each input pixel."""
    (sh, sw), ((top, _), (left, _)) = options["stride"], options["padding"]
    N, H, W, _ = x.shape
    K = len(weight)
    Ho, Wo = output_size(x.shape, options)
    acc = np.zeros((N, Ho, Wo, K), object)
    for n, i, j, k in np.ndindex(*acc.shape):
        row, column, first = i * sh - top, j * sw - left, k // (K // options["groups"]) * weight.shape[1]
        if 0 <= row < H and 0 <= column < W:
            pixel = x[n, row, column, first : first + weight.shape[1]]
            zero = int(zero_points[n, row, column, 0])
            acc[n, i, j, k] = sum((int(a) - zero) * int(b) for a, b in zip(pixel, weight[k], strict=True))
    return acc


def output_size(shape, options):
    sizes = zip(shape[1:3], options["stride"], options["padding"], strict=True)
    return [(n + sum(sides) - 1) // step + 1 for n, step, sides in sizes]


def requantized(acc, k, scales, zero_point, ends):
    """One accumulator; ends are the activation's in units of y, or infinite."""
    x_scale, weight_scale, y_scale = scales
    factor = rounded(rounded(x_scale * weight_scale[k]) / y_scale)
    y = round(rounded(rounded(acc) * factor)) + zero_point
    for end, choose in zip(ends, (max, min), strict=True):
        if math.isfinite(end):
            bound = rounded(rounded(Fraction(end) / y_scale) + zero_point)
            y = choose(y, round(bound))
    return y


def activated(z, spec):
    """The activations that are exact, of an exact number."""
    name, *parameters = spec if isinstance(spec, tuple) else (spec,)
    if name == "leaky_relu":
        return z if z > 0 else rounded(Fraction(float(np.float32(parameters[0]))) * z)
    lo, hi = ENDS[name] if name in ENDS else map(np.float32, parameters)
    z = max(z, Fraction(float(lo))) if lo > -math.inf else z
    return min(z, Fraction(float(hi))) if hi < math.inf else z


ENDS = {None: (-math.inf, math.inf), "relu": (0, math.inf), "relu6": (0, 6)}
EXACT = [None, "relu", "relu6", ("clip", -1.7, 2.1), ("leaky_relu", 0.3)]


# ---- cases ---------------------------------------------------------------------------------------------

GEOMETRIES = [
    {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1},
    {"stride": (2, 3), "padding": ((1, 0), (0, 2)), "groups": 2},
    {"stride": (1, 2), "padding": ((0, 1), (1, 1)), "groups": 6},
]
LAYOUTS = {
    "OI": lambda w: w,
    "IO": lambda w: w.T,
    "OIHW": lambda w: w[:, :, None, None],
    "HWIO": lambda w: w.T[None, None],
    "OHWI": lambda w: w[:, None, None, :],
}


def small_layer(rng, dtype, geometry):
    """x, weight, bias, weight_scale and the zero point of x."""
    ends = np.iinfo(dtype)
    x = rng.integers(ends.min, ends.max, (2, 3, 4, 6), dtype, endpoint=True)
    weight = rng.integers(-128, 127, (12, 6 // geometry["groups"]), np.int8, endpoint=True)
    bias = rng.integers(-5000, 5000, 12, np.int32)
    scale = rng.uniform(0.001, 0.02, 12).astype(np.float32)
    return x, weight, bias, scale, int(rng.integers(ends.min, ends.max, endpoint=True))


def exact(array):
    """Its floats as fractions."""
    return [Fraction(float(value)) for value in array]


# ---- static --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_accumulators_are_the_loops(dtype, geometry, rng):
    x, weight, bias, scale, zero = small_layer(rng, dtype, geometry)
    acc = sums(x, np.full((*x.shape[:3], 1), zero), weight, geometry)
    for layout, arranged in LAYOUTS.items():
        y = reference.qconv1x1(
            x,
            arranged(weight),
            bias,
            weight_scale=scale,
            x_scale=0.1,
            x_zero_point=zero,
            out_dtype=np.int32,
            weight_layout=layout,
            **geometry,
        )
        assert y.dtype == np.int32
        assert np.array_equal(y, acc + bias)


@pytest.mark.parametrize(
    "activation", [spec for spec in EXACT if not spec or spec[0] != "leaky_relu"], ids=str
)
@pytest.mark.parametrize("out_dtype", [None, np.int8, np.uint8])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_requantized_results_are_the_loops(dtype, out_dtype, activation, rng):
    geometry = GEOMETRIES[1]
    x, weight, bias, weight_scale, zero = small_layer(rng, dtype, geometry)
    ends = np.iinfo(out_dtype or dtype)
    y_zero = int(rng.integers(ends.min, ends.max))
    scales = np.float32(0.03), weight_scale, np.float32(0.06)
    y = reference.qconv1x1(
        x,
        weight,
        bias,
        weight_scale=weight_scale,
        x_scale=scales[0],
        x_zero_point=zero,
        y_scale=scales[2],
        y_zero_point=y_zero,
        out_dtype=out_dtype,
        activation=activation,
        **geometry,
    )
    assert y.dtype == (out_dtype or dtype)
    acc = sums(x, np.full((*x.shape[:3], 1), zero), weight, geometry) + bias
    bounds = ENDS.get(activation) or tuple(map(float, map(np.float32, activation[1:])))
    of = Fraction(float(scales[0])), exact(weight_scale), Fraction(float(scales[2]))
    for at in np.ndindex(*acc.shape):
        wanted = requantized(acc[at], at[-1], of, y_zero, bounds)
        assert y[at] == max(ends.min, min(ends.max, wanted)), at
    assert len(np.unique(y)) > (10 if activation != "relu6" else 2)


@pytest.mark.parametrize("activation", EXACT, ids=str)
def test_float_results_are_the_loops(activation, rng):
    geometry = GEOMETRIES[2]
    x, weight, _, weight_scale, zero = small_layer(rng, np.uint8, geometry)
    bias = rng.standard_normal(12, dtype=np.float32)
    options = {"weight_scale": weight_scale, "x_scale": 0.03, "x_zero_point": zero, **geometry}
    y = reference.qconv1x1(x, weight, bias, activation=activation, **options)
    assert y.dtype == np.float32
    acc = sums(x, np.full((*x.shape[:3], 1), zero), weight, geometry)
    scale = [rounded(Fraction(float(np.float32(0.03))) * one) for one in exact(weight_scale)]
    for at in np.ndindex(*acc.shape):
        z = rounded(rounded(rounded(acc[at]) * scale[at[-1]]) + Fraction(float(bias[at[-1]])))
        assert y[at] == activated(z, activation), at


def test_leaky_relu_acts_on_the_accumulator(rng):
    geometry = GEOMETRIES[0]
    x, weight, bias, weight_scale, zero = small_layer(rng, np.int8, geometry)
    options = {"weight_scale": weight_scale, "x_scale": 0.03, "x_zero_point": zero, **geometry}
    y_scale, spec = np.float32(0.06), ("leaky_relu", 0.3)
    y = reference.qconv1x1(x, weight, bias, y_scale=y_scale, y_zero_point=5, activation=spec, **options)
    acc = sums(x, np.full((*x.shape[:3], 1), zero), weight, geometry) + bias
    scale = [rounded(Fraction(float(np.float32(0.03))) * one) for one in exact(weight_scale)]
    for at in np.ndindex(*acc.shape):
        z = activated(rounded(rounded(acc[at]) * scale[at[-1]]), spec)
        wanted = round(rounded(z / Fraction(float(y_scale)))) + 5
        assert y[at] == max(-128, min(127, wanted)), at


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
def test_other_activations_are_rounded_once_each(row, rng):
    """In float32 what the dequantized accumulators give, within half a step and that of float32."""
    x, weight, bias, weight_scale, zero = small_layer(rng, np.int8, GEOMETRIES[0])
    options = {"weight_scale": weight_scale, "x_scale": 0.01, "x_zero_point": zero}
    acc = reference.qconv1x1(x, weight, bias, out_dtype=np.int32, **options)
    of_floats = reference.reference.activate(acc * 0.01 * weight_scale.astype(float), row.spec)
    y = reference.qconv1x1(x, weight, bias, y_scale=0.02, y_zero_point=-3, activation=row.spec, **options)
    assert np.abs(np.clip(of_floats / 0.02 - 3, -128, 127) - y).max() < 0.5001


def test_a_scale_for_all_channels(rng):
    x, weight, bias, _, zero = small_layer(rng, np.int8, GEOMETRIES[0])
    options = {"x_scale": 0.1, "x_zero_point": zero, "y_scale": 3}
    one = reference.qconv1x1(x, weight, bias, weight_scale=0.04, **options)
    assert np.array_equal(one, reference.qconv1x1(x, weight, bias, weight_scale=np.full(12, 0.04), **options))


# ---- public vectors ------------------------------------------------------------------------------------


def one_pixel(x, weight, dtype, **options):
    y = reference.qconv1x1(
        np.array([x], dtype), np.array([weight], np.int8), **{"weight_scale": 1, "x_scale": 1, **options}
    )
    return int(y[0, 0])


def test_sums_that_saturate_16_bits():
    """oneDNN's example of u8 x s8, and what saturates downwards and only with its neighbour."""
    assert one_pixel([211, 171], [71, 107], np.uint8, out_dtype=np.int32) == 33278
    assert one_pixel([210, 198, 234], [-81, -80, 127], np.uint8, out_dtype=np.int32) == -3132
    assert one_pixel([255] * 70, [-128] * 70, np.uint8, out_dtype=np.int32) == -255 * 128 * 70
    assert one_pixel([-128] * 9, [-128] * 9, np.int8, out_dtype=np.int32, x_zero_point=127) == 255 * 128 * 9
    assert one_pixel([1] * 40, [1] * 40, np.uint8, out_dtype=np.int32) == 40


def test_float32_at_each_step():
    """Exactly 6.5, so 6, so -120; with a double or a fixed-point scale it is -119."""
    scales = {"x_scale": 0.05296124517917633, "weight_scale": 0.024093778803944588}
    y = one_pixel([117], [5], np.int8, y_scale=0.11484327912330627, y_zero_point=-126, **scales)
    assert y == -120


@pytest.mark.parametrize("zero_point", [-3, 0, 1, 5])
def test_halves_are_even_before_the_zero_point(zero_point):
    for acc, rounded_half in ((1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (-5, -2)):
        assert one_pixel([1], [acc], np.int8, y_scale=2, y_zero_point=zero_point) == rounded_half + zero_point


def test_bounds_of_activations_are_rounded_with_the_zero_point():
    """6 / 4 is 1.5; with the zero point 1 it is 2.5, which rounds to 2, and not to 2 + 1."""
    assert one_pixel([100], [1], np.int8, y_scale=4, y_zero_point=1, activation="relu6") == 2
    assert one_pixel([100], [1], np.int8, y_scale=4, y_zero_point=0, activation="relu6") == 2
    assert one_pixel([-100], [1], np.int8, y_scale=4, y_zero_point=1, activation=("clip", -2, 2)) == 0
    assert one_pixel([-100], [1], np.int8, y_scale=4, y_zero_point=-128, activation="relu") == -128


def test_what_overflows_becomes_the_end():
    tiny = {"weight_scale": 1e30, "y_scale": 1e-8}
    assert one_pixel([100], [100], np.int8, **tiny) == 127
    assert one_pixel([-100], [100], np.int8, y_zero_point=-7, **tiny) == -128


def test_accumulators_beyond_24_bits_are_rounded_once():
    x, weight = [255] * 600, [127] * 600
    bias = np.array([2**24 + 1 - 600 * 255 * 127], np.int32)
    options = {"weight_scale": 1, "x_scale": 1}
    arrays = np.array([x], np.uint8), np.array([weight], np.int8), bias
    assert reference.qconv1x1(*arrays, out_dtype=np.int32, **options) == 2**24 + 1
    y = reference.qconv1x1(*arrays, y_scale=2.0**24, out_dtype=np.int8, **options)
    assert y == 1


# ---- dynamic -------------------------------------------------------------------------------------------


def test_fma_rounds_once(rng):
    """Random numbers, and those whose sum in float64 lies halfway between two of float32."""
    a, b, c = (
        rng.standard_normal(3000).astype(np.float32) * np.float32(2) ** rng.integers(-9, 9, 3000)
        for _ in "abc"
    )
    # a * b just beside a half of c's last digit, by less than float64 sees.
    c[:1000] = np.float32(2) ** 30 * (1 + rng.integers(0, 99, 1000) * np.float32(2) ** -23)
    a[:1000] = 1 + rng.integers(1, 9, 1000) * np.float32(2) ** -23
    b[:1000] = (1 - rng.integers(0, 9, 1000) * np.float32(2) ** -23) * 64
    b[:500] = -b[:500]
    both = exact(a), exact(b), exact(c)
    wanted = [float(rounded(one * two + three)) for one, two, three in zip(*both, strict=True)]
    assert np.array_equal(reference.fma(a, b, c), np.array(wanted, np.float32))
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert (twice != reference.fma(a, b, c)).any()


def test_fma_of_what_is_not_finite():
    inf, nan, most = np.inf, np.nan, np.finfo(np.float32).max
    a, b, c = np.array([[inf, 1, 1], [nan, 1, 1], [inf, 1, -inf], [most, 2, 0], [0, 5, 0]], np.float32).T
    assert np.array_equal(reference.fma(a, b, c), np.float32([inf, nan, nan, inf, 0]), equal_nan=True)


def quantized_by_hand(row):
    """XNNPACK's rule in fractions rounded at each step: q, the row's scale, the zero point."""
    row = exact(row)
    lo, hi = min(0, *row), max(0, *row)
    inv = rounded(255 / rounded(hi - lo)) if hi > lo else Fraction(1)
    dl, dh = rounded(lo * inv), rounded(hi * inv)
    from_lo = rounded(rounded(-128 + dl) + rounded(127 + dh)) > 0
    zero = rounded(-128 - dl) if from_lo else rounded(127 - dh)
    zero = round(max(-128, min(127, zero)))
    q = [max(-128, min(127, round(rounded(value * inv)) + zero)) for value in row]
    return q, rounded(1 / inv), zero


def test_rows_are_quantized_by_the_rule(rng):
    x = rng.standard_normal((60, 7), dtype=np.float32) * np.float32(2) ** rng.integers(-20, 20, (60, 1))
    x[:20] = np.abs(x[:20])
    x[20:40] = -np.abs(x[20:40])
    x[0], x[1], x[2] = 0, 3, -3
    q, scale, zero = reference.quantized_rows(x)
    assert (q.dtype, scale.dtype) == (np.int8, np.float32)
    for row, *made in zip(x, q.tolist(), scale[:, 0], zero[:, 0], strict=True):
        wanted_q, wanted_scale, wanted_zero = quantized_by_hand(row)
        assert made == [wanted_q, float(wanted_scale), wanted_zero], row


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_dynamic_results_are_the_loops(geometry, rng):
    weight, _, weight_scale = small_layer(rng, np.int8, geometry)[1:4]
    x, bias = rng.standard_normal((2, 3, 4, 6), dtype=np.float32), rng.standard_normal(12, dtype=np.float32)
    options = {"weight_scale": weight_scale, **geometry}
    y = reference.qconv1x1(x, weight, bias, activation=("leaky_relu", 0.3), **options)
    assert y.dtype == np.float32
    rows = [quantized_by_hand(row) for row in x.reshape(-1, 6)]
    q = np.array([row[0] for row in rows]).reshape(x.shape)
    zero = np.array([row[2] for row in rows]).reshape(2, 3, 4, 1)
    acc = sums(q, zero, weight, geometry)
    (sh, sw), ((top, _), (left, _)) = geometry["stride"], geometry["padding"]
    scales, biases = exact(weight_scale), exact(bias)
    for n, i, j, k in np.ndindex(*acc.shape):
        row, column = i * sh - top, j * sw - left
        z = biases[k]
        if 0 <= row < 3 and 0 <= column < 4:
            of_row = rows[(n * 3 + row) * 4 + column][1]
            z = rounded(rounded(rounded(acc[n, i, j, k]) * of_row) * scales[k] + z)
        assert y[n, i, j, k] == activated(z, ("leaky_relu", 0.3)), (n, i, j, k)


def test_rows_that_are_not_finite_or_tiny(rng):
    """NaN stays within its row; a range that no scale fits counts as zeros, one that overflows as NaN."""
    weight, bias = rng.integers(-128, 128, (5, 3)).astype(np.int8), rng.standard_normal(5, dtype=np.float32)
    x = rng.standard_normal((7, 3), dtype=np.float32)
    options = {"weight_scale": np.full(5, 0.1, np.float32)}
    plain = reference.qconv1x1(x, weight, bias, **options)
    x[0, 1], x[2, 0], x[3] = np.nan, np.inf, [3e38, -3e38, 0]
    x[4] = [1e-45, -1e-45, 0]
    y = reference.qconv1x1(x, weight, bias, **options)
    assert np.isnan(y[[0, 2, 3]]).all()
    assert np.array_equal(y[4], bias)
    assert np.array_equal(y[[1, 5, 6]], plain[[1, 5, 6]])


def test_a_padded_pixel_is_the_bias_whatever_lies_beside_it(rng):
    bias = rng.standard_normal(4, dtype=np.float32)
    x = np.full((2, 2, 3), np.nan, np.float32)
    y = reference.qconv1x1(x, np.ones((4, 3), np.int8), bias, weight_scale=1, padding=1, activation="relu")
    border = np.ones((4, 4), bool)
    border[1:3, 1:3] = False
    assert np.array_equal(y[border], np.broadcast_to(np.maximum(bias, 0), (12, 4)))


def test_images_without_pixels_or_channels():
    weight = np.ones((4, 0), np.int8)
    assert reference.qconv1x1(
        np.ones((0, 3), np.float32), np.ones((4, 3), np.int8), weight_scale=1
    ).shape == (0, 4)
    bias = np.arange(4, dtype=np.float32)
    y = reference.qconv1x1(np.ones((2, 0), np.float32), weight, bias, weight_scale=1)
    assert np.array_equal(y, np.stack([bias, bias]))
