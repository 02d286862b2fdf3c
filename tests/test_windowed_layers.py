"""Layers that look at neighbours, and Concat and ChannelShuffle: what Conv1x1 promises, they promise, too."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastpw
from fastpw import reference

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]


def layers(dtype=np.float32):
    """One of each kind, for 12 channels."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    return [
        fastpw.Conv2d(normal(20, 3, 3, 12), normal(20), padding="same", activation="relu"),
        fastpw.Conv2d(normal(8, 6, 5, 1), stride=2, padding=3, groups=2, weight_layout="OIHW"),
        fastpw.Conv2d(normal(20, 1, 1, 12), normal(20), stride=2),
        fastpw.DepthwiseConv2d(normal(3, 3, 12), normal(12), padding=1, activation="silu"),
        fastpw.DepthwiseConv2d(normal(5, 5, 12, 2), stride=2, padding="same", weight_layout="HWIO"),
        fastpw.MaxPool2d(3, stride=2, padding=1),
        fastpw.AveragePool2d(2, count_padding=True, padding=1),
        fastpw.GlobalAveragePool(),
        fastpw.ChannelShuffle(3),
        fastpw.Concat([fastpw.Conv1x1(normal(5, 12)), fastpw.MaxPool2d(3, stride=1, padding=1)]),
        fastpw.Chain(
            [
                fastpw.Conv1x1(normal(30, 12), normal(30), activation="relu6"),
                fastpw.DepthwiseConv2d(normal(3, 3, 30), padding=1, activation="hardswish"),
                fastpw.Conv1x1(normal(12, 30)),
            ],
            add_input=True,
        ),
        fastpw.Chain([fastpw.Conv2d(normal(9, 3, 3, 12), stride=2), fastpw.AveragePool2d(3, padding=1)]),
    ]


each = pytest.mark.parametrize("number", range(len(layers())))


def image(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@each
def test_bits_are_those_of_each_image_alone(number, dtype, rng):
    layer, x = layers(dtype)[number], image(rng, 3, 14, 11, 12, dtype=dtype)
    y = layer(x)
    for one, expected in zip(x, y, strict=True):
        assert layer(one).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_bits_are_those_of_each_column_alone(dtype, rng):
    """Also where nothing lies beside it that tells the stride."""
    for stride in (1, 2, 3, 9):
        for C, size in ((35, (4, 3)), (68, (3, 3)), (8, (2, 2))):
            layer = fastpw.DepthwiseConv2d(image(rng, *size, C, dtype=dtype), stride=(1, stride))
            x = image(rng, 9, 23, C, dtype=dtype)
            for j, column in enumerate(layer(x).swapaxes(0, 1)):
                alone = layer(x[:, j * stride : j * stride + size[1]])
                assert alone.tobytes() == column.tobytes()


@each
def test_bits_do_not_depend_on_threads(number, rng):
    layer, x = layers()[number], image(rng, 2, 40, 37, 12)
    with fastpw.num_threads(1):
        y = layer(x)
    for threads in (2, 3):
        with fastpw.num_threads(threads):
            assert layer(x).tobytes() == y.tobytes()


@each
def test_views_and_out(number, rng):
    layer, wide = layers()[number], image(rng, 2, 20, 18, 14)
    views = wide[:, 3:17, 2:13, 1:13], wide[::-1, ::-1, ::2, :12], wide.transpose(0, 2, 1, 3)[..., 2:]
    for view in views:
        expected = layer(np.ascontiguousarray(view))
        assert layer(view).tobytes() == expected.tobytes()
        canvas = np.full((*expected.shape[:-1], expected.shape[-1] + 3), -7, np.float32)
        out = canvas[..., 1 : 1 + expected.shape[-1]]
        assert layer(view, out=out) is out
        assert np.array_equal(out, expected)
        assert (canvas[..., 0] == -7).all() and (canvas[..., -2:] == -7).all()
        assert layer(view, out=out) is out  # the program that was kept
        assert np.array_equal(out, expected)


@each
def test_input_and_output_may_overlap(number, rng):
    layer, memory = layers()[number], image(rng, 20000)
    x = memory[:3600].reshape(2, 15, 10, 12)
    expected = layer(x.copy())
    out = memory[100 : 100 + expected.size].reshape(expected.shape)
    assert np.array_equal(layer(x, out=out), expected)


@each
def test_output_shape(number, rng):
    layer = layers()[number]
    for shape in ((14, 11, 12), (0, 9, 9, 12), (3, 7, 8, 12)):
        assert layer.output_shape(shape) == layer(np.zeros(shape, np.float32)).shape


@each
def test_pickles_and_copies(number, rng):
    layer, x = layers()[number], image(rng, 2, 9, 9, 12)
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), copy.copy(layer)):
        assert type(other) is type(layer)
        assert repr(other) == repr(layer)
        assert other(x).tobytes() == layer(x).tobytes()


@each
def test_layers_do_not_change(number):
    layer = layers()[number]
    with pytest.raises(AttributeError, match="does not change"):
        layer.padding = 3
    with pytest.raises(AttributeError, match="does not change"):
        del layer._operation
    with pytest.raises((AttributeError, TypeError)):
        layer.__init__(*[getattr(layer, name) for name in type(layer)._ARGUMENTS[:1]])


@each
def test_many_threads_call_one_layer(number, rng):
    layer = layers()[number]
    problems = [image(rng, 2, 9 + i, 12, 12) for i in range(6)]
    expected, wrong = [layer(x) for x in problems], []

    def work(x, y):
        for _ in range(30):
            if not np.array_equal(layer(x), y):
                wrong.append(x.shape)

    callers = [threading.Thread(target=work, args=pair) for pair in zip(problems, expected, strict=True)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@each
def test_empty_batches(number):
    assert layers()[number](np.empty((0, 9, 9, 12), np.float32)).shape[0] == 0


def test_no_channels(dtype):
    """Of layers without weights; test_windowed_values.py has those with weights."""
    for layer in layers()[5:9]:
        for shape in ((9, 8, 0), (2, 9, 8, 0), (0, 9, 8, 0)):
            x = np.empty(shape, dtype)
            expected = layer.output_shape((*shape[:-1], 12))[:-1]
            assert layer(x).shape == layer(x).shape == (*expected, 0)


def test_each_call_is_checked_where_channels_are_repeated(rng):
    """What the layer made of an earlier input has as many channels as this one, and is none of its inputs."""
    layer = fastpw.DepthwiseConv2d(image(rng, 3, 3, 4, 2), padding=1, weight_layout="HWIO")
    for _ in range(3):
        layer(image(rng, 5, 5, 4))
        with pytest.raises(ValueError, match="x: C = 4 channels are needed"):
            layer(image(rng, 5, 5, 8))


def test_residual_may_be_the_output(dtype, rng):
    for layer in layers(dtype)[:5]:
        x = image(rng, 2, 10, 9, 12, dtype=dtype)
        residual = image(rng, *layer.output_shape(x.shape), dtype=dtype)
        expected = layer(x, residual=residual)
        assert layer(x, residual=residual, out=residual) is residual
        assert np.array_equal(residual, expected)


def test_concat_writes_slices_of_one_array(rng):
    x, parts = image(rng, 2, 9, 8, 12), [layers()[0], layers()[3], fastpw.ChannelShuffle(4)]
    y = fastpw.Concat([parts[0], fastpw.Concat(parts[1:])])(x)
    assert np.array_equal(y, np.concatenate([layer(x) for layer in parts], axis=-1))


def test_astype(rng):
    x = image(rng, 6, 6, 12)
    for layer in layers()[:5]:
        wide = layer.astype(np.float64)
        assert wide.dtype == np.float64
        np.testing.assert_allclose(wide(x.astype(np.float64)), layer(x), rtol=2e-4, atol=2e-4)


def kernel(*shape):
    return np.ones(shape, np.float32)


TYPE_ERRORS = {
    "x is float64, weight is float32, bias is float32: one dtype for all is needed, nothing is converted "
    "silently; use .astype": lambda: layers()[0](np.ones((4, 4, 12))),
    "count_padding: True or False is needed, got 1": lambda: fastpw.AveragePool2d(2, count_padding=1),
    "layers: layers are needed, got <built-in function len>": lambda: fastpw.Concat([len]),
    "layers: a list of layers is needed, got 3": lambda: fastpw.Concat(3),
    "shape: a tuple of integers is needed, got 3": lambda: layers()[0].output_shape(3),
}
VALUE_ERRORS = {
    "x: (H, W, C) or (N, H, W, C) is needed, got shape (4, 12)": lambda: layers()[0](kernel(4, 12)),
    "x: C = 12 channels are needed for the weight's 12 input channels, got shape (4, 4, 5)": (
        lambda: layers()[0](kernel(4, 4, 5))
    ),
    "x: an image of 5 x 4 pixels or more, padding included, is needed, got shape (4, 4, 12)": (
        lambda: fastpw.Conv2d(kernel(2, 5, 4, 12))(kernel(4, 4, 12))
    ),
    "x: C = 12 channels are needed for the weight's 12 input channels, got shape (12, 4, 4); channels come "
    "last: np.moveaxis(x, 0, -1)": lambda: layers()[3](kernel(12, 4, 4)),
    "residual: None is needed where no convolution adds it, got 1": (
        lambda: layers()[5](kernel(4, 4, 12), residual=1)
    ),
    "residual: None is needed where no convolution adds it, got 2": (
        lambda: layers()[9](kernel(4, 4, 12), residual=2)
    ),
    "x: an image of at least one pixel is needed, got shape (0, 4, 12)": lambda: layers()[7](
        kernel(0, 4, 12)
    ),
    "x: an image of at least one pixel is needed, got shape (2, 4, 0, 12)": (
        lambda: layers()[5](kernel(2, 4, 0, 12))
    ),
    "x: channels in 3 equal groups are needed, got shape (4, 4, 10)": lambda: layers()[8](kernel(4, 4, 10)),
    "weight: shape (K, kh, kw, C // groups) is needed for weight_layout='OHWI', got (3, 3)": (
        lambda: fastpw.Conv2d(kernel(3, 3))
    ),
    "weight: a kernel of at least 1 x 1 is needed, got shape (3, 0, 3, 2)": (
        lambda: fastpw.Conv2d(kernel(3, 0, 3, 2))
    ),
    "groups: a divisor of K = 3 is needed, got 2": lambda: fastpw.Conv2d(kernel(3, 3, 3, 2), groups=2),
    "bias: shape (K,) = (3,) is needed, got (2,)": lambda: fastpw.Conv2d(kernel(3, 3, 3, 2), kernel(2)),
    "dilation: 1 to 2147483647 is needed, got 0": lambda: fastpw.Conv2d(kernel(3, 3, 3, 2), dilation=0),
    "weight_layout: one of 'OHWI', 'OIHW', 'HWIO' is needed, got 'OI'": (
        lambda: fastpw.Conv2d(kernel(3, 3, 3, 2), weight_layout="OI")
    ),
    "weight: shape (kh, kw, C) is needed for weight_layout='HWC', got (3, 3, 3, 2)": (
        lambda: fastpw.DepthwiseConv2d(kernel(3, 3, 3, 2))
    ),
    "weight: shape (C, 1, kh, kw) is needed for weight_layout='OIHW', got (4, 2, 3, 3); "
    "several outputs of a channel need weight_layout='HWIO', (kh, kw, C, m)": (
        lambda: fastpw.DepthwiseConv2d(kernel(4, 2, 3, 3), weight_layout="OIHW")
    ),
    "padding: less than the size (2, 2) is needed, got ((2, 2), (2, 2))": lambda: fastpw.MaxPool2d(
        2, padding=2
    ),
    "size: 1 to 2147483647 is needed, got 0": lambda: fastpw.MaxPool2d(0),
    "groups: 1 to 2147483647 is needed, got 0": lambda: fastpw.ChannelShuffle(0),
    "layers: at least one layer is needed, got none": lambda: fastpw.Concat([]),
    "layers: results of one shape but for the channels are needed, got (5, 5, 12) of layer 0 and (9, 9, 12) "
    "of layer 1": lambda: fastpw.Concat([layers()[5], layers()[8]])(kernel(9, 9, 12)),
    "shape: sizes >= 0 and channels are needed, got (3, -1, 4)": lambda: layers()[0].output_shape((3, -1, 4)),
}


@pytest.mark.parametrize(("message", "call"), TYPE_ERRORS.items(), ids=[*TYPE_ERRORS])
def test_type_errors_name_the_argument(message, call):
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize(("message", "call"), VALUE_ERRORS.items(), ids=[*VALUE_ERRORS])
def test_value_errors_name_the_argument(message, call):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == message


def test_nothing_is_written_before_all_is_checked(rng):
    x = image(rng, 6, 6, 12)
    out = np.full((6, 6, 17), -7, np.float32)
    with pytest.raises(ValueError, match="out"):
        layers()[9](x, out=out[..., :16])
    with pytest.raises(ValueError, match="x: C = 12"):
        layers()[9](x[..., :11], out=out)
    assert (out == -7).all()


@each
def test_the_stride_of_an_axis_of_one_pixel_may_be_any(number, rng):
    layer = layers()[number]
    for axis in range(2):
        shape = [3, 8, 7, 12]
        shape[1 + axis] = 1
        x = image(rng, *shape)
        try:
            expected = layer(x)
        except ValueError:  # the image is smaller than the window
            continue
        for stride in (2**62, -(2**62), 4):
            strides = [*x.strides]
            strides[1 + axis] = stride
            view = np.lib.stride_tricks.as_strided(x, shape, strides)
            assert layer(view).tobytes() == layer(view).tobytes() == expected.tobytes()


def maxima(x, size, **options):
    return fastpw.MaxPool2d(size, **options)(x)


def test_hostile_integers():
    x = np.arange(36, dtype=np.float32).reshape(3, 3, 4)
    for options in ({"stride": 2**31 - 1}, {"padding": ((0, 0), (0, 5)), "dilation": 2**31 - 1, "stride": 7}):
        weight = np.ones((2, 1, 2, 4), np.float32)
        try:
            y = fastpw.conv2d(x, weight, **options)
        except ValueError as error:
            assert str(error).startswith("x: an image of")
        else:
            assert np.array_equal(y, reference.conv2d(x, weight, **options))
    for size in ((1, 1), (3, 2)):
        for options in ({"stride": 2**31 - 1}, {"stride": (1, 2**31 - 1)}, {"stride": (10**6, 2)}):
            y, expected = (call(x, size, **options) for call in (maxima, reference.max_pool2d))
            assert np.array_equal(y, expected)
            weight = np.ones((*size, 4), np.float32)
            y, expected = (of.depthwise_conv2d(x, weight, **options) for of in (fastpw, reference))
            assert np.array_equal(y, expected)
    far = fastpw.depthwise_conv2d(x, np.ones((1, 1, 4), np.float32), dilation=2**31 - 1)
    assert np.array_equal(far, x)
    with pytest.raises(ValueError, match="stride: 1 to 2147483647"):
        fastpw.depthwise_conv2d(x, np.ones((3, 3, 4), np.float32), stride=2**63)
