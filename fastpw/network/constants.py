"""Nodes that read constants alone are computed once, when the network is loaded."""

from __future__ import annotations

import numpy as np

from .fallback import foreign, is_foreign
from .graph import Graph, Node
from .memory import Budget
from .operators import OPERATORS, Unsupported
from .plan import Plan
from .values import Value


def fold_constants(graph: Graph, budget: Budget) -> bool:
    """Put the results of such nodes among the constants. True if there were any."""
    changed = False
    for node in graph.nodes:
        if all(value in graph.constants for value in node.inputs if value) and _computed(graph, node, budget):
            graph.remove(node)
            changed = True
    return changed


def _computed(graph: Graph, node: Node, budget: Budget) -> bool:
    inputs = [graph.constants.get(value) for value in node.inputs]
    plan = Plan(budget)
    plan.fixed = False
    plan.begin(node, [])
    try:
        with np.errstate(all="ignore"):
            if is_foreign(node, OPERATORS):
                results = foreign(plan, node, inputs, "no operator of fastpw")
            else:
                results = _by_operator(plan, node, inputs)
    except Exception:  # what is wrong with it is told when the network is planned
        return False
    results = results if isinstance(results, tuple) else (results,)
    made = [(name, result) for name, result in zip(node.outputs, results, strict=False) if name]
    if any(result is None or np.asarray(result).dtype.kind not in "biuf" for _, result in made):
        return False
    graph.constants.update((name, np.asarray(result)) for name, result in made)
    return True


def _by_operator(plan: Plan, node: Node, inputs: list[Value | None]) -> Value | tuple[Value | None, ...]:
    try:
        return OPERATORS[node.op](plan, node, *inputs)
    except Unsupported as error:
        return foreign(plan, node, inputs, f"no operator of fastpw {error}")
