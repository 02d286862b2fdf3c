"""The messages on arguments of integers, whole. test_messages.py sees to it that none is missing."""

import numpy as np
import pytest

import fastpw

ROWS = np.ones((4, 3), np.int8)


def made(**options):
    return fastpw.QConv1x1(**{"weight": np.ones((2, 3), np.int8), "weight_scale": 0.5, **options})


def static(**options):
    return made(**{"x_scale": 0.1, "y_scale": 0.25, **options})


def of_floats(**options):
    return fastpw.QConv1x1.from_float(fastpw.Conv1x1(np.ones((2, 3), np.float32)), **options)


TYPE_ERRORS = {
    "out_dtype: None or one of int8, uint8, int32, float32 is needed, got 'int16'": lambda: static(
        out_dtype="int16"
    ),
    "weight_scale: a number or an array of numbers is needed, got <U1": lambda: static(
        weight_scale=np.array(["a", "b"])
    ),
    "x_range: (lo, hi) is needed, got 1": lambda: of_floats(x_range=1),
    "dtype: int8 or uint8 is needed, got <class 'numpy.int16'>": lambda: fastpw.quantize(
        [1.0], 0.1, 0, np.int16
    ),
    "layers: layers of floats are needed, got <QConv1x1: 3 -> 2 channels, static>": lambda: fastpw.Chain(
        [static()]
    ),
}

VALUE_ERRORS = {
    "activation: None is needed for results in int32, got 'relu'": lambda: static(
        out_dtype="int32", y_scale=None, activation="relu"
    ),
    "weight_scale: a number or shape (K,) = (2,) is needed, got (3,)": lambda: static(
        weight_scale=[0.5, 0.5, 0.5]
    ),
    "x_scale, weight_scale: scales are needed whose products float32 holds, got inf": lambda: static(
        weight_scale=1e38, x_scale=1e38
    ),
    "x_zero_point: 0 to 255 is needed for uint8, got -3": lambda: static(x_zero_point=-3)(
        ROWS.astype(np.uint8)
    ),
    "x_zero_point: 0 is needed without x_scale, as rows have their own, got 3": lambda: made(x_zero_point=3),
    "x_scale: a number is needed for results in integers, got None": lambda: made(out_dtype="int32"),
    "y_scale: a number is needed for results in int8, got None": lambda: made(x_scale=0.1, out_dtype="int8"),
    "y_zero_point: 0 is needed without y_scale, got 3": lambda: made(x_scale=0.1, y_zero_point=3),
    "y_scale: None is needed for results in float32, got 0.25": lambda: static(out_dtype="float32"),
    "weight, bias: sums below 2**31 are needed, got up to 8489533440 in output channel 0 for uint8 with the zero point 0": lambda: (  # noqa: E501
        static(weight=np.full((1, 1 << 18), 127, np.int8))(np.zeros((1, 1 << 18), np.int8))
    ),
    "x_scale: a number that float32 holds, above 0, is needed, got -1": lambda: static(x_scale=-1),
    "weight_scale: numbers that float32 holds, above 0, are needed, got -1.0": lambda: static(
        weight_scale=[0.5, -1]
    ),
    "x_range: lo <= hi that float32 holds, and their distance, are needed, got (2, 1)": lambda: of_floats(
        x_range=(2, 1)
    ),
    "x: numbers are needed, got NaN, which no integer stands for": lambda: fastpw.quantize([np.nan], 0.1),
    "scale: a shape that broadcasts to x's (1,) is needed, got (2,)": lambda: fastpw.quantize(
        [1.0], [0.1, 0.2]
    ),
    "bias: numbers that float32 holds are needed, got 1e+300": lambda: fastpw.QConv1x1.from_float(
        fastpw.Conv1x1(np.ones((2, 3)), np.full(2, 1e300))
    ),
    "weight: finite numbers are needed, got inf": lambda: fastpw.quantize_weight([[np.inf]]),
    "weight: numbers whose scale float32 holds are needed, got one of 7.874015748031496e+297": lambda: (
        fastpw.quantize_weight([[1e300]])
    ),
}


@pytest.mark.parametrize(("message", "call"), TYPE_ERRORS.items(), ids=[*TYPE_ERRORS])
def test_type_error(message, call):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(("message", "call"), VALUE_ERRORS.items(), ids=[*VALUE_ERRORS])
def test_value_error(message, call):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
