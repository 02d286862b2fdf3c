"""ResNet's bottleneck: 1x1 to few channels, 3x3, 1x1 to many channels, input added before the last relu.

K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385:
figure 5, and table 1 for the sizes. As there, a stage begins with a stride of 2 in the first 1x1, which reads
a quarter of the pixels (others put it into the 3x3), and with a 1x1 on the shortcut, because sizes and
channels change. Each convolution is followed by a batch normalization, which is folded into its weights.

One sees the four blocks of stage conv3_x of ResNet-50, and that a block that has learnt nothing, its last
normalization multiplying by zero, is the identity.
"""

import math

import numpy as np

import fastpw


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, width):
    """The parameters of a block of C channels in, four times its width out, and of its shortcut."""
    return {
        "reduce": trained(random, (width, C), width),
        "spatial": trained(random, (width, 3, 3, width), width),
        "expand": trained(random, (4 * width, width), 4 * width),
        "shortcut": trained(random, (4 * width, C), 4 * width),
    }


def bottleneck(parameters, stride=1, identity=True):
    """The three convolutions; the last adds the input, or the `residual` that a call brings."""
    reduce = fastpw.fold_batch_norm(*parameters["reduce"])
    spatial = fastpw.fold_batch_norm(*parameters["spatial"], weight_layout="OHWI")
    expand = fastpw.fold_batch_norm(*parameters["expand"])
    layers = [
        fastpw.Conv1x1(*reduce, stride=stride, activation="relu"),
        fastpw.Conv2d(*spatial, padding=1, activation="relu"),
        fastpw.Conv1x1(*expand, activation="relu"),
    ]
    return fastpw.Chain(layers, add_input=identity)


def projection(parameters, stride):
    """The 1x1 on the shortcut of a stage's first block."""
    return fastpw.Conv1x1(*fastpw.fold_batch_norm(*parameters["shortcut"]), stride=stride)


def main():
    random = np.random.default_rng(0)
    x = random.random((1, 56, 56, 256), np.float32)
    print(f"input            {x.shape}")

    first = draw(random, 256, 128)
    shortcut, block = projection(first, stride=2), bottleneck(first, stride=2, identity=False)
    y = shortcut(x)
    block(x, residual=y, out=y)  # the result takes the place of what is added
    print(f"first block      {y.shape}")

    for _ in range(3):
        later = draw(random, 512, 128)
        y = bottleneck(later)(y)
        print(f"identity block   {y.shape}")

    weight, bias, gamma, beta, *statistics = later["expand"]
    later["expand"] = weight, bias, 0 * gamma, 0 * beta, *statistics
    assert np.array_equal(bottleneck(later)(y), y)
    print("A block whose last normalization multiplies by zero gives back its input.")


if __name__ == "__main__":
    main()
