"""Layer by layer, which result lies in which memory: as few bytes as a careful program would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastpw._typing import FloatArray
from fastpw.bench.blocks.graph import Graph
from fastpw.bench.blocks.parts import Branches, Channels


@dataclass
class _Home:
    """Where a node's result lies: in some channels of the result of another node, or its own."""

    root: int
    first: int = 0


class Buffers:
    """The memory of a graph's results.

    Branches write into their channels of a concatenation, a shortcut that is needed no more is written over
    by the sum, and what is needed no more gives its memory to what comes after.

    Attributes
    ----------
    sizes : list of int
        The floats of each buffer.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._homes = self._find_homes()
        self.sizes: list[int] = []
        self._buffer_of: dict[int, int] = {}  # by root
        self._share()

    def views(self, x: FloatArray, y: FloatArray) -> list[FloatArray]:
        """The arrays of all nodes, for an input and an array for the result."""
        memory = [np.empty(size, x.dtype) for size in self.sizes]
        return self.views_of(memory, x, y)

    def views_of(self, memory: list[FloatArray], x: FloatArray, y: FloatArray) -> list[FloatArray]:
        """The same, in buffers that are there."""
        nodes = self._graph.nodes
        roots = {0: x, len(nodes) - 1: y}
        for root, buffer in self._buffer_of.items():
            shape = nodes[root].shape
            roots[root] = memory[buffer][: math.prod(shape)].reshape(shape)
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
            if isinstance(node.part, Channels):
                source = homes[node.inputs[0]]
                homes[number] = _Home(source.root, source.first + node.part.first)
        return homes

    def _may_lie_in(self, number: int, user: int) -> bool:
        """Whether a result can be made where its last user wants it."""
        computed = number > 0 and not isinstance(self._graph.nodes[number].part, Channels)
        uses = self._graph.uses(number)
        return computed and max(uses) == user and self._graph.nodes[user].inputs.count(number) == 1

    def _last_use(self, root: int) -> int:
        residents = [number for number, home in enumerate(self._homes) if home.root == root]
        return max([root, *(use for number in residents for use in self._graph.uses(number))])

    def _share(self) -> None:
        """Go through the nodes in order and give each root the smallest free buffer that suffices."""
        free: list[int] = []
        ends: dict[int, list[int]] = {}  # the buffers that become free, by the last node that reads them
        for number in range(1, len(self._graph.nodes)):
            root = self._homes[number].root
            if root not in (0, len(self._graph.nodes) - 1) and root not in self._buffer_of:
                buffer = self._take(free, math.prod(self._graph.nodes[root].shape))
                self._buffer_of[root] = buffer
                ends.setdefault(self._last_use(root), []).append(buffer)
            free += ends.pop(number, [])

    def _take(self, free, size):
        """A free buffer that is large enough, or the largest one, made larger, or a new one."""
        if not free:
            self.sizes.append(size)
            return len(self.sizes) - 1
        fits = [buffer for buffer in free if self.sizes[buffer] >= size]
        buffer = min(fits, key=self.sizes.__getitem__) if fits else max(free, key=self.sizes.__getitem__)
        free.remove(buffer)
        self.sizes[buffer] = max(self.sizes[buffer], size)
        return buffer
