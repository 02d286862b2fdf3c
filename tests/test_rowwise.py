"""What networks compute element by element and row by row: Rows of core, on every instruction set."""

import numpy as np
import pytest
from fastpw.core.stencil import Rows

import fastpw
from fastpw._checks.options import activation
from fastpw.runtime import threads

LINEAR = activation(None)
SHAPES = [(1,), (5,), (1, 3, 8), (2, 7, 5, 33), (40, 1), (3, 1500), (1, 20000), (2, 90, 90, 24)]


def numbers(*shape, dtype):
    return np.random.default_rng(5).standard_normal(shape).astype(dtype)


def close(result, wanted):
    scale = np.abs(wanted).max() if wanted.size else 1
    return np.allclose(result, wanted, rtol=0, atol=np.finfo(result.dtype).eps * 40 * (1 + scale))


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture
def everywhere(isa):
    """Runs a call that fills an array on several numbers of threads, and holds it to the same bits."""

    def run(make, y):
        results = []
        for count in (1, 2, 5):
            y.fill(np.nan)
            with fastpw.num_threads(count):
                make()()
            results.append(y.copy())
        assert all(np.array_equal(results[0], other, equal_nan=True) for other in results)
        return results[0]

    return run


@pytest.mark.parametrize("shape", SHAPES)
def test_a_program(shape, dtype, everywhere):
    """silu((x * gate + second) / 3 - x), with a gate for each channel of each image."""
    x, second = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype)
    second = second[::-1] if len(shape) > 1 else second
    gate = np.broadcast_to(numbers(shape[-1], dtype=dtype) + dtype(2), shape)
    y = np.empty(shape, dtype)
    steps = (2, 0, 1, 0.0), (0, 3, 2, 0.0), (3, 4, -1, 3.0), (1, 5, 0, 0.0)
    program = [*((*step, LINEAR) for step in steps), (4, 6, 6, 0.0, activation("silu"))]
    result = everywhere(lambda: Rows((x, y, gate, second), program, threads), y)
    z = (x.astype(np.float64) * gate + second) / 3 - x
    assert close(result, z / (1 + np.exp(-z)))


@pytest.mark.parametrize("name", ["relu", "relu6", "hard_swish", "gelu"])
def test_activations_alone(name, dtype, everywhere):
    x = numbers(3, 1031, dtype=dtype) * dtype(4)
    y = np.empty_like(x)
    result = everywhere(lambda: Rows((x, y, None, None), [(4, 0, 0, 0.0, activation(name))], threads), y)
    assert close(result, fastpw.reference.FUNCTIONS["clip" if name == "relu6" else name](
        x.astype(np.float64), *([0, 6] if name == "relu6" else [])))  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_normal_rows(shape, dtype, everywhere):
    x = numbers(*shape, dtype=dtype) + dtype(30)  # (a large mean takes digits from who sums squares)
    weight, bias = numbers(shape[-1], dtype=dtype), numbers(shape[-1], dtype=dtype)
    y = np.empty_like(x)
    result = everywhere(lambda: Rows((x, y, None, None), (weight, bias, 1e-3), threads), y)
    z = x.astype(np.float64)
    z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-3)
    assert np.allclose(result, z * weight + bias, rtol=0, atol=1e-3 if dtype == np.float32 else 1e-11)


def test_an_epsilon_below_zero_is_one(dtype, isa):
    """As files may have it: no sign of anything else."""
    x, ones, y = numbers(4, 19, dtype=dtype), np.ones(19, dtype), np.empty((4, 19), dtype)
    Rows((x, y, None, None), (ones, 0 * ones, -0.25), threads)()
    z = x.astype(np.float64)
    assert close(y, (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) - 0.25))


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(shape, dtype, everywhere):
    x = numbers(*shape, dtype=dtype) * dtype(30)
    x[..., :1] = 800  # its power would overflow, and those of others vanish
    y = np.empty_like(x)
    result = everywhere(lambda: Rows((x, y, None, None), "softmax", threads), y)
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    assert close(result, powers / powers.sum(-1, keepdims=True))


def test_softmax_of_numbers_that_are_none(dtype, isa):
    x = np.zeros((4, 19), dtype)
    x[0, 3], x[1, 17], x[2, :5], x[3] = np.nan, np.inf, -np.inf, -np.inf
    y = np.empty_like(x)
    Rows((x, y, None, None), "softmax", threads)()
    assert np.isnan(y[[0, 1, 3]]).all()
    assert np.allclose(y[2, 5:], 1 / 14) and not y[2, :5].any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 7, 7, 40), (1, 112, 112, 19), (2, 3, 4, 0)])
def test_means(shape, dtype, everywhere):
    whole = numbers(shape[0], *(n + 2 for n in shape[1:-1]), shape[-1], dtype=dtype)
    x = whole[:, *[slice(1, -1)] * (len(shape) - 2)]  # rows with gaps between
    y = np.empty((shape[0], shape[-1]), dtype)
    result = everywhere(lambda: Rows((x, y), "means", threads), y)
    assert close(result, x.mean(tuple(range(1, x.ndim - 1)), dtype=np.float64))


@pytest.mark.parametrize("filters", [1, 4, 8, 24, 64, 100])
def test_a_convolution_with_gates(filters, dtype, everywhere):
    """Each panel's weights take the gates of their depths, whatever their tile."""
    layer = fastpw.Conv1x1(
        numbers(filters, 37, dtype=dtype), numbers(filters, dtype=dtype), activation="relu"
    )
    x, gates = numbers(130, 37, dtype=dtype), numbers(37, dtype=dtype)
    y, residual = np.empty((130, filters), dtype), numbers(130, filters, dtype=dtype)

    def make():
        program = layer._operation.describe(layer._packed, x, y, residual, None)
        return lambda: program.gated(gates, x, residual, y)

    result = everywhere(make, y)
    z = (x.astype(np.float64) * gates) @ layer.weight.T.astype(np.float64) + layer.bias + residual
    assert close(result, np.maximum(z, 0))


def test_what_does_not_fit(isa):
    x, y = np.ones((3, 4), np.float32), np.empty((3, 4), np.float32)
    for arrays in ((x[:, ::2], y[:, :2]), (x.astype(np.float64), y), (x[:, :3], y)):
        with pytest.raises(ValueError, match="needed"):
            Rows((*arrays, None, None), [(0, 0, 0, 0.0, LINEAR)], threads)
    for a, b in ((4, -1), (0, 3), (-1, 0), (0, -2)):
        with pytest.raises(ValueError, match="operations on values"):
            Rows((x, y, None, None), [(0, a, b, 0.0, LINEAR)], threads)
    with pytest.raises(ValueError, match="at most 6 operations are needed, got 7"):
        Rows((x, y, None, None), [(0, 0, -1, 1.0, LINEAR)] * 7, threads)
