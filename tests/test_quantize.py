"""Scales and zero points, and arrays of integers from real numbers and back."""

import warnings

import numpy as np
import pytest

import fastpw
from fastpw.quantize import of_range

INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
LAYOUTS = {
    "OI": lambda w: w,
    "IO": lambda w: w.T,
    "OIHW": lambda w: w[:, :, None, None],
    "HWIO": lambda w: w.T[None, None],
    "OHWI": lambda w: w[:, None, None, :],
}


# ---- weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_weight_lies_within_half_a_step_of_its_integer(dtype, rng):
    weight = (rng.standard_normal((50, 33)) * np.logspace(-30, 30, 50)[:, None]).astype(dtype)
    q, scale = fastpw.quantize_weight(weight)
    assert (q.dtype, scale.dtype, scale.shape) == (np.int8, np.float32, (50,))
    assert np.array_equal(np.abs(q).max(axis=1), np.full(50, 127))
    assert np.array_equal(scale, (np.abs(weight).max(axis=1) / 127).astype(np.float32))
    steps = scale[:, None].astype(np.float64)
    # Half a step, and what the scale's own rounding makes of 127 steps.
    assert (np.abs(q * steps - weight) <= steps * (0.5 + 127 * 2.0**-24)).all()


def test_integers_are_the_nearest_and_halves_even():
    q, scale = fastpw.quantize_weight(np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, 63.49, 63.51]]))
    assert scale == [1]
    assert q.tolist() == [[127, 0, 2, 2, 0, -2, 63, 64]]


@pytest.mark.parametrize("tiny", [0.0, -0.0, 2.0**-149, 2.0**-126, 127 * 2.0**-127])
def test_rows_without_a_scale_are_zeros_with_the_scale_one(tiny):
    weight = np.array([[tiny, -tiny], [1, 2]], np.float32)
    q, scale = fastpw.quantize_weight(weight)
    assert q.tolist() == [[0, 0], [64, 127]]
    assert scale[0] == 1


def test_the_smallest_scale_has_all_digits():
    q, scale = fastpw.quantize_weight(np.array([[127 * 2.0**-126, 2.0**-126]], np.float32))
    assert scale == [2.0**-126]
    assert q.tolist() == [[127, 1]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_its_output_channels(layout, rng):
    weight = rng.standard_normal((5, 3), dtype=np.float32)
    plain, scale = fastpw.quantize_weight(weight)
    q, scale_too = fastpw.quantize_weight(LAYOUTS[layout](weight), layout)
    assert np.array_equal(q, LAYOUTS[layout](plain))
    assert np.array_equal(scale, scale_too)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_weights_without_elements(shape):
    q, scale = fastpw.quantize_weight(np.ones(shape, np.float32))
    assert q.shape == shape
    assert np.array_equal(scale, np.ones(shape[0]))


@pytest.mark.parametrize(
    ("weight", "error", "words"),
    [
        (np.array([[1, np.nan]]), ValueError, "weight: finite numbers are needed, got nan"),
        (np.array([[1, -np.inf]]), ValueError, "weight: finite numbers are needed, got -inf"),
        (np.array([[1e300]]), ValueError, "weight: .* float32 holds"),
        (np.ones((2, 2), np.int8), TypeError, "weight: float32 or float64"),
        (np.ones(3), ValueError, r"weight: shape \(K, C // groups\) is needed"),
    ],
)
def test_what_is_no_weight(weight, error, words):
    with pytest.raises(error, match=words):
        fastpw.quantize_weight(weight)


def test_a_layout_that_is_none():
    with pytest.raises(ValueError, match="weight_layout: one of 'OI'"):
        fastpw.quantize_weight(np.ones((2, 2)), "KC")


# ---- arrays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [INT8, UINT8])
@pytest.mark.parametrize("zero_point", [3, 100])
def test_integers_come_back(dtype, zero_point):
    """Through numbers that lie less than half a step off."""
    q = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    real = fastpw.dequantize(q, 0.37, zero_point)
    assert real.dtype == np.float32
    assert real[q == zero_point] == 0
    for off in (0, -0.18, 0.18):
        made = fastpw.quantize(real + np.float32(off), 0.37, zero_point, dtype)
        assert made.dtype == dtype
        assert np.array_equal(made, q)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_halves_are_even_before_the_zero_point_is_added(real):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], real)
    assert fastpw.quantize(x, 1, 1).tolist() == [1, 3, 3, 1, -1, -1]
    assert fastpw.quantize(x, 1, 1, "uint8").tolist() == [1, 3, 3, 1, 0, 0]


def test_what_lies_beyond_becomes_the_end():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = np.array([np.inf, 1e38, 300, -300, -1e38, -np.inf], np.float32)
        assert fastpw.quantize(x, 0.5, -128).tolist() == [127, 127, 127, -128, -128, -128]
        assert fastpw.quantize(x, 1e-20, 7, np.uint8).tolist() == [255, 255, 255, 0, 0, 0]


def test_a_scale_for_each_channel_or_row(rng):
    x, scale = rng.standard_normal((4, 5, 3)), np.array([0.01, 0.02, 0.03])
    each = [fastpw.quantize(x[..., i], scale[i]) for i in range(3)]
    q = fastpw.quantize(x, scale)
    assert np.array_equal(q, np.stack(each, axis=-1))
    back = [fastpw.dequantize(q[..., i], scale[i]) for i in range(3)]
    assert np.array_equal(fastpw.dequantize(q, scale), np.stack(back, axis=-1))


def test_weights_come_back(rng):
    weight = rng.standard_normal((7, 5), dtype=np.float32)
    q, scale = fastpw.quantize_weight(weight)
    assert np.abs(fastpw.dequantize(q, scale[:, None]) - weight).max() <= scale.max() * 0.51


def test_accumulators_come_back():
    q = np.array([2**31 - 1, -(2**31), 2**24 + 1, 5], np.int32)
    assert fastpw.dequantize(q, 1).tolist() == [2.0**31, -(2.0**31), 2.0**24, 5]
    assert fastpw.dequantize(q, 1, -(2**31)).tolist()[0] == 2.0**32


def test_arrays_without_elements_or_axes():
    assert fastpw.quantize(np.ones((0, 3)), np.ones(3)).shape == (0, 3)
    assert fastpw.quantize(np.float64(3), 1) == 3
    assert fastpw.dequantize(np.int8(3), 1) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.array([np.nan]), 1), ValueError, "x: numbers are needed, got NaN"),
        ((np.ones(2, np.int8), 1), TypeError, "x: float32 or float64"),
        ((np.ones(2), 0), ValueError, "scale: .* above 0"),
        ((np.ones(2), -1.0), ValueError, "scale: .* above 0"),
        ((np.ones(2), 1e-60), ValueError, "scale: .* above 0"),
        ((np.ones(2), 1e60), ValueError, "scale: a number that float32 holds"),
        ((np.ones(2), 10**400), ValueError, "scale: a number that float32 holds"),
        ((np.ones(2), np.nan), ValueError, "scale: .* above 0"),
        ((np.ones(2), "1"), TypeError, "scale: a number is needed"),
        ((np.ones(2), None), TypeError, "scale: a number is needed"),
        ((np.ones(2), np.array([1, 0.0])), ValueError, "scale: .* above 0, are needed, got 0.0"),
        ((np.ones(2), np.array(["a", "b"])), TypeError, "scale: a number or an array of numbers"),
        ((np.ones(2), np.ones(3)), ValueError, r"scale: a shape that broadcasts to x's \(2,\)"),
        ((np.ones(2), np.ones((2, 2))), ValueError, r"scale: a shape that broadcasts to x's \(2,\)"),
        ((np.ones(2), 1, 128), ValueError, "zero_point: -128 to 127 is needed, got 128"),
        ((np.ones(2), 1, -1, "uint8"), ValueError, "zero_point: 0 to 255 is needed, got -1"),
        ((np.ones(2), 1, 0.5), TypeError, "zero_point: an integer is needed"),
        ((np.ones(2), 1, 0, np.int16), TypeError, "dtype: int8 or uint8 is needed"),
        ((np.ones(2), 1, 0, None), TypeError, "dtype: int8 or uint8 is needed, got None"),
        ((np.ones(2), 1, 0, "what"), TypeError, "dtype: int8 or uint8 is needed"),
    ],
)
def test_what_cannot_be_quantized(arguments, error, words):
    with pytest.raises(error, match=words):
        fastpw.quantize(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.ones(2), 1), TypeError, "q: int8 or uint8 or int32 is needed, got float64"),
        ((np.ones(2, np.int8), 0), ValueError, "scale: .* above 0"),
        ((np.ones(2, np.uint8), 1, -1), ValueError, "zero_point: 0 to 255"),
        ((np.ones(2, np.uint8), np.ones(3)), ValueError, "scale: a shape that broadcasts"),
    ],
)
def test_what_cannot_be_dequantized(arguments, error, words):
    with pytest.raises(error, match=words):
        fastpw.dequantize(*arguments)


# ---- ranges --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [INT8, UINT8])
def test_a_range_is_covered_and_zero_is_exact(dtype, rng):
    ends = np.iinfo(dtype)
    for lo, hi in (np.sort(rng.standard_normal((300, 2)) * 10, axis=1)).tolist():
        scale, zero_point = of_range(lo, hi, dtype)
        assert scale == np.float32((max(hi, 0) - min(lo, 0)) / 255)
        assert ends.min <= zero_point <= ends.max
        values = np.array([lo, hi, 0])
        back = fastpw.dequantize(fastpw.quantize(values, scale, zero_point, dtype), scale, zero_point)
        assert (np.abs(back - values) <= scale).all()
        assert back[2] == 0


def test_known_ranges():
    """TFLite's rule: https://github.com/google/gemmlowp/blob/master/doc/quantization_example.cc"""
    assert of_range(-10, 30, UINT8) == (np.float32(40 / 255), 64)
    assert of_range(-127, 128, INT8) == (1, -1)
    assert of_range(0, 6, UINT8) == (np.float32(6 / 255), 0)
    assert of_range(0, 6, INT8) == (np.float32(6 / 255), -128)
    assert of_range(2, 6, INT8) == (np.float32(6 / 255), -128)
    assert of_range(-6, -2, INT8) == (np.float32(6 / 255), 127)
    assert of_range(0, 0, UINT8) == (1, 0)
    assert of_range(0, 1e-44, INT8) == (1, 0)


# ---- layers --------------------------------------------------------------------------------------------


def test_a_layer_by_its_ranges_is_near_the_layer(rng):
    """Within a step of the result, and what half a step of x and of each weight carries."""
    weight, bias = rng.standard_normal((12, 20), dtype=np.float32), rng.standard_normal(12, dtype=np.float32)
    x = rng.uniform(-1, 2, (300, 20)).astype(np.float32)
    layer = fastpw.Conv1x1(weight, bias, activation="relu")
    y = layer(x)
    q = fastpw.QConv1x1.from_float(layer, x_range=(-1, 2), y_range=(0, y.max()))
    made = q(fastpw.quantize(x, q.x_scale, q.x_zero_point))
    back = fastpw.dequantize(made, q.y_scale, q.y_zero_point)
    carried = 0.5 * q.x_scale * np.abs(weight).sum(axis=1) + 0.5 * 20 * 2.01 * q.weight_scale
    assert (np.abs(back - y) <= carried + 1.01 * q.y_scale).all()
    assert np.abs(back - y).mean() < q.y_scale


@pytest.mark.parametrize("largest", [0.0, 1e-40, 1e-30, 1e-9])
def test_channels_with_next_to_no_weights_give_their_bias(largest):
    """Their own scale would make more steps of the bias than int32 holds."""
    weight = np.array([[largest, -largest], [1, 2]], np.float32)
    layer = fastpw.Conv1x1(weight, np.array([0.75, -0.5], np.float32))
    q = fastpw.QConv1x1.from_float(layer, x_range=(-1, 1), y_range=(-4, 4))
    assert abs(int(q.bias[0])) <= 2**29 + 2**6  # (the scale is rounded)
    x = fastpw.quantize(np.array([[0.0, 0], [1, -1]], np.float32), q.x_scale, q.x_zero_point)
    back = fastpw.dequantize(q(x), q.y_scale, q.y_zero_point)
    assert np.abs(back[:, 0] - 0.75).max() <= q.y_scale
    assert np.abs(back[:, 1] - [-0.5, -1.5]).max() <= 2 * q.y_scale


def test_other_layers_by_their_ranges(rng):
    weight, bias = rng.standard_normal((6, 4)), rng.standard_normal(6)
    layer = fastpw.Conv1x1(weight, bias)
    x = rng.standard_normal((50, 4), dtype=np.float32)
    y = layer(x.astype(np.float64))
    dynamic = fastpw.QConv1x1.from_float(layer)
    assert np.abs(dynamic(x) - y).max() < 0.1
    static = fastpw.QConv1x1.from_float(layer, x_range=(x.min(), x.max()))
    made = static(fastpw.quantize(x, static.x_scale, static.x_zero_point))
    assert made.dtype == np.float32
    assert np.abs(made - y).max() < 0.1
