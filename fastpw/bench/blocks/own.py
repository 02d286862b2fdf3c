"""fastpw's ways to compute a block: in chains, or layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np

import fastpw
from fastpw._layer import Layer
from fastpw._typing import FloatArray
from fastpw.bench.blocks.buffers import Buffers
from fastpw.bench.blocks.graph import Graph, Node
from fastpw.bench.blocks.parts import (
    Branches,
    Channels,
    Convolution,
    GlobalAverage,
    Part,
    Pool,
    Sequence,
    Shuffle,
)
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.core.forward import empty

Layers: TypeAlias = dict[int, Any]  # of the nodes that compute something, by their numbers


class Module(Protocol):
    """What computes a part of a block."""

    def __call__(self, x: Any, *, out: Any = None) -> Any: ...


def layers(problem: BlockProblem) -> Layers:
    """fastpw's layers, their weights packed."""
    return {
        number: _layer(node, problem.weights.get(number))
        for number, node in enumerate(problem.graph.nodes)
        if not isinstance(node.part, Branches | Channels | None)
    }


def _layer(node: Node, weights: Any) -> Any:
    match node.part:
        case Convolution():
            return _convolution(node, *weights)
        case Pool("maximum", stride, size, padding):
            return fastpw.MaxPool2d(size, stride=stride, padding=padding)
        case Pool("average", stride, size, padding):
            return fastpw.AveragePool2d(size, stride=stride, padding=padding)
        case GlobalAverage():
            return fastpw.GlobalAveragePool()
        case Shuffle(groups):
            return fastpw.ChannelShuffle(groups)


def _convolution(node, kernel, bias):
    part = node.part
    options = {"stride": part.stride, "padding": part.padding, "activation": part.activation}
    if node.depthwise:
        return fastpw.DepthwiseConv2d(kernel[..., 0].transpose(1, 2, 0), bias, **options)
    kind = fastpw.Conv1x1 if part.size == (1, 1) else fastpw.Conv2d
    return kind(kernel, bias, groups=part.groups, weight_layout="OHWI", **options)


# ---- in chains -------------------------------------------------------------------------------------------


class InTurn:
    """Modules one after the other, where not all of them are layers.

    What lies between is allocated once, as a program around fastpw would do.
    """

    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._between: dict[tuple[int, tuple[int, ...]], FloatArray] = {}

    def __call__(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        *others, last = self._modules
        for number, module in enumerate(others):
            key = number, x.shape
            x = self._between[key] = module(x, out=self._between.get(key))
        return last(x, out=out)


class Projected:
    """A chain that adds what another module makes of the input, where the result will be."""

    def __init__(self, shortcut: Module, chain: fastpw.Chain) -> None:
        self._shortcut, self._chain = shortcut, chain

    def __call__(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        y = self._shortcut(x, out=out)
        return self._chain(x, residual=y, out=y)


class Split:
    """Branches of parts of the channels; a branch without a module is copied."""

    def __init__(self, branches: list[tuple[slice, Module | None]], channels: int) -> None:
        self._branches, self._channels = branches, channels

    def __call__(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        y = empty((*x.shape[:-1], self._channels), x.dtype) if out is None else out
        for channels, module in self._branches:
            if module is None:
                np.copyto(y[..., channels], x[..., channels])
            else:
                module(x[..., channels], out=y[..., channels])
        return y


def module(graph: Graph, layers: Layers) -> Module:
    """A block as a Chain, or of Chains where it is more than layers one after the other."""
    numbers = iter(sorted(layers))  # parts are visited in the order in which the graph was made of them
    return _module(graph.block.body, layers, numbers)


def _module(part: Part, layers: Layers, numbers: Iterator[int]) -> Any:
    match part:
        case Sequence():
            return _sequence(part, layers, numbers)
        case Branches(parts) if any(_channels(branch) for branch in parts):
            return _split(parts, layers, numbers)
        case Branches(parts):
            return fastpw.Concat([_module(branch, layers, numbers) for branch in parts])
    return layers[next(numbers)]


def _sequence(part, layers, numbers):
    shortcut = None if part.added in (None, "input") else _module(part.added, layers, numbers)
    modules = [_module(step, layers, numbers) for step in part.steps]
    if not all(isinstance(step, Layer) for step in modules):
        return InTurn(modules)
    chain = fastpw.Chain(modules, add_input=part.added == "input")
    return chain if shortcut is None else Projected(shortcut, chain)


def _channels(part):
    """The channels that a branch is of, if not of all."""
    match part:
        case Channels(first, stop):
            return slice(first, stop)
        case Sequence((Channels(first, stop), *_)):
            return slice(first, stop)


def _split(parts, layers, numbers):
    branches = []
    for part in parts:
        rest = part.steps[1:] if isinstance(part, Sequence) else ()
        branches.append((_channels(part), _module(Sequence(rest), layers, numbers) if rest else None))
    return Split(branches, sum(channels.stop - channels.start for channels, _ in branches))


def chains(problem: BlockProblem) -> Callable[[], Any]:
    """What is timed: one call of the module."""
    run, x, out = module(problem.graph, layers(problem)), problem.x, problem.out()
    return lambda: run(x, out=out)


# ---- layer by layer --------------------------------------------------------------------------------------


class LayerByLayer:
    """Each layer called for itself, in one piece of memory that is allocated once."""

    def __init__(self, graph: Graph, layers: Layers) -> None:
        self._graph, self._layers, self._buffers = graph, layers, Buffers(graph)

    def __call__(self, x: FloatArray, *, out: FloatArray) -> FloatArray:
        for call in self.calls(x, out):
            call()
        return out

    @cached_property
    def _memory(self) -> FloatArray:
        return empty((self._buffers.size,), np.dtype(np.float32))

    def calls(self, x: FloatArray, y: FloatArray) -> list[Callable[[], Any]]:
        """All calls, in order, from an input to an array for the result."""
        views = self._buffers.views(self._memory, x, y)
        return [call for number in range(1, len(views)) for call in self._calls(number, views)]

    def _calls(self, number, views):
        node, layer = self._graph.nodes[number], self._layers.get(number)
        if layer is not None:
            options = {} if node.added is None else {"residual": views[node.added]}
            yield _call(layer, views[node.inputs[0]], {**options, "out": views[number]})
        elif isinstance(node.part, Branches):
            yield from self._copies(node, views[number], views)

    def _copies(self, node, joined, views):
        """Of the branches that were not made in their place."""
        first = 0
        for branch in node.inputs:
            stop = first + views[branch].shape[-1]
            into = joined[..., first:stop]
            if into.ctypes.data != views[branch].ctypes.data:
                yield _copy(into, views[branch])
            first = stop


def _call(layer, x, options):
    return lambda: layer(x, **options)


def _copy(into, array):
    return lambda: np.copyto(into, array)


def layer_by_layer(problem: BlockProblem) -> Callable[[], Any]:
    """What is timed: the calls of all layers."""
    graph, x, out = problem.graph, problem.x, problem.out()
    by_layer = LayerByLayer(graph, layers(problem))
    if out is None:
        return lambda: by_layer(x, out=empty(graph.shape, x.dtype))
    calls = by_layer.calls(x, out)

    def run():
        for call in calls:
            call()
        return out

    return run


TABLE: dict[str, Callable[[BlockProblem], Callable[[], Any]]] = {
    "fastpw": chains,
    "fastpw layers": layer_by_layer,
}
