"""What a block of a network is made of: neutral parts, from which everybody's model is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Padding: TypeAlias = Literal["same", "valid"]  # "same" is TensorFlow's: an odd pixel lies behind the image


@dataclass(frozen=True)
class Convolution:
    """A convolution with bias and activation; the input's channels follow from what stands before it."""

    filters: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = "same"
    groups: int = 1
    activation: str | None = "relu"


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution with bias and activation."""

    stride: int = 1
    size: tuple[int, int] = (3, 3)
    activation: str | None = "relu"


@dataclass(frozen=True)
class Pool:
    """The maximum or the average of windows; an average is divided by the pixels that the image has."""

    kind: Literal["maximum", "average"]
    stride: int = 1
    size: tuple[int, int] = (3, 3)
    padding: Padding = "same"


@dataclass(frozen=True)
class GlobalAverage:
    """The average of an image: (N, H, W, C) to (N, C)."""


@dataclass(frozen=True)
class Shuffle:
    """Exchanges the channels of groups, as fastpw.ChannelShuffle."""

    groups: int


@dataclass(frozen=True)
class Channels:
    """Some channels of the input."""

    first: int
    stop: int


@dataclass(frozen=True)
class Sequence:
    """Parts one after the other.

    `added` is a shortcut: the input ("input") or what a part makes of it. The last part, a convolution, adds
    it before its activation.
    """

    steps: tuple[Part, ...]
    added: Part | Literal["input"] | None = None


@dataclass(frozen=True)
class Branches:
    """Parts of one input, their results side by side in the channels."""

    parts: tuple[Part, ...]


Part: TypeAlias = Convolution | Depthwise | Pool | GlobalAverage | Shuffle | Channels | Sequence | Branches


@dataclass(frozen=True)
class Block:
    """A block, or a whole network, and the shape (N, H, W, C) of its input."""

    name: str
    family: str
    shape: tuple[int, int, int, int]
    body: Part

    @property
    def network(self) -> str:
        return self.name.split(".")[0]


def sequence(*steps: Part, added: Part | Literal["input"] | None = None) -> Sequence:
    """A Sequence of the steps."""
    return Sequence(steps, added)


def branches(*parts: Part) -> Branches:
    """Branches of the parts."""
    return Branches(parts)
