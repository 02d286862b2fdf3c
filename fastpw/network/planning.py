"""A plan for a network and the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

import numpy as np

from .fallback import foreign, is_foreign, warn
from .fusing import fuse
from .graph import Graph, Node
from .memory import Budget
from .operators import OPERATORS, DependsOnInput, Unsupported
from .plan import Layers, Plan
from .values import CHANNELS_LAST, Shape, Tensor, Value, nbytes

Known = dict[str, Value | None]  # the values of a graph by name

_RESIDUAL = 3
_WITH_RESIDUAL = {"Affine", "Conv", "Linear", "QConv", "QLinear"}


def make_plan(graph: Graph, shapes: list[Shape], budget: Budget, layers: Layers) -> Plan:
    """The steps that compute a graph for inputs of these shapes, which have the axes of the file.

    Some nodes cannot be planned: the shape of what they make depends on numbers that only a call knows. They,
    and all that need their results, are the plan's `late` nodes. `late_results` plans each of them in the
    call.

    Raises
    ------
    ValueError
        A node does not take what it gets, or more memory is needed than allowed. The message names the node.
    """
    plan = Plan(budget, layers)
    plan.describe_body = _of_body
    values: Known = {"": None, **graph.constants}
    for port, shape in zip(graph.inputs, shapes, strict=True):
        dtype = computed_as(port.dtype)
        order = CHANNELS_LAST if len(shape) == 4 and dtype.kind == "f" else None
        plan.inputs.append(plan.new(shape, dtype, order))
        values[port.name] = plan.inputs[-1]
    with np.errstate(all="ignore"):  # of what is computed at once: NaN and infinities pass in silence
        for node in graph.nodes:
            try:
                if any(name not in values for name in node.inputs):
                    raise DependsOnInput("after one that is planned in each call")
                values.update(_described(plan, node, values, graph.constants))
            except DependsOnInput:
                _put_off(plan, node)
    plan.given = given_out(graph, plan.late)
    plan.outputs = [values[name] for name in plan.given]
    for value in plan.outputs:
        if isinstance(value, Tensor):
            budget.check(nbytes(value.shape, value.dtype))
    fuse(plan)
    return plan


def computed_as(dtype: np.dtype) -> np.dtype:
    """The dtype inside: float16 is widened."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def given_out(graph: Graph, late: Iterable[Node]) -> list[str]:
    """The values that a plan gives: the network's results, and what late nodes read of it."""
    made = {name for node in late for name in node.outputs}
    read = [name for node in late for name in node.inputs if name and name not in graph.constants]
    more = [name for name in dict.fromkeys(read) if name not in graph.results]
    return [name for name in [*graph.results, *more] if name not in made]


def late_results(plan: Plan, graph: Graph, arrays: list[np.ndarray], budget: Budget) -> list[np.ndarray]:
    """The results of a graph whose plan has late nodes, from what its steps have made.

    Raises
    ------
    ValueError
        A node does not take what it gets, or more memory is needed than allowed. The message names the node.
    """
    values: Known = {"": None, **graph.constants, **dict(zip(plan.given, arrays, strict=True))}
    for node in plan.late:
        once = Plan(Budget(budget.limit, budget.taken), plan.layers)
        once.describe_body = _of_body
        values.update(_described(once, node, values, graph.constants))
    return [values[name] for name in graph.results]


def _put_off(plan: Plan, node: Node) -> None:
    plan.late.append(node)
    plan.begin(node, [])
    if is_foreign(node, OPERATORS):
        plan.records[-1].foreign = True
        warn(node, "no operator of fastpw")


def _described(plan: Plan, node: Node, values: Known, constants: Container[str]) -> Known:
    """What a node makes of its inputs, by name."""
    inputs = [values[name] for name in node.inputs]
    plan.begin(node, [value for value in inputs if value is not None])
    plan.fixed = _has_fixed_weights(node, constants)
    steps, records = len(plan.steps), len(plan.records)
    describe = None if is_foreign(node, OPERATORS) else OPERATORS[node.op]
    try:
        try:
            if describe is None:
                results = foreign(plan, node, inputs, "no operator of fastpw")
            else:
                results = describe(plan, node, *inputs)
        except DependsOnInput:
            del plan.steps[steps:], plan.records[records - 1 :]
            raise
        except Unsupported as error:
            del plan.steps[steps:]
            results = foreign(plan, node, inputs, f"no operator of fastpw {error}")
    except (DependsOnInput, MemoryError):
        raise
    except KeyError as error:
        raise ValueError(f"{node}: attribute {error} is missing") from error
    except Exception as error:
        raise ValueError(f"{node}: {error}") from error
    results = results if isinstance(results, tuple) else (results,)
    plan.records[records - 1].outputs = [value for value in results if value is not None]
    return {name: value for name, value in zip(node.outputs, results, strict=False) if name}


def _of_body(plan: Plan, body: Graph, inputs: Sequence[Value | None]) -> list[Value]:
    """The results of a body, the nodes of which are planned as those around it."""
    values: Known = {"": None, **body.constants}
    values.update(zip((port.name for port in body.inputs), inputs, strict=True))
    for node in body.nodes:
        values.update(_described(plan, node, values, body.constants))
    return [values[name] for name in body.results]


def _has_fixed_weights(node: Node, constants: Container[str]) -> bool:
    """Whether all but its first input and a residual are constants: then its layer is packed once."""
    if node.op == "Chain":
        return True
    weights = node.inputs[1:]
    if node.op in _WITH_RESIDUAL:
        weights = [*node.inputs[1:_RESIDUAL], *node.inputs[_RESIDUAL + 1 :]]
    return all(name in constants for name in weights if name)
