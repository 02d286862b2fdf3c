"""If, Loop and Scan: the nodes of a body, as often as it runs, among those of the network.

Which branch is taken, and how often a loop runs, must be known when the nodes are planned. Where it depends
on numbers that only a call knows, the node is planned in the call.

The values of the network that a body reads are the last inputs of the node and of the body, one for one.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..graph import Graph, Node
from ..plan import Plan
from ..values import Tensor, Value
from .joins import concat
from .registry import DependsOnInput, known, operator
from .whole import axis_of

_MOST_PLANNED = 1024  # passes through a body that become steps of a plan
_MOST = 1 << 20  # passes in a call: a loop that never ends is an error


@operator("If")
def branch(plan: Plan, node: Node, condition: Value, *captured: Value) -> tuple[Value, ...]:
    """What one of two bodies makes."""
    taken = bool(np.all(known(condition, "a condition")))
    body: Graph = node.attributes["then_branch" if taken else "else_branch"]
    return tuple(plan.describe_body(plan, body, captured))


@operator("Loop")
def loop(
    plan: Plan, node: Node, count: Value | None, condition: Value | None, *others: Value
) -> tuple[Value, ...]:
    """A body as often as is said, or as long as it says; it hands on some values, and lists others."""
    body: Graph = node.attributes["body"]
    states, captured = _parted(others, node)
    most = None if count is None else int(known(count, "a count").reshape(()))
    going = condition is None or bool(np.all(known(condition, "a condition")))
    kept = len(states)
    lists: list[list[Value]] = [[] for _ in body.results[1 + kept :]]
    passes = 0
    while going and (most is None or passes < most):
        _check_passes(passes, [*states, *captured])
        inputs = [np.array(passes, np.int64), np.array(True), *states, *captured]
        result, *made = plan.describe_body(plan, body, inputs)
        going = bool(np.all(known(result, "a condition")))
        states = made[:kept]
        for values, value in zip(lists, made[kept:], strict=True):
            values.append(value)
        passes += 1
    stacked = (_stacked(plan, values, body, number) for number, values in enumerate(lists, 1 + kept))
    return (*states, *stacked)


@operator("Scan")
def scan(plan: Plan, node: Node, *others: Value) -> tuple[Value, ...]:
    """A body for each element along an axis of some arrays; it hands on some values, and lists others."""
    if node.version == 8:
        raise ValueError("opset 9 or later is needed, got 8, in which it took batches")
    body, get = node.attributes["body"], node.attributes.get
    inputs, captured = _parted(others, node)
    count = node.attributes["num_scan_inputs"]
    states, arrays = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    kept = len(states)
    axes = get("scan_input_axes") or [0] * count
    backwards = get("scan_input_directions") or [0] * count
    axes = [_axis(axis, array) for axis, array in zip(axes, arrays, strict=True)]
    steps = {array.shape[axis] for axis, array in zip(axes, arrays, strict=True)}
    if len(steps) != 1:
        raise ValueError(f"arrays of one length are needed, got {[array.shape for array in arrays]}")
    (length,) = steps
    lists: list[list[Value]] = [[] for _ in body.results[kept:]]
    for step in range(length):
        _check_passes(step, inputs)
        parts = [
            plan.view(array, partial(_element, axis=axis, at=length - 1 - step if turned else step))
            for array, axis, turned in zip(arrays, axes, backwards, strict=True)
        ]
        made = plan.describe_body(plan, body, [*states, *parts, *captured])
        states = made[:kept]
        for values, value in zip(lists, made[kept:], strict=True):
            values.append(value)
    turned = get("scan_output_directions") or [0] * len(lists)
    along = get("scan_output_axes") or [0] * len(lists)
    stacked = [
        _stacked(plan, values[::-1] if back else values, body, number, axis)
        for number, (values, back, axis) in enumerate(zip(lists, turned, along, strict=True), kept)
    ]
    return (*states, *stacked)


def _parted(values: tuple[Value, ...], node: Node) -> tuple[list[Value], list[Value]]:
    """The node's own inputs, and the values that its body reads besides."""
    count = len(values) - node.attributes["captured"]
    return list(values[:count]), list(values[count:])


def _check_passes(passes: int, values: list[Value]) -> None:
    if passes >= _MOST_PLANNED and any(isinstance(value, Tensor) for value in values):
        raise DependsOnInput(f"of more than {_MOST_PLANNED} passes")
    if passes >= _MOST:
        raise ValueError(f"a body runs at most {_MOST:,} times")


def _element(array: np.ndarray, axis: int, at: int) -> np.ndarray:
    return array[(slice(None),) * axis + (at, ...)]


def _axis(axis: int, array: Value) -> int:
    return axis_of(Node("Scan", [], [], {"axis": axis}), array.ndim)


def _stacked(plan: Plan, values: list[Value], body: Graph, number: int, axis: int = 0) -> Value:
    """What the passes have made, side by side along a new axis."""
    if not values:
        port = body.outputs[number]
        return np.zeros((0, *(n or 0 for n in port.shape)), port.dtype)
    axis = axis + values[0].ndim + 1 if axis < 0 else axis
    parts = [plan.view(value, lambda a: np.expand_dims(a, axis)) for value in values]
    return concat(plan, Node("Concat", [], [""], {"axis": axis}), *parts)
