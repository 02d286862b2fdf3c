"""From the nodes of a file to those that a plan computes well: the rewritings, in their order."""

from __future__ import annotations

from .constants import fold_constants
from .folding import FOLDINGS
from .functions import recognise
from .graph import Graph, rewrite
from .lowering import lower
from .memory import Budget
from .norms import layer_normalization
from .ties import equal_filters

# Each round makes room for the next; no network needs more than a few.
_MOST_ROUNDS = 20


def simplify(graph: Graph, budget: Budget) -> None:
    """Rewrite a graph; what it computes stays the same, within rounding."""
    graph.prune()
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
