"""A network in a file, with an input and the answer that is right, for whoever computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastpw.network import Network, load, saved
from fastpw.network.graph import Graph, Node, Port
from fastpw.network.memory import Budget, machine_memory

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
PIXELS = 224  # of images, where a file leaves them open


@dataclass(frozen=True)
class Model:
    """The paths of the file, and of the inputs and outputs as .npz files, in the order of the file."""

    name: str
    path: str
    inputs: str
    expected: str
    flops: int  # of a call, as the plan counts them
    nodes: int
    shapes: tuple[tuple[int, ...], ...]  # of the inputs

    @property
    def network(self) -> str:
        return self.name

    @property
    def told(self) -> str:
        """How large it is."""
        shapes = ", ".join("×".join(map(str, shape)) for shape in self.shapes)
        return f"{shapes}; {self.nodes} nodes, {self.flops / 1e9:.2f} GFLOP"


Shapes: TypeAlias = Sequence[tuple[str | None, Sequence[int]]]  # by name, or that of the only input


def prepare(name: str, path: Path, folder: Path, shapes: Shapes = ()) -> Model:
    """The model in a file: a seeded input and its answer are written into a folder.

    Parameters
    ----------
    name : str
    path : Path
    folder : Path
        Where the arrays are written, each model's into a folder of its own.
    shapes : list of (name or None, shape), optional
        Of inputs, by name, or of the only one. Of the others an open batch is 1, and an open height or width
        224.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As `fastpw.load` does; or a shape does not fit, or is not known.
    """
    net = load(path)
    inputs = inputs_of(net, shapes)
    times = net._node_times(inputs, 1)
    files = [folder / f"{name}.{kind}.npz" for kind in ("inputs", "expected")]
    for file, arrays in zip(files, (inputs.values(), _expected(path, net, inputs)), strict=True):
        np.savez(file, *arrays)
    return Model(
        name, str(path), *map(str, files),
        flops=2 * sum(node.multiply_adds for node in times),
        nodes=len(times),
        shapes=tuple(array.shape for array in inputs.values()),
    )  # fmt: skip


def inputs_of(net: Network, shapes: Shapes) -> dict[str, NDArray[Any]]:
    """Normal numbers, the same ones each time; zeros for inputs of integers, which are often indices."""
    names = [port.name for port in net.inputs]
    given = {names[0] if name is None and len(names) == 1 else name: sizes for name, sizes in shapes}
    for name in given:
        if name not in names:
            raise ValueError(
                f"--shape: an input is needed, one of {', '.join(names)}; got {name or 'no name'}"
            )
    random, inputs = np.random.default_rng(0), {}
    for port in net.inputs:
        shape = tuple(given.get(port.name) or _closed(port.name, port.shape))
        numbers = random.standard_normal(shape) if port.dtype.kind == "f" else np.zeros(shape)
        inputs[port.name] = numbers.astype(port.dtype)
    return inputs


def _closed(name: str, shape: Sequence[int | None]) -> list[int]:
    """A shape in which nothing is open."""
    usual = [1] if len(shape) != 4 else [1, None, PIXELS, PIXELS]
    usual += [None] * (len(shape) - len(usual))
    sizes = [given if size is None else size for size, given in zip(shape, usual, strict=False)]
    if None in sizes:
        shown = ",".join("?" if size is None else str(size) for size in shape)
        raise ValueError(f"input {name!r}: the file leaves sizes open: {shown}; give them by --shape")
    return [size for size in sizes if size is not None]


def _expected(path: Path, net: Network, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The answer of the same network in float64, its nodes as the file has them.

    Of a network that is not so (a node takes float32 alone) it is fastpw's own answer.
    """
    try:
        wide = Network(widened(_graph(path)), None, machine_memory())
        arrays = {name: _wide(array) for name, array in inputs.items()}
        return [*wide.run(arrays).values()]
    except (TypeError, ValueError):
        return [*net.run(inputs).values()]


def _graph(path: Path) -> Graph:
    """The nodes in a file, as they are there."""
    budget = Budget(machine_memory())
    if path.read_bytes()[:2] == b"PK":
        return saved.read(path, budget)
    from fastpw.network import onnx_file  # noqa: PLC0415 - a saved network does without

    return onnx_file.read(path, budget)


def widened(graph: Graph) -> Graph:
    """The graph in float64, where it is in float32."""

    def port(given: Port) -> Port:
        return given._replace(dtype=FLOAT64) if given.dtype == FLOAT32 else given

    def node(given: Node) -> Node:
        attributes = dict(given.attributes)
        if given.op == "Cast" and attributes.get("to") == "float32":
            attributes["to"] = "float64"
        return Node(given.op, given.inputs, given.outputs, attributes, given.name, given.domain, given.opset)

    wide = Graph(
        map(port, graph.inputs),
        map(port, graph.outputs),
        map(node, graph.nodes),
        {name: _wide(array) for name, array in graph.constants.items()},
        graph.results,
    )
    wide.ranks = dict(graph.ranks)
    return wide


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(FLOAT64) if array.dtype == FLOAT32 else array
