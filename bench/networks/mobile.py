"""MobileNets, EfficientNet and ShuffleNets in torch, as their papers have them; of any width and depth."""

from __future__ import annotations

import torch
from blocks import Classifier, Size, around, convolution
from torch import nn


class Excitation(nn.Module):
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507, figure 3)."""

    def __init__(
        self, channels: int, squeezed: int, activation: type[nn.Module], gate: type[nn.Module]
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            activation(),
            nn.Conv2d(squeezed, channels, 1),
            gate(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.branch(x)


class InvertedResidual(nn.Module):
    """1x1, depthwise, squeeze and excitation, 1x1; around it the input, where it fits."""

    def __init__(self, channels, hidden, filters, kernel=3, stride=1, activation=nn.ReLU6, excitation=None):
        super().__init__()
        parts = [convolution(channels, hidden, activation=activation)] if hidden != channels else []
        parts.append(convolution(hidden, hidden, kernel, stride, groups=hidden, activation=activation))
        if excitation is not None:
            parts.append(excitation)
        parts.append(convolution(hidden, filters, activation=None))
        self.branch = nn.Sequential(*parts)
        self.adds = stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x) if self.adds else self.branch(x)


def mobilenet_v1(size: Size) -> nn.Module:
    """Howard et al. 2017, arXiv:1704.04861, table 1."""
    channels = size.channels(32)
    parts = [convolution(3, channels, 3, 2)]
    for filters, stride, times in ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2)):
        for number in range(size.times(times)):
            parts.append(convolution(channels, channels, 3, 1 if number else stride, groups=channels))
            parts.append(convolution(channels, size.channels(filters)))
            channels = size.channels(filters)
    return nn.Sequential(*parts, Classifier(channels, size.classes))


def mobilenet_v2(size: Size) -> nn.Module:
    """Sandler et al. 2018, arXiv:1801.04381, table 2."""
    channels = size.channels(32)
    parts = [convolution(3, channels, 3, 2, activation=nn.ReLU6)]
    for factor, filters, times, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
        (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for number in range(size.times(times)):
            step = 1 if number else stride
            parts.append(InvertedResidual(channels, channels * factor, size.channels(filters), stride=step))
            channels = size.channels(filters)
    last = size.channels(1280)
    parts.append(convolution(channels, last, activation=nn.ReLU6))
    return nn.Sequential(*parts, Classifier(last, size.classes, dropout=0.2))


# kernel, hidden, filters, squeezed, activation, stride
_V3_LARGE = (
    (3, 16, 16, 0, nn.ReLU, 1), (3, 64, 24, 0, nn.ReLU, 2), (3, 72, 24, 0, nn.ReLU, 1),
    (5, 72, 40, 24, nn.ReLU, 2), (5, 120, 40, 32, nn.ReLU, 1), (5, 120, 40, 32, nn.ReLU, 1),
    (3, 240, 80, 0, nn.Hardswish, 2), (3, 200, 80, 0, nn.Hardswish, 1), (3, 184, 80, 0, nn.Hardswish, 1),
    (3, 184, 80, 0, nn.Hardswish, 1), (3, 480, 112, 120, nn.Hardswish, 1),
    (3, 672, 112, 168, nn.Hardswish, 1),
    (5, 672, 160, 168, nn.Hardswish, 2), (5, 960, 160, 240, nn.Hardswish, 1),
    (5, 960, 160, 240, nn.Hardswish, 1),
)  # fmt: skip


def mobilenet_v3_large(size: Size) -> nn.Module:
    """Howard et al. 2019, arXiv:1905.02244, table 1."""
    channels = size.channels(16)
    parts = [convolution(3, channels, 3, 2, activation=nn.Hardswish)]
    for kernel, inner, count, squeezed, activation, stride in _V3_LARGE:
        hidden, filters = size.channels(inner), size.channels(count)
        excitation = None
        if squeezed:
            excitation = Excitation(hidden, size.channels(squeezed), nn.ReLU, nn.Hardsigmoid)
        parts.append(InvertedResidual(channels, hidden, filters, kernel, stride, activation, excitation))
        channels = filters
    last, wide = size.channels(960), size.channels(1280)
    parts.append(convolution(channels, last, activation=nn.Hardswish))
    return nn.Sequential(
        *parts,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, wide),
        nn.Hardswish(),
        nn.Linear(wide, size.classes),
    )


def efficientnet_b0(size: Size) -> nn.Module:
    """Tan and Le 2019, arXiv:1905.11946, table 1."""
    channels = size.channels(32)
    parts = [convolution(3, channels, 3, 2, activation=nn.SiLU)]
    for factor, kernel, stride, filters, times in (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
    ):  # fmt: skip
        for number in range(size.times(times)):
            hidden, step = channels * factor, 1 if number else stride
            excitation = Excitation(hidden, max(channels // 4, 1), nn.SiLU, nn.Sigmoid)
            parts.append(
                InvertedResidual(channels, hidden, size.channels(filters), kernel, step, nn.SiLU, excitation)
            )
            channels = size.channels(filters)
    last = size.channels(1280)
    parts.append(convolution(channels, last, activation=nn.SiLU))
    return nn.Sequential(*parts, Classifier(last, size.classes, dropout=0.2))


class Shuffle(nn.Module):
    """The channels of groups in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """Zhang et al. 2017, arXiv:1707.01083, figure 2."""

    def __init__(self, channels: int, filters: int, stride: int, groups: int, first_groups: int) -> None:
        super().__init__()
        inner = filters // 4
        self.stride = stride
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.branch = nn.Sequential(
            convolution(channels, inner, groups=first_groups),
            Shuffle(groups),
            convolution(inner, inner, 3, stride, groups=inner, activation=None),
            convolution(
                inner, filters - channels if stride == 2 else filters, groups=groups, activation=None
            ),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 2:
            return torch.relu(torch.cat([self.pool(x), self.branch(x)], 1))
        return torch.relu(x + self.branch(x))


def shufflenet_v1(size: Size) -> nn.Module:
    """Zhang et al. 2017, arXiv:1707.01083, table 1, with three groups."""
    channels, groups = 24, 3
    parts = [convolution(3, channels, 3, 2), nn.MaxPool2d(3, 2, 1)]
    for stage, (count, times) in enumerate(((240, 4), (480, 8), (960, 4))):
        filters = around(count * size.width, 24)
        for number in range(size.times(times)):
            first = 1 if stage == number == 0 else groups
            parts.append(ShuffleUnit(channels, filters, 1 if number else 2, groups, first))
            channels = filters
    return nn.Sequential(*parts, Classifier(channels, size.classes))


class SplitUnit(nn.Module):
    """Ma et al. 2018, arXiv:1807.11164, figure 3 (c) and (d)."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        half = filters // 2
        entering = channels if stride == 2 else half
        self.stride = stride
        self.left = nn.Sequential(
            convolution(channels, channels, 3, 2, groups=channels, activation=None),
            convolution(channels, half),
        )
        self.right = nn.Sequential(
            convolution(entering, half),
            convolution(half, half, 3, stride, groups=half, activation=None),
            convolution(half, half),
        )
        self.shuffle = Shuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 2:
            return self.shuffle(torch.cat([self.left(x), self.right(x)], 1))
        kept, used = x.chunk(2, 1)
        return self.shuffle(torch.cat([kept, self.right(used)], 1))


def shufflenet_v2(size: Size) -> nn.Module:
    """Ma et al. 2018, arXiv:1807.11164, table 5."""
    channels = 24
    parts = [convolution(3, channels, 3, 2), nn.MaxPool2d(3, 2, 1)]
    for count, times in ((116, 4), (232, 8), (464, 4)):
        filters = around(count * size.width, 4)
        for number in range(size.times(times)):
            parts.append(SplitUnit(channels, filters, 1 if number else 2))
            channels = filters
    last = size.channels(1024)
    return nn.Sequential(*parts, convolution(channels, last), Classifier(last, size.classes))
