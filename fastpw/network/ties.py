"""Filters that are equal give equal results, to the bit."""

from __future__ import annotations

import numpy as np

from .graph import Graph, Node

# The widest tile of a product has so many columns, or a divisor of it. A narrower one, for what is left, adds
# in another order.
_COLUMNS = 64


def equal_filters(graph: Graph, node: Node) -> bool:
    """Where filters of a 1x1 convolution are equal, let all be computed by tiles of one kind.

    A softmax of large equal scores is a tie. Were they computed in two orders, rounding would decide it.
    """
    weight = graph.constant(node.input(1))
    if (
        node.op not in ("Conv", "Linear")
        or weight is None
        or weight.size != weight.shape[0] * weight.shape[1]
    ):
        return False
    filters, depth = weight.shape[:2]
    missing = -filters % _COLUMNS
    if not missing or node.attributes.get("group", 1) != 1 or node.input(3):
        return False
    rows = np.ascontiguousarray(weight).reshape(filters, depth)
    if not any(np.array_equal(row, rows[0]) for row in rows[max(filters - filters % _COLUMNS, 1) :]):
        return False
    more = graph.new_constant(
        node.inputs[1], np.concatenate([weight, np.zeros((missing, *weight.shape[1:]), weight.dtype)])
    )
    inputs = [node.inputs[0], more]
    bias = graph.constant(node.input(2))
    if bias is not None:
        inputs.append(
            graph.new_constant(node.inputs[2], np.concatenate([bias, np.zeros(missing, bias.dtype)]))
        )
    result, wide = node.outputs[0], graph.fresh(node.outputs[0])
    graph.set_inputs(node, inputs)
    graph.set_outputs(node, [wide])
    axis = 1 if node.op == "Conv" else -1
    bounds = [graph.new_constant(wide, np.array([number], np.int64)) for number in (0, filters, axis)]
    graph.add(Node("Slice", [wide, *bounds], [result], {}, node.name))
    return True
