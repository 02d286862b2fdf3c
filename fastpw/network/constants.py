"""Nodes that read constants alone are computed once, when the network is loaded."""

from __future__ import annotations

import numpy as np

from .graph import Graph, Node
from .memory import Budget
from .operators import OPERATORS
from .plan import Plan


def fold_constants(graph: Graph, budget: Budget) -> bool:
    """Put the results of such nodes among the constants. True if there were any."""
    changed = False
    for node in graph.nodes:
        if all(value in graph.constants for value in node.inputs if value) and _computed(graph, node, budget):
            graph.remove(node)
            changed = True
    return changed


def _computed(graph: Graph, node: Node, budget: Budget) -> bool:
    if node.domain or node.opset or node.op not in OPERATORS:
        return False
    plan = Plan(budget)
    try:
        with np.errstate(all="ignore"):
            results = OPERATORS[node.op](plan, node, *(graph.constants.get(value) for value in node.inputs))
    except Exception:  # what is wrong with it is told when the network is planned
        return False
    results = results if isinstance(results, tuple) else (results,)
    graph.constants.update(
        (name, np.asarray(result)) for name, result in zip(node.outputs, results, strict=False) if name
    )
    return True
