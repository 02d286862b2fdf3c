"""QConv1x1 computes the formula of the reference, bit for bit, on every instruction set."""

import numpy as np
import pytest

import fastpw
from fastpw import quantized_reference as reference
from fastpw.core import machine

# Sums, bounds and slopes have the same bits everywhere; other activations lie within one step.
EXACT = [None, "relu", "relu6", ("clip", -1.3, 2.2), ("leaky_relu", 0.1)]
WITHIN_A_STEP = ["hard_swish", "hard_sigmoid", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh"]


@pytest.fixture(params=[row["isa"] for row in machine.integer_sets() if row["runs"]])
def integer_isa(request):
    before = next(row["isa"] for row in machine.integer_sets() if row["chosen"])
    machine.choose_isa(request.param)
    yield request.param
    machine.choose_isa(before)


def integers(rng, dtype, *shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def pick(rng, choices):
    return choices[rng.integers(len(choices))]


def geometry(rng):
    """The shape of x, K, and the options that go with them."""
    C, K, groups = (*map(int, rng.integers(1, 71, 2)), int(pick(rng, [1, 1, 1, 2, 3])))
    if rng.random() < 0.15:
        groups = K = C  # one weight per channel
    C, K = -(-C // groups) * groups, -(-K // groups) * groups
    if rng.random() < 0.5:
        return (int(rng.integers(1, 41)), C), K, {"groups": groups}
    options = {
        "stride": tuple(map(int, rng.integers(1, 3, 2))),
        "padding": int(rng.integers(3)),
        "groups": groups,
    }
    return (*map(int, rng.integers(1, 6, 3)), C), K, options


def case(rng, kind, activations):
    """x, weight, bias and the arguments of one random call."""
    shape, K, given = geometry(rng)
    weight = integers(rng, "int8", K, shape[-1] // given["groups"])
    given["weight_scale"] = 0.02 if rng.random() < 0.3 else 0.01 * rng.random(K).astype("f") + 1e-3
    given["activation"] = pick(rng, activations)
    if kind == "dynamic":
        return rng.standard_normal(shape, "f"), weight, rng.standard_normal(K, "f"), given
    x = integers(rng, pick(rng, ["int8", "uint8"]), *shape)
    given |= {"x_scale": 0.1 * rng.random() + 0.01, "x_zero_point": int(integers(rng, x.dtype, 1)[0])}
    if kind == "float32":
        return x, weight, rng.standard_normal(K, "f"), given
    if kind == "int32":
        given |= {"out_dtype": "int32", "activation": None}
    else:
        given["out_dtype"] = pick(rng, ["int8", "uint8", None])
        dtype = given["out_dtype"] or x.dtype
        given |= {"y_scale": 0.3 * rng.random() + 0.05, "y_zero_point": int(integers(rng, dtype, 1)[0])}
    return x, weight, rng.integers(-10000, 10000, K, "int32"), given


def check(x, weight, bias, steps=0, **given):
    y, expected = fastpw.qconv1x1(x, weight, bias, **given), reference.qconv1x1(x, weight, bias, **given)
    assert y.dtype == expected.dtype
    assert y.shape == expected.shape
    if steps and y.dtype != np.float32:
        assert np.abs(y.astype(int) - expected.astype(int)).max(initial=0) <= steps
    elif steps:
        np.testing.assert_allclose(y, expected, rtol=2e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kind", ["integers", "int32", "float32", "dynamic"])
@pytest.mark.parametrize(("activations", "steps"), [(EXACT, 0), (WITHIN_A_STEP, 1)], ids=["exact", "other"])
def test_random_calls(integer_isa, threads, machine_size, kind, activations, steps):
    rng = np.random.default_rng([threads, steps, len(kind)])
    for _ in range(40):
        x, weight, bias, given = case(rng, kind, activations)
        check(x, weight, bias if rng.random() < 0.7 else None, steps, **given)


@pytest.mark.parametrize("x_dtype", ["int8", "uint8", "float32"])
def test_every_edge(integer_isa, x_dtype):
    """Each depth and each width from 1 to 70, and each number of rows up to 40."""
    rng = np.random.default_rng(1)
    for size in range(1, 71):
        rows, K = 1 + size % 40, 1 + (size * 37) % 70
        if x_dtype == "float32":
            x, given = rng.standard_normal((rows, size), "f"), {}
        else:
            x, given = (
                integers(rng, x_dtype, rows, size),
                {"x_scale": 0.05, "x_zero_point": 7, "out_dtype": "int32"},
            )
        check(x, integers(rng, "int8", K, size), None, weight_scale=0.01, **given)


# ---- numbers of other libraries' mistakes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "weight", "expected"),
    [
        ([211, 171], [71, 107], 33278),  # saturates at 32767 where pairs are summed in 16 bits
        ([210, 198, 234], [-81, -80, 127], -3132),
        ([255] * 64, [127] * 64, 255 * 127 * 64),
        ([255] * 67, [-128] * 67, -255 * 128 * 67),
    ],
)
def test_pairs_do_not_saturate(integer_isa, x, weight, expected):
    for rows in 1, 7:
        X, W = np.tile(np.array(x, np.uint8), (rows, 1)), np.array([weight] * 9, np.int8)
        y = fastpw.qconv1x1(X, W, weight_scale=1, x_scale=1, out_dtype="int32")
        np.testing.assert_array_equal(y, np.full((rows, 9), expected))


def test_scale_is_rounded_at_each_step(integer_isa):
    """XNNPACK's -120: a scale in double, or in fixed point, gives -119."""
    scales = {
        "x_scale": 0.05296124517917633,
        "weight_scale": 0.024093778803944588,
        "y_scale": 0.11484327912330627,
    }
    x, weight = np.array([[117]], np.int8), np.array([[5]], np.int8)
    assert fastpw.qconv1x1(x, weight, **scales, y_zero_point=-126) == -120


@pytest.mark.parametrize("zero_point", [-7, 3])
def test_exact_ties_go_to_the_even_neighbour(integer_isa, zero_point):
    x = np.arange(-60, 60, dtype=np.int8)[:, None]
    y = fastpw.qconv1x1(
        x, np.array([[1]], np.int8), weight_scale=0.5, x_scale=1, y_scale=1, y_zero_point=zero_point
    )
    np.testing.assert_array_equal(y, np.rint(x / 2) + zero_point)


def test_bounds_are_rounded_with_the_zero_point(integer_isa):
    """6 / 4 + 1 rounds to 2, where rounding 6 / 4 first gives 3."""
    given = {"weight_scale": 1, "x_scale": 1, "y_scale": 4, "activation": "relu6"}
    x, weight = np.array([[100]], np.int8), np.array([[1]], np.int8)
    assert fastpw.qconv1x1(x, weight, **given, y_zero_point=1) == 2
    assert fastpw.qconv1x1(x, weight, **given, y_zero_point=0) == 2


def test_sums_wrap_on_their_way_alone(integer_isa):
    """A bias at the end of int32, which the zero point's share brings back."""
    x, weight = np.full((3, 40), -128, np.int8), np.full((20, 40), 127, np.int8)
    bias = np.full(20, 2**31 - 1 - 255 * 127 * 40, np.int32)
    y = fastpw.qconv1x1(x, weight, bias, weight_scale=1, x_scale=1, x_zero_point=127, out_dtype="int32")
    np.testing.assert_array_equal(y, np.full((3, 20), 2**31 - 1 - 2 * 255 * 127 * 40))


# ---- rows quantized on their way in --------------------------------------------------------------------


def test_rows_of_all_kinds(integer_isa):
    """Zeros, one sign, tiny and huge numbers, subnormals; NaN and infinity make NaN of their row alone."""
    tiny, huge = np.float32(1e-42), np.float32(3e38)
    rows = np.random.default_rng(2).standard_normal((13, 37), "f")
    rows[0], rows[1], rows[2], rows[3] = 0, np.abs(rows[1]), -np.abs(rows[2]), rows[3] * tiny
    rows[4], rows[5, 3], rows[6, 36], rows[7, 0] = rows[4] * 1e37, np.nan, np.inf, -np.inf
    rows[8, :2] = huge, -huge
    rows[9], rows[10, 20] = 1, 1e30
    weight, bias = integers(np.random.default_rng(3), "int8", 19, 37), np.linspace(-1, 1, 19, dtype="f")
    check(rows, weight, bias, weight_scale=0.01)
    y = fastpw.qconv1x1(rows, weight, bias, weight_scale=0.01)
    assert [i for i in range(13) if np.isnan(y[i]).all()] == [5, 6, 7, 8]
    assert not np.isnan(y[[0, 1, 2, 3, 4, 9, 10, 11, 12]]).any()


def test_one_rounding_where_two_differ(integer_isa):
    """Bias and product cancel but for what the rounding of the product would lose."""
    rng = np.random.default_rng(4)
    x, weight = rng.standard_normal((200, 24), "f"), integers(rng, "int8", 32, 24)
    scale = rng.random(32).astype("f") / 50 + np.float32(1e-3)
    plain = fastpw.qconv1x1(x, weight, weight_scale=scale)
    for row in range(0, 200, 8):
        check(x[row : row + 1], weight, -plain[row], weight_scale=scale)
