"""A graph as a file: .npz, as `fastpw.load` opens it without onnx, or .onnx for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastpw.bench.networks.builder import OPSET
from fastpw.network.graph import Graph, Port
from fastpw.network.memory import Budget, machine_memory
from fastpw.network.saved import write
from fastpw.network.simplify import simplify


def write_saved(graph: Graph, path: Path) -> None:
    """What `Network.save` would write. The graph is simplified in place."""
    simplify(graph, Budget(machine_memory()))
    write(path, graph)


def write_onnx(graph: Graph, path: Path) -> None:
    """A graph of ONNX's operators, as a builder makes it.

    Raises
    ------
    ModuleNotFoundError
        onnx is not installed.
    """
    import onnx  # noqa: PLC0415 - only the peers' files take it

    def described(port: Port) -> Any:
        sizes = [f"{port.name}{axis}" if n is None else n for axis, n in enumerate(port.shape)]
        dtype = onnx.helper.np_dtype_to_tensor_dtype(port.dtype)
        return onnx.helper.make_tensor_value_info(port.name, dtype, sizes)

    made = onnx.helper.make_graph(
        [onnx.helper.make_node(n.op, n.inputs, n.outputs, n.name, **n.attributes) for n in graph.nodes],
        "network",
        [described(port) for port in graph.inputs],
        [described(port) for port in graph.outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    # (a version of the format that is old enough for any runtime of the last years)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.save(model, path)
