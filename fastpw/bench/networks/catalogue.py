"""The networks by name, and how large they are built."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastpw.bench.networks import large, mobile
from fastpw.bench.networks.builder import Builder, Image
from fastpw.network.graph import Graph


class Entry(NamedTuple):
    """A network, and the pixels of its images: those of its paper, and those of a small one for tests."""

    build: Callable[[Builder], Image]
    pixels: int
    small: int


NETWORKS: dict[str, Entry] = {
    "mobilenet_v1": Entry(mobile.mobilenet_v1, 224, 64),
    "mobilenet_v2": Entry(mobile.mobilenet_v2, 224, 64),
    "mobilenet_v3_large": Entry(mobile.mobilenet_v3_large, 224, 64),
    "resnet50": Entry(large.resnet50, 224, 64),
    "nin": Entry(large.nin, 227, 83),
    "squeezenet": Entry(large.squeezenet, 224, 70),
    "shufflenet_v1": Entry(mobile.shufflenet_v1, 224, 64),
    "shufflenet_v2": Entry(mobile.shufflenet_v2, 224, 64),
    "inception_v3": Entry(large.inception_v3, 299, 107),
    "convnext_t": Entry(large.convnext_t, 224, 64),
    "efficientnet_b0": Entry(mobile.efficientnet_b0, 224, 64),
}
FIRST = "squeezenet"  # the one that `fastpw bench` ends with: small, and quickly built


def build(name: str) -> Graph:
    """A network of the size of its paper, with seeded weights, the same ones each time.

    Its nodes are ONNX's, of opset `builder.OPSET`; `fastpw.network.simplify` makes of them what is computed.
    """
    entry = NETWORKS[name]
    builder = Builder(entry.pixels)
    return builder.graph(entry.build(builder))


def build_small(name: str, open_sizes: bool = False) -> Graph:
    """A narrow and shallow one for small images, or for any batch of images of any size.

    ShuffleNets, in which the size is written down, cannot be open.
    """
    entry = NETWORKS[name]
    builder = Builder(None if open_sizes else entry.small, width=0.25, depth=0.4, classes=10)
    return builder.graph(entry.build(builder))
