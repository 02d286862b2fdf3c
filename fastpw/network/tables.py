"""What a network is made of, and how long its nodes take, as tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from .arena import Arena
from .graph import Graph
from .plan import Plan, Record

_LONGEST = 44  # letters of a node's name: its end tells most


def summary(plan: Plan, nbytes: int, graph: Graph) -> str:
    """The nodes in their order, with the shapes of their results (as in the file) and their multiply-adds."""
    rows = [
        (_named(record), _told(record), _shapes(record), f"{record.multiply_adds:,}")
        for record in plan.records
    ]
    total = sum(record.multiply_adds for record in plan.records)
    chains = sum(record.layers > 0 for record in plan.records)
    joined = sum(record.joined > 0 for record in plan.records)
    weights = sum(array.nbytes for array in graph.constants.values())
    last = [
        f"{len(plan.records)} nodes, {chains} of them chains, {joined} of these in bands",
        f"{len(plan.steps)} steps of a call",
        f"{total:,} multiply-adds",
        f"{weights:,} bytes of weights, {nbytes:,} bytes for what a call computes",
    ]
    return "\n".join([*_lines(("node", "operator", "result", "multiply-adds"), rows), "", *last])


class NodeTime(NamedTuple):
    """What a node that takes time is, and the shortest that it took."""

    name: str
    operator: str
    shapes: str
    multiply_adds: int
    seconds: float


def node_times(plan: Plan, arena: Arena, arrays: Sequence[np.ndarray], calls: int) -> list[NodeTime]:
    """The nodes that take time, in their order, each with the shortest of some calls."""
    seconds = np.full(len(plan.steps), np.inf)
    with np.errstate(all="ignore"):
        for _ in range(max(calls, 1)):
            arena.take(arrays)
            for number, call in enumerate(arena.calls):
                start = perf_counter()
                call()
                seconds[number] = min(seconds[number], perf_counter() - start)
    spent = np.zeros(len(plan.records))
    np.add.at(spent, [step.node for step in plan.steps], seconds)
    return [
        NodeTime(_named(record), _told(record), _shapes(record), record.multiply_adds, float(time))
        for record, time in zip(plan.records, spent, strict=True)
        if time > 0
    ]


def profile(times: Sequence[NodeTime], calls: int) -> str:
    """The nodes that take time as a table."""
    total = sum(node.seconds for node in times)
    rows = [(node.name, node.operator, node.shapes, *_speed(node, total)) for node in times]
    heads = ("node", "operator", "result", "microseconds", "share", "multiply-adds/ns")
    return "\n".join([*_lines(heads, rows), "", f"{total * 1e3:.3f} ms, best of {max(calls, 1)} calls"])


def _speed(node: NodeTime, total: float) -> tuple[str, str, str]:
    rate = f"{node.multiply_adds / node.seconds / 1e9:.1f}" if node.multiply_adds else ""
    return f"{node.seconds * 1e6:.1f}", f"{node.seconds / total:.1%}", rate


def _named(record: Record) -> str:
    name = record.node.name or record.node.outputs[0]
    return name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]


def _told(record: Record) -> str:
    """The operator, and what has been joined to it."""
    node = record.node
    activation = node.attributes.get("activation")
    if activation is not None:
        activation = activation if isinstance(activation, str) else activation[0]
    residual = (
        "add" if node.op in ("Conv", "Linear", "Affine", "QConv", "QLinear") and node.input(3) else None
    )
    chained = f"{record.layers} layers" if record.layers else None
    return " + ".join(part for part in (node.op, chained, residual, activation) if part)


def _shapes(record: Record) -> str:
    return ", ".join("x".join(map(str, value.shape)) or "one" for value in record.outputs)


def _lines(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table: the first three columns to the left, numbers to the right."""
    table = [heads, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
