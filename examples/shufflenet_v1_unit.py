"""ShuffleNet's unit: 1x1 convolutions in groups, and a shuffle that hands channels on from group to group.

X. Zhang, X. Zhou, M. Lin and J. Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
Mobile Devices", 2017, arXiv:1707.01083: figure 2 (b) shows the unit that adds its input, (c) the one with a
stride of 2, which sets an average of its input beside its own channels; table 1 shows the network. A batch
normalization follows each convolution, and is folded into its weights; relu follows the first, and the
addition.

One sees stage 2 of the network with three groups, and what the shuffle is for: how many of the input's
channels one channel of the result depends on.
"""

import math

import numpy as np

import fastpw

GROUPS = 3


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, K, narrow, groups=GROUPS):
    """The parameters of the three convolutions, the groups being those of the first."""
    compress = trained(random, (narrow, C // groups), narrow)
    depthwise = trained(random, (3, 3, narrow), narrow)
    return compress, depthwise, trained(random, (K, narrow // GROUPS), K)


def branch(parameters, stride=1, groups=GROUPS, shuffles=True):
    """The layers that both units have in common."""
    compress, depthwise, expand = parameters
    compress = fastpw.fold_batch_norm(*compress)
    depthwise = fastpw.fold_batch_norm(*depthwise, weight_layout="HWC")
    expand = fastpw.fold_batch_norm(*expand)
    return [
        fastpw.Conv1x1(*compress, groups=groups, activation="relu"),
        *[fastpw.ChannelShuffle(GROUPS)] * shuffles,
        fastpw.DepthwiseConv2d(*depthwise, stride=stride, padding=1),
        fastpw.Conv1x1(*expand, groups=GROUPS, activation="relu"),
    ]


def unit(parameters, shuffles=True):
    """The last 1x1 adds the unit's input before its relu."""
    return fastpw.Chain(branch(parameters, shuffles=shuffles), add_input=True)


def halving_unit(parameters, groups=GROUPS):
    """With a stride of 2. An average of what came from a relu needs no other: relu would change nothing."""
    pool = fastpw.AveragePool2d(3, stride=2, padding=1, count_padding=True)
    return fastpw.Concat([pool, fastpw.Chain(branch(parameters, stride=2, groups=groups))])


def channels_seen(layer, C):
    """How many input channels a channel of the result depends on: each is changed in turn."""
    x = np.ones((1, 1, C), np.float32)
    changed = x + np.eye(C, dtype=np.float32)[:, None, None, :]
    depends = layer(changed) != layer(x)
    return depends.sum(axis=0).max()  # (some results are 0 either way, because of relu)


def main():
    random = np.random.default_rng(0)
    y = random.random((1, 56, 56, 24), np.float32)
    print(f"input         {y.shape}")
    first = draw(random, 24, 240 - 24, 60, groups=1)  # 24 channels are too few for groups
    y = halving_unit(first, groups=1)(y)
    print(f"halving unit  {y.shape}, the pool's 24 channels among them")
    for _ in range(3):
        parameters = draw(random, 240, 240, 60)
        y = unit(parameters)(y)
        print(f"unit          {y.shape}")
    print(f"A channel depends on {channels_seen(unit(parameters), 240)} channels of its unit's input.")
    own = channels_seen(unit(parameters, shuffles=False), 240)
    print(f"Without the shuffle it would depend on {own}, those of its own group.")


if __name__ == "__main__":
    main()
