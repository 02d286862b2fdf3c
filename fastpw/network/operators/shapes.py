"""What moves no numbers, where that can be: views of arrays in other shapes and orders."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ...shuffle import ChannelShuffle
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_FIRST, CHANNELS_LAST, Shape, Tensor, Value, channels_last, layout, reshaped
from .images import bound, is_float
from .registry import known, operator


@operator("Identity", "Dropout")
def same(plan: Plan, node: Node, x: Value, *others: Value | None) -> Value | tuple[Value, ...]:
    """x; of a Dropout, which drops nothing here, the mask as well if it is wanted."""
    ratio, training = [*others, None, None][:2]
    if training is not None and np.any(known(training, "a training_mode")):
        share = 0.5 if ratio is None else float(known(ratio, "a ratio").reshape(()))
        if share:
            raise ValueError(f"training_mode: False is needed, got True with ratio={share}")
    if len(node.outputs) == 2 and node.outputs[1]:
        return x, np.ones(x.shape, bool)
    return x


@operator("Transpose")
def transpose(plan: Plan, node: Node, x: Value) -> Value:
    """The axes in another order."""
    axes = node.attributes.get("perm") or [*reversed(range(x.ndim))]
    if sorted(axes) != [*range(x.ndim)]:
        raise ValueError(f"perm: each of {x.ndim} axes is needed once, got {axes}")
    return plan.view(x, lambda a: a.transpose(axes))


@operator("Reshape")
def reshape(plan: Plan, node: Node, x: Value, shape: Value) -> Value:
    """The same elements in another shape: 0 keeps a size, -1 is what is left."""
    wanted = [int(n) for n in known(shape, "a shape").reshape(-1)]
    if not node.attributes.get("allowzero", 0):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
            raise ValueError(f"shape: no 0 beyond the {x.ndim} axes of the input is allowed, got {wanted}")
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if wanted.count(-1) == 1:
        others = -math.prod(wanted)
        wanted[wanted.index(-1)] = x.size // others if others else 0
    if min(wanted, default=0) < 0 or math.prod(wanted) != x.size:
        given = [int(n) for n in known(shape, "a shape").reshape(-1)]
        raise ValueError(f"shape: one of {x.size} elements is needed, as the input {x.shape}, got {given}")
    return reshape_to(plan, x, tuple(wanted))


@operator("Flatten")
def flatten(plan: Plan, node: Node, x: Value) -> Value:
    """A matrix: the axes before `axis` are its rows."""
    axis = node.attributes.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return reshape_to(plan, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def reshape_to(plan: Plan, x: Value, shape: Shape) -> Value:
    """A view where the memory allows it; otherwise a copy, of images with the channels last."""
    if shape == x.shape:
        return x
    if reshaped(layout(x), shape) is not None:
        return plan.view(x, partial(_reshaped, shape=shape))
    groups = _shuffled_groups(x, shape)
    if groups:
        return _shuffle(plan, x, shape, groups)
    order = CHANNELS_LAST if len(shape) == 4 and x.dtype.kind == "f" else None
    out = plan.new(shape, x.dtype, order)
    if order and reshaped(out.like, x.shape) is None:
        order = None
        out = plan.new(shape, x.dtype)

    def copy(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(_reshaped(out, x.shape), x)

    y = plan.compute(copy, x, shape=shape, dtype=x.dtype, order=order)
    if isinstance(y, Tensor):
        y.pinned = True
    return y


def _reshaped(array: np.ndarray, shape: Shape) -> np.ndarray:
    view = reshaped(array, shape)
    if view is None:
        raise RuntimeError(f"an array of strides {array.strides} has no view of shape {shape}")
    return view


def _shuffled_groups(x: Value, shape: Shape) -> int:
    """The groups whose channels a Reshape puts in turn, 0 if it does something else.

    x is (N, C // g, g, H, W), a view of (N, g, C // g, H, W) with adjacent channels, and becomes (N, C, H,
    W).
    """
    array = layout(x)
    if array.ndim != 5 or not is_float(x):
        return 0
    n, inner, groups, h, w = array.shape
    if shape != (n, inner * groups, h, w) or array.strides[1] != array.itemsize:
        return 0
    return groups if array.strides[2] == inner * array.itemsize else 0


def _shuffle(plan: Plan, x: Value, shape: Shape, groups: int) -> Value:
    layer = plan.layer(("shuffle", groups), lambda: ChannelShuffle(groups))
    last = tuple(shape[axis] for axis in CHANNELS_LAST)

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        return bound(layer, _reshaped(x.transpose(0, 3, 4, 2, 1), last), None, channels_last(y))

    return plan.step(bind, x, shape=shape, dtype=x.dtype, order=CHANNELS_LAST)


@operator("ChannelsLast", "ChannelsFirst")
def border(plan: Plan, node: Node, x: Value) -> Value:
    """The view of an image with its channels at the end, or behind the batch."""
    axes = CHANNELS_LAST if node.op == "ChannelsLast" else CHANNELS_FIRST
    return plan.view(x, lambda a: a.transpose(axes))


def _axes(node: Node, axes: Value | None, ndim: int) -> tuple[int, ...] | None:
    if axes is None:
        return None
    numbers = tuple(int(a) for a in known(axes, "axes").reshape(-1))
    for axis in numbers:
        if not -ndim <= axis < ndim:
            raise ValueError(f"axes: {-ndim} to {ndim - 1} are needed, got {axis}")
    return tuple(sorted(axis % ndim for axis in numbers))


@operator("Squeeze")
def squeeze(plan: Plan, node: Node, x: Value, axes: Value | None = None) -> Value:
    """Without some axes of one element."""
    chosen = _axes(node, axes, x.ndim)
    if chosen is None:
        chosen = tuple(i for i, n in enumerate(x.shape) if n == 1)
    return plan.view(x, lambda a: np.squeeze(a, chosen))


@operator("Unsqueeze")
def unsqueeze(plan: Plan, node: Node, x: Value, axes: Value) -> Value:
    """With more axes of one element."""
    count = known(axes, "axes").size
    chosen = _axes(node, axes, x.ndim + count)
    return plan.view(x, lambda a: np.expand_dims(a, chosen))


@operator("Expand")
def expand(plan: Plan, node: Node, x: Value, shape: Value) -> Value:
    """Repeated along axes of one element, without a copy."""
    wanted = np.broadcast_shapes(x.shape, tuple(int(n) for n in known(shape, "a shape").reshape(-1)))
    return plan.view(x, lambda a: np.broadcast_to(a, wanted))


@operator("Slice")
def slice_(
    plan: Plan,
    node: Node,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    """Every so many elements between two, along some axes."""
    starts = [int(n) for n in known(starts, "a start").reshape(-1)]
    ends = [int(n) for n in known(ends, "an end").reshape(-1)]
    chosen = (
        range(len(starts)) if axes is None else [int(a) % x.ndim for a in known(axes, "axes").reshape(-1)]
    )
    by = [1] * len(starts) if steps is None else [int(n) for n in known(steps, "a step").reshape(-1)]
    if len({len(starts), len(ends), len(chosen), len(by)}) > 1 or 0 in by or max(chosen, default=0) >= x.ndim:
        raise ValueError(
            f"starts, ends, axes and steps (not 0) of one length are needed, got {starts}, {ends}"
        )
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(chosen, starts, ends, by, strict=True):
        size = x.shape[axis]
        # A step backwards ends with the first element where it ends before all.
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return plan.view(x, lambda a: a[tuple(index)])


@operator("Split")
def split(plan: Plan, node: Node, x: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    """Parts along an axis."""
    axis = node.attributes.get("axis", 0) % x.ndim
    count = len(node.outputs)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        parts = [max(min(each, x.shape[axis] - i * each), 0) for i in range(count)]
    else:
        parts = [int(n) for n in known(sizes, "a size").reshape(-1)]
    if len(parts) != count or sum(parts) != x.shape[axis] or min(parts) < 0:
        raise ValueError(f"split: {count} sizes with the sum {x.shape[axis]} are needed, got {parts}")
    results, start = [], 0
    for size in parts:
        index = (slice(None),) * axis + (slice(start, start + size),)
        results.append(plan.view(x, lambda a, index=index: a[index]))
        start += size
    return tuple(results)


@operator("DepthToSpace")
def depth_to_space(plan: Plan, node: Node, x: Value) -> Value:
    """Channels become pixels: blocks of block * block of them."""
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "DCR":
        x = plan.view(
            reshape_to(plan, x, (n, b, b, c // b // b, h, w)), lambda a: a.transpose(0, 3, 4, 1, 5, 2)
        )
    else:
        x = plan.view(
            reshape_to(plan, x, (n, c // b // b, b, b, h, w)), lambda a: a.transpose(0, 1, 4, 2, 5, 3)
        )
    return reshape_to(plan, x, (n, c // b // b, h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(plan: Plan, node: Node, x: Value) -> Value:
    """Pixels become channels: the way back."""
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    order = (0, 3, 5, 1, 2, 4) if node.attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    x = plan.view(reshape_to(plan, x, (n, c, h // b, b, w // b, b)), lambda a: a.transpose(order))
    return reshape_to(plan, x, (n, c * b * b, h // b, w // b))
