"""A plan: the steps that compute a network for inputs of given shapes.

Operators describe themselves to it. What they ask for is a step of each call, if it depends on an input; if
it depends on constants and shapes alone, it is computed at once. So constants, and the arithmetic that files
do with shapes, are gone before the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .entering import Entry
from .graph import Node
from .memory import Budget
from .values import Order, Shape, Tensor, Value, adjacent, nbytes, placeholder

Bound = Callable[[], Any]  # what a call runs
Bind = Callable[..., Bound]  # given the arrays that are read and the one that is written, what a call runs
Made = TypeVar("Made")


class Operation(NamedTuple):
    """One of a program on elements, as `Rows` of core takes it."""

    op: int
    a: int
    b: int
    number: float
    activation: tuple[int, float, float]


Program = tuple[Operation, ...]


class Step(NamedTuple):
    node: int  # the number of the record
    bind: Bind
    reads: tuple[Value | None, ...]
    writes: Tensor
    program: Program = ()  # of a step that computes element by element


@dataclass
class Record:
    """What is told of a node."""

    node: Node
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    multiply_adds: int = 0
    layers: int = 0  # how many a chain has
    joined: int = 0  # how many of them run as one with others
    foreign: bool = False  # whether onnx's reference runs it


class Layers:
    """The layers of a network, packed once and shared by all its plans."""

    def __init__(self, packed: Callable[[], None] = lambda: None) -> None:
        self._made: dict[Hashable, Any] = {}
        self._packed = packed  # called when a layer has read its weights

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """The layer with that key, made where there is none yet. Of two threads, one throws its own away."""
        layer = self._made.get(key)
        if layer is None:
            layer = self._made.setdefault(key, make())
            self._packed()
        return layer


class Plan:
    """Steps in the order in which they run, and the values at the network's ends."""

    def __init__(self, budget: Budget, layers: Layers | None = None) -> None:
        self.budget: Budget = budget
        self.layers: Layers = Layers() if layers is None else layers
        self.steps: list[Step] = []
        self.records: list[Record] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Value] = []
        self.given: list[str] = []  # their names
        self.late: list[Node] = []  # what each call plans by itself, in its order
        self.fixed: bool = True  # whether the weights of the node at hand are constants of the network
        self.gated: dict[Tensor, tuple[Value, Value]] = {}  # products of images and gates, and of what
        self.describe_body: Callable[..., list[Value]] = _no_body  # what `planning` does with a body's nodes
        self._copies: dict[tuple[Tensor, int], Value] = {}

    def begin(self, node: Node, inputs: list[Value]) -> None:
        """What follows is asked for by this node."""
        self.records.append(Record(node, inputs))

    def new(self, shape: Shape, dtype: np.dtype, order: Order | None = None) -> Tensor:
        """A value with memory of its own; in C order, unless another is given."""
        self.budget.check(nbytes(shape, dtype))
        return Tensor(placeholder(shape, dtype, order or tuple(range(len(shape)))))

    def step(
        self,
        bind: Bind,
        *reads: Value | None,
        shape: Shape,
        dtype: np.dtype,
        order: Order | None = None,
        program: Program = (),
    ) -> Value:
        """A value that is computed: `bind(*arrays read, array written)` is what a call runs."""
        order = order or tuple(range(len(shape)))
        if any(isinstance(value, Tensor) for value in reads):
            out = self.new(shape, dtype, order)
            self.steps.append(Step(len(self.records) - 1, bind, reads, out, program))
            return out
        self.budget.take(nbytes(shape, dtype))
        lying = np.empty([shape[axis] for axis in order], dtype)
        known = lying.transpose(np.argsort(order)) if order else lying
        bind(*reads, known)()
        return known

    def compute(
        self,
        function: Callable[..., Any],
        *reads: Value | None,
        shape: Shape,
        dtype: np.dtype,
        order: Order | None = None,
    ) -> Value:
        """A value that `function(*arrays read, out=array written)` computes."""

        def bind(*arrays: np.ndarray) -> Bound:
            return partial(function, *arrays[:-1], out=arrays[-1])

        return self.step(bind, *reads, shape=shape, dtype=dtype, order=order)

    def view(self, value: Value, view: Callable[[np.ndarray], np.ndarray]) -> Value:
        """A value that shares the memory of another, and costs nothing."""
        if not isinstance(value, Tensor):
            return view(value)
        value.viewed = True
        return Tensor(view(value.like), value, view)

    def gather(self, whole: Tensor, parts: list[tuple[Value, Callable[[np.ndarray], np.ndarray]]]) -> None:
        """A step that copies values to where they belong in another."""

        def bind(*arrays: np.ndarray) -> Bound:
            pairs = [(place(arrays[-1]), part) for part, (_, place) in zip(arrays[:-1], parts, strict=True)]

            def run() -> None:
                for target, source in pairs:
                    np.copyto(target, source)

            return run

        whole.viewed = True
        if parts:
            reads = tuple(part for part, _ in parts)
            self.steps.append(Step(len(self.records) - 1, bind, reads, whole))

    def copy(self, value: Value, order: Order) -> Value:
        """The same numbers in another order in memory."""

        def bind(array: np.ndarray, out: np.ndarray) -> Bound:
            return partial(Entry(out), array)

        return self.step(bind, value, shape=value.shape, dtype=value.dtype, order=order)

    def adjacent(self, value: Value, axis: int) -> Value:
        """The value, or a copy of it, with the elements along an axis side by side."""
        if adjacent(value, axis):
            return value
        axis %= value.ndim
        order = (*(a for a in range(value.ndim) if a != axis), axis)
        if not isinstance(value, Tensor):
            return self.copy(value, order)
        key = value, axis
        if key not in self._copies:
            self._copies[key] = self.copy(value, order)
        return self._copies[key]

    def layer(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """A layer that all plans of the network share, if its weights are constants of the network."""
        return self.layers.get(key, make) if self.fixed else make()

    def count(self, multiply_adds: int) -> None:
        """What the node takes, for `summary`."""
        if self.records:
            self.records[-1].multiply_adds += int(multiply_adds)


def _no_body(plan: Plan, graph: Any, inputs: Any) -> list[Value]:
    raise ValueError("a body is planned with the nodes around it")
