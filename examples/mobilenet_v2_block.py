"""MobileNetV2's inverted residual: 1x1 to six times the channels, depthwise 3x3, 1x1 back to few channels.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov and L.-C. Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", 2018, arXiv:1801.04381: figure 4 (d) and table 1 show the block, table 2 the network. The last
1x1 has no activation. The input is added where the stride is 1 and the channels stay the same. A batch
normalization follows each convolution, and is folded into its weights.

One sees the network's first blocks, and how much larger than its input and its result is what lies between
the layers of each: that is what a Chain can keep in the cache.
"""

import math

import numpy as np

import fastpw

BLOCKS = (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1)  # channels in and out, stride


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, K, times=6):
    """The parameters of the three convolutions."""
    wide = times * C
    expand, depthwise = trained(random, (wide, C), wide), trained(random, (3, 3, wide), wide)
    return expand, depthwise, trained(random, (K, wide), K)


def inverted_residual(parameters, stride=1):
    expand, depthwise, project = parameters
    expand = fastpw.fold_batch_norm(*expand)
    depthwise = fastpw.fold_batch_norm(*depthwise, weight_layout="HWC")
    project = fastpw.fold_batch_norm(*project)
    layers = [
        fastpw.Conv1x1(*expand, activation="relu6"),
        fastpw.DepthwiseConv2d(*depthwise, stride=stride, padding=1, activation="relu6"),
        fastpw.Conv1x1(*project),
    ]
    same_size = stride == 1 and layers[0].channels == layers[-1].filters
    return fastpw.Chain(layers, add_input=same_size)


def main():
    random = np.random.default_rng(0)
    y = random.random((1, 112, 112, 16), np.float32)
    print(f"{'result of a block':20}{'input':>10}{'between':>10}{'result':>10}   the input is")
    for C, K, stride in BLOCKS:
        block, x = inverted_residual(draw(random, C, K), stride), y
        y = block(x)
        between = 4 * math.prod(block.layers[0].output_shape(x.shape))  # bytes
        megabytes = "".join(f"{size / 1e6:7.2f} MB" for size in (x.nbytes, between, y.nbytes))
        print(f"{y.shape!s:20}{megabytes}   {'added' if block.add_input else 'not added'}")


if __name__ == "__main__":
    main()
