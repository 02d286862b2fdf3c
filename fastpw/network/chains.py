"""Which nodes become a chain: convolutions and pools of which nobody else reads what lies between them.

A chain is a block of a network: an inverted residual, a bottleneck, a depthwise and the 1x1 after it. How it
is run, `fastpw.Chain` decides by the shape and the caches.
"""

from __future__ import annotations

from .graph import Graph, Node

_POOLS = ("AveragePool", "MaxPool")
_RESIDUAL = 3


def with_chains(graph: Graph) -> Graph:
    """The graph with a node for each chain; the nodes of a chain are its attribute `nodes`."""
    taken: set[Node] = set()
    nodes = []
    for node in graph.nodes:
        if node in taken:
            continue
        run = _run(graph, node)
        if len(run) > 1:
            taken.update(run)
            nodes.append(_chain(run))
        else:
            nodes.append(node)
    chained = Graph(graph.inputs, graph.outputs, nodes, graph.constants, graph.results)
    chained.sort()
    return chained


def _run(graph: Graph, first: Node) -> list[Node]:
    """The longest chain that begins with a node."""
    run = [first] if _eligible(graph, first) else []
    while run and not run[-1].input(_RESIDUAL):
        after = graph.only_reader(run[-1].outputs[0])
        if after is None or after.inputs[0] != run[-1].outputs[0] or not _eligible(graph, after):
            break
        if _ends(graph, run, after):
            break
        run.append(after)
    return run


def _eligible(graph: Graph, node: Node) -> bool:
    """Whether a layer computes the node, with one input and perhaps a residual."""
    if node.op in _POOLS:
        return not any(node.outputs[1:])
    weight = graph.constant(node.input(1)) if node.op == "Conv" else None
    bias_known = not node.input(2) or node.input(2) in graph.constants
    return weight is not None and weight.ndim == 4 and bias_known


def _pointwise(graph: Graph, node: Node) -> bool:
    return node.op == "Conv" and graph.constants[node.inputs[1]].shape[2:] == (1, 1)


def _ends(graph: Graph, run: list[Node], after: Node) -> bool:
    """Whether a block ends before a node: a window and a 1x1 are behind it, and it is no 1x1 or widens."""
    seen = False
    for node in run:
        seen |= not _pointwise(graph, node)
        if seen and _pointwise(graph, node):
            filters, channels = (0, 0) if after.op in _POOLS else graph.constants[after.inputs[1]].shape[:2]
            return not _pointwise(graph, after) or filters > channels
    return False


def _chain(run: list[Node]) -> Node:
    last = run[-1]
    constants = [value for node in run for value in node.inputs[1:_RESIDUAL] if value]
    residual = [value for value in [last.input(_RESIDUAL)] if value]
    name = f"{run[0].name} ... {last.name}" if last.name else ""
    inputs = [run[0].inputs[0], *residual, *dict.fromkeys(constants)]
    return Node("Chain", inputs, last.outputs, {"nodes": run}, name)
