"""Weights as Keras stores them, without Keras: Conv2D, BatchNormalization, DepthwiseConv2D, Dense.

`model.get_weights()` returns arrays, layer by layer, and a file of weights holds the same. Kernels of
Conv2D are (kh, kw, C, K), which is the weight_layout "HWIO"; those of DepthwiseConv2D are (kh, kw, C, 1),
also "HWIO"; those of Dense are (C, K), "IO". A BatchNormalization has gamma, beta, mean and variance, and
an epsilon of 1e-3. Images are channels-last, as here, and padding="same" means the same.

One sees a small network of these, and that it computes what the formulas say.
"""

import numpy as np

import fastpw

EPSILON = 1e-3  # Keras' default; torch's is 1e-5


def get_weights(random):
    """Arrays in the order and shapes of Keras' `model.get_weights()`."""

    def normalization(K):
        gamma, variance = random.uniform(0.5, 1.5, (2, K))
        beta, mean = random.standard_normal((2, K))
        return [gamma, beta, mean, variance]

    shapes = {"conv": (1, 1, 16, 32), "depthwise": (3, 3, 32, 1), "dense": (32, 10)}
    drawn = {
        name: random.standard_normal(shape) / np.sqrt(np.prod(shape[:3])) for name, shape in shapes.items()
    }
    arrays = [drawn["conv"], *normalization(32), drawn["depthwise"], *normalization(32), drawn["dense"]]
    return [array.astype(np.float32) for array in [*arrays, random.standard_normal(10)]]


def network(weights):
    """A chain of layers from the list of arrays."""
    conv, depthwise, (dense, bias) = weights[:5], weights[5:10], weights[10:]
    options = {"epsilon": EPSILON, "weight_layout": "HWIO"}
    first = fastpw.fold_batch_norm(conv[0], None, *conv[1:], **options)
    second = fastpw.fold_batch_norm(depthwise[0], None, *depthwise[1:], **options)
    return fastpw.Chain(
        [
            fastpw.Conv1x1(*first, activation="relu6", weight_layout="HWIO"),
            fastpw.DepthwiseConv2d(
                *second, stride=2, padding="same", activation="swish", weight_layout="HWIO"
            ),
            fastpw.GlobalAveragePool(),
            fastpw.Conv1x1(dense, bias, weight_layout="IO"),
        ]
    )


def by_formulas(weights, x):
    """The same in float64, one operation of Keras after the other."""
    weights = [array.astype(np.float64) for array in weights]

    def normalize(z, gamma, beta, mean, variance):
        return gamma * (z - mean) / np.sqrt(variance + EPSILON) + beta

    y = np.clip(normalize(x @ weights[0][0, 0], *weights[1:5]), 0, 6)
    padded = np.pad(y, ((0, 0), (0, 1), (0, 1), (0, 0)))  # "same", with a stride of 2 and an even size
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    z = normalize(np.einsum("nijchw,hwc->nijc", windows, weights[5][..., 0]), *weights[6:10])
    y = z / (1 + np.exp(-z))
    return y.mean(axis=(1, 2)) @ weights[10] + weights[11]


def main():
    random = np.random.default_rng(0)
    weights = get_weights(random)
    print("arrays:", ", ".join(str(array.shape) for array in weights))
    x = random.standard_normal((2, 28, 28, 16), dtype=np.float32)
    scores = network(weights)(x)
    print(f"scores {scores.shape}, the best classes: {scores.argmax(axis=1)}")
    distance = np.abs(scores - by_formulas(weights, x)).max()
    print(f"the largest difference from the formulas: {distance:.1e}")
    assert distance < 1e-4


if __name__ == "__main__":
    main()
