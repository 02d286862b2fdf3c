"""What became of the nodes of a file, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from fastpw.network.graph import Graph

_BEFOREHAND = "computed beforehand"
_ACTIVATIONS = "activations of the nodes before"
_PARTS = "parts of weights and activations"
# What nodes become that are no longer there.
_BECAME: dict[str, str] = {
    "Add": "sums, biases, parts of activations",
    "BatchNormalization": "parts of the weights beside them",
    "Dropout": "left out",
    "Gemm": "Linear",
    "Identity": "left out",
    "MatMul": "Linear",
    "Pad": "padding of convolutions",
    "Sum": "sums of the nodes before",
    **dict.fromkeys(
        ("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu",
         "Sigmoid", "Softplus", "Tanh"), _ACTIVATIONS,
    ),
    **dict.fromkeys(("Div", "Mul", "Pow", "ReduceMean", "Sqrt", "Sub"), _PARTS),
    **dict.fromkeys(
        ("Cast", "Concat", "ConstantOfShape", "Gather", "Range", "Shape", "Slice", "Unsqueeze"), _BEFOREHAND
    ),
    **dict.fromkeys(("Reshape", "Transpose"), "parts of others, or computed beforehand"),
}  # fmt: skip


class Inventory(NamedTuple):
    """How many nodes of each operator a graph has, and the bytes of its constants."""

    counts: Counter[str]
    nbytes: int


def inventory(graph: Graph) -> Inventory:
    """That of a graph as it is now."""
    counts = Counter(f"{node.domain}.{node.op}" if node.domain else node.op for node in graph.nodes)
    return Inventory(counts, sum(array.nbytes for array in graph.constants.values()))


def lines(before: Inventory, graph: Graph, chains: list[int]) -> Iterator[str]:
    """A row per operator: nodes in the file, nodes now, and what became of them or was joined to them.

    Parameters
    ----------
    before : Inventory
        Of the file.
    graph : Graph
        What is run.
    chains : list of int
        Of how many layers each chain is.
    """
    after, joined = inventory(graph), _joined(graph)
    width = max(map(len, [*before.counts, *after.counts, "operator"]))
    yield f"{'operator':{width}}  in the file  now"
    for op in sorted({*before.counts, *after.counts}, key=lambda op: (op not in after.counts, op)):
        came, stays = before.counts[op], after.counts[op]
        told = joined.get(op, "") if stays else _BECAME.get(op, "parts of others, or computed beforehand")
        yield f"{op:{width}}  {came or '–':>11}  {stays or '–':>3}  {told}".rstrip()
    yield f"{'all':{width}}  {before.counts.total():>11}  {after.counts.total():>3}"
    if chains:
        in_chains = f"{len(chains)} chains of up to" if len(chains) > 1 else "a chain of"
        yield f"{sum(chains)} of these run in {in_chains} {max(chains)} layers"
    yield f"weights: {bytes_as_text(before.nbytes)} in the file, {bytes_as_text(after.nbytes)} now"


def _joined(graph: Graph) -> dict[str, str]:
    """What nodes of each operator have been given: activations by name, and sums."""
    found: dict[str, Counter[str]] = {}
    for node in graph.nodes:
        activation = node.attributes.get("activation")
        if activation is not None:
            name = activation if isinstance(activation, str) else activation[0]
            found.setdefault(node.op, Counter())[name] += 1
        if node.op in ("Affine", "Conv", "Linear") and node.input(3):
            found.setdefault(node.op, Counter())["sum"] += 1
    return {
        op: "with " + ", ".join(f"{count} {name}" for name, count in counts.most_common())
        for op, counts in found.items()
    }


def bytes_as_text(count: int) -> str:
    """With three digits or so: 20 bytes, 22.6 kB, 592 MB."""
    for unit, size in ("GB", 1e9), ("MB", 1e6), ("kB", 1e3):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f} {unit}"
    return f"{count} bytes"
