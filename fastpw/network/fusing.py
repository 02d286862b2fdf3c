"""After all nodes are described: steps that nobody needs go, programs in a row become one."""

from __future__ import annotations

from .operators.rows import bound_program
from .plan import Operation, Plan, Program, Step
from .values import Tensor, Value, order_of

_INPUTS, _OPERATIONS = 3, 6  # of a program, at most


def fuse(plan: Plan) -> None:
    """Shorten the list of a plan's steps."""
    plan.steps = _needed(plan)
    last = {value.root for value in plan.outputs if isinstance(value, Tensor)}
    readers: dict[Tensor, list[int]] = {}
    for number, step in enumerate(plan.steps):
        for value in step.reads:
            if isinstance(value, Tensor):
                readers.setdefault(value.root, []).append(number)
    steps: list[Step | None] = list(plan.steps)
    for number, step in enumerate(plan.steps):
        made, readings = step.writes, readers.get(step.writes, [])
        first = steps[number]  # which others may have been put before
        if not step.program or made in last or made.viewed or made.pinned or len(readings) != 1:
            continue
        after = steps[readings[0]]
        if after is None or not after.program or not _alike(made, after.writes):
            continue
        joined = _joined(first, after)
        if joined is not None:
            steps[number], steps[readings[0]] = None, joined
    plan.steps = [step for step in steps if step is not None]


def _needed(plan: Plan) -> list[Step]:
    wanted = {value.root for value in plan.outputs if isinstance(value, Tensor)}
    kept = []
    for step in reversed(plan.steps):
        if step.writes.root in wanted:
            wanted.update(value.root for value in step.reads if isinstance(value, Tensor))
            kept.append(step)
    return kept[::-1]


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.base is None and one.shape == other.shape and order_of(one) == order_of(other)


def _joined(first: Step, second: Step) -> Step | None:
    """One step that does what two do; None where they are too much for one."""
    reads: list[Value | None] = list(first.reads)
    for value in second.reads:
        if value is not first.writes and not any(value is other for other in reads):
            reads.append(value)
    if len(reads) > _INPUTS or len(first.program) + len(second.program) > _OPERATIONS:
        return None
    result = _INPUTS + len(first.program) - 1

    def moved(number: int) -> int:
        if number < 0:
            return number
        if number >= _INPUTS:
            return number + len(first.program)
        value = second.reads[number]
        return result if value is first.writes else next(i for i, v in enumerate(reads) if v is value)

    program: Program = first.program + tuple(
        Operation(o.op, moved(o.a), moved(o.b), o.number, o.activation) for o in second.program
    )
    return Step(second.node, bound_program(program), tuple(reads), second.writes, program)
