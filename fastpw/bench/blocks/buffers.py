"""Layer by layer, which result lies in which memory: as few bytes as a careful program would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastpw._typing import FloatArray
from fastpw.bench.blocks.graph import Graph
from fastpw.bench.blocks.parts import Branches, Channels

LINE = 16  # floats of a cache line


@dataclass
class _Home:
    """Where a node's result lies: in some channels of the result of another node, or its own."""

    root: int
    first: int = 0


class Buffers:
    """Where a graph's results lie, in one piece of memory.

    Branches write into their channels of a concatenation, a shortcut that is needed no more is written over
    by the sum, and what is needed no more gives its memory to what comes after.

    Attributes
    ----------
    size : int
        The floats of the memory.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._homes = self._find_homes()
        self._offsets = self._place()  # by root
        self.size: int = max((self._size(root) + at for root, at in self._offsets.items()), default=0)

    def views(self, memory: FloatArray, x: FloatArray, y: FloatArray) -> list[FloatArray]:
        """The arrays of all nodes: in the memory, the input, and an array for the result."""
        nodes = self._graph.nodes
        roots = {0: x, len(nodes) - 1: y}
        for root, offset in self._offsets.items():
            shape = nodes[root].shape
            roots[root] = memory[offset : offset + math.prod(shape)].reshape(shape)
        return [
            roots[home.root][..., home.first : home.first + node.shape[-1]]
            for home, node in zip(self._homes, nodes, strict=True)
        ]

    def _find_homes(self) -> list[_Home]:
        """Backwards, because a result's home may be that of one that comes after it."""
        nodes = self._graph.nodes
        homes: list[_Home | None] = [None] * len(nodes)
        for number in reversed(range(len(nodes))):
            home = homes[number] = homes[number] or _Home(number)
            node = nodes[number]
            if isinstance(node.part, Branches):
                first = home.first
                for branch in node.inputs:
                    if self._may_lie_in(branch, number):
                        homes[branch] = _Home(home.root, first)
                    first += nodes[branch].shape[-1]
            elif node.added is not None and self._may_lie_in(node.added, number):
                homes[node.added] = _Home(home.root, home.first)
        for number, node in enumerate(nodes):
            if isinstance(node.part, Channels):  # (its input stands before it)
                source = homes[node.inputs[0]]
                homes[number] = _Home(source.root, source.first + node.part.first)
        return homes

    def _may_lie_in(self, number: int, user: int) -> bool:
        """Whether a result can be made where its last user wants it."""
        computed = number > 0 and not isinstance(self._graph.nodes[number].part, Channels)
        uses = self._graph.uses(number)
        return computed and max(uses) == user and self._graph.nodes[user].inputs.count(number) == 1

    def _lives(self) -> dict[int, tuple[int, int]]:
        """From which node to which each root is needed, but for the input and the result."""
        lives: dict[int, tuple[int, int]] = {}
        for number, home in enumerate(self._homes):
            if home.root not in (0, len(self._homes) - 1):
                first, last = lives.get(home.root, (number, number))
                lives[home.root] = min(first, number), max(last, number, *self._graph.uses(number))
        return lives

    def _place(self) -> dict[int, int]:
        """The large ones first, each at the lowest place that is free as long as it is needed."""
        lives, offsets = self._lives(), {}
        for root in sorted(lives, key=self._size, reverse=True):
            first, last = lives[root]
            neighbours = [
                (offsets[other], offsets[other] + self._size(other))
                for other in offsets
                if lives[other][0] <= last and first <= lives[other][1]
            ]
            place = 0
            for begin, end in sorted(neighbours):
                if place + self._size(root) <= begin:
                    break
                place = max(place, end)
            offsets[root] = place
        return offsets

    def _size(self, number: int) -> int:
        """Floats, in whole cache lines."""
        return -(-math.prod(self._graph.nodes[number].shape) // LINE) * LINE
