"""Dense and depthwise convolutions, pools: exact where the arithmetic is, else within Higham's bound."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _bounds, reference

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]

SIZES = [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1), (1, 3), (3, 1), (4, 6)]
GEOMETRIES = [
    {},
    {"padding": 1},
    {"padding": "same"},
    {"padding": "SAME", "stride": 2},
    {"padding": "same", "stride": 3, "dilation": 2},
    {"padding": (3, 2), "stride": (2, 1)},
    {"padding": ((0, 9), (8, 1)), "stride": (1, 3), "dilation": (2, 1)},
    {"padding": 4, "dilation": 3, "stride": 2},
]
NETWORKS = [3, 4, 16, 24]  # channels


def integers(rng, dtype, *shape):
    """So small that all partial sums are exact in float32."""
    return rng.integers(-8, 9, shape).astype(dtype)


def fits(shape, size, options):
    """Whether an image is as large as the window."""
    try:
        reference.conv2d(np.zeros((*shape, 1)), np.zeros((1, *size, 1)), **options)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_dense_integers_are_exact(options, dtype, rng):
    for size, (C, K, groups) in product(SIZES, [(3, 5, 1), (16, 24, 1), (17, 33, 1), (8, 12, 4), (20, 6, 2)]):
        for shape in ((1, 9, 12), (2, 7, 7), (14, 5)):
            if not fits(shape, size, options):
                continue
            x, weight = integers(rng, dtype, *shape, C), integers(rng, dtype, K, *size, C // groups)
            bias = integers(rng, dtype, K)
            given = {"groups": groups, "activation": "relu", **options}
            expected = reference.conv2d(x, weight, bias, **given)
            assert np.array_equal(fastpw.conv2d(x, weight, bias, **given), expected), (size, shape, C, K)
            assert np.array_equal(fastpw.Conv2d(weight, bias, **given)(x), expected), (size, shape, C, K)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_depthwise_integers_are_exact(options, dtype, rng):
    for size, C in product(SIZES, [1, 3, 8, 16, 19, 40]):
        for shape in ((1, 9, 12), (2, 7, 7), (14, 5)):
            if not fits(shape, size, options):
                continue
            x, weight, bias = (integers(rng, dtype, *s) for s in ((*shape, C), (*size, C), (C,)))
            given = {"activation": "relu", **options}
            expected = reference.depthwise_conv2d(x, weight, bias, **given)
            assert np.array_equal(fastpw.depthwise_conv2d(x, weight, bias, **given), expected), (size, C)
            assert np.array_equal(fastpw.DepthwiseConv2d(weight, bias, **given)(x), expected), (size, C)


@pytest.mark.parametrize("groups", [1, 2])
def test_dense_without_channels_is_the_bias(groups, dtype, rng):
    """Freed memory is not zero, so that what is not written shows."""
    for K, size in product((2, 18, 34), SIZES):
        x, weight = np.empty((9, 12, 0), dtype), np.empty((K, *size, 0), dtype)
        bias, residual = integers(rng, dtype, K), integers(rng, dtype, 9, 12, K)
        given = {"groups": groups, "padding": "same"}
        for _ in range(5):
            np.full(5000, np.nan, dtype)
            assert np.array_equal(fastpw.conv2d(x, weight, bias, residual=residual, **given), bias + residual)
            assert not fastpw.conv2d(x, weight, **given).any()


@pytest.mark.parametrize("size", [1, 2, 3, (3, 2), (1, 7), 5])
def test_pools(size, dtype, rng):
    sizes = (size, size) if isinstance(size, int) else size
    for padding, stride in product(["valid", "same", 1, ((0, 1), (1, 0))], [None, 1, 2, (3, 1)]):
        if not isinstance(padding, str) and min(sizes) < 2:
            continue
        for shape in ((9, 8, 5), (2, 7, 7, 16), (1, 14, 7, 33)):
            x = integers(rng, dtype, *shape)
            given = {"stride": stride, "padding": padding}
            expected = reference.max_pool2d(x, size, **given)
            assert np.array_equal(fastpw.MaxPool2d(size, **given)(x), expected)
            for counted in (False, True):
                y = fastpw.AveragePool2d(size, **given, count_padding=counted)(x)
                expected = reference.average_pool2d(x, size, **given, count_padding=counted)
                np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(7, 7, 5), (2, 14, 3, 33), (3, 1, 1, 960), (1, 56, 57, 64)])
def test_global_average_pool(shape, dtype, rng):
    x = integers(rng, dtype, *shape)
    y = fastpw.GlobalAveragePool()(x)
    expected = x.astype(np.float64).mean(axis=(-3, -2))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps, atol=1e-30)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8, 12])
def test_channel_shuffle(groups, dtype, rng):
    for shape in ((48,), (5, 24), (2, 3, 4, 96)):
        x = rng.standard_normal(shape).astype(dtype)
        assert np.array_equal(fastpw.ChannelShuffle(groups)(x), reference.channel_shuffle(x, groups))


def test_channel_shuffle_of_many_axes(dtype, rng):
    """However they lie: no two of these go on at one distance."""
    wide = rng.standard_normal((3, 6, 4, 5, 4, 3, 14)).astype(dtype)
    crop = wide[:, ::2, ::3, 1:4, :2, ::-1, :12]
    for x in (crop, wide.swapaxes(1, 3)[..., 2:], crop[:0]):
        canvas = np.full(wide.swapaxes(1, 3).shape, -7, dtype)
        out = canvas[tuple(slice(size) for size in x.shape[:-1])][..., 1:13]
        expected = reference.channel_shuffle(x, 3)
        layer = fastpw.ChannelShuffle(3)
        for _ in range(2):
            assert np.array_equal(layer(x), expected)
            assert layer(x, out=out) is out
            assert np.array_equal(out, expected)
        assert np.count_nonzero(canvas != -7) == np.count_nonzero(expected != -7)


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
def test_everything_fused_is_within_the_bound(row, dtype, rng):
    """Higham's bound for taps x channels products, bias and residual, and what the activation adds."""
    given = {"stride": 2, "padding": "same", "activation": row.spec}
    x, residual = (rng.standard_normal(s).astype(dtype) for s in ((2, 13, 11, 20), (2, 7, 6, 20)))
    bias = rng.standard_normal(20).astype(dtype)
    for call, exact, shape in (
        (fastpw.conv2d, reference.conv2d, (20, 3, 3, 20)),
        (fastpw.depthwise_conv2d, reference.depthwise_conv2d, (3, 3, 20)),
    ):
        weight, z = rng.standard_normal(shape).astype(dtype), np.empty_like(residual)
        y = call(x, weight, bias, residual=residual, out_z=z, **given)
        expected, allowed = _bounds.promise_windowed(exact, x, weight, bias, residual=residual, **given)
        assert _bounds.excess(y, expected, allowed) <= 1
        linear = {**given, "activation": None}
        expected, allowed = _bounds.promise_windowed(exact, x, weight, bias, residual=residual, **linear)
        assert _bounds.excess(z, expected, allowed) <= 1


LAYOUTS = {
    "OHWI": (0, 1, 2, 3),
    "OIHW": (0, 3, 1, 2),
    "HWIO": (1, 2, 3, 0),
}


FAR = [
    {"dilation": 2**20, "padding": 2**20},
    {"dilation": (2**26, 1), "padding": (2**26, 1), "stride": 2},
    {"dilation": (2, 2**26), "padding": (2, 2**26), "stride": (1, 3)},
    {"dilation": (300, 7), "stride": (170, 2), "padding": (300, 9)},
    {"stride": 2**20, "padding": 2**20},
    {"stride": (2**20 + 1, 1), "dilation": (2**20, 1), "padding": (2**20, 1)},
]


@pytest.mark.parametrize("options", FAR, ids=str)
def test_taps_and_outputs_may_be_far_apart(options, dtype, rng):
    """Which takes neither time nor memory for the pixels between: only what is met is looked up."""
    x, weight = integers(rng, dtype, 6, 11, 20), integers(rng, dtype, 3, 3, 20)
    tracemalloc.start()
    layer = fastpw.DepthwiseConv2d(weight, **options)
    y = layer(x)
    taken = tracemalloc.get_traced_memory()[1], layer._latest.room
    tracemalloc.stop()
    assert max(taken) < 1 << 20
    assert np.array_equal(y, tap_by_tap(x, weight, y.shape, options))
    gradients = layer.backward(y, x)
    slow = fastpw.conv2d_backward(y, x, one_channel_each(weight), **options)
    assert np.array_equal(gradients.dx, slow.dx)
    assert np.array_equal(gradients.dweight, np.moveaxis(slow.dweight[range(20), :, :, range(20)], 0, 2))


def tap_by_tap(x, weight, shape, options):
    """As the definition says, output by output."""
    both = [options.get(name, 1) for name in ("stride", "dilation", "padding")]
    strides, steps, padding = (given if isinstance(given, tuple) else (given, given) for given in both)
    y = np.zeros(shape, x.dtype)
    for out, tap in product(np.ndindex(shape[:2]), np.ndindex(weight.shape[:2])):
        at = tuple(o * s + t * d - p for o, s, t, d, p in zip(out, strides, tap, steps, padding, strict=True))
        if all(0 <= place < size for place, size in zip(at, x.shape, strict=False)):
            y[out] += x[at] * weight[tap]
    return y


def one_channel_each(weight):
    """A depthwise kernel as a dense one."""
    channels = weight.shape[-1]
    dense = np.zeros((channels, *weight.shape), weight.dtype)
    dense[range(channels), :, :, range(channels)] = np.moveaxis(weight, 2, 0)
    return dense


SMALL_GROUPS = [
    {"padding": 1},
    {"padding": 1, "stride": 2},
    {"padding": "same", "dilation": 2, "activation": "relu"},
    {"padding": (0, 2), "stride": (2, 1), "activation": "gelu"},
]


@pytest.mark.parametrize("options", SMALL_GROUPS, ids=str)
@pytest.mark.parametrize("size", [(3, 3), (1, 5), (5, 2)], ids=str)
def test_small_groups(options, size, dtype, rng):
    """Some fill vectors and some do not, and their last vectors, tiles and rows are not whole."""
    for group, channels in product((1, 2, 4, 8, 16), (48, 80)):
        x, weight = integers(rng, dtype, 2, 9, 13, channels), integers(rng, dtype, channels, *size, group)
        layer = fastpw.Conv2d(weight, integers(rng, dtype, channels), groups=channels // group, **options)
        residual = integers(rng, dtype, *layer.output_shape(x.shape))
        y = layer(x, residual=residual)
        given = {"groups": channels // group, "residual": residual, **options}
        expected = reference.conv2d(x, weight, layer.bias, **given)
        assert np.allclose(y, expected, rtol=1e-5, atol=1e-5), (group, channels)
        assert "activation" in options or np.array_equal(y, expected), (group, channels)
        alone = layer(x[1, :, :, :], residual=residual[1])
        assert alone.tobytes() == y[1].tobytes(), (group, channels)
    part = fastpw.Conv2d(weight[:20, ..., :4], groups=5, **options)(x[..., :20])
    assert np.allclose(
        part, reference.conv2d(x[..., :20], weight[:20, ..., :4], groups=5, **options), atol=1e-5
    )


def test_an_infinity_stays_in_its_small_group(dtype):
    """Groups share vectors, and zero times infinity is NaN."""
    for group in (1, 2, 4, 8):
        x, weight = np.ones((4, 10, 16), dtype), np.ones((16, 3, 3, group), dtype)
        x[2, 5, 3] = np.inf
        y = fastpw.conv2d(x, weight, padding=1, groups=16 // group)
        mine = np.arange(16) // group == 3 // group
        assert np.isposinf(y[1:4, 4:7, mine]).all()
        assert np.isfinite(y[..., ~mine]).all()
        assert np.isfinite(y[0]).all()


def test_means_of_images_of_few_channels(dtype, rng):
    for channels, (height, width) in product(range(1, 18), [(1, 1), (3, 50), (40, 33)]):
        x = integers(rng, dtype, 2, height, width, channels)
        y = fastpw.GlobalAveragePool()(x)
        assert np.allclose(y, x.mean(axis=(1, 2), dtype="f8"), rtol=1e-6)
        crop = np.full((2, height + 2, width + 3, channels + 40), np.nan, dtype)[:, 1:-1, 2:-1, 1:-39]
        crop[...] = x
        assert fastpw.GlobalAveragePool()(crop).tobytes() == y.tobytes()
        assert fastpw.GlobalAveragePool()(crop[1]).tobytes() == y[1].tobytes()
        apart = np.full((2, height, width, 64), np.nan, dtype)[..., :channels]  # no line holds two pixels
        apart[...] = x
        assert fastpw.GlobalAveragePool()(apart).tobytes() == y.tobytes()
        x[1, height // 2, width // 2, 0] = np.nan
        assert np.isnan(fastpw.GlobalAveragePool()(x)).sum() == 1


def test_layouts_of_dense_weights(dtype, rng):
    x, weight = rng.standard_normal((6, 5, 8)).astype(dtype), rng.standard_normal((6, 3, 2, 4)).astype(dtype)
    expected = fastpw.conv2d(x, weight, groups=2)
    for layout, axes in LAYOUTS.items():
        given = np.ascontiguousarray(weight.transpose(axes))
        assert np.array_equal(fastpw.conv2d(x, given, groups=2, weight_layout=layout), expected)
        layer = fastpw.Conv2d(given, groups=2, weight_layout=layout)
        assert np.array_equal(layer(x), expected)
        assert layer.kernel_size == (3, 2)


def test_layouts_of_depthwise_weights(dtype, rng):
    x, weight = rng.standard_normal((6, 5, 8)).astype(dtype), rng.standard_normal((3, 2, 8)).astype(dtype)
    expected = fastpw.depthwise_conv2d(x, weight)
    for layout, given in (
        ("OIHW", weight.transpose(2, 0, 1)[:, None]),
        ("HWIO", weight[..., None]),
        ("1HWC", weight[None]),
    ):
        assert np.array_equal(fastpw.depthwise_conv2d(x, given, weight_layout=layout), expected)
        assert np.array_equal(fastpw.DepthwiseConv2d(given, weight_layout=layout)(x), expected)


def test_depthwise_multiplier(dtype, rng):
    x, weight = integers(rng, dtype, 2, 6, 5, 3), integers(rng, dtype, 3, 3, 3, 4)
    bias = integers(rng, dtype, 12)
    given = {"padding": 1, "stride": 2, "weight_layout": "HWIO"}
    expected = reference.depthwise_conv2d(x, weight, bias, **given)
    assert np.array_equal(fastpw.depthwise_conv2d(x, weight, bias, **given), expected)
    layer = fastpw.DepthwiseConv2d(weight, bias, **given)
    assert (layer.channels, layer.filters) == (3, 12)
    assert np.array_equal(layer(x), expected)
    assert np.array_equal(layer(x), expected)


def test_only_hwio_has_several_outputs_of_a_channel():
    """What TFLite and torch write otherwise is told where it goes."""
    advice = r"; several outputs of a channel need weight_layout='HWIO', \(kh, kw, C, m\)$"
    for layout, shape in (("HWC", (3, 3, 12)), ("OIHW", (12, 1, 3, 3)), ("1HWC", (1, 3, 3, 12))):
        layer = fastpw.DepthwiseConv2d(np.ones(shape, "f4"), weight_layout=layout)
        with pytest.raises(ValueError, match=rf"^x: C = 12 .*, got shape \(5, 5, 3\){advice}"):
            layer(np.ones((5, 5, 3), "f4"))
        with pytest.raises(ValueError, match=r"^x: C = 12 .*, got shape \(5, 5, 5\)$"):
            layer(np.ones((5, 5, 5), "f4"))
    for layout, shape in (("OIHW", (3, 4, 3, 3)), ("1HWC", (4, 3, 3, 3))):
        with pytest.raises(ValueError, match=f"^weight: shape .*{advice}"):
            fastpw.DepthwiseConv2d(np.ones(shape, "f4"), weight_layout=layout)


def test_a_kernel_of_one_tap_has_the_bits_of_conv1x1(dtype, rng):
    x, weight = rng.standard_normal((2, 7, 6, 19)).astype(dtype), rng.standard_normal((34, 19)).astype(dtype)
    bias = rng.standard_normal(34).astype(dtype)
    for given in ({}, {"stride": 2, "padding": 1}, {"activation": "gelu"}, {"padding": "same", "stride": 3}):
        expected = fastpw.conv1x1(x, weight, bias, **given)
        kernel = weight[:, None, None]
        assert fastpw.conv2d(x, kernel, bias, **given).tobytes() == expected.tobytes()
        assert fastpw.Conv2d(kernel, bias, dilation=5, **given)(x).tobytes() == expected.tobytes()


def test_nan_and_infinities_pass_as_in_numpy(dtype):
    x = np.ones((5, 5, 4), dtype)
    x[2, 2] = np.nan
    assert np.isnan(fastpw.MaxPool2d(3, stride=1, padding=1)(x)).sum() == 9 * 4
    weight = np.ones((3, 3, 4), dtype)
    assert np.isnan(fastpw.depthwise_conv2d(x, weight, padding=1)).sum() == 9 * 4
    weight[0, 0] = np.inf
    x[...] = 1
    for y in (
        fastpw.depthwise_conv2d(x, weight, padding=1),
        fastpw.conv2d(x, np.repeat(weight[None], 20, axis=0), padding=1)[..., :4],
    ):
        assert np.isnan(y[0]).all() and np.isnan(y[:, 0]).all()
        assert np.isposinf(y[1:, 1:]).all()
    x[...] = -np.inf
    assert np.isneginf(fastpw.MaxPool2d(2)(x)).all()
