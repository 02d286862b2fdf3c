"""1x1 convolutions and products with constant weights in int8: dynamic, each row quantized on its way in."""

from __future__ import annotations

import numpy as np

from ..quantize import quantize_weight
from .graph import Graph, Node

_BIAS, _RESIDUAL = 2, 3
_MOST = 2**31  # which no sum of int8 products may reach; a row's integers lie within 255 of its zero point


def quantize_dynamic(graph: Graph) -> None:
    """Put QConv in the place of each 1x1 Conv with constant weights in float32, and QLinear of each Linear.

    A weight that int8 cannot stand for, or whose sums int32 may not hold, stays as it is.
    """
    for node in graph.nodes:
        weight = _weight(graph, node)
        made = None if weight is None else _quantized(weight)
        if made is not None:
            q, scale = made
            stem = node.outputs[0]
            names = graph.new_constant(f"{stem}:int8", q), graph.new_constant(f"{stem}:scale", scale)
            inputs = [node.inputs[0], names[0], node.input(_BIAS), node.input(_RESIDUAL), names[1]]
            graph.remove(node)
            graph.add(Node(f"Q{node.op}", inputs, node.outputs, node.attributes, node.name))
    graph.prune()
    graph.sort()


def _weight(graph: Graph, node: Node) -> np.ndarray | None:
    """The weight of a node that can be quantized: (K, C // groups), and axes of one pixel."""
    if node.op not in ("Conv", "Linear") or node.domain or node.opset:
        return None
    weight = graph.constant(node.input(1))
    if weight is None or weight.dtype != np.float32 or weight.ndim != (4 if node.op == "Conv" else 2):
        return None
    bias = graph.constant(node.input(_BIAS))
    if node.input(_BIAS) and (bias is None or bias.dtype != np.float32 or bias.shape != weight.shape[:1]):
        return None
    pointwise = weight.shape[2:] in ((), (1, 1))
    return weight if pointwise and weight.shape[1] > 1 else None  # one weight per channel is no product


def _quantized(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    if not np.isfinite(weight).all():
        return None
    q, scale = quantize_weight(weight, "OIHW" if weight.ndim == 4 else "OI")
    sums = np.abs(q, dtype=np.int64).sum(axis=tuple(range(1, q.ndim)))
    return (q, scale) if sums.max(initial=0) * 255 < _MOST else None
