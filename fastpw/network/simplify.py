"""From the nodes of a file to those that a plan computes well."""

from __future__ import annotations

from .graph import Graph
from .memory import Budget


def simplify(graph: Graph, budget: Budget) -> None:
    """Rewrite a graph; what it computes stays the same."""
    graph.prune()
    graph.sort()
