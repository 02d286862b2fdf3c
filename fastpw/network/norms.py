"""A layer normalization that a file writes as means, a square and a root."""

from __future__ import annotations

from .graph import Graph, Node
from .lowering import replace


def layer_normalization(graph: Graph, node: Node) -> bool:
    """(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon) along the last axis is one node."""
    if node.op != "Div":
        return False
    source = _centred(graph, node.inputs[0])
    epsilon = _deviation(graph, node.inputs[1], source)
    if source is None or epsilon is None:
        return False
    return replace(graph, node, "LayerNormalization", [source], axis=-1, epsilon=epsilon)


def _made_by(graph: Graph, value: str, op: str) -> Node | None:
    node = graph.producer(value)
    return node if node is not None and node.op == op and node.attributes.get("activation") is None else None


def _mean(graph: Graph, value: str) -> str | None:
    """Of what it is the mean along the last axis."""
    node = _made_by(graph, value, "ReduceMean")
    if node is None or not node.attributes.get("keepdims", 1):
        return None
    axes, rank = graph.constant(node.input(1)), graph.rank(node.inputs[0])
    if axes is None or axes.size != 1:
        return None
    axis = int(axes.reshape(()))
    return node.inputs[0] if axis == -1 or (rank is not None and axis == rank - 1) else None


def _centred(graph: Graph, value: str) -> str | None:
    """The x of x - mean(x)."""
    node = _made_by(graph, value, "Sub")
    return node.inputs[0] if node is not None and _mean(graph, node.inputs[1]) == node.inputs[0] else None


def _square(graph: Graph, value: str) -> str | None:
    """What is squared."""
    power, product = _made_by(graph, value, "Pow"), _made_by(graph, value, "Mul")
    if power is not None:
        exponent = graph.constant(power.inputs[1])
        return (
            power.inputs[0]
            if exponent is not None and exponent.size == 1 and exponent.reshape(()) == 2
            else None
        )
    if product is not None and product.inputs[0] == product.inputs[1]:
        return product.inputs[0]
    return None


def _deviation(graph: Graph, value: str, source: str | None) -> float | None:
    """The epsilon of sqrt(mean((x - mean(x)) ** 2) + epsilon), of the same x."""
    root = _made_by(graph, value, "Sqrt")
    added = None if root is None else _made_by(graph, root.inputs[0], "Affine")
    if added is None or added.input(3):
        return None
    scale, epsilon = graph.constant(added.input(1)), graph.constant(added.input(2))
    if (
        epsilon is None
        or epsilon.size != 1
        or (scale is not None and (scale.size != 1 or scale.reshape(()) != 1))
    ):
        return None
    variance = _mean(graph, added.inputs[0])
    squared = None if variance is None else _square(graph, variance)
    if squared is None or source is None or _centred(graph, squared) != source:
        return None
    return float(epsilon.reshape(()))
