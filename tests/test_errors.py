"""Promise 5: what does not fit raises an error that names the argument, and nothing is written before."""

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]


def ones(*shape, dtype="f4"):
    return np.ones(shape, dtype)


# A call that works: (N, H, W, C) = (2, 4, 6, 8), K = 10.
GOOD = {"x": ones(2, 4, 6, 8), "weight": ones(10, 8), "bias": ones(10), "residual": ones(2, 4, 6, 10)}


class Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("on another device")


class OnlyDLPack:
    """Speaks nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def read_only(array):
    array.flags.writeable = False
    return array


# The whole message, and what is changed in the good call.
F4 = "float32 or float64 in native byte order is needed, got"
SILENT = "one dtype for all is needed, nothing is converted silently; use .astype"
NCHW = "x: C = 8 channels are needed for the weight's 8 input channels, got shape"
LAYOUT = "weight_layout: one of 'OI', 'IO', 'OIHW', 'HWIO', 'OHWI' is needed, got"
STRIDE = "stride: an integer or (h, w) is needed, got"
PADDING = "padding: 'valid', 'same', an integer, (h, w) or ((top, bottom), (left, right)) is needed, got"
ACTIVATION = (
    "activation: one of None, 'relu', 'relu6', ('clip', lo, hi), ('leaky_relu', slope), 'hard_sigmoid', "
    "'hard_swish', 'sigmoid', 'tanh', 'silu', 'gelu', 'gelu_tanh' is needed, got"
)
TYPE_ERRORS = {
    f"x: {F4} int32; give x.astype(np.float32)": {"x": ones(3, 8, dtype="i4")},
    f"x: {F4} uint8; give x.astype(np.float32)": {"x": ones(2, 4, 6, 8, dtype="u1")},
    f"x: {F4} >f4; give x.astype(np.float32)": {"x": ones(3, 8, dtype=">f4")},
    f"x: {F4} >f8; give x.astype(np.float64)": {"x": ones(3, 8, dtype=">f8")},
    f"x: {F4} float16; give x.astype(np.float32)": {"x": ones(3, 8, dtype="f2")},
    f"x: {F4} float16 from a OnlyDLPack; give np.asarray(x, np.float32)": {
        "x": OnlyDLPack(ones(3, 8, dtype="f2"))
    },
    f"x: {F4} complex64": {"x": ones(3, 8, dtype="c8")},
    f"x: {F4} object": {"x": np.empty((3, 8), object)},
    f"x: {F4} [('a', '<f4')]": {"x": np.zeros(3, [("a", "f4")])},
    f"x: {F4} int64 from a list; give np.asarray(x, np.float32)": {"x": [[1] * 8]},
    f"x: {F4} <U6 from a str": {"x": "pixels"},
    f"x: {F4} object from a NoneType": {"x": None},
    f"weight: {F4} int64; give weight.astype(np.float32)": {"weight": ones(10, 8, dtype="i8")},
    f"bias: {F4} bool; give bias.astype(np.float32)": {"bias": ones(10, dtype="?")},
    f"residual: {F4} int64; give residual.astype(np.float32)": {"residual": ones(2, 4, 6, 10, dtype="i8")},
    f"x is float64, weight is float32, bias is float32: {SILENT}": {"x": ones(2, 4, 6, 8, dtype="f8")},
    f"weight is float32, bias is float64: {SILENT}": {"bias": ones(10, dtype="f8")},
    "residual: dtype float32 is needed, as the inputs have, got float64; give residual.astype(np.float32)": {
        "residual": ones(2, 4, 6, 10, dtype="f8")
    },
    "x: NumPy makes no array of a Unreadable: on another device": {"x": Unreadable()},
    "x: a masked array is not supported, give x.filled(...) or x.data": {"x": np.ma.ones((2, 4, 6, 8), "f4")},
    "weight: a masked array is not supported, give weight.filled(...) or weight.data": {
        "weight": np.ma.ones((10, 8), "f4")
    },
    "groups: an integer is needed, got 1.0": {"groups": 1.0},
    "groups: an integer is needed, got None": {"groups": None},
    f"{STRIDE} 1.0": {"stride": 1.0},
    f"{STRIDE} (1, 1, 1)": {"stride": (1, 1, 1)},
    f"{STRIDE} ((1, 1), 1)": {"stride": ((1, 1), 1)},
    f"{STRIDE} 'same'": {"stride": "same"},
    f"{STRIDE} None": {"stride": None},
    f"{PADDING} 0.5": {"padding": 0.5},
    f"{PADDING} (1, 1, 1, 1)": {"padding": (1, 1, 1, 1)},
    f"{PADDING} ((1, 1), (1, 1), (1, 1))": {"padding": ((1, 1), (1, 1), (1, 1))},
    f"{PADDING} None": {"padding": None},
    f"{ACTIVATION} 0": {"activation": 0},
    f"{ACTIVATION} <ufunc 'tanh'>": {"activation": np.tanh},
    "activation: numbers are needed as parameters, got ('clip', 'low', 1)": {
        "activation": ("clip", "low", 1)
    },
    "out: a NumPy array is needed, got a list": {"out": [0.0]},
    "out: a NumPy array is needed, got a MaskedArray": {"out": np.ma.ones((2, 4, 6, 10), "f4")},
    "out: dtype float32 is needed, as the inputs have, got float64": {"out": ones(2, 4, 6, 10, dtype="f8")},
    "out: dtype float32 is needed, as the inputs have, got >f4": {"out": ones(2, 4, 6, 10, dtype=">f4")},
}
VALUE_ERRORS = {
    "x: an array (..., channels) is needed, got a scalar": {"x": 1.0},
    "x: C = 8 channels are needed for the weight's 8 input channels, got shape (2, 4, 6, 7)": {
        "x": ones(2, 4, 6, 7)
    },
    f"{NCHW} (2, 8, 4, 6); channels come last: np.moveaxis(x, 1, -1)": {"x": ones(2, 8, 4, 6)},
    f"{NCHW} (3, 8, 5); channels come last: np.moveaxis(x, 1, -1)": {"x": ones(3, 8, 5)},
    f"{NCHW} (8, 4, 6); channels come last: np.moveaxis(x, 0, -1)": {"x": ones(8, 4, 6)},
    f"{NCHW} (8, 5); channels come last: np.moveaxis(x, 0, -1)": {"x": ones(8, 5)},
    f"{NCHW} (8, 4, 6, 3)": {"x": ones(8, 4, 6, 3)},
    "residual: the result's shape (2, 4, 6, 10) is needed, got (2, 10, 4, 6); "
    "channels come last: np.moveaxis(residual, 1, -1)": {"residual": ones(2, 10, 4, 6)},
    "x: C = 16 channels are needed for the weight's 8 input channels times 2 groups, got shape (5, 8)": {
        "x": ones(5, 8),
        "groups": 2,
    },
    "weight: shape (K, C // groups) is needed for weight_layout='OI', got (10, 8, 1, 1), which fits 'OIHW'": {
        "weight": ones(10, 8, 1, 1)
    },
    "weight: shape (K, C // groups) is needed for weight_layout='OI', got (10,)": {
        "weight": ones(10),
        "weight_layout": "OI",
    },
    "weight: shape (K, C // groups, 1, 1) is needed for weight_layout='OIHW', got (10, 8, 3, 1)": {
        "weight": ones(10, 8, 3, 1),
        "weight_layout": "OIHW",
    },
    "weight: shape (K, C // groups, 1, 1) is needed for weight_layout='OIHW', got (10, 8, 0, 1)": {
        "weight": ones(10, 8, 0, 1),
        "weight_layout": "OIHW",
    },
    "weight: shape (1, 1, C // groups, K) is needed for weight_layout='HWIO', got (10, 8, 1, 1)"
    ", which fits 'OIHW'": {
        "weight": ones(10, 8, 1, 1),
        "weight_layout": "HWIO",
    },
    "weight: shape (K, 1, 1, C // groups) is needed for weight_layout='OHWI', got (10, 8, 1, 1)"
    ", which fits 'OIHW'": {
        "weight": ones(10, 8, 1, 1),
        "weight_layout": "OHWI",
    },
    "bias: shape (K,) = (10,) is needed, got (8,)": {"bias": ones(8)},
    "bias: shape (K,) = (10,) is needed, got (1, 10)": {"bias": ones(1, 10)},
    "bias: shape (K,) = (10,) is needed, got ()": {"bias": 1.0},
    "residual: the result's shape (2, 4, 6, 10) is needed, got (4, 6, 10)": {"residual": ones(4, 6, 10)},
    "residual: the result's shape (2, 2, 3, 10) is needed, got (2, 4, 6, 10)": {"stride": 2},
    "x: (H, W, C) or (N, H, W, C) is needed for stride or padding, got shape (5, 8)": {
        "x": ones(5, 8),
        "stride": 2,
    },
    "x: (H, W, C) or (N, H, W, C) is needed for stride or padding, got shape (1, 2, 4, 6, 8)": {
        "x": ones(1, 2, 4, 6, 8),
        "padding": 1,
    },
    f"{LAYOUT} 'NHWC'": {"weight_layout": "NHWC"},
    f"{LAYOUT} ['OI']": {"weight_layout": ["OI"]},
    "weight: shape (C // groups, K) is needed for weight_layout='IO', got (10, 8, 1, 1), which fits 'OIHW'": {
        "weight": ones(10, 8, 1, 1),
        "weight_layout": "IO",
    },
    "x: C = 10 channels are needed for the weight's 10 input channels, got shape (2, 4, 6, 8)": {
        "weight_layout": "IO",
        "bias": None,
    },
    "groups: a divisor of K = 10 is needed, got 3": {"groups": 3},
    "groups: 1 to 2147483647 is needed, got 0": {"groups": 0},
    "groups: 1 to 2147483647 is needed, got 9223372036854775808": {"groups": 1 << 63},
    "stride: 1 to 2147483647 is needed, got 0": {"stride": 0},
    "stride: 1 to 2147483647 is needed, got (1, -1)": {"stride": (1, -1)},
    "stride: 1 to 2147483647 is needed, got (1, 2147483648)": {"stride": (1, 1 << 31)},
    "stride: 1 to 2147483647 is needed, got 9223372036854775807": {"stride": (1 << 63) - 1},
    "padding: 0 to 2147483647 is needed, got -1": {"padding": -1},
    "padding: 0 to 2147483647 is needed, got (0, -1)": {"padding": (0, -1)},
    "padding: 0 to 2147483647 is needed, got ((0, 0), (0, -1))": {"padding": ((0, 0), (0, -1))},
    "padding: 0 to 2147483647 is needed, got ((0, 2147483648), (0, 0))": {"padding": ((0, 1 << 31), (0, 0))},
    "padding: 0 to 2147483647 is needed, got 9223372036854775808": {"padding": 1 << 63},
    f"{PADDING} 'full'": {"padding": "full"},
    f"{ACTIVATION} 'softmax'": {"activation": "softmax"},
    f"{ACTIVATION} ('softmax', 1)": {"activation": ("softmax", 1)},
    f"{ACTIVATION} ()": {"activation": ()},
    f"{ACTIVATION} [['clip'], 0, 1]": {"activation": [["clip"], 0, 1]},
    "activation: ('leaky_relu', slope) is needed, got 'leaky_relu'": {"activation": "leaky_relu"},
    "activation: ('clip', lo, hi) is needed, got 'clip'": {"activation": "clip"},
    "activation: ('clip', lo, hi) is needed, got ('clip', 1)": {"activation": ("clip", 1)},
    "activation: ('clip', lo, hi) is needed, got ['clip', 0, 1, 2]": {"activation": ["clip", 0, 1, 2]},
    "activation: 'relu' is needed, got ('relu',)": {"activation": ("relu",)},
    "activation: 'silu' is needed, got ('swish', 1)": {"activation": ("swish", 1)},
    "activation: None is needed, got ['linear', 1]": {"activation": ["linear", 1]},
    "activation: lo <= hi is needed for ('clip', lo, hi), got ('clip', 2, 1)": {"activation": ("clip", 2, 1)},
    "activation: lo <= hi is needed for ('clip', lo, hi), got ('clip', nan, 1)": {
        "activation": ("clip", float("nan"), 1)
    },
    "activation: a finite slope >= 0 is needed for ('leaky_relu', slope), got ('leaky_relu', -0.1)": {
        "activation": ("leaky_relu", -0.1)
    },
    "activation: a finite slope >= 0 is needed for ('leaky_relu', slope), got ('leaky_relu', inf)": {
        "activation": ("leaky_relu", float("inf"))
    },
    "out: shape (2, 4, 6, 10) is needed, got (48, 10)": {"out": ones(48, 10)},
    "out: a writable array is needed, got a read-only one": {"out": read_only(ones(2, 4, 6, 10))},
    "out: channels adjacent in memory (4 bytes apart) are needed, got strides (1920, 480, 80, 8)": {
        "out": ones(2, 4, 6, 20)[..., ::2]
    },
    "out: elements apart in memory are needed, got strides (0, 240, 40, 4)": {
        "out": np.lib.stride_tricks.as_strided(ones(1, 4, 6, 10), (2, 4, 6, 10), (0, 240, 40, 4))
    },
    "out: elements apart in memory are needed, got strides (960, 240, 36, 4)": {
        "out": np.lib.stride_tricks.as_strided(ones(9000), (2, 4, 6, 10), (960, 240, 36, 4))
    },
}


def cases(by_message):
    return pytest.mark.parametrize(("message", "change"), by_message.items(), ids=[*by_message])


def assert_raises(error, message, call, change):
    out = np.full((2, 4, 6, 10), 7, "f4")
    with pytest.raises(error) as caught:
        call(**{**GOOD, "out": out, **change})
    assert type(caught.value) is error
    assert str(caught.value) == message
    assert np.all(out == 7)


@cases(TYPE_ERRORS)
def test_type_error(message, change, conv):
    assert_raises(TypeError, message, conv, change)


@cases(VALUE_ERRORS)
def test_value_error(message, change, conv):
    assert_raises(ValueError, message, conv, change)


@cases({message: change for message, change in (TYPE_ERRORS | VALUE_ERRORS).items() if "out" in change})
def test_out_z_must_be_as_out(message, change):
    with pytest.raises((TypeError, ValueError)) as caught:
        fastpw.conv1x1(**GOOD, out_z=change["out"])
    assert str(caught.value) == message.replace("out", "out_z", 1)


@pytest.mark.parametrize("rows", [slice(None), slice(1, None)])
def test_outputs_must_lie_apart(rows):
    memory = np.full((5, 10), 7, "f4")
    with pytest.raises(ValueError, match="out_z: memory apart from that of out is needed"):
        fastpw.conv1x1(ones(4, 8), ones(10, 8), out=memory[:4], out_z=memory[1:])
    assert np.all(memory == 7)


def test_what_the_messages_advise(conv):
    x = np.arange(48).reshape(1, 8, 2, 3)
    good = np.moveaxis(x, 1, -1).astype(np.float32)
    with pytest.raises(TypeError) as caught:
        conv(x, GOOD["weight"])
    x = eval(str(caught.value).rpartition("; give ")[-1])
    with pytest.raises(ValueError) as caught:
        conv(x, GOOD["weight"])
    x = eval(str(caught.value).rpartition("; channels come last: ")[-1])
    assert np.array_equal(conv(x, GOOD["weight"]), conv(good, GOOD["weight"]))


def test_the_good_call_is_good(conv):
    assert np.all(conv(**GOOD) == 10)


def test_array_likes(conv, dtype):
    x, weight = np.ones((3, 8), dtype), np.ones((10, 8), dtype)
    for like in (OnlyDLPack, lambda a: a.view(np.matrix), lambda a: a.view(np.memmap), list, tuple):
        y = conv(like(x), like(weight))
        assert type(y) is np.ndarray
        assert np.array_equal(y, np.full((3, 10), 8))


def test_sizes_of_any_integer_type(conv):
    x, weight = ones(4, 6, 8), ones(4, 4)
    y = conv(x, weight, groups=np.int64(2), stride=np.array([2, 3]), padding=[np.uint8(1), (0, 2)])
    assert np.array_equal(y, conv(x, weight, groups=2, stride=(2, 3), padding=((1, 1), (0, 2))))
    y = conv(x, weight, groups=np.array(2), stride=np.array(2), padding=[np.array(1), [True, np.array(2)]])
    assert np.array_equal(y, conv(x, weight, groups=2, stride=2, padding=((1, 1), (1, 2))))


def test_threads_and_modes():
    for n in (0, -3, 1025):
        with pytest.raises(ValueError, match=f"n: 1 to 1024 is needed, got {n}"):
            fastpw.set_num_threads(n)
        with pytest.raises(ValueError, match=f"n: 1 to 1024 is needed, got {n}"), fastpw.num_threads(n):
            pass
    with pytest.raises(TypeError, match=r"n: an integer is needed, got 1\.5"):
        fastpw.set_num_threads(1.5)
    with pytest.raises(ValueError, match="mode: 'stdout' or 'dicts' is needed, got 'json'"):
        fastpw.show_config("json")


def test_layers_do_not_change():
    layer = fastpw.Conv1x1(ones(10, 8))
    with pytest.raises(AttributeError, match="weight: a Conv1x1 does not change"):
        layer.weight = ones(10, 8)
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0] = 0
