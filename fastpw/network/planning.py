"""A plan for a network and the shapes of its inputs."""

from __future__ import annotations

import numpy as np

from .fallback import foreign, is_foreign
from .fusing import fuse
from .graph import Graph, Node
from .memory import Budget
from .operators import OPERATORS, Unsupported
from .plan import Layers, Plan
from .values import CHANNELS_LAST, Shape, Tensor, Value, nbytes


def make_plan(graph: Graph, shapes: list[Shape], budget: Budget, layers: Layers) -> Plan:
    """The steps that compute a graph for inputs of these shapes, which have the axes of the file.

    Raises
    ------
    ValueError
        A node does not take what it gets, or more memory is needed than allowed. The message names the node.
    """
    plan = Plan(budget, layers)
    values: dict[str, Value | None] = {"": None, **graph.constants}
    for port, shape in zip(graph.inputs, shapes, strict=True):
        dtype = computed_as(port.dtype)
        order = CHANNELS_LAST if len(shape) == 4 and dtype.kind == "f" else None
        plan.inputs.append(plan.new(shape, dtype, order))
        values[port.name] = plan.inputs[-1]
    with np.errstate(all="ignore"):  # of what is computed at once: NaN and infinities pass in silence
        for node in graph.nodes:
            results = _described(plan, node, [values[name] for name in node.inputs])
            plan.records[-1].outputs = [value for value in results if value is not None]
            values.update(zip(node.outputs, results, strict=False))
    plan.outputs = [values[name] for name in graph.results]
    for value in plan.outputs:
        if isinstance(value, Tensor):
            budget.check(nbytes(value.shape, value.dtype))
    fuse(plan)
    return plan


def computed_as(dtype: np.dtype) -> np.dtype:
    """The dtype inside: float16 is widened."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _described(plan: Plan, node: Node, inputs: list[Value | None]) -> tuple[Value, ...]:
    """What a node makes of its inputs."""
    plan.begin(node, [value for value in inputs if value is not None])
    started = len(plan.steps)
    describe = None if is_foreign(node, OPERATORS) else OPERATORS[node.op]
    try:
        try:
            if describe is None:
                results = foreign(plan, node, inputs, "no operator of fastpw")
            else:
                results = describe(plan, node, *inputs)
        except Unsupported as error:
            del plan.steps[started:]
            results = foreign(plan, node, inputs, f"no operator of fastpw {error}")
    except MemoryError:
        raise
    except KeyError as error:
        raise ValueError(f"{node}: attribute {error} is missing") from error
    except Exception as error:
        raise ValueError(f"{node}: {error}") from error
    return results if isinstance(results, tuple) else (results,)
