"""The convolution with a dense k x k kernel: each output channel looks at all input channels of its group."""

from __future__ import annotations

from collections.abc import Collection
from typing import SupportsIndex

from . import _checks, _convolution, _windowed
from ._activations import own_spec
from ._convolution import Convolution
from ._layer import ConvolutionLayer, frozen
from ._operation import Operation
from ._typing import Activation, ArrayLike, FloatArray, KernelLayout, Padding, Stride
from ._window_gradients import of_dense
from ._windowed import Dense
from .reference import Gradients


def _operation(weight, bias, options: _windowed.Options) -> Operation:
    """A kernel of one tap is a pointwise convolution, with its bits."""
    dense = Dense(weight, bias, options)
    if dense.window.size != (1, 1):
        return dense
    padding = options.padding or _checks.NOTHING  # "same" pads nothing there
    pointwise = _convolution.Options(options.stride, padding, options.groups, options.activation, "OHWI")
    return Convolution(dense.weight, dense.bias, pointwise)


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Stride = 1,
    padding: Padding = 0,
    dilation: Stride = 1,
    groups: SupportsIndex = 1,
    activation: Activation = None,
    residual: ArrayLike | None = None,
    weight_layout: KernelLayout = "OHWI",
    out: FloatArray | None = None,
    out_z: FloatArray | None = None,
) -> FloatArray:
    """Convolution with a kh x kw kernel: ``y = activation(conv(x, weight) + bias + residual)``.

    Parameters
    ----------
    x : (H, W, C) or (N, H, W, C) array
        float32 or float64, as all other arrays of the call. Used in place, whatever its strides, if its
        channels are adjacent in memory; otherwise copied first.
    weight : (K, kh, kw, C // groups) array
        Or as `weight_layout` says.
    bias : (K,) array, optional
    stride, dilation : int or (int, int)
        In pixels, along both axes or (h, w); below 2**31. The stride is the distance between two windows, the
        dilation that between two taps of a window.
    padding : int, (int, int), ((int, int), (int, int)), "valid" or "same"
        In pixels: on all sides, (h, w), or ((top, bottom), (left, right)); it may be larger than the kernel.
        The padding holds zeros, as np.pad would put them there. "same" is TensorFlow's: the result has
        ceil(H / stride) rows, and an odd pixel of padding lies at the bottom and at the right.
    groups : int
        Divides C and K: each K // groups output channels see C // groups input channels, in order.
    activation : str or tuple, optional
        As in `conv1x1`.
    residual : (..., Ho, Wo, K) array, optional
        Of the result's shape; added before the activation. It may be `out` itself.
    weight_layout : {"OHWI", "OIHW", "HWIO"}
        The weight's axes, I being C // groups: "OHWI" is TFLite's, "OIHW" torch's and ONNX's, "HWIO" that of
        Keras, TensorFlow and Flax.
    out : (..., Ho, Wo, K) array, optional
        Where the result goes; it may be a channel slice or a crop of a larger array, with adjacent channels.
    out_z : (..., Ho, Wo, K) array, optional
        Receives the pre-activation, for the backward pass. Its memory must be apart from that of `out`.

    Returns
    -------
    (..., Ho, Wo, K) array
        `out`, or a new array; Ho = (H + top + bottom - (kh - 1) * dilation - 1) // stride + 1.

    Raises
    ------
    TypeError
        An array is not float32 or float64 in native byte order, the dtypes differ, or an argument is of
        another type than listed.
    ValueError
        A shape or value does not fit. In either case the message names the argument, and nothing is written.

    Notes
    -----
    A pixel's result has the same bits alone, in a batch and for any number of threads; a 1x1 kernel has those
    of `conv1x1`. NaN and infinities pass as in NumPy: an infinite weight times a zero of the padding is NaN.
    (Pixels of a 1x1 kernel that lie in the padding meet no weight.) Each call packs the weights; `Conv2d`
    packs them once.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x = np.ones((1, 28, 28, 16), np.float32)
    >>> weight = np.full((32, 3, 3, 16), 1 / 144, np.float32)
    >>> fastpw.conv2d(x, weight, stride=2, padding=1, activation="relu").shape
    (1, 14, 14, 32)
    """
    layout = _checks.dense_layout(weight_layout)
    checked = _windowed.options(stride, padding, dilation, groups, activation, layout)
    convolution = _operation(weight, bias, checked)
    y, _ = convolution.run((), convolution.pack(), (x, residual, out, out_z))
    return y


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    z: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    stride: Stride = 1,
    padding: Padding = 0,
    dilation: Stride = 1,
    groups: SupportsIndex = 1,
    activation: Activation = None,
    weight_layout: KernelLayout = "OHWI",
    wrt: Collection[str] | str = ("x", "weight", "bias"),
    out: Gradients | tuple[FloatArray | None, ...] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """The gradients of `conv2d`: of ``activation(z)``, z being its pre-activation.

    With ``dz = dy * activation'(z)``, dx is the convolution of dz with the kernel turned round, dweight sums
    the products of dz with the pixel that each tap sees, dbias is the sum of dz over all output pixels, and
    dresidual is dz itself.

    Parameters
    ----------
    dy : (..., Ho, Wo, K) array
        The gradient of `conv2d`'s result, and of its shape. float32 or float64, as all other arrays.
    x : (H, W, C) or (N, H, W, C) array
    weight, bias, stride, padding, dilation, groups, activation, weight_layout
        As in `conv2d`.
    y, z : (..., Ho, Wo, K) array, optional
        What `conv2d` returned and what it wrote to `out_z`, as in `conv1x1_backward`; recomputed where they
        are needed and not given.
    residual : (..., Ho, Wo, K) array, optional
        Only read if y or z is recomputed.
    wrt : collection of {"x", "weight", "bias", "residual"}, or one of them
        Which gradients are wanted; the others are not computed.
    out : Gradients or tuple of four, optional
        Where dx, dweight, dbias and dresidual go; None where they are allocated or not wanted.
    accumulate : bool
        Add to the arrays in `out`. Gradients that are allocated start from zero.

    Returns
    -------
    Gradients
        ``dx``, ``dweight`` of the weight's shape, in its layout, ``dbias`` (K,) and ``dresidual``: the arrays
        in `out`, or new ones; None where not wanted.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; the message names the argument, and nothing is written.

    Notes
    -----
    A gradient has the same bits for any number of threads, any strides, and whatever else is wanted with it.
    Outputs may share memory with inputs, not with each other; the result is as if they did not.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x, weight = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 3, 2), np.float32)
    >>> dy = np.ones((1, 2, 2, 3), np.float32)
    >>> fastpw.conv2d_backward(dy, x, weight).dx[0, :, :, 0]
    array([[ 3.,  6.,  6.,  3.],
           [ 6., 12., 12.,  6.],
           [ 6., 12., 12.,  6.],
           [ 3.,  6.,  6.,  3.]], dtype=float32)
    """
    layout = _checks.dense_layout(weight_layout)
    checked = _windowed.options(stride, padding, dilation, groups, activation, layout)
    inputs = dy, x, y, z, residual
    return of_dense(Dense(weight, bias, checked), inputs, wrt, out, accumulate)


class Conv2d(ConvolutionLayer):
    """A convolution with a kh x kw kernel, its weights packed: ``layer(x)`` is ``conv2d(x, weight, ...)``.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, groups, activation, weight_layout
        As in `conv2d`. The arrays are copied: what becomes of them later does not change the layer.

    Attributes
    ----------
    weight, bias, groups, weight_layout
        As given; the arrays are read-only.
    activation : str, tuple or None
        By its own name, where an alias was given.
    stride, dilation, kernel_size : (int, int)
        (h, w).
    padding : ((int, int), (int, int)) or "same"
        ((top, bottom), (left, right)).
    channels, filters : int
        C and K.
    dtype : numpy.dtype
        Of the weights, and of all arrays of a call: float32 or float64.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`.

    Notes
    -----
    A layer does not change, many threads may call it at once, and it pickles as its plain weights.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> layer = fastpw.Conv2d(np.ones((4, 3, 3, 2), np.float32), padding=1, activation="relu6")
    >>> layer(np.ones((5, 5, 2), np.float32)).shape
    (5, 5, 4)
    """

    _GRADIENTS = staticmethod(conv2d_backward)
    _ARGUMENTS = ("weight", "bias", "stride", "padding", "dilation", "groups", "activation", "weight_layout")
    __slots__ = (*_ARGUMENTS, "kernel_size")

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int]
    groups: int
    activation: Activation
    weight_layout: KernelLayout
    kernel_size: tuple[int, int]

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Stride = 1,
        padding: Padding = 0,
        dilation: Stride = 1,
        groups: SupportsIndex = 1,
        activation: Activation = None,
        weight_layout: KernelLayout = "OHWI",
    ) -> None:
        self._refuse_another_beginning()
        layout = _checks.dense_layout(weight_layout)
        checked = _windowed.options(stride, padding, dilation, groups, activation, layout)
        weight = frozen("weight", weight)
        bias = None if bias is None else frozen("bias", bias)
        convolution = _operation(weight, bias, checked)
        self._begin(
            convolution,
            convolution.pack(),
            weight=weight,
            bias=bias,
            stride=checked.stride,
            padding=checked.padding or "same",
            dilation=checked.dilation,
            groups=checked.groups,
            activation=own_spec(activation),
            weight_layout=layout,
            kernel_size=_checks.dense(weight, layout).shape[1:3],
        )
