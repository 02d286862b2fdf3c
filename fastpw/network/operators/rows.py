"""Element by element and row by row: programs of operations, normal rows, means, by kernels on all threads.

Steps that are programs carry it, and `fusing.py` makes one of several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..._checks.options import activation as epilogue_of
from ..._typing import Activation
from ...core.stencil import Rows
from ...runtime import threads
from ..plan import Bound, Operation, Plan, Program
from ..values import Order, Shape, Tensor, Value, adjacent, channels_last, layout, order_of, placeholder
from .images import is_float

_CODES = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}  # fastpw_operator of kernel_set.h
_ACTIVATE = len(_CODES)
FIRST_RESULT = _INPUTS = 3  # inputs of a program, at most: what its operations give is numbered from there
_LINEAR = epilogue_of(None)


def arithmetic(op: str, a: int, b: int, number: float = 0.0) -> Operation:
    """Of two values by their numbers; b of -1: of a value and a number."""
    return Operation(_CODES[op], a, b, number, _LINEAR)


def activated(a: int, activation: Activation) -> Operation:
    """The activation of a value."""
    return Operation(_ACTIVATE, a, a, 0.0, epilogue_of(activation))


def then(program: Program, activation: Activation) -> Program:
    """The program, with an activation of what it gives."""
    if activation is None:
        return program
    return (*program, activated(_INPUTS + len(program) - 1, activation))


def pair(op: str, a: Value, b: Value) -> tuple[Program, list[Value]] | None:
    """The program that computes Add, Sub, Mul or Div of two values, and its inputs; None: there is none."""
    numbers = [
        None if isinstance(value, Tensor) or value.size != 1 else float(value.reshape(())) for value in (a, b)
    ]
    if numbers[1] is not None:
        return (arithmetic(op, 0, -1, numbers[1]),), [a]
    if numbers[0] is None:
        return (arithmetic(op, 0, 1),), [a, b]
    if op == "Sub":
        return (arithmetic("Mul", 0, -1, -1.0), arithmetic("Add", _INPUTS, -1, numbers[0])), [b]
    return None if op == "Div" else ((arithmetic(op, 0, -1, numbers[0]),), [b])


def elements(
    plan: Plan, program: Program, inputs: Sequence[Value], shape: Shape, order: Order
) -> Value | None:
    """What a program makes of values of one dtype that broadcast to a shape; None: no kernel can."""
    if not shape or not all(is_float(value) and value.dtype == inputs[0].dtype for value in inputs):
        return None
    order = order_of(placeholder(shape, inputs[0].dtype, order))  # as `bind` finds it: of axes of one element
    along = order[-1] - len(shape)  # the axis whose elements lie side by side, from the end
    if any(value.ndim < -along or value.shape[along] != shape[along] for value in inputs):
        return None
    inputs = [value if adjacent(value, along) else plan.adjacent(value, along) for value in inputs]
    bind = bound_program(program)
    return plan.step(bind, *inputs, shape=shape, dtype=inputs[0].dtype, order=order, program=program)


def bound_program(program: Program) -> Callable[..., Bound]:
    """What binds a program to arrays."""

    def bind(*arrays: np.ndarray) -> Bound:
        *inputs, y = arrays
        order = order_of(y)
        views = [np.broadcast_to(array, y.shape).transpose(order) for array in inputs]
        y = y.transpose(order)
        if all(view.flags.c_contiguous for view in (*views, y)):
            views, y = [view.reshape(-1) for view in views], y.reshape(-1)
        first, second, third = [*views, None, None][:_INPUTS]
        return Rows((first, y, second, third), list(program), threads)

    return bind


def normal_rows(
    plan: Plan, x: Value, scale: Value | None, offset: Value | None, epsilon: float
) -> Value | None:
    """Rows of mean 0 and variance 1 along the last axis, scaled and moved. None where the kernels cannot."""
    if not _has_rows(x):
        return None
    size = x.shape[-1]
    if any(a is not None and (isinstance(a, Tensor) or a.size not in (1, size)) for a in (scale, offset)):
        return None
    weights, bias = (
        np.ascontiguousarray(np.broadcast_to(default if a is None else a.reshape(-1), size), x.dtype)
        for a, default in ((scale, np.ones(1)), (offset, np.zeros(1)))
    )
    return _rows(plan, x, (weights, bias, float(epsilon)))


def softmax_rows(plan: Plan, x: Value) -> Value | None:
    """The softmax along the last axis. None where the kernels cannot."""
    return _rows(plan, x, "softmax") if _has_rows(x) else None


def _has_rows(x: Value) -> bool:
    return is_float(x) and x.ndim > 0 and x.shape[-1] > 0


def _rows(plan: Plan, x: Value, what: tuple[np.ndarray, np.ndarray, float] | str) -> Value:
    order = order_of(x)
    if order[-1] != x.ndim - 1 or not adjacent(x, -1):
        x, order = plan.adjacent(x, -1), tuple(range(x.ndim))

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        return Rows((x.transpose(order), y.transpose(order), None, None), what, threads)

    return plan.step(bind, x, shape=x.shape, dtype=x.dtype, order=order)


def means(plan: Plan, x: Value, order: Order) -> Value:
    """(N, C, H, W) to (N, C, 1, 1)."""

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        return Rows((channels_last(x), y[:, :, 0, 0]), "means", threads)

    return plan.step(bind, plan.adjacent(x, 1), shape=(*x.shape[:2], 1, 1), dtype=x.dtype, order=order)


def per_channel(x: Value, gates: Value) -> bool:
    """Whether one value has a number for each image and channel of the other, as squeeze-and-excitation."""
    return x.ndim == 4 and gates.shape == (*x.shape[:2], 1, 1) and layout(x).size != layout(gates).size
