"""ConvNeXt's block: a depthwise 7x7, a layer normalization, and an MLP of two 1x1 convolutions.

Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell and S. Xie, "A ConvNet for the 2020s", 2022,
arXiv:2201.03545: figure 4, and the factors (layer scale) of the authors' program, with which each channel is
multiplied before the input is added. They are folded into the last weights.

One sees two blocks of ConvNeXt-T's first stage. The normalization looks at all channels of a pixel, so it
cannot be folded, and NumPy does it; the MLP is a Chain, which adds the block's input as its residual.
"""

import math

import numpy as np

import fastpw


def draw(random, C):
    """The parameters of a block: weights and biases of its layers, factor and shift of its normalization."""

    def layer(*shape, K):
        weight = random.standard_normal(shape, np.float32) * math.sqrt(K / math.prod(shape))
        return weight, random.standard_normal(K, np.float32)

    return {
        "depthwise": layer(7, 7, C, K=C),
        "normalization": random.uniform(0.5, 1.5, (2, C)).astype(np.float32),
        "expand": layer(4 * C, C, K=4 * C),
        "project": layer(C, 4 * C, K=C),
        "layer scale": random.uniform(0.5, 1.5, C).astype(np.float32),
    }


def normalize(x, factor, shift):
    """The layer normalization: each pixel's channels have mean 0 and variance 1 before they are scaled."""
    y = x - x.mean(axis=-1, keepdims=True)
    y /= np.sqrt(np.square(y).mean(axis=-1, keepdims=True) + 1e-6)
    y *= factor
    y += shift
    return y


class Block:
    def __init__(self, parameters):
        self.depthwise = fastpw.DepthwiseConv2d(*parameters["depthwise"], padding=3)
        self.factor, self.shift = parameters["normalization"]
        weight, bias = parameters["project"]
        scale = parameters["layer scale"]
        self.mlp = fastpw.Chain(
            [
                fastpw.Conv1x1(*parameters["expand"], activation="gelu"),
                fastpw.Conv1x1(scale[:, None] * weight, scale * bias),
            ]
        )

    def __call__(self, x):
        normalized = normalize(self.depthwise(x), self.factor, self.shift)
        return self.mlp(normalized, residual=x)


def main():
    random = np.random.default_rng(0)
    y = random.standard_normal((1, 56, 56, 96), np.float32)
    print(f"input  {y.shape}")
    for _ in range(2):
        parameters = draw(random, 96)
        x, y = y, Block(parameters)(y)
        print(f"block  {y.shape}")

    parameters["layer scale"] *= 0
    assert np.array_equal(Block(parameters)(x), x)
    print("A block whose layer scale is zero gives back its input.")


if __name__ == "__main__":
    main()
