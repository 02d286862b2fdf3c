"""The specification: what every operation computes, in float64 and without a thought for speed.

The tests, ``fastpw verify`` and the benchmarks compare with this. Arguments mean what they mean in conv.py,
and are valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _activations
from ._activations import Spec
from ._typing import ArrayLike, FloatArray, Padding, Stride

Array: TypeAlias = NDArray[np.float64]

_erfc = np.vectorize(math.erfc, otypes=[float])


def _gated(z, gate):
    """z * gate, where a gate of 0 is shut for infinity too."""
    return np.where(gate == 0, 0, z * gate)


def _sigmoid(z):
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))


def _normal_cdf(z):
    return 0.5 * _erfc(-z / math.sqrt(2))


def _normal_density(z):
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu_tanh_inner(z):
    """gelu_tanh is z * (1 + tanh(u)) / 2, which is z * sigmoid(2 * u). This is 2 * u."""
    return math.sqrt(8 / math.pi) * (z + 0.044715 * z**3)


def _gelu_tanh_inner_slope(z):
    return math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * z * z)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "clip": np.clip,
    "leaky_relu": lambda z, slope: np.where(z > 0, z, slope * z),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_swish": lambda z: _gated(z, np.clip(z + 3, 0, 6) / 6),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda z: _gated(z, _sigmoid(z)),
    "gelu": lambda z: _gated(z, _normal_cdf(z)),
    "gelu_tanh": lambda z: _gated(z, _sigmoid(_gelu_tanh_inner(z))),
}


def _gelu_tanh_derivative(z):
    gate, closed = _sigmoid(_gelu_tanh_inner(z)), _sigmoid(-_gelu_tanh_inner(z))
    return gate + _gated(z * _gelu_tanh_inner_slope(z), gate * closed)


DERIVATIVES: dict[str, Callable[..., Any]] = {
    "linear": np.ones_like,
    "relu": lambda z: np.where(z > 0, 1, 0),
    "relu6": lambda z: np.where((z > 0) & (z < 6), 1, 0),
    "clip": lambda z, lo, hi: np.where((z > lo) & (z < hi), 1, 0),
    "leaky_relu": lambda z, slope: np.where(z > 0, 1, slope),
    "hard_sigmoid": lambda z: np.where((z > -3) & (z < 3), 1 / 6, 0),
    "hard_swish": lambda z: np.where(z <= -3, 0, np.where(z >= 3, 1, (2 * z + 3) / 6)),
    "sigmoid": lambda z: _sigmoid(z) * _sigmoid(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "silu": lambda z: _sigmoid(z) + _gated(z, _sigmoid(z) * _sigmoid(-z)),
    "gelu": lambda z: _normal_cdf(z) + _gated(z, _normal_density(z)),
    "gelu_tanh": _gelu_tanh_derivative,
}


def _evaluate(formulas, z, activation) -> Array:
    row, parameters = _activations.find(activation)
    with np.errstate(all="ignore"):
        return formulas[row.name](np.asarray(z, np.float64), *parameters)


def activate(z: ArrayLike, activation: Spec = None) -> Array:
    """act(z)."""
    return _evaluate(FUNCTIONS, z, activation)


def derivative(z: ArrayLike, activation: Spec = None) -> Array:
    """act'(z); at the kinks what _activations.py states; NaN where z is."""
    return np.where(np.isnan(z), np.nan, _evaluate(DERIVATIVES, z, activation))


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "OI": lambda w: w,
    "IO": lambda w: w.T,
    "OIHW": lambda w: w[:, :, 0, 0],
    "HWIO": lambda w: w[0, 0].T,
    "OHWI": lambda w: w[:, 0, 0, :],
}


def _by_group(array: Array, groups: int) -> Array:
    """(..., channels) as (..., groups, channels of a group)."""
    return array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)


def _pixels(by_group: Array) -> Array:
    """(..., groups, channels) as (P, groups, channels)."""
    return by_group.reshape(math.prod(by_group.shape[:-2]), *by_group.shape[-2:])


def _weight_by_group(weight: ArrayLike, weight_layout: str, groups: int) -> Array:
    """(groups, K // groups, C // groups)."""
    matrix = LAYOUTS[weight_layout](np.asarray(weight, np.float64))
    return matrix.reshape(groups, matrix.shape[0] // groups, matrix.shape[1])


def _pair(value):
    return (value, value) if np.ndim(value) == 0 else tuple(value)


def _borders(padding) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)); for a 1x1 kernel "same" pads nothing."""
    vertical, horizontal = (0, 0) if isinstance(padding, str) else _pair(padding)
    return _pair(vertical), _pair(horizontal)


def pad_and_stride(at_inputs: Array, stride: Any, padding: Any) -> Array:
    """From (..., H, W, K) at the input's pixels to (..., Ho, Wo, K): zero where there is only padding."""
    (step_h, step_w), borders = _pair(stride), _borders(padding)
    if (step_h, step_w) == (1, 1) and borders == ((0, 0), (0, 0)):
        return at_inputs
    outer = [(0, 0)] * (at_inputs.ndim - 3)
    return np.pad(at_inputs, [*outer, *borders, (0, 0)])[..., ::step_h, ::step_w, :]


def _undo_pad_and_stride(at_outputs: Array, input_shape, stride, padding) -> Array:
    """The adjoint: (..., Ho, Wo, K) to (..., H, W, K), zero at the pixels that the stride skips."""
    (step_h, step_w), ((top, bottom), (left, right)) = _pair(stride), _borders(padding)
    if (step_h, step_w) == (1, 1) and not (top or bottom or left or right):
        return at_outputs
    *outer, height, width, _ = input_shape
    padded = np.zeros((*outer, top + height + bottom, left + width + right, at_outputs.shape[-1]))
    padded[..., ::step_h, ::step_w, :] = at_outputs
    return padded[..., top : top + height, left : left + width, :]


def preactivation(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Stride = 1,
    padding: Padding = 0,
    groups: int = 1,
    residual: ArrayLike | None = None,
    weight_layout: str = "OI",
) -> Array:
    """z = X Wᵀ + b + residual. What lies in the padding meets no weight."""
    x = np.asarray(x, np.float64)
    weight = _weight_by_group(weight, weight_layout, groups)
    filters = weight.shape[0] * weight.shape[1]
    with np.errstate(all="ignore"):
        products = np.einsum("...gc,gkc->...gk", _by_group(x, groups), weight)
        z = pad_and_stride(products.reshape(*x.shape[:-1], filters), stride, padding)
        z = z if bias is None else z + np.asarray(bias, np.float64)
        return z if residual is None else z + np.asarray(residual, np.float64)


def conv1x1(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, activation: Spec = None, **options: Any
) -> Array:
    """y = act(z); the options are those of preactivation."""
    return activate(preactivation(x, weight, bias, **options), activation)


class Gradients(NamedTuple):
    """Of a convolution, with respect to x, weight, bias and residual; None where not wanted."""

    dx: FloatArray | None
    dweight: FloatArray | None
    dbias: FloatArray | None
    dresidual: FloatArray | None


def conv1x1_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    z: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    stride: Stride = 1,
    padding: Padding = 0,
    groups: int = 1,
    activation: Spec = None,
    weight_layout: str = "OI",
) -> Gradients:
    """dz = dy ∘ act'(z); dx = dz W, dweight = dzᵀ X, dbias = Σ dz, dresidual = dz.

    ``z``, the pre-activation, is computed where it is not given.
    """
    x = np.asarray(x, np.float64)
    if z is None:
        options = {"stride": stride, "padding": padding, "groups": groups, "weight_layout": weight_layout}
        z = preactivation(x, weight, bias, residual=residual, **options)
    by_group = _weight_by_group(weight, weight_layout, groups)
    with np.errstate(all="ignore"):
        dz = np.asarray(dy, np.float64) * derivative(z, activation)
        dz_at_inputs = _by_group(_undo_pad_and_stride(dz, x.shape, stride, padding), groups)
        dx = np.einsum("...gk,gkc->...gc", dz_at_inputs, by_group).reshape(x.shape)
        dmatrix = np.einsum("pgk,pgc->gkc", _pixels(dz_at_inputs), _pixels(_by_group(x, groups)))
    dweight = np.empty(np.shape(weight))
    matrix = LAYOUTS[weight_layout](dweight)
    matrix[...] = dmatrix.reshape(matrix.shape)
    return Gradients(dx, dweight, dz.sum(axis=tuple(range(dz.ndim - 1))), dz)


# ---- pixels that look at their neighbours ----------------------------------------------------------------

# From each layout to (K, kh, kw, C // groups); a depthwise kernel's K are its C * m, each of one channel.
KERNELS: dict[str, Callable[[Array], Array]] = {
    "OHWI": lambda w: w,
    "OIHW": lambda w: w.transpose(0, 2, 3, 1),
    "HWIO": lambda w: w.transpose(3, 0, 1, 2),
}
DEPTHWISE_KERNELS: dict[str, Callable[[Array], Array]] = {
    "HWC": lambda w: w.transpose(2, 0, 1)[..., None],
    "OIHW": lambda w: w.transpose(0, 2, 3, 1),
    "HWIO": lambda w: w.reshape(*w.shape[:2], -1).transpose(2, 0, 1)[..., None],
    "1HWC": lambda w: w[0].transpose(2, 0, 1)[..., None],
}


def _sides(shape, size, stride, padding, dilation) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)); "same" is TensorFlow's."""
    if not isinstance(padding, str):
        return _borders(padding)
    if padding.lower() == "valid":
        return (0, 0), (0, 0)
    sides = []
    for n, k, s, d in zip(shape[-3:-1], size, stride, dilation, strict=True):
        total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        sides.append((total // 2, total - total // 2))
    return sides[0], sides[1]


class _Windows:
    """The windows of an image (..., H, W, C), padded."""

    def __init__(self, shape, size, stride, padding, dilation) -> None:
        self.size, self.stride, self.dilation = size, _pair(stride), _pair(dilation)
        self.sides = _sides(shape, size, self.stride, padding, self.dilation)
        self.padding = [(0, 0)] * (len(shape) - 3) + [*self.sides, (0, 0)]

    def of(self, x: Array, fill: float = 0) -> Array:
        """(..., Ho, Wo, kh, kw, C)."""
        padded = np.pad(x, self.padding, constant_values=fill)
        return self._taps(padded)

    def add_up(self, windows: Array, shape) -> Array:
        """The adjoint: what each pixel of an image of that shape contributed to."""
        sizes = zip(shape, self.padding, strict=True)
        padded = np.zeros([size + before + after for size, (before, after) in sizes])
        into = self._taps(padded, writeable=True)
        for i in range(self.size[0]):
            for j in range(self.size[1]):  # no pixel lies under one tap twice
                into[..., i, j, :] += windows[..., i, j, :]
        (top, bottom), (left, right) = self.sides
        return padded[..., top : padded.shape[-3] - bottom, left : padded.shape[-2] - right, :]

    def _taps(self, padded: Array, writeable: bool = False) -> Array:
        reach = [(k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True)]
        views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(-3, -2), writeable=writeable)
        views = views[..., :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]
        return np.moveaxis(views, -3, -1)


def _convolved(x, kernel, bias, groups, residual, **geometry) -> tuple[Array, Array, Array, _Windows]:
    """z, the windows by group, the kernel by group, and how the windows lie."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    how = _Windows(x.shape, kernel.shape[1:3], **geometry)
    windows = _by_group(how.of(x), groups)
    kernel = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    with np.errstate(all="ignore"):
        z = np.einsum("...ijgc,gkijc->...gk", windows, kernel)
        z = z.reshape(*z.shape[:-2], z.shape[-2] * z.shape[-1])
        z = z if bias is None else z + np.asarray(bias, np.float64)
        return z if residual is None else z + np.asarray(residual, np.float64), windows, kernel, how


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Stride = 1,
    padding: Padding = 0,
    dilation: Stride = 1,
    groups: int = 1,
    activation: Spec = None,
    residual: ArrayLike | None = None,
    weight_layout: str = "OHWI",
) -> Array:
    """y = act(sum over taps and channels + b + residual)."""
    kernel = KERNELS[weight_layout](np.asarray(weight, np.float64))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return activate(_convolved(x, kernel, bias, groups, residual, **geometry)[0], activation)


def depthwise_conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    weight_layout: str = "HWC",
    **options: Any,
) -> Array:
    """The convolution with as many groups as channels."""
    kernel = DEPTHWISE_KERNELS[weight_layout](np.asarray(weight, np.float64))
    return conv2d(x, kernel, bias, groups=np.shape(x)[-1], **options)


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    z: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    stride: Stride = 1,
    padding: Padding = 0,
    dilation: Stride = 1,
    groups: int = 1,
    activation: Spec = None,
    weight_layout: str = "OHWI",
    kernels: dict[str, Callable[[Array], Array]] = KERNELS,
) -> Gradients:
    """dz = dy ∘ act'(z), and what each of its numbers came from."""
    kernel = kernels[weight_layout](np.asarray(weight, np.float64))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    made, windows, by_group, how = _convolved(x, kernel, bias, groups, residual, **geometry)
    with np.errstate(all="ignore"):
        dz = np.asarray(dy, np.float64) * derivative(made if z is None else z, activation)
        split = _by_group(dz, groups)
        dwindows = np.einsum("...gk,gkijc->...ijgc", split, by_group)
        dx = how.add_up(dwindows.reshape(*dwindows.shape[:-2], np.shape(x)[-1]), np.shape(x))
        leading = "nhw"[3 - (np.ndim(x) - 1) :]
        dkernel = np.einsum(f"{leading}gk,{leading}ijgc->gkijc", split, windows).reshape(kernel.shape)
    dweight = np.empty(np.shape(weight))
    into = kernels[weight_layout](dweight)  # a view, or of a kernel with several outputs a channel a copy
    into[...] = dkernel
    if not np.may_share_memory(into, dweight):
        dweight[...] = into[..., 0].transpose(1, 2, 0).reshape(dweight.shape)
    return Gradients(dx, dweight, dz.sum(axis=tuple(range(dz.ndim - 1))), dz)


def depthwise_conv2d_backward(
    dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *arrays: Any, weight_layout: str = "HWC", **options: Any
) -> Gradients:
    """The same with as many groups as channels."""
    options |= {"groups": np.shape(x)[-1], "kernels": DEPTHWISE_KERNELS, "weight_layout": weight_layout}
    return conv2d_backward(dy, x, weight, *arrays, **options)


def max_pool2d(x: ArrayLike, size: Stride, stride: Stride | None = None, padding: Padding = 0) -> Array:
    """The maximum of each window; the padding is minus infinity."""
    x, size = np.asarray(x, np.float64), _pair(size)
    how = _Windows(x.shape, size, size if stride is None else stride, padding, 1)
    return how.of(x, -np.inf).max(axis=(-3, -2))


def average_pool2d(
    x: ArrayLike,
    size: Stride,
    stride: Stride | None = None,
    padding: Padding = 0,
    count_padding: bool = False,
) -> Array:
    """The sum of each window, divided by its pixels: all, or those of the image."""
    x, size = np.asarray(x, np.float64), _pair(size)
    how = _Windows(x.shape, size, size if stride is None else stride, padding, 1)
    counted = how.of(np.ones_like(x), float(count_padding)).sum(axis=(-3, -2))
    with np.errstate(all="ignore"):
        return how.of(x).sum(axis=(-3, -2)) / counted


def channel_shuffle(x: ArrayLike, groups: int) -> FloatArray:
    """Channels (g, C / g) as (C / g, g)."""
    x = np.asarray(x)
    return np.swapaxes(x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups), -1, -2).reshape(x.shape)
