"""Networks in .npz files: a description of the nodes in JSON, and plain weights. No pickles."""

from __future__ import annotations

import json
import math
import os
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from .graph import Graph, Node, Port
from .memory import Budget

VERSION = 1
_GRAPH = "graph"  # the name of the description, beside the weights' numbers
_MOST_DESCRIBED = 1 << 26  # bytes of a description


def write(path: str | os.PathLike[str], graph: Graph) -> None:
    """Write a graph to a file."""
    names = [*graph.constants]
    described = {
        "version": VERSION,
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "results": graph.results,
        "constants": names,
        "nodes": [[n.op, n.inputs, n.outputs, n.attributes, n.name] for n in graph.nodes],
    }
    text = json.dumps(described).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        _put(file, _GRAPH, np.frombuffer(text, np.uint8))
        for number, name in enumerate(names):
            _put(file, str(number), graph.constants[name])


def _port(port: Port) -> list[Any]:
    return [port.name, list(port.shape), port.dtype.name]


def _put(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        # One number everywhere, as of a ConstantOfShape, is written in full.
        npy.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def read(path: str | os.PathLike[str], budget: Budget) -> Graph:
    """The graph in a file that `write` has written.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no network, is truncated, or takes more memory than allowed.
    """
    with open(path, "rb") as opened:
        try:
            return _read(opened, budget)
        except MemoryError:
            raise
        except Exception as error:  # of zipfile, of JSON, of what the description lacks
            raise ValueError(f"{path}: no saved network, or a damaged one: {error}") from error


def _read(opened: BinaryIO, budget: Budget) -> Graph:
    with zipfile.ZipFile(opened) as file:
        described = _described(_get(file, _GRAPH, Budget(_MOST_DESCRIBED)))
        constants = {
            _text(name): _get(file, str(number), budget) for number, name in enumerate(described["constants"])
        }
    return _graph(described, constants)


def _get(file: zipfile.ZipFile, name: str, budget: Budget) -> np.ndarray:
    """An array, after a look at how large it says to be."""
    entry = file.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise ValueError(f"{entry.filename}: plain numbers are needed, got compressed ones")
    budget.take(entry.file_size)
    with file.open(entry) as member:
        shape, fortran, dtype = _header(member)
        data = member.read()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{entry.filename}: {dtype}{list(shape)} does not fit {len(data)} bytes")
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")


def _header(member: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    if version == (1, 0):
        return npy.read_array_header_1_0(member)
    return npy.read_array_header_2_0(member)


def _described(array: np.ndarray) -> dict[str, Any]:
    described = json.loads(array.tobytes())
    version = described.get("version") if isinstance(described, dict) else None
    if version != VERSION:
        raise ValueError(f"version {VERSION} is needed, got {version!r}")
    return described


def _graph(described: dict[str, Any], constants: dict[str, np.ndarray]) -> Graph:
    nodes = [
        Node(_text(op), [*map(_text, inputs)], [*map(_text, outputs)], _attributes(attributes), _text(name))
        for op, inputs, outputs, attributes, name in described["nodes"]
    ]
    inputs, outputs = ([*map(_read_port, described[kind])] for kind in ("inputs", "outputs"))
    graph = Graph(inputs, outputs, nodes, constants, [*map(_text, described["results"])])
    graph.sort()
    return graph


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is needed, got {value!r}")
    return value


def _attributes(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"attributes by name are needed, got {value!r}")
    return value


def _read_port(given: Any) -> Port:
    name, shape, dtype = given
    for size in shape:
        if size is not None and (type(size) is not int or size < 0):
            raise ValueError(f"{name!r}: a shape of numbers >= 0 is needed, got {shape}")
    return Port(_text(name), tuple(shape), np.dtype(_text(dtype)))
