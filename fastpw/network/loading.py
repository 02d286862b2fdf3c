"""load: a network from a file of either kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, SupportsIndex, TypeAlias

from .._checks.options import integer, shown
from . import saved
from .ends import NetworkLayout
from .graph import Graph
from .memory import Budget, machine_memory
from .network import Network, check_operators
from .quantization import quantize_dynamic

Watch: TypeAlias = Callable[[str, Graph], None]  # called with "read" or "simplified", and the graph

_ARCHIVE = b"PK\x03\x04"  # what an .npz file begins with


def load(
    path: str | os.PathLike[str],
    *,
    layout: NetworkLayout = None,
    memory_limit: SupportsIndex | None = None,
    quantize: Literal["dynamic"] | None = None,
) -> Network:
    """The network that a file holds, ready to be called.

    Parameters
    ----------
    path : path
        Of an .onnx file (opset 7 or later), which takes ``pip install "fastpw[onnx]"``, or of a file that
        `Network.save` has written, which takes NumPy alone.
    layout : {None, "NHWC"}
        "NHWC": every input and output of floats with four axes has its channels last. None: all as in the
        file.
    memory_limit : int, optional
        The bytes that the weights and the memory of a call may take. By default those of the machine, or of
        the container.
    quantize : {None, "dynamic"}
        "dynamic": 1x1 convolutions, and Gemm and MatMul by constants, become a `QConv1x1`: their weights in
        float32 become int8 by `quantize_weight`, and each row is quantized on its way in. Weights take a
        quarter of the memory; results differ from those in float32. None: all as in the file.

    Returns
    -------
    Network

    Raises
    ------
    ImportError
        onnx is needed and not installed.
    OSError
        The file cannot be read.
    TypeError
        The file has a dtype that is not supported, or an argument is none of those above.
    ValueError
        The file is damaged, holds no network, or one that cannot be run; or more memory is needed than
        allowed. The message names the node and the reason.
    """
    return watched(path, layout, memory_limit, quantize, lambda stage, graph: None)


def watched(
    path: str | os.PathLike[str],
    layout: NetworkLayout,
    memory_limit: SupportsIndex | None,
    quantize: Literal["dynamic"] | None,
    watch: Watch,
) -> Network:
    """`load`, with a look at the graph as the file has it, and as it is run."""
    if layout not in (None, "NHWC"):
        raise ValueError(f"layout: None or 'NHWC' is needed, got {shown(layout)}")
    if quantize not in (None, "dynamic"):
        raise ValueError(f"quantize: None or 'dynamic' is needed, got {shown(quantize)}")
    limit = machine_memory() if memory_limit is None else integer("memory_limit", memory_limit, 0, 1 << 62)
    try:
        graph = _graph(path, limit, watch)
        if quantize is not None:
            quantize_dynamic(graph)
        check_operators(graph)
        return Network(graph, layout, limit)
    except (ImportError, MemoryError, OSError, TypeError, ValueError):
        raise
    except Exception as error:  # whatever else a damaged file leads to
        raise ValueError(f"{path}: no network, or a damaged one: {error!r}") from error


def _graph(path: str | os.PathLike[str], limit: int, watch: Watch) -> Graph:
    with open(path, "rb") as file:
        archive = file.read(len(_ARCHIVE)) == _ARCHIVE
    if archive:
        graph = saved.read(path, Budget(limit))
        watch("read", graph)
        return graph
    try:
        from . import onnx_file, simplify  # noqa: PLC0415 - a saved network does without
    except ImportError as error:
        raise ImportError(
            f'{path}: onnx is needed to read it: pip install "fastpw[onnx]"', name="onnx"
        ) from error
    graph = onnx_file.read(path, Budget(limit))
    watch("read", graph)
    simplify.simplify(graph, Budget(limit))
    watch("simplified", graph)
    return graph
