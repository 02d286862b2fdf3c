"""What puts numbers into new arrays: Concat, Pad, Gather, Tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Tensor, Value, order_of
from .registry import known, operator


@operator("Concat")
def concat(plan: Plan, node: Node, *parts: Value) -> Value:
    """Side by side along an axis. What has memory of its own, seen by nobody else, is computed in place."""
    first = parts[0]
    axis = node.attributes["axis"] % max(first.ndim, 1)
    for part in parts:
        if part.ndim != first.ndim or part.dtype != first.dtype:
            raise ValueError(f"inputs of one dtype and as many axes are needed, got {[*map(_told, parts)]}")
        if any(a != b for i, (a, b) in enumerate(zip(part.shape, first.shape, strict=True)) if i != axis):
            raise ValueError(f"inputs alike but for axis {axis} are needed, got {[*map(_told, parts)]}")
    total = sum(part.shape[axis] for part in parts)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    order = CHANNELS_LAST if len(shape) == 4 and first.dtype.kind == "f" else order_of(first)
    if not any(isinstance(part, Tensor) for part in parts):
        plan.budget.take(math.prod(shape) * first.dtype.itemsize)
        return np.concatenate(parts, axis)
    y = plan.new(shape, first.dtype, order)
    copied = []
    start = 0
    for part in parts:
        place = partial(_slice, axis=axis, start=start, stop=start + part.shape[axis])
        if _movable(plan, part) and order_of(part) == order:
            part.place(y, place)
        else:
            copied.append((part, place))
        start += part.shape[axis]
    plan.gather(y, copied)
    return y


def _told(part: Value) -> str:
    return f"{part.dtype}{list(part.shape)}"


def _movable(plan: Plan, part: Value) -> bool:
    """Whether it may be computed in another's memory: no input, no view, nobody has seen where it lies."""
    own = isinstance(part, Tensor) and part.base is None and not part.viewed and not part.pinned
    return own and not any(part is given for given in plan.inputs)


def _slice(array: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(start, stop),)]


@operator("Pad")
def pad(
    plan: Plan, node: Node, x: Value, pads: Value, fill: Value | None = None, axes: Value | None = None
) -> Value:
    """More elements before and after; a negative number takes some away."""
    before_after = [int(n) for n in known(pads, "a padding")]
    chosen = range(x.ndim) if axes is None else [int(a) % x.ndim for a in known(axes, "axes")]
    sides = [(0, 0)] * x.ndim
    for number, axis in enumerate(chosen):
        sides[axis] = before_after[number], before_after[number + len(before_after) // 2]
    mode = node.attributes.get("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise ValueError(f"mode: constant, edge, reflect or wrap is needed, got {mode!r}")
    x = plan.view(x, partial(_cropped, sides=sides))
    sides = [(max(a, 0), max(b, 0)) for a, b in sides]
    number = 0 if fill is None else known(fill, "a number to pad with").reshape(-1)[0]
    return padded(plan, x, sides, number, mode)


def _cropped(array: np.ndarray, sides: Sequence[tuple[int, int]]) -> np.ndarray:
    return array[
        tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(sides, array.shape, strict=True))
    ]


def padded(
    plan: Plan, x: Value, sides: Sequence[tuple[int, int]], fill: float, mode: str = "constant"
) -> Value:
    """x with so many elements before and after along each axis."""
    if not any(map(any, sides)):
        return x
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, sides, strict=True))
    inner = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, sides, strict=True))

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        def constant() -> None:
            y.fill(fill)
            y[inner] = x

        def other() -> None:
            np.copyto(y, np.pad(x, sides, mode=mode))

        return constant if mode == "constant" else other

    order = CHANNELS_LAST if x.ndim == 4 and x.dtype.kind == "f" else order_of(x)
    return plan.step(bind, x, shape=shape, dtype=x.dtype, order=order)


@operator("Gather")
def gather(plan: Plan, node: Node, x: Value, indices: Value) -> Value:
    """Some elements along an axis: one of them is a view."""
    axis = node.attributes.get("axis", 0) % max(x.ndim, 1)
    if not isinstance(indices, Tensor) and indices.ndim == 0:
        index = int(indices)
        if not -x.shape[axis] <= index < x.shape[axis]:
            raise ValueError(f"indices: {-x.shape[axis]} to {x.shape[axis] - 1} are needed, got {index}")
        return plan.view(x, lambda a: a[(slice(None),) * axis + (index,)])

    def take(x: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, np.take(x, indices, axis))  # (with `out` NumPy would copy, too)

    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return plan.compute(take, x, indices, shape=shape, dtype=x.dtype)


@operator("Tile")
def tile(plan: Plan, node: Node, x: Value, repeats: Value) -> Value:
    """The array again and again along each axis."""
    times = tuple(int(n) for n in known(repeats, "a number of repeats"))
    shape = tuple(n * t for n, t in zip(x.shape, times, strict=True))
    return plan.compute(lambda a, out: np.copyto(out, np.tile(a, times)), x, shape=shape, dtype=x.dtype)
