"""What shapes and constants tell, and no call has to compute."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .registry import known, operator


@operator("Shape")
def shape(plan: Plan, node: Node, x: Value) -> Value:
    """The sizes of the axes, or of some of them."""
    return np.array(x.shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))], np.int64)


@operator("Size")
def size(plan: Plan, node: Node, x: Value) -> Value:
    """How many elements there are."""
    return np.array(x.size, np.int64)


@operator("ConstantOfShape")
def constant_of_shape(plan: Plan, node: Node, shape: Value, number: Value | None = None) -> Value:
    """One number everywhere; without one, 0 as float32."""
    number = np.zeros(1, np.float32) if number is None else known(number, "a number")
    sizes = tuple(int(n) for n in known(shape, "a shape").reshape(-1))
    if min(sizes, default=0) < 0:
        raise ValueError(f"shape: numbers >= 0 are needed, got {sizes}")
    plan.budget.check(math.prod(sizes) * number.itemsize)
    return np.broadcast_to(number.reshape(()), sizes)


@operator("Range")
def range_(plan: Plan, node: Node, start: Value, limit: Value, step: Value) -> Value:
    """Numbers from one to another."""
    first, stop, by = (known(value, "a bound").reshape(()) for value in (start, limit, step))
    if by == 0:
        raise ValueError("delta: another number than 0 is needed")
    count = max(math.ceil((float(stop) - float(first)) / float(by)), 0)
    plan.budget.take(count * first.itemsize)
    return (np.arange(count) * by + first).astype(first.dtype)


@operator("NonZero")
def nonzero(plan: Plan, node: Node, x: Value) -> Value:
    """Where a constant is not zero."""
    return np.array(np.nonzero(np.atleast_1d(known(x, "an array"))), np.int64)
