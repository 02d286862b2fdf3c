"""Convolutions of images and of rows of pixels."""

from __future__ import annotations

import numpy as np

from ..._layer import ConvolutionLayer
from ...conv2d import Conv2d, conv2d
from ...depthwise import DepthwiseConv2d
from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import CHANNELS_LAST, Shape, Tensor, Value, channels_last
from .images import apply, as_image, as_row, is_float, shape_last
from .registry import Unsupported, operator
from .scaling import activation_of, finish
from .volumes import convolve
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
    if x.ndim > 4:
        return finish(plan, convolve(plan, node, x, weight, bias), residual, activation_of(node))
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
        return finish(plan, convolve(plan, node, x, weight, bias), residual, activation_of(node))
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
