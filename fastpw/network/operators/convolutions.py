"""Convolutions and transposed convolutions of images and of rows of pixels."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..._layer import ConvolutionLayer
from ...conv2d import Conv2d, conv2d
from ...depthwise import DepthwiseConv2d
from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Shape, Tensor, Value, channels_last
from .images import apply, as_image, as_row, is_float, shape_last
from .registry import Unsupported, known, operator
from .scaling import activation_of, finish
from .windows import Geometry, Sides, geometry


@operator("Conv")
def convolution(
    plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None = None, residual: Value | None = None
) -> Value:
    """With what `simplify` has joined to it: an activation, and a fourth input that is added before."""
    if not (is_float(x) and x.dtype == weight.dtype):
        raise TypeError(
            f"float32 or float64 is needed, for x and weight alike, got {x.dtype} and {weight.dtype}"
        )
    if isinstance(weight, Tensor) or isinstance(bias, Tensor):
        return _with_computed_weights(plan, node, x, weight, bias, residual)
    ndim, image = x.ndim, as_image(plan, x)
    layer = convolution_layer(plan, node, image.shape, weight, bias)
    y = _with_gates(plan, layer, x, weight, residual)
    if y is not None:
        return y
    n, h, w, c = layer.output_shape(shape_last(image.shape))
    plan.count(n * h * w * weight.size)
    shape = (n, c, h, w) if ndim == 4 else (n, c, w)
    if residual is None or residual.shape == shape:
        added = None if residual is None else as_image(plan, residual)
        return as_row(plan, apply(plan, layer, image, added), ndim)
    # The residual is broadcast, or broadcasts the result: one after the other.
    plain = Node(node.op, node.inputs, node.outputs, {**node.attributes, "activation": None}, node.name)
    layer = convolution_layer(plan, plain, image.shape, weight, bias)
    return finish(plan, as_row(plan, apply(plan, layer, image), ndim), residual, activation_of(node))


def convolution_layer(
    plan: Plan, node: Node, shape: Shape, weight: np.ndarray, bias: np.ndarray | None
) -> ConvolutionLayer:
    """The layer that computes a node for an image (N, C, H, W) of that shape, packed once for all plans."""
    axes = weight.ndim - 2
    if axes not in (1, 2):
        raise Unsupported(f"with {axes} axes of pixels")
    window = geometry(node, axes, weight.shape[2:])
    sides = window.sides(shape[2:])
    groups = node.attributes.get("group", 1)
    if weight.shape[1] * groups != shape[1]:
        raise ValueError(
            f"x: {weight.shape[1] * groups} channels are needed by weight {weight.shape} "
            f"with group={groups}, got shape {shape}"
        )
    activation = activation_of(node)
    key = node.name, node.outputs[0], sides, activation
    kernel = weight[:, :, np.newaxis] if axes == 1 else weight
    return plan.layer(key, lambda: _layer(kernel, bias, window, sides, groups, activation))


def _layer(
    weight: np.ndarray, bias: np.ndarray | None, window: Geometry, sides: Sides, groups: int, activation
) -> ConvolutionLayer:
    """The weight is ONNX's: (K, C // groups, kh, kw)."""
    filters, depth, *kernel = weight.shape
    options = {"stride": window.stride, "padding": sides, "activation": activation}
    if depth == 1 and groups > 1 and filters % groups == 0:
        per_channel = weight.reshape(groups, filters // groups, *kernel).transpose(2, 3, 0, 1)
        return DepthwiseConv2d(per_channel, bias, dilation=window.dilation, weight_layout="HWIO", **options)
    if kernel == [1, 1]:
        return Conv1x1(weight, bias, groups=groups, weight_layout="OIHW", **options)
    return Conv2d(weight, bias, dilation=window.dilation, groups=groups, weight_layout="OIHW", **options)


def _with_gates(
    plan: Plan, layer: ConvolutionLayer, x: Value, weight: np.ndarray, residual: Value | None
) -> Value | None:
    """A 1x1 of an image times a number for each channel: its weights take the numbers, if they are fewer.

    None where x is no such product, or has fewer pixels than the layer filters.
    """
    source, gates = plan.gated.get(x, (None, None)) if isinstance(x, Tensor) else (None, None)
    if source is None or not isinstance(layer, Conv1x1) or not layer._operation.plain or layer.groups > 1:
        return None
    n, c, h, w = x.shape
    shape = (n, len(weight), h, w)
    if len(weight) > h * w or c == 1 or (residual is not None and residual.shape != shape):
        return None
    source, gates = plan.adjacent(source, 1), plan.adjacent(gates, 1)
    residual = None if residual is None else plan.adjacent(residual, 1)
    plan.count(n * h * w * weight.size)

    def bind(x: np.ndarray, gates: np.ndarray, residual: np.ndarray | None, y: np.ndarray) -> Bound:
        rest = [None] * n if residual is None else channels_last(residual)
        images = zip(channels_last(x), gates[:, :, 0, 0], rest, channels_last(y), strict=True)
        calls = [Gated(layer, *image) for image in images]
        return calls[0] if n == 1 else lambda: [call() for call in calls]

    return plan.step(bind, source, gates, residual, shape=shape, dtype=x.dtype, order=CHANNELS_LAST)


class Gated:
    """A 1x1 layer bound to the arrays of an image (H, W, C), with a gate for each channel."""

    __slots__ = ("_arrays", "_layer", "_program")

    def __init__(
        self, layer: Conv1x1, x: np.ndarray, gates: np.ndarray, residual: np.ndarray | None, y: np.ndarray
    ) -> None:
        self._layer, self._arrays = layer, (gates, x, residual, y)
        self._program = self._described()

    def __call__(self) -> None:
        while not self._program.gated(*self._arrays):  # (for another number of threads)
            self._program = self._described()

    def _described(self):
        _, x, residual, y = self._arrays
        return self._layer._operation.describe(self._layer._packed, x, y, residual, None)


def _with_computed_weights(
    plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None, residual: Value | None
) -> Value:
    """Weights that the network computes itself are packed at each call."""
    if x.ndim != 4:
        raise Unsupported("with computed weights on other than images")
    window = geometry(node, 2, weight.shape[2:])
    options = {
        "stride": window.stride,
        "padding": window.sides(x.shape[2:]),
        "dilation": window.dilation,
        "groups": node.attributes.get("group", 1),
        "weight_layout": "OIHW",
    }
    outputs = [
        (pixels + sum(side) - reach) // stride + 1
        for pixels, side, reach, stride in zip(
            x.shape[2:], options["padding"], window.reach, window.stride, strict=True
        )
    ]

    def bind(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> Bound:
        image, out = channels_last(x), channels_last(y)
        return lambda: conv2d(image, weight, bias, out=out, **options)

    shape = (x.shape[0], weight.shape[0], *outputs)
    y = plan.step(bind, plan.adjacent(x, 1), weight, bias, shape=shape, dtype=x.dtype, order=CHANNELS_LAST)
    return finish(plan, y, residual, activation_of(node))


@operator("ConvTranspose")
def transposed_convolution(
    plan: Plan, node: Node, x: Value, weight: Value, bias: Value | None = None
) -> Value:
    """One product makes what each pixel adds under all taps of its window; then these are added up."""
    weight, bias = known(weight, "a weight"), known(bias, "a bias")
    ndim, image = x.ndim, as_image(plan, x)
    if weight.ndim != ndim or not is_float(x):
        raise Unsupported(f"with a weight of {weight.ndim} axes and {x.dtype}")
    kernel = weight[:, :, np.newaxis] if ndim == 3 else weight
    window = geometry(node, ndim - 2, weight.shape[2:])
    groups = node.attributes.get("group", 1)
    channels, filters, *taps = kernel.shape
    n, _, *pixels = image.shape
    outputs, before = _transposed_outputs(node, window, pixels, ndim - 2)
    # Of each group: the outputs of all its taps side by side.
    by_taps = kernel.reshape(groups, channels // groups, filters, *taps).transpose(0, 3, 4, 2, 1)
    rows = by_taps.reshape(groups * taps[0] * taps[1] * filters, channels // groups)
    layer = plan.layer((node.outputs[0], "taps"), lambda: Conv1x1(np.ascontiguousarray(rows), groups=groups))
    plan.count(n * pixels[0] * pixels[1] * rows.size)
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
