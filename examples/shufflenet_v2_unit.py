"""ShuffleNetV2's unit: half of the channels pass untouched, half through a branch, and a shuffle mixes them.

N. Ma, X. Zhang, H.-T. Zheng and J. Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
Design", 2018, arXiv:1807.11164: figure 3 (c) shows the unit, (d) the one with a stride of 2, both of whose
branches see all channels; table 5 shows the network. A batch normalization follows each convolution, and is
folded into its weights.

One sees stage 2 of the network at width 1x. Half of an array's channels is a view, which layers read and
write where it lies: the split and the concatenation copy nothing but the half that passes.
"""

import math

import numpy as np

import fastpw

SHUFFLE = fastpw.ChannelShuffle(2)


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, K):
    """The parameters of a branch: 1x1, depthwise 3x3, 1x1."""
    return trained(random, (K, C), K), trained(random, (3, 3, K), K), trained(random, (K, K), K)


def draw_shortcut(random, C, K):
    """Those of the other branch of a unit with a stride: depthwise 3x3, 1x1."""
    return trained(random, (3, 3, C), C), trained(random, (K, C), K)


def pointwise(parameters):
    return fastpw.Conv1x1(*fastpw.fold_batch_norm(*parameters), activation="relu")


def depthwise(parameters, stride):
    folded = fastpw.fold_batch_norm(*parameters, weight_layout="HWC")
    return fastpw.DepthwiseConv2d(*folded, stride=stride, padding=1)


def branch(parameters, stride=1):
    first, spatial, last = parameters
    return fastpw.Chain([pointwise(first), depthwise(spatial, stride), pointwise(last)])


def unit(x, branch):
    """The first half of the channels passes; the branch takes the second."""
    half = x.shape[-1] // 2
    joined = np.empty_like(x)
    joined[..., :half] = x[..., :half]
    branch(x[..., half:], out=joined[..., half:])
    return SHUFFLE(joined)


def halving_unit(shortcut, parameters):
    """With a stride of 2, and twice the channels."""
    spatial, last = shortcut
    branches = [fastpw.Chain([depthwise(spatial, 2), pointwise(last)]), branch(parameters, stride=2)]
    return fastpw.Chain([fastpw.Concat(branches), SHUFFLE])


def main():
    random = np.random.default_rng(0)
    y = random.random((1, 56, 56, 24), np.float32)
    print(f"input         {y.shape}")
    y = halving_unit(draw_shortcut(random, 24, 58), draw(random, 24, 58))(y)
    print(f"halving unit  {y.shape}")
    for _ in range(3):
        x, y = y, unit(y, branch(draw(random, 58, 58)))
        print(f"unit          {y.shape}")
    assert np.array_equal(y[..., ::2], x[..., :58])
    print("Every other channel of a unit's result is one that passed.")


if __name__ == "__main__":
    main()
