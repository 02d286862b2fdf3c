"""The blocks and networks that are measured, in the sizes of their papers.

Batch normalization is taken as folded into weights and biases, a network ends before its softmax, and the
padding is TensorFlow's "same" unless a paper leaves it out.
"""

from __future__ import annotations

from fastpw.bench.blocks.parts import (
    Block,
    Channels,
    Convolution,
    Depthwise,
    GlobalAverage,
    Part,
    Pool,
    Shuffle,
    branches,
    sequence,
)

INVERTED = "inverted residuals"
SEPARABLE = "depthwise-separable"
BOTTLENECKS = "bottlenecks"
MLPS = "MLPs"
INCEPTION = "Inception"
SHUFFLENET = "ShuffleNet"
NETWORKS = "networks"


def mlpconv(*filters: int) -> Part:
    """The 1x1 convolutions of Network in Network (Lin et al. 2013, arXiv:1312.4400, section 3.1)."""
    return sequence(*(Convolution(K) for K in filters))


def bottleneck(width: int, stride: int = 1, project: bool = False) -> Part:
    """ResNet's (He et al. 2015, arXiv:1512.03385, figure 5), its stride at the 3x3 as in ResNet v1.5."""
    filters = 4 * width
    shortcut = Convolution(filters, stride=stride, activation=None) if project else "input"
    return sequence(
        Convolution(width), Convolution(width, (3, 3), stride), Convolution(filters), added=shortcut
    )


def inception_a(pool_filters: int) -> Part:
    """The module of the 35x35 grid of Inception V3 (Szegedy et al. 2015, arXiv:1512.00567, figure 5).

    As its authors published it, with a 5x5 convolution in the second branch.
    """
    return branches(
        Convolution(64),
        sequence(Convolution(48), Convolution(64, (5, 5))),
        sequence(Convolution(64), Convolution(96, (3, 3)), Convolution(96, (3, 3))),
        sequence(Pool("average"), Convolution(pool_filters)),
    )


def inception_reduction() -> Part:
    """From 35x35 to 17x17 (the same paper, figure 10)."""
    return branches(
        Convolution(384, (3, 3), 2, "valid"),
        sequence(Convolution(64), Convolution(96, (3, 3)), Convolution(96, (3, 3), 2, "valid")),
        Pool("maximum", 2, padding="valid"),
    )


def separable(filters: int, stride: int = 1) -> Part:
    """MobileNetV1's (Howard et al. 2017, arXiv:1704.04861, figure 3)."""
    return sequence(Depthwise(stride), Convolution(filters))


def inverted_residual(channels: int, filters: int, stride: int = 1, expansion: int = 6) -> Part:
    """MobileNetV2's (Sandler et al. 2018, arXiv:1801.04381, table 1); the first block does not expand."""
    expand = [Convolution(expansion * channels, activation="relu6")] if expansion > 1 else []
    return sequence(
        *expand,
        Depthwise(stride, activation="relu6"),
        Convolution(filters, activation=None),
        added="input" if stride == 1 and channels == filters else None,
    )


def shuffle_v1(channels: int, groups: int = 3) -> Part:
    """ShuffleNet's unit of stride 1 (Zhang et al. 2017, arXiv:1707.01083, figure 2b)."""
    return sequence(
        Convolution(channels // 4, groups=groups),
        Shuffle(groups),
        Depthwise(activation=None),
        Convolution(channels, groups=groups),
        added="input",
    )


def shuffle_v2(channels: int) -> Part:
    """ShuffleNet V2's unit of stride 1 (Ma et al. 2018, arXiv:1807.11164, figure 3c)."""
    half = channels // 2
    convolved = Convolution(half), Depthwise(activation=None), Convolution(half)
    right = sequence(Channels(half, channels), *convolved)
    return sequence(branches(Channels(0, half), right), Shuffle(2))


def convnext_mlp(channels: int) -> Part:
    """The two 1x1 convolutions of a ConvNeXt block (Liu et al. 2022, arXiv:2201.03545, figure 4)."""
    return sequence(Convolution(4 * channels, activation="gelu"), Convolution(channels, activation=None))


def mobilenet_v1(classes: int = 1000) -> Part:
    """The whole network, width 1.0 (Howard et al. 2017, table 1)."""
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    return sequence(
        Convolution(32, (3, 3), 2),
        *(separable(*row) for row in rows),
        GlobalAverage(),
        Convolution(classes, activation=None),
    )


def mobilenet_v2(classes: int = 1000) -> Part:
    """The whole network, width 1.0 (Sandler et al. 2018, table 2)."""
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    blocks, channels = [], 32
    for expansion, filters, count, stride in [*rows, (6, 320, 1, 1)]:
        for number in range(count):
            blocks.append(inverted_residual(channels, filters, stride if number == 0 else 1, expansion))
            channels = filters
    return sequence(
        Convolution(32, (3, 3), 2, activation="relu6"),
        *blocks,
        Convolution(1280, activation="relu6"),
        GlobalAverage(),
        Convolution(classes, activation=None),
    )


def _inverted(side: int, channels: int, filters: int, stride: int = 1) -> Block:
    name = f"mobilenetv2.{side}.{channels}-{filters}" + "s" * (stride > 1)
    return Block(name, INVERTED, (1, side, side, channels), inverted_residual(channels, filters, stride))


def _separable(side: int, channels: int, filters: int, stride: int = 1) -> Block:
    name = f"mobilenetv1.{side}.{channels}-{filters}" + "s" * (stride > 1)
    return Block(name, SEPARABLE, (1, side, side, channels), separable(filters, stride))


BLOCKS: tuple[Block, ...] = (
    _inverted(112, 16, 24, 2),
    _inverted(56, 24, 24),
    _inverted(28, 32, 32),
    _inverted(14, 64, 64),
    _inverted(14, 96, 96),
    _inverted(7, 160, 160),
    _separable(112, 32, 64),
    _separable(56, 128, 128),
    _separable(56, 128, 256, 2),
    _separable(14, 512, 512),
    Block("resnet50.56.256", BOTTLENECKS, (1, 56, 56, 256), bottleneck(64)),
    Block("resnet50.56.256-512s", BOTTLENECKS, (1, 56, 56, 256), bottleneck(128, 2, project=True)),
    Block("resnet50.14.1024", BOTTLENECKS, (1, 14, 14, 1024), bottleneck(256)),
    Block("nin.55.96", MLPS, (1, 55, 55, 96), mlpconv(96, 96)),
    Block("convnext_t.56.96", MLPS, (1, 56, 56, 96), convnext_mlp(96)),
    Block("convnext_t.14.384", MLPS, (1, 14, 14, 384), convnext_mlp(384)),
    Block("inceptionv3.5b", INCEPTION, (1, 35, 35, 192), inception_a(32)),
    Block("inceptionv3.6a", INCEPTION, (1, 35, 35, 288), inception_reduction()),
    Block("shufflenetv1.28.240", SHUFFLENET, (1, 28, 28, 240), shuffle_v1(240)),
    Block("shufflenetv2.28.116", SHUFFLENET, (1, 28, 28, 116), shuffle_v2(116)),
    Block("mobilenetv1.network", NETWORKS, (1, 224, 224, 3), mobilenet_v1()),
    Block("mobilenetv2.network", NETWORKS, (1, 224, 224, 3), mobilenet_v2()),
)


def load() -> list[Block]:
    """All of them, family by family."""
    return list(BLOCKS)


def networks() -> list[str]:
    """The networks that they are of."""
    return list(dict.fromkeys(block.network for block in load()))


def chosen(names: list[str], networks: list[str] | None) -> list[Block]:
    """The blocks with one of the names in their own or their family's, of these networks.

    None given means any.
    """
    texts = [name.casefold() for name in names]
    return [
        block
        for block in load()
        if not texts or any(text in f"{block.name} {block.family}".casefold() for text in texts)
        if not networks or block.network in networks
    ]
