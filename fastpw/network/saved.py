"""Networks in .npz files: a description of the nodes, and plain weights. No pickles."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import archive
from .graph import Graph, Node, Port
from .memory import Budget

# Operators that read their weights once, when they pack them: these stay in the file.
_PACKED = {"Conv", "Linear", "QConv", "QLinear"}
_WEIGHT = 1  # which of their inputs
_BODY = "body"  # the only name in what stands for a graph among attributes
_LEFT = 1 << 16  # bytes: of smaller arrays, a page more or less does not matter


def write(path: str | os.PathLike[str], graph: Graph) -> None:
    """Write a graph to a file."""
    arrays = [*graph.constants.values()]
    archive.write(path, _description(graph, [*graph.constants], arrays), arrays)


def _description(graph: Graph, constants: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    """A graph but for its numbers; those of bodies are put behind the others."""
    return {
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "results": graph.results,
        "constants": constants,
        "nodes": [
            [n.op, n.inputs, n.outputs, _with_descriptions(n.attributes, arrays), n.name] for n in graph.nodes
        ],
    }


def _with_descriptions(attributes: dict[str, Any], arrays: list[np.ndarray]) -> dict[str, Any]:
    """Attributes with the descriptions of bodies in their place."""
    described = dict(attributes)
    for key, body in attributes.items():
        if isinstance(body, Graph):
            first = len(arrays)
            arrays += body.constants.values()
            names = {name: first + number for number, name in enumerate(body.constants)}
            described[key] = {_BODY: _description(body, names, arrays)}
    return described


def _port(port: Port) -> list[Any]:
    return [port.name, list(port.shape), port.dtype.name]


def read(path: str | os.PathLike[str], budget: Budget) -> Graph:
    """The graph in a file that `write` has written.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no network, is truncated, or takes more memory than allowed.
    """
    file = open(path, "rb")  # noqa: SIM115 - it stays open where arrays are left in it
    source = None
    try:
        description, arrays, source = archive.read(file, budget, _left, _LEFT)
        graph = _graph(description, arrays)
        graph.source = source
        return graph
    except MemoryError:
        raise
    except Exception as error:  # of JSON, of what the description lacks
        raise ValueError(f"{path}: no saved network, or a damaged one: {error}") from error
    finally:
        if source is None:
            file.close()


def _left(description: dict[str, Any]) -> set[int]:
    """The numbers of the arrays that may stay in the file."""
    weights, others = set(), set(description["results"])
    for op, inputs, *_ in description["nodes"]:
        for number, name in enumerate(inputs):
            (weights if op in _PACKED and number == _WEIGHT else others).add(name)
    return {n for n, name in enumerate(description["constants"]) if name in weights - others}


def _graph(described: dict[str, Any], arrays: list[np.ndarray]) -> Graph:
    """The constants of the network are the first arrays; a body says which are its own."""
    names = described["constants"]
    numbers = names if isinstance(names, dict) else dict(zip(names, range(len(names)), strict=True))
    nodes = [
        Node(_text(op), [*map(_text, reads)], [*map(_text, makes)], _attributes(given, arrays), _text(name))
        for op, reads, makes, given, name in described["nodes"]
    ]
    inputs, outputs = ([*map(_read_port, described[kind])] for kind in ("inputs", "outputs"))
    constants = {_text(name): arrays[number] for name, number in numbers.items()}
    graph = Graph(inputs, outputs, nodes, constants, [*map(_text, described["results"])])
    graph.sort()
    return graph


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is needed, got {value!r}")
    return value


def _attributes(value: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"attributes by name are needed, got {value!r}")
    return {
        key: _graph(given[_BODY], arrays) if isinstance(given, dict) else given
        for key, given in value.items()
    }


def _read_port(given: Any) -> Port:
    name, shape, dtype = given
    for size in shape:
        if size is not None and (type(size) is not int or size < 0):
            raise ValueError(f"{name!r}: a shape of numbers >= 0 is needed, got {shape}")
    return Port(_text(name), tuple(shape), np.dtype(_text(dtype)))
