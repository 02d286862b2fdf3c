"""Sums, means and extremes along axes, and what is made of them: Softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value, order_of
from .images import is_float
from .pools import mean_of_images
from .registry import known, operator
from .rows import softmax_rows


def _l2(x: np.ndarray, axis: tuple[int, ...], out: np.ndarray, keepdims: bool) -> None:
    np.sum(np.square(x), axis=axis, out=out, keepdims=keepdims)
    np.sqrt(out, out=out)


def _logsumexp(x: np.ndarray, axis: tuple[int, ...], out: np.ndarray, keepdims: bool) -> None:
    most = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    most[~np.isfinite(most)] = 0
    np.sum(np.exp(x - most), axis=axis, out=out, keepdims=keepdims)
    np.log(out, out=out)
    out += most.reshape(out.shape)


def _least(dtype: np.dtype, largest: bool) -> Any:
    """What no element is below or above, so that no elements at all have it."""
    if dtype.kind == "f":
        return np.inf if largest else -np.inf
    if dtype.kind == "b":
        return largest
    return getattr(np.iinfo(dtype), "max" if largest else "min")


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceL1": lambda x, **options: np.sum(np.abs(x), **options),
    "ReduceL2": _l2,
    "ReduceLogSum": lambda x, out, **options: np.log(np.sum(x, out=out, **options), out=out),
    "ReduceLogSumExp": _logsumexp,
    "ReduceMax": lambda x, **options: np.max(x, initial=_least(x.dtype, False), **options),
    "ReduceMean": np.mean,
    "ReduceMin": lambda x, **options: np.min(x, initial=_least(x.dtype, True), **options),
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceSumSquare": lambda x, **options: np.sum(np.square(x), **options),
}


@operator(*_REDUCTIONS)
def reduce(plan: Plan, node: Node, x: Value, axes: Value | None = None) -> Value:
    """One number for all elements along some axes; without axes along all."""
    given = [] if axes is None else [int(a) for a in known(axes, "axes").reshape(-1)]
    if not given and node.attributes.get("noop_with_empty_axes", 0):
        return x
    along = tuple(sorted({a % x.ndim for a in given})) or tuple(range(x.ndim))
    keep = bool(node.attributes.get("keepdims", 1))
    if node.op == "ReduceMean" and x.ndim == 4 and along == (2, 3) and is_float(x):
        y = mean_of_images(plan, x)
        return y if keep else plan.view(y, lambda a: a[:, :, 0, 0])
    shape = tuple(1 if i in along else n for i, n in enumerate(x.shape) if keep or i not in along)
    function = _REDUCTIONS[node.op]

    def run(x: np.ndarray, out: np.ndarray) -> None:
        function(x, axis=along, out=out, keepdims=keep)

    order = order_of(x) if keep else None
    return plan.compute(run, x, shape=shape, dtype=x.dtype, order=order)


@operator("ArgMax", "ArgMin")
def extreme_index(plan: Plan, node: Node, x: Value) -> Value:
    """Where the largest or smallest element lies along an axis."""
    axis = node.attributes.get("axis", 0) % x.ndim
    keep = bool(node.attributes.get("keepdims", 1))
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape) if keep or i != axis)
    find = np.argmax if node.op == "ArgMax" else np.argmin
    last = bool(node.attributes.get("select_last_index", 0))

    def run(x: np.ndarray, out: np.ndarray) -> None:
        found = find(np.flip(x, axis) if last else x, axis=axis, keepdims=keep)
        np.copyto(out, x.shape[axis] - 1 - found if last else found)

    return plan.compute(run, x, shape=shape, dtype=np.dtype(np.int64))


@operator("Softmax", "LogSoftmax")
def softmax(plan: Plan, node: Node, x: Value) -> Value:
    """Powers of e that sum to one along an axis, or along all from it on, as opsets before 13 have it."""
    axis = node.attributes.get("axis", -1) % x.ndim
    along = tuple(range(axis, x.ndim)) if node.attributes.get("flattened") else (axis,)
    logarithm = node.op == "LogSoftmax"
    if along == (x.ndim - 1,) and not logarithm:
        y = softmax_rows(plan, x)
        if y is not None:
            return y

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.subtract(x, np.max(x, axis=along, keepdims=True), out=out)
        if logarithm:
            out -= np.log(np.sum(np.exp(out), axis=along, keepdims=True))
        else:
            np.exp(out, out=out)
            out /= np.sum(out, axis=along, keepdims=True)

    return plan.compute(run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))
