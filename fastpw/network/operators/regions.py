"""Boxes and places of images: NonMaxSuppression, RoiAlign, GridSample, AffineGrid, Col2Im."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .registry import known, operator
from .whole import whole


@operator("NonMaxSuppression")
def non_maximum_suppression(
    plan: Plan,
    node: Node,
    boxes: Value,
    scores: Value,
    most: Value | None = None,
    overlap: Value | None = None,
    least: Value | None = None,
) -> Value:
    """Of boxes that overlap those of the best scores: (batch, class, box) of each."""
    limit, most_shared, threshold = (
        default if value is None else known(value, "a number").reshape(-1)[0]
        for value, default in ((most, 0), (overlap, 0.0), (least, -np.inf))
    )
    corners = _corners(known(boxes, "boxes"), bool(node.attributes.get("center_point_box", 0)))
    scores = known(scores, "scores")
    found = []
    for image, label in np.ndindex(scores.shape[:2]):
        kept: list[int] = []
        row = scores[image, label]
        for box in np.argsort(-row, kind="stable"):
            if len(kept) >= limit or not row[box] > threshold:
                break
            if not kept or np.all(_shared(corners[image, kept], corners[image, box]) <= most_shared):
                kept.append(int(box))
        found += [(image, label, box) for box in kept]
    return np.array(found, np.int64).reshape(-1, 3)


def _corners(boxes: np.ndarray, centred: bool) -> np.ndarray:
    """(low y, low x, high y, high x) of each box."""
    if centred:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=-1)
    a, b = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=-1)


def _shared(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The area that boxes share with another, divided by that of both together."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    both = np.maximum(sides, 0).prod(axis=-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) + (box[2:] - box[:2]).prod() - both
    return np.divide(both, areas, out=np.zeros_like(both), where=areas > 0)


@operator("RoiAlign")
def roi_align(plan: Plan, node: Node, x: Value, boxes: Value, images: Value) -> Value:
    """For each box a small image: the mean or the largest of what lies at some places of each of its parts.

    He et al. 2017, Mask R-CNN, arXiv:1703.06870, section 3.
    """
    get = node.attributes.get
    sizes = get("output_height", 1), get("output_width", 1)
    scale, samples = get("spatial_scale", 1.0), get("sampling_ratio", 0)
    before = node.version and node.version < 16  # when there was one way to say where pixels lie
    half = get("coordinate_transformation_mode", "output_" if before else "half_pixel") == "half_pixel"
    largest = get("mode", "avg") == "max"

    def one(image: np.ndarray, box: np.ndarray) -> np.ndarray:
        ends = box.astype(np.float64) * scale - (0.5 if half else 0)
        low, extent = ends[1::-1], ends[:1:-1] - ends[1::-1]  # y, x
        extent = extent if half else np.maximum(extent, 1)
        taps, places = [], []
        for axis in range(2):
            each = extent[axis] / sizes[axis]
            count = samples or max(math.ceil(each), 0)
            at = low[axis] + (np.arange(sizes[axis] * count) + 0.5) * each / max(count, 1)
            taps.append(count)
            places.append(at)
        if 0 in taps:
            return np.zeros((len(image), *sizes), x.dtype)
        parts = _weighted(image, *places, largest).reshape(
            len(image), sizes[0], taps[0], sizes[1], taps[1], -1
        )
        return parts.max(axis=(2, 4, 5)) if largest else parts.mean(axis=(2, 4, 5))

    def run(x: np.ndarray, boxes: np.ndarray, images: np.ndarray) -> np.ndarray:
        made = [one(x[image], box) for image, box in zip(images, boxes, strict=True)]
        return np.reshape(made, shape)

    shape = (boxes.shape[0], x.shape[1], *sizes)
    return whole(plan, run, x, boxes, images, shape=shape, dtype=x.dtype)


def _weighted(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, apart: bool) -> np.ndarray:
    """(C, rows, columns, 1), between the four pixels around; or (C, rows, columns, 4), their shares apart."""
    sides = []
    for places, size in zip((rows, columns), image.shape[1:], strict=True):
        inside = (places >= -1) & (places <= size)
        at = np.clip(places, 0, size - 1)
        low = np.minimum(at.astype(np.int64), size - 1)
        share = at - low
        sides.append((low, np.minimum(low + 1, size - 1), (1 - share) * inside, share * inside))
    (top, bottom, up, down), (left, right, near, far) = sides
    parts = [
        image[:, y][:, :, x] * (a[:, np.newaxis] * b)
        for (y, a), (x, b) in product(((top, up), (bottom, down)), ((left, near), (right, far)))
    ]
    parts = np.stack(parts, axis=-1)
    return parts if apart else parts.sum(axis=-1, keepdims=True)


@operator("AffineGrid")
def affine_grid(plan: Plan, node: Node, theta: Value, size: Value) -> Value:
    """The places that an affine map gives to the pixels of an image."""
    n, _, *sizes = (int(k) for k in known(size, "a size"))
    aligned = node.attributes.get("align_corners", 0)
    lines = [np.linspace(-1, 1, k) if aligned else (2 * np.arange(k) + 1) / k - 1 for k in sizes]
    grid = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(sizes)], axis=-1)

    def run(theta: np.ndarray) -> np.ndarray:
        return np.reshape(grid.reshape(-1, len(sizes) + 1) @ theta.transpose(0, 2, 1), shape)

    shape = (n, *sizes, len(sizes))
    return whole(plan, run, theta, shape=shape, dtype=theta.dtype)


@operator("GridSample")
def grid_sample(plan: Plan, node: Node, x: Value, grid: Value) -> Value:
    """The image at the places of a grid.

    Jaderberg et al. 2015, Spatial Transformer Networks, arXiv:1506.02025, section 3.3.
    """
    get = node.attributes.get
    mode = get("mode", "linear").removeprefix("bi")
    padding, aligned = get("padding_mode", "zeros"), get("align_corners", 0)
    if mode not in ("linear", "nearest", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise ValueError(f"mode, padding_mode: ONNX's are needed, got {mode!r} and {padding!r}")
    sizes = x.shape[2:]

    def one(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """(C, ...), of places (..., axes), the last axis of the image first."""
        taps = []
        for places, size in zip(np.moveaxis(grid[..., ::-1], -1, 0), sizes, strict=True):
            at = (places + 1) / 2 * (size - 1) if aligned else ((places + 1) * size - 1) / 2
            taps.append(_taps(_folded(at, size, padding, aligned) if mode != "cubic" else at, mode))
        y = np.zeros((len(image), *grid.shape[:-1]), np.float64)
        for tap in product(*taps):
            index, share = [], np.ones(grid.shape[:-1])
            for (pixel, part), size in zip(tap, sizes, strict=True):
                place = _folded(pixel, size, padding, aligned) if mode == "cubic" else pixel
                share = share * part * ((place >= 0) & (place <= size - 1))
                index.append(np.clip(place, 0, size - 1).astype(np.int64))
            y += image[:, *index] * share
        return y

    def run(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        made = [one(image, places) for image, places in zip(x, grid.astype(np.float64), strict=True)]
        return np.reshape(made, shape)

    shape = (*x.shape[:2], *grid.shape[1:-1])
    return whole(plan, run, x, grid, shape=shape, dtype=x.dtype)


def _folded(at: np.ndarray, size: int, padding: str, aligned: int) -> np.ndarray:
    """Places beyond the edges as the padding has them."""
    if padding == "border":
        return np.clip(at, 0, size - 1)
    if padding == "zeros":
        return at
    low, length = (0.0, size - 1.0) if aligned else (-0.5, float(size))
    if length == 0:
        return np.zeros_like(at)
    away = np.mod(at - low, 2 * length)
    return np.clip(low + np.minimum(away, 2 * length - away), 0, size - 1)


def _taps(at: np.ndarray, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pixels around places along an axis, each with its share."""
    if mode == "nearest":
        return [(np.rint(at), np.ones_like(at))]
    low = np.floor(at)
    t = at - low
    if mode == "linear":
        return [(low, 1 - t), (low + 1, t)]
    return [(low + number - 1, share) for number, share in enumerate(cubic_shares(t, -0.75))]


def cubic_shares(t: np.ndarray, a: float) -> list[np.ndarray]:
    """Of four pixels, for a place between the second and the third.

    Keys 1981, Cubic convolution interpolation for digital image processing.
    """

    def far(d: np.ndarray) -> np.ndarray:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    def near(d: np.ndarray) -> np.ndarray:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


@operator("Col2Im")
def columns_to_image(plan: Plan, node: Node, x: Value, sizes: Value, block: Value) -> Value:
    """Blocks added to where they were taken from."""
    sizes, block = ([int(k) for k in known(value, "a shape")] for value in (sizes, block))
    count, get = len(sizes), node.attributes.get
    strides, dilations = (list(get(name) or [1] * count) for name in ("strides", "dilations"))
    pads = list(get("pads") or [0] * 2 * count)
    whole_sizes = [k + a + b for k, a, b in zip(sizes, pads[:count], pads[count:], strict=True)]
    steps = [
        (k - (b - 1) * d - 1) // s + 1
        for k, b, d, s in zip(whole_sizes, block, dilations, strides, strict=True)
    ]
    n, channels = x.shape[0], x.shape[1] // math.prod(block)

    def run(x: np.ndarray) -> np.ndarray:
        columns = x.reshape(n, channels, *block, *steps)
        y = np.zeros((n, channels, *whole_sizes), x.dtype)
        for tap in np.ndindex(*block):
            places = tuple(
                slice(t * d, t * d + (k - 1) * s + 1, s)
                for t, d, k, s in zip(tap, dilations, steps, strides, strict=True)
            )
            y[:, :, *places] += columns[:, :, *tap]
        return y[:, :, *(slice(p, p + k) for p, k in zip(pads, sizes, strict=False))]

    return whole(plan, run, x, shape=(n, channels, *sizes), dtype=x.dtype)
