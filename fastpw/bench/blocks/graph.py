"""A block as a list of operations, each with its inputs, its shape and its work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from fastpw._geometry import Window
from fastpw.bench.blocks.parts import (
    Block,
    Branches,
    Channels,
    Convolution,
    Depthwise,
    GlobalAverage,
    Part,
    Pool,
    Sequence,
    Shuffle,
)

Shape: TypeAlias = tuple[int, ...]
Sides: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
Operation: TypeAlias = Convolution | Pool | GlobalAverage | Shuffle | Channels | Branches | None


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes
    ----------
    part : Operation
        What it computes: a convolution (of a depthwise one, too, with as many groups as channels); Branches
        stands for their concatenation, None for the input of the graph.
    inputs : tuple of int
        The nodes that it reads: all that a concatenation joins; of a convolution, x and what it adds; else x.
    source, shape : tuple of int
        The shape of its first input, and of its result: (N, H, W, channels), or (N, channels).
    """

    part: Operation
    inputs: tuple[int, ...]
    source: Shape
    shape: Shape

    @property
    def sides(self) -> Sides:
        """The padding: ((top, bottom), (left, right))."""
        part = self.part
        assert isinstance(part, Convolution | Pool)
        if part.padding == "valid" or len(self.source) == 2:
            return (0, 0), (0, 0)
        return Window(part.size, (1, 1), (part.stride, part.stride), None).sides(*self.source[1:3])

    @property
    def added(self) -> int | None:
        """The node that a convolution adds before its activation."""
        return self.inputs[1] if self.convolves and len(self.inputs) > 1 else None

    @property
    def convolves(self) -> bool:
        return isinstance(self.part, Convolution)

    @property
    def depthwise(self) -> bool:
        part = self.part
        return isinstance(part, Convolution) and part.groups == self.source[-1] == part.filters

    @property
    def pointwise(self) -> bool:
        """Whether it multiplies pixels, as rows, by one matrix."""
        part = self.part
        return isinstance(part, Convolution) and (part.size, part.stride, part.groups) == ((1, 1), 1, 1)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(K, kh, kw, C // groups)."""
        part = self.part
        assert isinstance(part, Convolution)
        return part.filters, *part.size, self.source[-1] // part.groups

    @property
    def flops(self) -> int:
        """A product and a sum for each weight and pixel of a convolution, those in the padding included."""
        if not isinstance(self.part, Convolution):
            return 0
        return 2 * math.prod(self.shape[:-1]) * math.prod(self.weight_shape)


class Graph:
    """The nodes of a block: node 0 is its input, the last one its result."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.nodes: list[Node] = [Node(None, (), block.shape, block.shape)]
        self._add(block.body, 0, None)

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return self.nodes[-1].shape

    @property
    def flops(self) -> int:
        return sum(node.flops for node in self.nodes)

    @property
    def pointwise(self) -> bool:
        """Whether it consists of 1x1 convolutions alone, so that pixels are rows of a matrix."""
        return all(node.pointwise for node in self.nodes[1:])

    def convolutions(self) -> Iterator[tuple[int, Node]]:
        """Their numbers and nodes."""
        return ((number, node) for number, node in enumerate(self.nodes) if node.convolves)

    def uses(self, number: int) -> list[int]:
        """The nodes that read a node."""
        return [other for other, node in enumerate(self.nodes) if number in node.inputs]

    def last_used(self, number: int) -> list[int]:
        """The nodes that no node after this one reads."""
        return [read for read in self.nodes[number].inputs if max(self.uses(read)) == number]

    def _add(self, part: Part, x: int, added: int | None) -> int:
        """Append the nodes of a part of which node x is the input; returns that of its result."""
        if isinstance(part, Sequence):
            return self._add_sequence(part, x, added)
        assert added is None or isinstance(part, Convolution), f"{part} cannot add a shortcut"
        if isinstance(part, Branches):
            joined = tuple(self._add(branch, x, None) for branch in part.parts)
            return self._append(part, joined)
        if isinstance(part, Depthwise):
            channels = self.nodes[x].shape[-1]
            part = Convolution(channels, part.size, part.stride, "same", channels, part.activation)
        return self._append(part, (x,) if added is None else (x, added))

    def _add_sequence(self, part, x, added):
        """The shortcut comes first, so that its result is there when the last step adds it."""
        if part.added is not None:
            assert added is None, "a sequence adds one shortcut"
            added = x if part.added == "input" else self._add(part.added, x, None)
        *others, last = part.steps
        for step in others:
            x = self._add(step, x, None)
        return self._add(last, x, added)

    def _append(self, part, inputs):
        source = self.nodes[inputs[0]].shape
        self.nodes.append(Node(part, inputs, source, self._shape(part, inputs, source)))
        return len(self.nodes) - 1

    def _shape(self, part, inputs, source):
        match part:
            case GlobalAverage():
                return source[0], source[-1]
            case Branches():
                return *source[:-1], sum(self.nodes[number].shape[-1] for number in inputs)
            case Channels(first, stop):
                return *source[:-1], stop - first
            case Convolution():
                return *_pixels(part, source), part.filters
            case Pool():
                return *_pixels(part, source), source[-1]
        return source


def _pixels(part, source):
    """(N, Ho, Wo), or (N,)."""
    if len(source) == 2:
        return source[:1]
    taken = (0, 0) if part.padding == "same" else (part.size[0] - 1, part.size[1] - 1)
    N, H, W, _ = source
    return N, -(-(H - taken[0]) // part.stride), -(-(W - taken[1]) // part.stride)


@lru_cache(maxsize=4)
def of(block: Block) -> Graph:
    """The graph of a block."""
    return Graph(block)
