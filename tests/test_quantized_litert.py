"""The specification of integers is LiteRT's, bit for bit: XNNPACK computes both models."""

import numpy as np
import pytest

from fastpw import quantized_reference as reference

interpreter = pytest.importorskip("ai_edge_litert.interpreter")
litert = pytest.importorskip("fastpw.bench.peers.litert_quantized")

INT8, INT32, FLOAT32 = map(np.dtype, (np.int8, np.int32, np.float32))
ACTIVATIONS = [None, "relu", "relu6"]


def computed(model, x):
    runner = interpreter.Interpreter(model_content=model, num_threads=1)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], x)
    runner.invoke()
    return runner.get_tensor(runner.get_output_details()[0]["index"])


def drawn(rng):
    """The shape of x, a weight (K, 1, 1, C), its scales."""
    N, H, W, C, K = (int(rng.integers(1, most)) for most in (3, 6, 6, 71, 71))
    weight = rng.integers(-128, 127, (K, 1, 1, C), np.int8, endpoint=True)
    return (N, H, W, C), weight, rng.uniform(0.001, 0.02, K).astype(np.float32)


@pytest.mark.parametrize("seed", range(150))
def test_static_layers_are_the_same(seed):
    rng = np.random.default_rng(seed)
    shape, weight, weight_scale = drawn(rng)
    x = rng.integers(-128, 127, shape, np.int8, endpoint=True)
    bias = rng.integers(-20000, 20000, len(weight), np.int32)
    x_scale, (x_zero, y_zero) = np.float32(rng.uniform(0.001, 0.1)), rng.integers(-128, 128, 2).tolist()
    # Results spread over some of int8, or over all and beyond.
    y_scale = np.float32(x_scale * weight_scale.mean() * np.sqrt(shape[-1]) * rng.uniform(20, 200))
    stride, activation = int(rng.integers(1, 3)), ACTIVATIONS[seed % 3]
    y = reference.qconv1x1(
        x,
        weight,
        bias,
        weight_scale=weight_scale,
        x_scale=x_scale,
        x_zero_point=x_zero,
        y_scale=y_scale,
        y_zero_point=y_zero,
        stride=stride,
        activation=activation,
        weight_layout="OHWI",
    )
    tensors = [
        litert.tensor(b"x", shape, INT8, x_scale, x_zero),
        litert.tensor(b"weight", weight.shape, INT8, weight_scale),
        litert.tensor(b"bias", bias.shape, INT32, x_scale * weight_scale),
        litert.tensor(b"y", y.shape, INT8, y_scale, y_zero),
    ]
    assert np.array_equal(computed(litert.one_convolution(tensors, (weight, bias), stride, activation), x), y)


@pytest.mark.parametrize("seed", range(60))
def test_dynamic_layers_are_the_same(seed):
    rng = np.random.default_rng(seed)
    shape, weight, weight_scale = drawn(rng)
    rows = rng.standard_normal((*shape[:-1], 1)) * 2.0 ** rng.integers(-9, 9, (*shape[:-1], 1))
    x = ((rng.standard_normal(shape) + rng.integers(-2, 3)) * rows).astype(np.float32)
    bias = rng.standard_normal(len(weight), dtype=np.float32)
    activation = ACTIVATIONS[seed % 3]
    y = reference.qconv1x1(
        x, weight, bias, weight_scale=weight_scale, activation=activation, weight_layout="OHWI"
    )
    tensors = [
        litert.tensor(b"x", shape, FLOAT32),
        litert.tensor(b"weight", weight.shape, INT8, weight_scale),
        litert.tensor(b"bias", bias.shape, FLOAT32),
        litert.tensor(b"y", y.shape, FLOAT32),
    ]
    assert np.array_equal(computed(litert.one_convolution(tensors, (weight, bias), 1, activation), x), y)
