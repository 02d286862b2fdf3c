"""What puts elements to places that an array holds: ScatterElements, ScatterND, TensorScatter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .registry import operator
from .whole import axis_of, whole

_ADDED: dict[str, Any] = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


def _put(node: Node) -> Callable[[np.ndarray, Any, np.ndarray], None]:
    """How new elements meet those that are there."""
    reduction = node.attributes.get("reduction", "none")
    if reduction == "none":
        return lambda y, index, updates: y.__setitem__(index, updates)
    if reduction not in _ADDED:
        raise ValueError(f"reduction: none or one of {', '.join(_ADDED)} is needed, got {reduction!r}")
    return _ADDED[reduction].at


@operator("ScatterElements", "Scatter")
def scatter_elements(plan: Plan, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """x with each update at its own place, but along one axis where an index says."""
    axis, put = axis_of(node, x.ndim), _put(node)

    def run(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        y = x.copy()
        places = [*np.ogrid[tuple(slice(n) for n in indices.shape)]]
        places[axis] = indices.astype(np.int64)
        put(y, tuple(places), updates)
        return y

    return whole(plan, run, x, indices, updates, shape=x.shape, dtype=x.dtype)


@operator("ScatterND")
def scatter_nd(plan: Plan, node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """x with updates at the places that the last axis of `indices` holds."""
    put = _put(node)

    def run(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        y = x.copy()
        put(y, tuple(np.moveaxis(indices, -1, 0)), updates)
        return y

    return whole(plan, run, x, indices, updates, shape=x.shape, dtype=x.dtype)


@operator("TensorScatter")
def tensor_scatter(plan: Plan, node: Node, cache: Value, update: Value, starts: Value | None = None) -> Value:
    """A cache of keys or values with new ones from a place on, for each sequence of the batch."""
    axis = axis_of(node, cache.ndim, -2)
    circular = node.attributes.get("mode", "linear") == "circular"

    def run(cache: np.ndarray, update: np.ndarray, starts: np.ndarray | None) -> np.ndarray:
        y = cache.copy()
        for number, new in enumerate(update):
            start = 0 if starts is None else int(starts[number])
            places = start + np.arange(update.shape[axis])
            if circular:
                places %= cache.shape[axis]
            np.moveaxis(y[number], axis - 1, 0)[places] = np.moveaxis(new, axis - 1, 0)
        return y

    return whole(plan, run, cache, update, starts, shape=cache.shape, dtype=cache.dtype)
