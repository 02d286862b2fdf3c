"""MobileNetV1's block: a depthwise 3x3 that looks around, and a 1x1 that mixes the channels.

A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv:1704.04861: figure 3 shows the block, table 1 the network. A batch normalization follows each of
the two convolutions, and is folded into its weights. The padding is TensorFlow's, in which the network was
written: with a stride of 2 the odd pixel lies at the bottom and at the right.

One sees the first four blocks, and how many multiply-adds each spares in comparison with a 3x3 convolution of
all channels: nearly all of them are left to the 1x1.
"""

import math

import numpy as np

import fastpw

BLOCKS = (32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)  # channels in and out, stride


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, K):
    """The parameters of both convolutions."""
    return trained(random, (3, 3, C), C), trained(random, (K, C), K)


def block(parameters, stride=1):
    depthwise, pointwise = parameters
    depthwise = fastpw.fold_batch_norm(*depthwise, weight_layout="HWC")
    pointwise = fastpw.fold_batch_norm(*pointwise)
    return fastpw.Chain(
        [
            fastpw.DepthwiseConv2d(*depthwise, stride=stride, padding="same", activation="relu"),
            fastpw.Conv1x1(*pointwise, activation="relu"),
        ]
    )


def main():
    random = np.random.default_rng(0)
    y = random.random((1, 112, 112, 32), np.float32)
    print(f"{'result of a block':22}{'the 1x1 has':>20}{'a full 3x3 would take':>28}")
    for C, K, stride in BLOCKS:
        y = block(draw(random, C, K), stride)(y)
        depthwise, pointwise, full = 9 * C, C * K, 9 * C * K  # multiply-adds for each pixel of the result
        of_pointwise = f"{pointwise / (depthwise + pointwise):.0%} of the work"
        as_many = f"{full / (depthwise + pointwise):.1f} times as many"
        print(f"{y.shape!s:22}{of_pointwise:>20}{as_many:>28}")


if __name__ == "__main__":
    main()
