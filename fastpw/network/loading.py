"""load: a network from a file of either kind."""

from __future__ import annotations

import os
import zipfile
from typing import SupportsIndex

from .._checks.options import integer, shown
from . import saved
from .memory import Budget, machine_memory
from .network import Network, NetworkLayout, check_operators


def load(
    path: str | os.PathLike[str],
    *,
    layout: NetworkLayout = None,
    memory_limit: SupportsIndex | None = None,
) -> Network:
    """The network that a file holds, ready to be called.

    Parameters
    ----------
    path : path
        Of an .onnx file (opset 7 or later), which takes ``pip install "fastpw[onnx]"``, or of a file that
        `Network.save` has written, which takes NumPy alone.
    layout : {None, "NHWC"}
        "NHWC": every input and output of floats with four axes has its channels last. None: all as in the file.
    memory_limit : int, optional
        The bytes that the weights and the memory of a call may take. By default those of the machine, or of the
        container.

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
        The file is damaged, holds no network, or one that cannot be run; or more memory is needed than allowed.
        The message names the node and the reason.
    """
    if layout not in (None, "NHWC"):
        raise ValueError(f"layout: None or 'NHWC' is needed, got {shown(layout)}")
    limit = machine_memory() if memory_limit is None else integer("memory_limit", memory_limit, 0, 1 << 62)
    if zipfile.is_zipfile(path):
        graph = saved.read(path, Budget(limit))
    else:
        from . import onnx_file
        from .simplify import simplify

        graph = onnx_file.read(path, Budget(limit))
        simplify(graph, Budget(limit))
    check_operators(graph)
    return Network(graph, layout, limit)
