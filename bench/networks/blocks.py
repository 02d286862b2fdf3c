"""What the networks have in common: their size, a normalized convolution, the last layers, the seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Size:
    """How much of a network is built: all of it, or one that a test runs in a moment."""

    width: float = 1.0
    depth: float = 1.0
    classes: int = 1000

    def channels(self, count: int) -> int:
        """As many as the width leaves, a multiple of eight."""
        return count if self.width == 1 else around(count * self.width, 8)

    def times(self, count: int) -> int:
        """As many blocks as the depth leaves."""
        return max(round(count * self.depth), 1)


SMALL = Size(width=0.25, depth=0.4, classes=10)


def around(count: float, step: int) -> int:
    """The nearest multiple of a step, at least one of it."""
    return max(round(count / step), 1) * step


def convolution(
    channels: int,
    filters: int,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
    padding: int | tuple[int, int] | None = None,
) -> nn.Sequential:
    """A convolution that keeps the size, but for its stride; its batch normalization; an activation."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else tuple(side // 2 for side in kernel)
    parts = [
        nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(filters),
    ]
    return nn.Sequential(*parts, *([activation()] if activation else []))


class Classifier(nn.Sequential):
    """The mean of all pixels, and a score for each class."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.0) -> None:
        parts = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        parts += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*parts, nn.Linear(channels, classes))


class Together(nn.Module):
    """Branches side by side in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def seed(network: nn.Module, shape: tuple[int, ...], number: int = 0) -> nn.Module:
    """Give a network weights that keep the numbers about one, the same ones each time.

    Batch normalizations take their statistics from one random batch, so that they are not the identity.
    """
    torch.manual_seed(number)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.normal_(module.bias, std=0.2)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        network.train()(torch.randn(4, *shape[1:]))
    return network.eval()
