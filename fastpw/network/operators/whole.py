"""What NumPy computes as a whole: a function of arrays gives a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Order, Value


def whole(
    plan: Plan,
    function: Callable[..., Any],
    *reads: Value | None,
    shape: Sequence[int],
    dtype: np.dtype,
    order: Order | None = None,
) -> Value:
    """A value that `function(*arrays read)` returns, of that shape."""

    def run(*arrays: np.ndarray, out: np.ndarray) -> None:
        made = function(*arrays)
        if np.shape(made) != out.shape:
            raise ValueError(f"a result of shape {out.shape} is needed, got {np.shape(made)}")
        np.copyto(out, made, casting="unsafe")

    return plan.compute(run, *reads, shape=tuple(int(n) for n in shape), dtype=dtype, order=order)


def axis_of(node: Node, ndim: int, default: int = 0, name: str = "axis") -> int:
    """The axis that an attribute names, counted from the front.

    Raises
    ------
    ValueError
        The input has no such axis.
    """
    axis = node.attributes.get(name, default)
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name}: {-ndim} to {ndim - 1} are needed, got {axis}")
    return axis % ndim


def wants(node: Node, number: int) -> bool:
    """Whether somebody reads a result besides the first."""
    return number < len(node.outputs) and bool(node.outputs[number])
