"""What picks elements by their places: GatherElements, GatherND, TopK, OneHot, Trilu, ReverseSequence, ..."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value, order_of
from .registry import known, operator
from .whole import axis_of, wants, whole


@operator("GatherElements")
def gather_elements(plan: Plan, node: Node, x: Value, indices: Value) -> Value:
    """The element along an axis that an array of the result's shape names."""
    axis = axis_of(node, x.ndim)

    def take(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        inside = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))
        return np.take_along_axis(x[inside], indices, axis)

    return whole(plan, take, x, indices, shape=indices.shape, dtype=x.dtype)


@operator("GatherND")
def gather_nd(plan: Plan, node: Node, x: Value, indices: Value) -> Value:
    """The elements, or parts, whose places the last axis of `indices` holds."""
    batch, depth = node.attributes.get("batch_dims", 0), indices.shape[-1]

    def take(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        parts = [x[i][tuple(np.moveaxis(indices[i], -1, 0))] for i in np.ndindex(x.shape[:batch])]
        return np.reshape(parts, shape) if batch else parts[0]

    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    return whole(plan, take, x, indices, shape=shape, dtype=x.dtype)


@operator("TopK")
def top(plan: Plan, node: Node, x: Value, count: Value) -> tuple[Value, Value]:
    """The largest or smallest elements along an axis, and where they are; of equal ones the first."""
    axis = axis_of(node, x.ndim, -1)
    k = int(known(count, "a count").reshape(()))
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k: 0 to {x.shape[axis]} are needed, got {k}")
    largest = node.attributes.get("largest", 1)

    def places(x: np.ndarray) -> np.ndarray:
        if largest:  # from the end, so that of equal ones the first comes last, and first when turned
            order = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
            order = x.shape[axis] - 1 - order
        else:
            order = np.argsort(x, axis, kind="stable")
        return order[(slice(None),) * axis + (slice(k),)]

    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    indices = whole(plan, places, x, shape=shape, dtype=np.dtype(np.int64))

    def take(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.take_along_axis(x, indices, axis)

    return whole(plan, take, x, indices, shape=shape, dtype=x.dtype), indices


@operator("OneHot")
def one_hot(plan: Plan, node: Node, indices: Value, depth: Value, values: Value) -> Value:
    """One number where an index says, another elsewhere along a new axis."""
    count = int(known(depth, "a depth").reshape(-1)[0])
    axis = axis_of(node, indices.ndim + 1, -1)

    def make(indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        at = np.expand_dims(indices.astype(np.int64), axis)
        at = np.where(at < 0, at + count, at)
        along = np.arange(count).reshape(-1, *[1] * (indices.ndim - axis))
        return np.where(at == along, values[1], values[0])

    shape = (*indices.shape[:axis], count, *indices.shape[axis:])
    return whole(plan, make, indices, values, shape=shape, dtype=values.dtype)


@operator("Trilu")
def triangle(plan: Plan, node: Node, x: Value, k: Value | None = None) -> Value:
    """What lies on one side of a diagonal, zeros elsewhere."""
    diagonal = 0 if k is None else int(known(k, "a diagonal").reshape(()))
    keep = np.triu if node.attributes.get("upper", 1) else np.tril
    return whole(plan, lambda x: keep(x, diagonal), x, shape=x.shape, dtype=x.dtype)


@operator("EyeLike")
def eye(plan: Plan, node: Node, x: Value) -> Value:
    """Ones on a diagonal, zeros elsewhere."""
    dtype = np.dtype(node.attributes.get("dtype", x.dtype.name))
    plan.budget.take(x.size * dtype.itemsize)
    return np.eye(*x.shape, k=node.attributes.get("k", 0), dtype=dtype)


@operator("ReverseSequence")
def reverse_sequence(plan: Plan, node: Node, x: Value, lengths: Value) -> Value:
    """The first elements of each row backwards, as many as a length says."""
    time, batch = node.attributes.get("time_axis", 0), node.attributes.get("batch_axis", 1)

    def reverse(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        y = x.copy()
        for row, target, length in zip(
            np.moveaxis(x, (batch, time), (0, 1)),
            np.moveaxis(y, (batch, time), (0, 1)),
            lengths.tolist(),
            strict=True,
        ):
            target[:length] = row[:length][::-1]
        return y

    return whole(plan, reverse, x, lengths, shape=x.shape, dtype=x.dtype)


@operator("Hardmax")
def hardmax(plan: Plan, node: Node, x: Value) -> Value:
    """One at the first of the largest elements along an axis, zero elsewhere."""
    axis = axis_of(node, x.ndim, -1)

    def run(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(*x.shape[:axis], -1) if node.attributes.get("flattened") else x
        best = np.expand_dims(np.argmax(rows, axis), axis)
        along = np.arange(rows.shape[axis]).reshape(-1, *[1] * (rows.ndim - 1 - axis))
        return (along == best).reshape(x.shape)

    return whole(plan, run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))


@operator("Compress")
def compress(plan: Plan, node: Node, x: Value, condition: Value) -> Value:
    """The elements along an axis, or of all, for which a condition holds."""
    axis = node.attributes.get("axis")
    places = np.flatnonzero(known(condition, "a condition"))
    shape = (len(places),) if axis is None else list(x.shape)
    if axis is not None:
        shape[axis_of(node, x.ndim)] = len(places)
    return whole(plan, lambda x: np.take(x, places, axis), x, shape=shape, dtype=x.dtype)


@operator("Unique")
def unique(plan: Plan, node: Node, x: Value) -> tuple[Value | None, ...]:
    """The different elements, or parts along an axis; where they are first; which each one is; how often."""
    axis = node.attributes.get("axis")
    array = known(x, "an array")
    values, first, which, counts = np.unique(array, True, True, True, axis=axis)
    which = which.reshape(-1)
    if not node.attributes.get("sorted", 1):
        order = np.argsort(first, kind="stable")
        values = np.take(values, order, 0 if axis is None else axis)
        first, counts, which = first[order], counts[order], np.argsort(order)[which]
    numbers = [array.astype(np.int64) for array in (first, which, counts)]
    more = [n if wants(node, i) else None for i, n in enumerate(numbers, 1)]
    return (values, *more[: len(node.outputs) - 1])
