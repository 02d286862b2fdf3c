"""Resize: nearest, linear and cubic, one axis after the other."""

from __future__ import annotations

import numpy as np

from ...core.stencil import Rows
from ...runtime import threads
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Tensor, Value, channels_last, order_of
from .images import is_float
from .registry import Unsupported, known, operator
from .resampling import pixels_and_shares, weighing
from .rows import activated


@operator("Resize")
def resize(
    plan: Plan,
    node: Node,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
) -> Value:
    """An image in another size. Pixels beyond its edges are those at the edges."""
    axes = [a % x.ndim for a in node.attributes.get("axes") or range(x.ndim)]
    wanted = dict(zip(axes, _sizes(node, x, axes, scales, sizes), strict=True))
    y = _repeated(plan, node, x, wanted)
    if y is not None:
        return y
    for axis, (size, scale) in wanted.items():
        if size != x.shape[axis] or scale != 1:
            x = _along(plan, node, x, axis, size, scale)
    return x


def _sizes(node: Node, x: Value, axes: list[int], scales: Value | None, sizes: Value | None):
    """For each axis the new size, and the scale."""
    if sizes is not None and sizes.size:
        wanted = [int(size) for size in known(sizes, "a size")]
        policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":  # one scale for all axes
            choose = min if policy == "not_larger" else max
            scale = choose(size / x.shape[axis] for size, axis in zip(wanted, axes, strict=True))
            wanted = [int(np.floor(scale * x.shape[axis] + 0.5)) for axis in axes]
        for axis, size in zip(axes, wanted, strict=True):
            yield size, size / x.shape[axis]
        return
    if scales is None or not scales.size:
        raise ValueError("scales or sizes are needed, got neither")
    for axis, scale in zip(axes, known(scales, "a scale"), strict=True):
        yield int(np.floor(x.shape[axis] * float(scale))), float(scale)


def _repeated(plan: Plan, node: Node, x: Value, wanted: dict[int, tuple[int, float]]) -> Value | None:
    """An image each pixel of which becomes several alike, copied on all threads; None: it is not so."""
    if x.ndim != 4 or not is_float(x) or not isinstance(x, Tensor) or x.size == 0:
        return None
    times = [wanted.get(axis, (x.shape[axis], 1.0))[0] // x.shape[axis] for axis in range(4)]
    for axis, (size, scale) in wanted.items():
        if node.attributes.get("mode", "nearest") != "nearest" or size != times[axis] * x.shape[axis]:
            return None
        rows = np.clip(_nearest(node, _places(node, x.shape[axis], size, scale)), 0, x.shape[axis] - 1)
        if not np.array_equal(rows, np.repeat(np.arange(x.shape[axis]), times[axis])):
            return None
    if times[:2] != [1, 1] or times[2:] == [1, 1]:
        return None
    n, c, h, w = x.shape

    def bind(x: np.ndarray, y: np.ndarray) -> Bound:
        target = channels_last(y).reshape(n, h, times[2], w, times[3], c)
        source = np.broadcast_to(channels_last(x)[:, :, np.newaxis, :, np.newaxis], target.shape)
        return Rows((source, target, None, None), [activated(0, None)], threads)

    shape = (n, c, h * times[2], w * times[3])
    y = plan.step(bind, plan.adjacent(x, 1), shape=shape, dtype=x.dtype, order=CHANNELS_LAST)
    if isinstance(y, Tensor):
        y.pinned = True
    return y


def _along(plan: Plan, node: Node, x: Value, axis: int, size: int, scale: float) -> Value:
    """Another size of one axis."""
    mode = node.attributes.get("mode", "nearest")
    places = _places(node, x.shape[axis], size, scale)
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    if mode == "nearest":
        rows = np.clip(_nearest(node, places), 0, x.shape[axis] - 1)

        def bind(x: np.ndarray, y: np.ndarray) -> Bound:
            return _taking(np.moveaxis(x, axis, 0), rows, np.moveaxis(y, axis, 0))

    elif mode == "linear" and not node.attributes.get("antialias", 0):
        places = np.clip(places, 0, x.shape[axis] - 1)
        lower = np.minimum(places.astype(np.int64), max(x.shape[axis] - 2, 0))
        upper = np.minimum(lower + 1, x.shape[axis] - 1)
        shares = (places - lower).astype(x.dtype)

        def bind(x: np.ndarray, y: np.ndarray) -> Bound:
            return _mixing(np.moveaxis(x, axis, 0), (lower, upper, shares), np.moveaxis(y, axis, 0))

    elif mode in ("linear", "cubic"):
        pixels, weights = pixels_and_shares(node, places, x.shape[axis], scale)

        def bind(x: np.ndarray, y: np.ndarray) -> Bound:
            return weighing(np.moveaxis(x, axis, 0), pixels, weights, np.moveaxis(y, axis, 0))

    else:
        raise ValueError(f"mode: nearest, linear or cubic is needed, got {mode!r}")
    return plan.step(bind, x, shape=shape, dtype=x.dtype, order=order_of(x))


def _taking(x: np.ndarray, rows: np.ndarray, y: np.ndarray) -> Bound:
    def run() -> None:
        for target, row in zip(y, rows, strict=True):
            target[...] = x[row]

    return run


def _mixing(x: np.ndarray, mix: tuple[np.ndarray, np.ndarray, np.ndarray], y: np.ndarray) -> Bound:
    lower, upper, shares = mix

    def run() -> None:
        for target, low, high, share in zip(y, lower, upper, shares, strict=True):
            np.subtract(x[high], x[low], out=target)
            np.multiply(target, share, out=target)
            np.add(target, x[low], out=target)

    return run


def _places(node: Node, old: int, new: int, scale: float) -> np.ndarray:
    """Where the new elements lie among the old ones.

    In float32, as other runtimes have it: half of them lie on the border between two, where rounding decides.
    """
    mode = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    index, scale, half = np.arange(new, dtype=np.float32), np.float32(scale), np.float32(0.5)
    if mode == "asymmetric":
        return index / scale
    if mode == "align_corners":
        return index * np.float32(old - 1) / np.float32(max(new - 1, 1))
    if mode == "pytorch_half_pixel" and new == 1:
        return index * 0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (index + half) / scale - half
    if mode == "half_pixel_symmetric":
        return np.float32(old / 2 * (1 - new / (old * scale))) + (index + half) / scale - half
    raise Unsupported(f"with coordinate_transformation_mode {mode!r}")


def _nearest(node: Node, places: np.ndarray) -> np.ndarray:
    mode = node.attributes.get("nearest_mode", "round_prefer_floor")
    rounded = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }.get(mode)
    if rounded is None:
        raise ValueError(f"nearest_mode: {mode!r} is no mode")
    return rounded(places).astype(np.int64)
