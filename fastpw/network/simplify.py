"""From the nodes of a file to those that a plan computes well: the rewritings, in their order."""

from __future__ import annotations

from .constants import fold_constants
from .folding import FOLDINGS
from .functions import recognise
from .graph import Graph, Node, rewrite
from .lowering import lower
from .memory import Budget
from .norms import layer_normalization
from .ties import equal_filters

# Each round makes room for the next; no network needs more than a few.
_MOST_ROUNDS = 20
# Operators whose first result does not depend on whether the others are wanted.
_MORE_RESULTS = {"Dropout", "LayerNormalization", "MaxPool"}


def simplify(graph: Graph, budget: Budget) -> None:
    """Rewrite a graph; what it computes stays the same, within rounding."""
    for node in graph.nodes:
        for body in node.bodies:
            simplify(body, budget)
    graph.prune()
    rewrite(graph, unread_results)
    for _ in range(_MOST_ROUNDS):
        graph.sort()
        changed = fold_constants(graph, budget)
        changed |= rewrite(graph, lower)
        changed |= recognise(graph)
        changed |= rewrite(graph, layer_normalization)
        changed |= rewrite(graph, *FOLDINGS)
        graph.prune()
        if not changed:
            break
    rewrite(graph, equal_filters)
    graph.sort()


def unread_results(graph: Graph, node: Node) -> bool:
    """Leave out the results that an operator may give besides its first one, where nobody reads them."""
    if node.op not in _MORE_RESULTS or node.domain:
        return False
    wanted = [value if graph.readers(value) or value in graph.results else "" for value in node.outputs[1:]]
    changed = wanted != node.outputs[1:]
    graph.set_outputs(node, [node.outputs[0], *wanted] if any(wanted) else node.outputs[:1])
    return changed
