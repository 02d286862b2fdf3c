"""Networks for servers in torch, as their papers have them; of any width and depth."""

from __future__ import annotations

import torch
from blocks import Classifier, Size, Together, convolution
from torch import nn


class Bottleneck(nn.Module):
    """He et al. 2015, arXiv:1512.03385, figure 5; the stride in the 3x3, as torchvision has it."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            convolution(channels, inner),
            convolution(inner, inner, 3, stride),
            convolution(inner, 4 * inner, activation=None),
        )
        same = stride == 1 and channels == 4 * inner
        self.shortcut = (
            nn.Identity() if same else convolution(channels, 4 * inner, 1, stride, activation=None)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


def resnet50(size: Size) -> nn.Module:
    """He et al. 2015, arXiv:1512.03385, table 1."""
    channels = size.channels(64)
    parts = [convolution(3, channels, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for count, times, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        inner = size.channels(count)
        for number in range(size.times(times)):
            parts.append(Bottleneck(channels, inner, 1 if number else stride))
            channels = 4 * inner
    return nn.Sequential(*parts, Classifier(channels, size.classes))


def nin(size: Size) -> nn.Module:
    """Lin et al. 2013, arXiv:1312.4400: each convolution is followed by two 1x1."""
    parts, channels = [], 3
    rows = ((96, 11, 4, 0, 96), (256, 5, 1, 2, 256), (384, 3, 1, 1, 384), (1024, 3, 1, 1, None))
    for count, kernel, stride, padding, end in rows:
        filters, last = size.channels(count), size.channels(end) if end else size.classes
        parts += [nn.MaxPool2d(3, 2)] if parts else []
        parts += [nn.Conv2d(channels, filters, kernel, stride, padding), nn.ReLU()]
        parts += [nn.Conv2d(filters, filters, 1), nn.ReLU(), nn.Conv2d(filters, last, 1), nn.ReLU()]
        channels = last
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))


class Fire(nn.Sequential):
    """Iandola et al. 2016, arXiv:1602.07360, figure 1."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__(
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            Together(
                nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU()),
            ),
        )


def squeezenet(size: Size) -> nn.Module:
    """SqueezeNet 1.1, whose pools round up."""
    channels = size.channels(64)
    parts = [nn.Conv2d(3, channels, 3, 2), nn.ReLU()]
    for number, (squeezed, expanded) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        if number in (0, 2, 4):
            parts.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        parts.append(Fire(channels, size.channels(squeezed), size.channels(expanded)))
        channels = 2 * size.channels(expanded)
    parts += [nn.Dropout(0.5), nn.Conv2d(channels, size.classes, 1), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


# ---- Inception V3 (Szegedy et al. 2015, arXiv:1512.00567, table 1; the channels as torchvision has them)


def _line(channels: int, *steps: tuple) -> nn.Sequential:
    """Convolutions one after the other: (filters, kernel, stride, padding), the last two may be left out."""
    parts = []
    for filters, kernel, *more in steps:
        stride, padding = (more + [1, None][len(more) :])[:2]
        parts.append(convolution(channels, filters, kernel, stride, padding=padding))
        channels = filters
    return nn.Sequential(*parts)


def _pooled(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(nn.AvgPool2d(3, 1, 1), convolution(channels, filters))


def _module_35(size: Size, channels: int, pooled: int) -> tuple[nn.Module, int]:
    s = size.channels
    module = Together(
        _line(channels, (s(64), 1)),
        _line(channels, (s(48), 1), (s(64), 5)),
        _line(channels, (s(64), 1), (s(96), 3), (s(96), 3)),
        _pooled(channels, s(pooled)),
    )
    return module, s(64) + s(64) + s(96) + s(pooled)


def _module_17(size: Size, channels: int, inner: int) -> tuple[nn.Module, int]:
    s, c = size.channels, size.channels(inner)
    wide, tall = (1, 7), (7, 1)
    module = Together(
        _line(channels, (s(192), 1)),
        _line(channels, (c, 1), (c, wide), (s(192), tall)),
        _line(channels, (c, 1), (c, tall), (c, wide), (c, tall), (s(192), wide)),
        _pooled(channels, s(192)),
    )
    return module, 4 * s(192)


def _module_8(size: Size, channels: int) -> tuple[nn.Module, int]:
    s = size.channels

    def spread() -> nn.Module:
        return Together(_line(s(384), (s(384), (1, 3))), _line(s(384), (s(384), (3, 1))))

    module = Together(
        _line(channels, (s(320), 1)),
        nn.Sequential(_line(channels, (s(384), 1)), spread()),
        nn.Sequential(_line(channels, (s(448), 1), (s(384), 3)), spread()),
        _pooled(channels, s(192)),
    )
    return module, s(320) + 4 * s(384) + s(192)


def inception_v3(size: Size) -> nn.Module:
    """The stem, modules at 35, 17 and 8 pixels, and what halves the images between them."""
    s = size.channels
    parts = [_line(3, (s(32), 3, 2, 0), (s(32), 3, 1, 0), (s(64), 3)), nn.MaxPool2d(3, 2)]
    parts += [_line(s(64), (s(80), 1), (s(192), 3, 1, 0)), nn.MaxPool2d(3, 2)]
    channels = s(192)

    def put(module: nn.Module, filters: int) -> None:
        nonlocal channels
        parts.append(module)
        channels = filters

    for pooled in (32, 64, 64)[: size.times(3)]:
        put(*_module_35(size, channels, pooled))
    halved = Together(
        _line(channels, (s(384), 3, 2, 0)),
        _line(channels, (s(64), 1), (s(96), 3), (s(96), 3, 2, 0)),
        nn.MaxPool2d(3, 2),
    )
    put(halved, s(384) + s(96) + channels)
    for inner in (128, 160, 160, 192)[: size.times(4)]:
        put(*_module_17(size, channels, inner))
    halved = Together(
        _line(channels, (s(192), 1), (s(320), 3, 2, 0)),
        _line(channels, (s(192), 1), (s(192), (1, 7)), (s(192), (7, 1)), (s(192), 3, 2, 0)),
        nn.MaxPool2d(3, 2),
    )
    put(halved, s(320) + s(192) + channels)
    for _ in range(size.times(2)):
        put(*_module_8(size, channels))
    return nn.Sequential(*parts, Classifier(channels, size.classes))


# ---- ConvNeXt (Liu et al. 2022, arXiv:2201.03545)


class ChannelNorm(nn.LayerNorm):
    """A layer normalization of the channels of each pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """Figure 4: a depthwise 7x7, and an MLP on each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels,), 0.2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = self.depthwise(x).permute(0, 2, 3, 1)
        return x + (self.scale * self.mlp(pixels)).permute(0, 3, 1, 2)


def convnext_t(size: Size) -> nn.Module:
    """Table 9, ConvNeXt-T."""
    parts, channels = [], 3
    for count, times in ((96, 3), (192, 3), (384, 9), (768, 3)):
        filters, step = size.channels(count), 2 if parts else 4
        norm = [ChannelNorm(channels, eps=1e-6)] if parts else []
        parts += [*norm, nn.Conv2d(channels, filters, step, step)]
        parts += [ChannelNorm(filters, eps=1e-6)] if not norm else []
        parts += [NextBlock(filters) for _ in range(size.times(times))]
        channels = filters
    last = [
        nn.AdaptiveAvgPool2d(1),
        ChannelNorm(channels, eps=1e-6),
        nn.Flatten(),
        nn.Linear(channels, size.classes),
    ]
    return nn.Sequential(*parts, *last)
