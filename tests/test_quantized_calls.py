"""A QConv1x1 keeps the promises of a Conv1x1: views, overlaps, threads, batches, pickles, errors."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastpw

RNG = np.random.default_rng(5)
WEIGHT = RNG.integers(-128, 128, (33, 20), "int8")
SCALES = {"weight_scale": 0.01, "x_scale": 0.05, "y_scale": 0.4, "x_zero_point": 3, "y_zero_point": -2}
X = RNG.integers(-128, 128, (2, 9, 11, 20), "int8")
FLOATS = RNG.standard_normal((2, 9, 11, 20), "f")

LAYERS = {
    "static": (fastpw.QConv1x1(WEIGHT, np.arange(33, dtype="int32"), **SCALES, activation="relu"), X),
    "activation": (fastpw.QConv1x1(WEIGHT, **SCALES, activation="silu"), X),
    "int32": (fastpw.QConv1x1(WEIGHT, weight_scale=1, x_scale=1, out_dtype="int32", padding=1, stride=2), X),
    "float32": (fastpw.QConv1x1(WEIGHT, np.ones(33, "f"), weight_scale=0.01, x_scale=0.1, padding=1), X),
    "grouped": (fastpw.QConv1x1(WEIGHT[:32, :5], **SCALES, groups=4), X),
    # These meet one panel, so some kernel sets read them where they are.
    "few": (fastpw.QConv1x1(WEIGHT[:13], **SCALES), X),
    "unsigned": (fastpw.QConv1x1(WEIGHT[:29], **SCALES, out_dtype="int8", padding=1), X.view("uint8")),
    "small groups": (fastpw.QConv1x1(WEIGHT[:30, :4], **SCALES, groups=5), X),
    "one each": (fastpw.QConv1x1(WEIGHT[:20, :1], **SCALES, groups=20), X),
    "dynamic": (fastpw.QConv1x1(WEIGHT, weight_scale=0.01, padding=1, activation="hard_swish"), FLOATS),
}


@pytest.fixture(params=LAYERS)
def layer_and_x(request):
    return LAYERS[request.param]


def test_views_are_used_where_they_lie(layer_and_x):
    layer, x = layer_and_x
    expected = layer(np.ascontiguousarray(x[:, ::-1, 1:7]))
    np.testing.assert_array_equal(layer(x[:, ::-1, 1:7]), expected)
    wide = np.zeros((*x.shape[:-1], 29), x.dtype)
    wide[..., 5:25] = x
    np.testing.assert_array_equal(layer(wide[..., 5:25]), layer(x))
    np.testing.assert_array_equal(
        layer(np.broadcast_to(x[:1], x.shape)), layer(np.ascontiguousarray(x[:1].repeat(2, 0)))
    )
    np.testing.assert_array_equal(layer(np.asfortranarray(x)), layer(x))
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(layer(frozen), layer(x))


def test_result_in_a_channel_slice(layer_and_x):
    layer, x = layer_and_x
    expected = layer(x)
    shape = expected.shape
    larger = np.full((shape[0], shape[1] + 2, shape[2] + 3, shape[3] + 7), 99, expected.dtype)
    out = larger[:, 1:-1, 2:-1, 3:-4]
    assert layer(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 99
    assert (larger == 99).all()


def test_rows_along_many_axes():
    layer, x = LAYERS["static"]
    many = np.ascontiguousarray(np.broadcast_to(x, (3, *x.shape)))[:, :, ::2, ::3].transpose(3, 1, 0, 2, 4)
    np.testing.assert_array_equal(layer(many), layer(np.ascontiguousarray(many)))


def test_out_may_share_memory_with_x():
    layer = fastpw.QConv1x1(WEIGHT[:20], **SCALES)
    memory = RNG.integers(-128, 128, (50, 20), "int8")
    for out, x in ((slice(0, 40), slice(0, 40)), (slice(1, 41), slice(0, 40)), (slice(0, 40), slice(3, 43))):
        own = memory.copy()
        expected = layer(own[x].copy())
        layer(own[x], out=own[out])
        np.testing.assert_array_equal(own[out], expected)


@pytest.mark.parametrize("K", [33, 200])
def test_a_pixel_is_the_same_alone_and_in_any_batch(threads, machine_size, K):
    weight = np.tile(WEIGHT, (7, 1))[:K]
    for layer, x in (
        (fastpw.QConv1x1(weight, **SCALES, activation="gelu"), X.reshape(-1, 20)),
        (fastpw.QConv1x1(weight, weight_scale=0.01, activation="tanh"), FLOATS.reshape(-1, 20)),
    ):
        whole = layer(x)
        for rows in (*range(1, 20), 131):
            np.testing.assert_array_equal(layer(x[5 : 5 + rows]), whole[5 : 5 + rows])


def test_many_threads_may_call_one_layer(layer_and_x, threads):
    layer, x = layer_and_x
    expected = layer(x)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(layer, [x] * 16):
            np.testing.assert_array_equal(y, expected)


def test_pickles_and_copies(layer_and_x):
    layer, x = layer_and_x
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        np.testing.assert_array_equal(other(x), layer(x))
        assert repr(other) == repr(layer)


def test_layers_do_not_change():
    layer, x = LAYERS["static"]
    with pytest.raises(AttributeError, match="does not change"):
        layer.x_scale = 2
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 1
    own = WEIGHT.copy()
    copied = fastpw.QConv1x1(own, **SCALES)
    own[:] = 0
    np.testing.assert_array_equal(copied(x), fastpw.QConv1x1(WEIGHT, **SCALES)(x))


def test_one_layer_takes_int8_and_uint8():
    layer = fastpw.QConv1x1(WEIGHT, weight_scale=0.01, x_scale=1, x_zero_point=5, out_dtype="int32")
    x = RNG.integers(0, 128, (4, 20), "int8")
    np.testing.assert_array_equal(layer(x), layer(x.astype("uint8")))
    by_type = fastpw.QConv1x1(WEIGHT, weight_scale=0.01, x_scale=1, y_scale=9, y_zero_point=5)
    assert by_type(x).dtype == np.int8
    assert by_type(x.astype("uint8")).dtype == np.uint8


@pytest.mark.parametrize("shape", [(0, 20), (2, 0, 3, 20), (0, 4, 4, 20)])
def test_empty_arrays(shape):
    for layer, x in LAYERS.values():
        if len(shape) == 4 and layer.padding == ((0, 0), (0, 0)):
            y = layer(np.zeros(shape, x.dtype))
            assert y.shape == layer.output_shape(shape)


def test_no_channels_and_no_filters():
    none = fastpw.QConv1x1(
        np.zeros((5, 0), "int8"), np.arange(5, dtype="int32"), **{**SCALES, "y_scale": 5e-4}
    )
    np.testing.assert_array_equal(none(np.zeros((2, 0), "int8")), [np.arange(5) - 2] * 2)
    assert fastpw.QConv1x1(np.zeros((0, 20), "int8"), **SCALES)(X).shape == (2, 9, 11, 0)


def test_padding_meets_the_zero_point():
    """What lies in the padding stands for 0.0, so that a padded pixel is the bias, requantized."""
    bias = np.arange(33, dtype="int32") * 100
    padded = fastpw.QConv1x1(WEIGHT, bias, **SCALES, padding=1)(X)
    filled = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=SCALES["x_zero_point"])
    np.testing.assert_array_equal(padded, fastpw.QConv1x1(WEIGHT, bias, **SCALES)(filled))


def test_layouts_of_the_weight():
    expected = fastpw.QConv1x1(WEIGHT, **SCALES)(X)
    for layout, weight in (
        ("IO", WEIGHT.T),
        ("OIHW", WEIGHT[:, :, None, None]),
        ("HWIO", WEIGHT.T[None, None]),
        ("OHWI", WEIGHT[:, None, None, :]),
    ):
        np.testing.assert_array_equal(fastpw.QConv1x1(weight, **SCALES, weight_layout=layout)(X), expected)


# ---- from floats ---------------------------------------------------------------------------------------


def float_layer(**options):
    weight = np.random.default_rng(6).standard_normal((24, 20), "f") / 5
    return fastpw.Conv1x1(weight, np.linspace(-1, 1, 24, dtype="f"), **options)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "activation": "hard_swish"}])
def test_from_float_is_close(options):
    layer = float_layer(**options)
    expected = layer(FLOATS)
    largest = np.abs(expected).max()
    dynamic = fastpw.QConv1x1.from_float(layer)
    assert np.abs(dynamic(FLOATS) - expected).max() < 0.02 * largest
    ends = (FLOATS.min(), FLOATS.max()), (expected.min(), expected.max())
    static = fastpw.QConv1x1.from_float(layer, x_range=ends[0], y_range=ends[1])
    x = fastpw.quantize(FLOATS, static.x_scale, static.x_zero_point)
    y = fastpw.dequantize(static(x), static.y_scale, static.y_zero_point)
    assert np.abs(y - expected).max() < 0.03 * largest
    to_floats = fastpw.QConv1x1.from_float(layer, x_range=ends[0])
    assert np.abs(to_floats(x) - expected).max() < 0.03 * largest


# ---- errors --------------------------------------------------------------------------------------------


def refused(message, error, *arguments, **given):
    with pytest.raises(error) as caught:
        fastpw.QConv1x1(*arguments, **{**SCALES, **given})
    assert str(caught.value).startswith(message), caught.value


def test_wrong_arguments_are_named():
    long = np.full((1, 140000), 127, "int8")
    refused("weight: int8 is needed, got float32", TypeError, WEIGHT.astype("f"))
    refused("weight: shape (K, C // groups) is needed", ValueError, WEIGHT[0])
    refused(
        "bias: int32 is needed for results in integers, got float32", TypeError, WEIGHT, np.zeros(33, "f")
    )
    refused("bias: shape (K,) = (33,) is needed, got (32,)", ValueError, WEIGHT, np.zeros(32, "int32"))
    refused("weight_scale: a number or shape (K,) = (33,)", ValueError, WEIGHT, weight_scale=np.ones(32))
    refused("weight_scale: numbers that float32 holds", ValueError, WEIGHT, weight_scale=np.zeros(33))
    refused("x_scale: a number that float32 holds, above 0", ValueError, WEIGHT, x_scale=-1)
    refused("x_zero_point: -128 to 255 is needed, got 256", ValueError, WEIGHT, x_zero_point=256)
    refused("x_zero_point: an integer is needed", TypeError, WEIGHT, x_zero_point=1.5)
    refused("y_zero_point: 0 to 255 is needed for uint8", ValueError, WEIGHT, out_dtype="uint8")
    refused(
        "y_scale: a number is needed for results in int8", ValueError, WEIGHT, y_scale=None, out_dtype="int8"
    )
    refused("y_scale: None is needed for results in int32", ValueError, WEIGHT, out_dtype="int32")
    refused("y_zero_point: 0 is needed without y_scale", ValueError, WEIGHT, y_scale=None)
    refused("x_zero_point: 0 is needed without x_scale", ValueError, WEIGHT, x_scale=None)
    refused(
        "x_scale: a number is needed for results in integers",
        ValueError,
        WEIGHT,
        x_scale=None,
        x_zero_point=0,
    )
    refused("out_dtype: None or one of int8, uint8, int32, float32", TypeError, WEIGHT, out_dtype="int16")
    refused(
        "x_scale, weight_scale, y_scale: scales are needed", ValueError, WEIGHT, x_scale=1e38, y_scale=1e-8
    )
    refused("weight, bias: sums below 2**31 are needed", ValueError, long)
    refused("groups: a divisor of K = 33 is needed, got 2", ValueError, WEIGHT, groups=2)
    sums = {"y_scale": None, "y_zero_point": 0, "out_dtype": "int32"}
    refused(
        "activation: None is needed for results in int32, got 'relu'",
        ValueError,
        WEIGHT,
        activation="relu",
        **sums,
    )


def test_wrong_calls_are_named():
    layer = LAYERS["static"][0]
    shape = (2, 9, 11, 33)
    for error, message, call in (
        (TypeError, "x: int8 or uint8 is needed with x_scale, got float32", lambda: layer(FLOATS)),
        (TypeError, "x: float32 is needed without x_scale, got int8", lambda: LAYERS["dynamic"][0](X)),
        (ValueError, "x: C = 20 channels are needed", lambda: layer(X[..., :19])),
        (ValueError, "y_zero_point: 0 to 255 is needed for uint8, got -2", lambda: layer(X.astype("uint8"))),
        (TypeError, "out: dtype int8 is needed", lambda: layer(X, out=np.zeros(shape, "uint8"))),
        (ValueError, f"out: shape {shape} is needed", lambda: layer(X, out=np.zeros(shape[1:], "int8"))),
    ):
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value).startswith(message), caught.value
    negative = fastpw.QConv1x1(WEIGHT, weight_scale=1, x_scale=1, x_zero_point=-3)
    with pytest.raises(ValueError, match="x_zero_point: 0 to 255 is needed for uint8, got -3"):
        negative(X.astype("uint8"))


def test_sums_are_checked_for_the_type_that_comes():
    """-255 * w reaches 2**31 only where x - zero point reaches -255."""
    weight = np.full((1, 127 * 1024), 127, "int8")
    layer = fastpw.QConv1x1(weight, weight_scale=1, x_scale=1, x_zero_point=0, out_dtype="int32")
    layer(np.zeros((1, weight.size), "int8"))
    with pytest.raises(ValueError, match="weight, bias: sums below"):
        layer(np.zeros((1, weight.size), "uint8"))


def test_from_float_refuses_what_does_not_fit():
    with pytest.raises(TypeError, match="layer: a Conv1x1 is needed"):
        fastpw.QConv1x1.from_float(WEIGHT)
    with pytest.raises(ValueError, match="x_range"):
        fastpw.QConv1x1.from_float(float_layer(), y_range=(0, 1))


@pytest.mark.parametrize("joined", [fastpw.Chain, fastpw.Concat])
def test_chains_and_concatenations_are_of_floats(joined):
    layer = fastpw.QConv1x1(np.ones((2, 3), np.int8), weight_scale=1)
    with pytest.raises(TypeError, match="layers: layers of floats are needed, got <QConv1x1: 3"):
        joined([layer])
