"""A network as plain data: nodes, the values between them, and the constants among these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .._frozen import frozen_array
from .archive import Source


class Port(NamedTuple):
    """What a network takes or gives."""

    name: str
    shape: tuple[int | None, ...]  # None where the size may differ from call to call
    dtype: np.dtype


@dataclass(eq=False)
class Node:
    """One operation: an operator of ONNX, or one of those that `simplify` makes of several."""

    op: str
    inputs: list[str]  # names of values; "" for an optional one that is left out
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)  # numbers, strings, lists of them
    name: str = ""
    domain: str = ""  # ONNX's own, unless it says another
    opset: int = 0  # of a node that is kept as it came; 0: as the newest opset has it
    version: int = 0  # the opset of the file, until the node has been brought into another form

    def input(self, number: int) -> str:
        """The name of an input, "" if it is left out."""
        return self.inputs[number] if number < len(self.inputs) else ""

    @property
    def bodies(self) -> list[Graph]:
        """The branches of an If, the body of a loop."""
        return [value for value in self.attributes.values() if isinstance(value, Graph)]

    def __str__(self) -> str:
        return f"node {self.name or next(filter(None, self.outputs), '')!r} ({self.op})"


class Graph:
    """Nodes in the order in which they can be computed, and what stands around them.

    A rewriting changes the graph by its methods, which keep track of who makes and who reads a value.
    """

    def __init__(
        self,
        inputs: Iterable[Port],
        outputs: Iterable[Port],
        nodes: Iterable[Node],
        constants: dict[str, np.ndarray],
        results: Iterable[str] = (),
    ) -> None:
        self.inputs: list[Port] = list(inputs)
        self.outputs: list[Port] = list(outputs)
        self.results: list[str] = list(results) or [
            port.name for port in self.outputs
        ]  # the values that are given out
        self.constants: dict[str, np.ndarray] = dict(constants)
        self.ranks: dict[str, int] = {}  # of the values for which it is known beforehand
        self._nodes: dict[Node, None] = {}
        self._producer: dict[str, Node] = {}
        self._readers: dict[str, dict[Node, None]] = {}
        self._made = 0
        self.source: Source | None = None  # the file that still holds some of the constants
        for node in nodes:
            self.add(node)

    # ---- asked

    @property
    def nodes(self) -> list[Node]:
        return list(self._nodes)

    def all_nodes(self) -> list[Node]:
        """The nodes, and those of their bodies."""
        inner = [n for node in self._nodes for body in node.bodies for n in body.all_nodes()]
        return [*self._nodes, *inner]

    def has(self, node: Node) -> bool:
        """Whether it is still part of the graph."""
        return node in self._nodes

    def producer(self, value: str) -> Node | None:
        """The node that makes a value; None for inputs and constants."""
        return self._producer.get(value)

    def readers(self, value: str) -> list[Node]:
        """The nodes that read a value."""
        return list(self._readers.get(value, ()))

    def only_reader(self, value: str) -> Node | None:
        """The one node that reads a value which nobody else wants."""
        readers = self._readers.get(value, {})
        if len(readers) != 1 or value in self.results:
            return None
        (reader,) = readers
        return reader if reader.inputs.count(value) == 1 else None

    def constant(self, value: str) -> np.ndarray | None:
        """The numbers of a value that is constant."""
        return self.constants.get(value)

    def rank(self, value: str) -> int | None:
        """How many axes a value has, where that is known."""
        constant = self.constants.get(value)
        return self.ranks.get(value) if constant is None else constant.ndim

    # ---- changed

    def fresh(self, stem: str) -> str:
        """A name that no value has."""
        while True:
            self._made += 1
            name = f"{stem}:{self._made}"
            if name not in self._producer and name not in self.constants:
                return name

    def new_constant(self, stem: str, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = self.fresh(stem)
        self.constants[name] = array
        return name

    def add(self, node: Node) -> None:
        """Put a node at the end; `sort` puts it where it belongs."""
        self._nodes[node] = None
        for value in node.outputs:
            if value:
                self._producer[value] = node
        self._read(node)

    def remove(self, node: Node) -> None:
        """Take a node out; who still reads what it made must get it from elsewhere."""
        del self._nodes[node]
        for value in node.outputs:
            if self._producer.get(value) is node:
                del self._producer[value]
        self._unread(node)

    def set_inputs(self, node: Node, inputs: Iterable[str]) -> None:
        """Let a node read other values."""
        self._unread(node)
        node.inputs = list(inputs)
        self._read(node)

    def set_outputs(self, node: Node, outputs: Iterable[str]) -> None:
        """Let a node make other values."""
        for value in node.outputs:
            if self._producer.get(value) is node:
                del self._producer[value]
        node.outputs = list(outputs)
        for value in node.outputs:
            if value:
                self._producer[value] = node

    def substitute(self, old: str, new: str) -> None:
        """Let everyone who reads one value read another."""
        for reader in self.readers(old):
            self.set_inputs(reader, [new if value == old else value for value in reader.inputs])
        self.results = [new if value == old else value for value in self.results]

    def _read(self, node: Node) -> None:
        for value in node.inputs:
            if value:
                self._readers.setdefault(value, {})[node] = None

    def _unread(self, node: Node) -> None:
        for value in node.inputs:
            if value:
                self._readers.get(value, {}).pop(node, None)

    def freeze(self) -> None:
        """Give the constants memory that nobody can write, one after the other: layers share it."""
        for name, array in self.constants.items():
            self.constants[name] = frozen_array(array)

    def check_source(self) -> None:
        """Whether constants that are left in a file can be read; a ValueError says that it has changed."""
        if self.source is not None:
            self.source.check()

    def release(self) -> None:
        """Give back the memory of constants that can be read again."""
        if self.source is not None:
            self.source.release()

    def __getstate__(self) -> dict[str, Any]:
        self.check_source()
        return {**self.__dict__, "source": None}  # (a pickle holds all constants)

    # ---- put in order

    def prune(self) -> None:
        """Take out the nodes and constants that no result needs."""
        wanted, left = set(), list(self.results)
        while left:
            value = left.pop()
            node = self._producer.get(value)
            if node is not None and node not in wanted:
                wanted.add(node)
                left += [name for name in node.inputs if name]
        for node in self.nodes:
            if node not in wanted:
                self.remove(node)
        read = {value for node in self._nodes for value in node.inputs} | set(self.results)
        self.constants = {name: array for name, array in self.constants.items() if name in read}

    def sort(self) -> None:
        """Put each node behind those whose values it reads; otherwise the order stays as it is.

        Raises
        ------
        ValueError
            A node needs its own result, or a value that nobody makes; or two nodes make one.
        """
        made = Counter(value for node in self._nodes for value in node.outputs if value)
        twice = next((value for value, count in made.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"{self._producer[twice]}: another node makes {twice!r}, too")
        known = {port.name for port in self.inputs} | self.constants.keys() | {""}
        placed: dict[Node, None] = {}
        open_nodes: set[Node] = set()
        for first in self._nodes:
            stack = [first]
            while stack:
                node = stack[-1]
                if node in placed:
                    stack.pop()
                    continue
                open_nodes.add(node)
                missing = [value for value in node.inputs if value not in known]
                if not missing:
                    placed[node] = None
                    open_nodes.discard(node)
                    known.update(node.outputs)
                    stack.pop()
                    continue
                for value in missing:
                    maker = self._producer.get(value)
                    if maker is None:
                        raise ValueError(f"{node}: its input {value!r} is made by no node")
                    if maker in open_nodes:
                        raise ValueError(f"{node}: it needs its own result, by way of {value!r}")
                    stack.append(maker)
        for value in self.results:
            if value not in known:
                raise ValueError(f"output {value!r}: it is made by no node")
        self._nodes = placed


Rewriting = Callable[[Graph, Node], bool]


def rewrite(graph: Graph, *rewritings: Rewriting) -> bool:
    """Offer each node to each rewriting, in order, once. True if one of them changed the graph.

    A rewriting returns whether it changed something; a node that it took out is not offered again.
    """
    changed = False
    for node in graph.nodes:
        for rewriting in rewritings:
            if not graph.has(node):
                break
            try:
                changed |= rewriting(graph, node)
            except MemoryError:
                raise
            except Exception as error:  # an input or an attribute that it cannot be without
                raise ValueError(f"{node}: it cannot be read: {error!r}") from error
    return changed
