"""Transposed convolutions: each pixel adds what it makes under all taps of its window."""

from __future__ import annotations

from itertools import product

import numpy as np

from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Tensor, Value, channels_last
from .images import apply, as_image, as_row, bound, is_float
from .registry import Unsupported, operator
from .scaling import activation_of, finish
from .volumes import convolve_transposed
from .windows import Geometry, geometry

# So many filters are worth a product for each tap, which writes to where its results belong.
_MANY_FILTERS = 8


@operator("ConvTranspose")
def transposed_convolution(
    plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None = None
) -> Value:
    """One product makes what each pixel adds under all taps of its window; then these are added up."""
    if weight.ndim != x.ndim or not is_float(x):
        raise Unsupported(f"with a weight of {weight.ndim} axes and {x.dtype}")
    if x.ndim > 4 or isinstance(weight, Tensor) or isinstance(bias, Tensor):
        y = convolve_transposed(plan, node, x, weight, bias)
        return finish(plan, y, None, activation_of(node))
    ndim, image = x.ndim, as_image(plan, x)
    kernel = weight[:, :, np.newaxis] if ndim == 3 else weight
    window = geometry(node, ndim - 2, weight.shape[2:])
    groups = node.attributes.get("group", 1)
    channels, filters, *taps = kernel.shape
    n, _, *pixels = image.shape
    outputs, before = _transposed_outputs(node, window, pixels, ndim - 2)
    plan.count(n * pixels[0] * pixels[1] * kernel.size)
    apart = [size * tap for size, tap in zip(pixels, taps, strict=True)] == outputs
    if apart and window.stride == tuple(taps) and window.dilation == (1, 1) and groups == 1:
        return as_row(plan, _side_by_side(plan, node, image, kernel, bias), ndim)
    # Of each group: the outputs of all its taps side by side.
    by_taps = kernel.reshape(groups, channels // groups, filters, *taps).transpose(0, 3, 4, 2, 1)
    rows = by_taps.reshape(groups * taps[0] * taps[1] * filters, channels // groups)
    layer = plan.layer((node.outputs[0], "taps"), lambda: Conv1x1(np.ascontiguousarray(rows), groups=groups))
    products = apply(plan, layer, image)
    offset = np.zeros(groups * filters, x.dtype) if bias is None else bias

    def bind(products: np.ndarray, y: np.ndarray) -> Bound:
        image = channels_last(products).reshape(n, *pixels, groups, *taps, filters)
        out = channels_last(y).reshape(n, *outputs, groups, filters)
        pairs = [*_landings(window, pixels, outputs, before)]

        def run() -> None:
            out[...] = offset.reshape(groups, filters)
            for tap, sources, targets in pairs:
                out[:, *targets] += image[:, *sources, :, *tap]

        return run

    if isinstance(products, Tensor):
        products.pinned = True
    shape = (n, groups * filters, *outputs)
    y = plan.step(bind, products, shape=shape, dtype=x.dtype, order=CHANNELS_LAST)
    if isinstance(y, Tensor):
        y.pinned = True  # the result is seen group by group, which takes an array of its own
    return as_row(plan, finish(plan, y, None, activation_of(node)), ndim)


def _side_by_side(plan: Plan, node: Node, x: Value, kernel: np.ndarray, bias: np.ndarray | None) -> Value:
    """Windows that do not overlap: what a pixel makes under a tap is a pixel of the result."""
    _, filters, *taps = kernel.shape
    n, _, h, w = x.shape
    by_taps, activation = kernel.transpose(2, 3, 1, 0), activation_of(node)  # (kh, kw, K, C)
    name, shape = node.outputs[0], (n, filters, h * taps[0], w * taps[1])
    if filters >= _MANY_FILTERS:
        layers = [
            (i, j, plan.layer((name, i, j), lambda w=by_taps[i, j]: Conv1x1(w, bias, activation=activation)))
            for i, j in np.ndindex(*taps)
        ]

        def bind(x: np.ndarray, y: np.ndarray) -> Bound:
            image, out = channels_last(x), channels_last(y)
            calls = [bound(layer, image, None, out[:, i :: taps[0], j :: taps[1]]) for i, j, layer in layers]
            return lambda: [call() for call in calls]

        return plan.step(bind, plan.adjacent(x, 1), shape=shape, dtype=x.dtype, order=CHANNELS_LAST)
    rows = np.ascontiguousarray(by_taps).reshape(-1, kernel.shape[0])
    offset = None if bias is None else np.tile(bias, len(rows) // max(filters, 1))
    layer = plan.layer((name, "taps"), lambda: Conv1x1(rows, offset, activation=activation))
    products = apply(plan, layer, x)

    def bind_copy(products: np.ndarray, y: np.ndarray) -> Bound:
        source = channels_last(products).reshape(n, h, w, taps[0], taps[1] * filters)
        target = channels_last(y).reshape(n, h, taps[0], w, taps[1] * filters)
        if source.shape[-1] * y.itemsize == 8:  # a row of taps moves as one number
            source, target = source.view(np.uint64), target.view(np.uint64)
        source = source.transpose(0, 1, 3, 2, 4)
        return lambda: np.copyto(target, source)

    if isinstance(products, Tensor):
        products.pinned = True
    y = plan.step(bind_copy, products, shape=shape, dtype=x.dtype, order=CHANNELS_LAST)
    if isinstance(y, Tensor):
        y.pinned = True
    return y


def _transposed_outputs(
    node: Node, window: Geometry, pixels: list[int], axes: int
) -> tuple[list[int], list[int]]:
    """The size of the result, and how far its first pixel lies behind the first tap of the first input."""
    extra = list(node.attributes.get("output_padding") or [0, 0])
    wanted = list(node.attributes.get("output_shape") or [])[-axes:]
    if axes == 1 and len(extra) == 1:
        extra = [0, *extra]
    if wanted and len(wanted) == 1:
        wanted = [1, *wanted]
    full = [
        (size - 1) * stride + reach + more
        for size, stride, reach, more in zip(pixels, window.stride, window.reach, extra, strict=True)
    ]
    if window.auto_pad.startswith("SAME") and not wanted:
        # (as many as there are, where the kernel is smaller than the stride)
        wanted = [min(n * s, most) for n, s, most in zip(pixels, window.stride, full, strict=True)]
    if not wanted:
        outputs = [size - sum(sides) for size, sides in zip(full, window.pads, strict=True)]
        return outputs, [sides[0] for sides in window.pads]
    totals = [max(size - want, 0) for size, want in zip(full, wanted, strict=True)]
    less_first = window.auto_pad == "SAME_UPPER"
    return wanted, [total // 2 if less_first else total - total // 2 for total in totals]


def _landings(window: Geometry, pixels: list[int], outputs: list[int], before: list[int]):
    """For each tap: which inputs have an output under it, and which outputs these are."""
    for tap in product(*map(range, window.kernel)):
        sources, targets = [], []
        for t, size, out, first, stride, step in zip(
            tap, pixels, outputs, before, window.stride, window.dilation, strict=True
        ):
            origin = t * step - first  # the output of input 0 under this tap
            start = max(-(origin // stride), 0)
            stop = min((out - 1 - origin) // stride + 1, size)
            stop = max(stop, start)
            sources.append(slice(start, stop))
            target = origin + start * stride
            targets.append(slice(target, max(target + (stop - start - 1) * stride + 1, target), stride))
        if all(s.stop > s.start for s in sources):
            yield tap, sources, targets
