"""The depthwise convolution: each output channel looks at one input channel."""

from __future__ import annotations

from collections.abc import Collection

from . import _checks, _windowed
from ._activations import own_spec
from ._layer import ConvolutionLayer, frozen
from ._typing import Activation, ArrayLike, DepthwiseLayout, FloatArray, Padding, Stride
from ._window_gradients import of_depthwise
from ._windowed import Depthwise
from .reference import Gradients


def depthwise_conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Stride = 1,
    padding: Padding = 0,
    dilation: Stride = 1,
    activation: Activation = None,
    residual: ArrayLike | None = None,
    weight_layout: DepthwiseLayout = "HWC",
    out: FloatArray | None = None,
    out_z: FloatArray | None = None,
) -> FloatArray:
    """Depthwise convolution: each channel with a kh x kw kernel of its own, bias, residual, activation.

    Parameters
    ----------
    x : (H, W, C) or (N, H, W, C) array
        float32 or float64, as all other arrays of the call. Used in place, whatever its strides, if its
        channels are adjacent in memory; otherwise copied first.
    weight : (kh, kw, C) array
        Or as `weight_layout` says.
    bias : (K,) array, optional
    stride, dilation : int or (int, int)
        In pixels, along both axes or (h, w); below 2**31. The stride is the distance between two windows, the
        dilation that between two taps of a window.
    padding : int, (int, int), ((int, int), (int, int)), "valid" or "same"
        In pixels: on all sides, (h, w), or ((top, bottom), (left, right)); it may be larger than the kernel.
        The padding holds zeros, as np.pad would put them there. "same" is TensorFlow's: the result has
        ceil(H / stride) rows, and an odd pixel of padding lies at the bottom and at the right.
    activation : str or tuple, optional
        As in `conv1x1`.
    residual : (..., Ho, Wo, K) array, optional
        Of the result's shape; added before the activation. It may be `out` itself.
    weight_layout : {"HWC", "OIHW", "HWIO", "1HWC"}
        The weight's axes: "HWC", ``(kh, kw, C)``; "OIHW", ``(C, 1, kh, kw)``, torch's and ONNX's; "HWIO",
        ``(kh, kw, C, m)``, that of Keras and TensorFlow, with m outputs of each channel side by side, K = m *
        C; "1HWC", ``(1, kh, kw, C)``, TFLite's. K = C where there is no m.
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
    A pixel's result has the same bits alone, in a batch and for any number of threads. NaN and
    infinities pass as in NumPy: an infinite weight times a zero of the padding is NaN.
    Each call packs the weights; `DepthwiseConv2d` packs them once.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x = np.ones((1, 28, 28, 16), np.float32)
    >>> weight = np.full((3, 3, 16), 1 / 9, np.float32)
    >>> fastpw.depthwise_conv2d(x, weight, stride=2, padding=1, activation="relu").shape
    (1, 14, 14, 16)
    """
    layout = _checks.depthwise_layout(weight_layout)
    checked = _windowed.options(stride, padding, dilation, 1, activation, layout)
    convolution = Depthwise(weight, bias, checked)
    y, _ = convolution.run((), convolution.pack(), (x, residual, out, out_z))
    return y


def depthwise_conv2d_backward(
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
    activation: Activation = None,
    weight_layout: DepthwiseLayout = "HWC",
    wrt: Collection[str] | str = ("x", "weight", "bias"),
    out: Gradients | tuple[FloatArray | None, ...] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """The gradients of `depthwise_conv2d`: of ``activation(z)``, z being its pre-activation.

    With ``dz = dy * activation'(z)``, dx is the convolution of dz with the kernels turned round, dweight sums
    the products of dz with the pixel that each tap sees, dbias is the sum of dz over all output pixels, and
    dresidual is dz itself.

    Parameters
    ----------
    dy : (..., Ho, Wo, K) array
        The gradient of `depthwise_conv2d`'s result, and of its shape. float32 or float64, as all other
        arrays.
    x : (H, W, C) or (N, H, W, C) array
    weight, bias, stride, padding, dilation, activation, weight_layout
        As in `depthwise_conv2d`.
    y, z : (..., Ho, Wo, K) array, optional
        What `depthwise_conv2d` returned and what it wrote to `out_z`, as in `conv1x1_backward`; recomputed
        where they are needed and not given.
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
        As in `depthwise_conv2d`; the message names the argument, and nothing is written.

    Notes
    -----
    A gradient has the same bits for any number of threads, any strides, and whatever else is wanted with it.
    Outputs may share memory with inputs, not with each other; the result is as if they did not.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x, weight = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2), np.float32)
    >>> dy = np.ones((1, 2, 2, 2), np.float32)
    >>> fastpw.depthwise_conv2d_backward(dy, x, weight).dx[0, :, :, 0]
    array([[1., 2., 2., 1.],
           [2., 4., 4., 2.],
           [2., 4., 4., 2.],
           [1., 2., 2., 1.]], dtype=float32)
    """
    layout = _checks.depthwise_layout(weight_layout)
    checked = _windowed.options(stride, padding, dilation, 1, activation, layout)
    inputs = dy, x, y, z, residual
    return of_depthwise(Depthwise(weight, bias, checked), inputs, wrt, out, accumulate)


class DepthwiseConv2d(ConvolutionLayer):
    """A depthwise convolution, its weights packed: ``layer(x)`` is ``depthwise_conv2d(x, weight, ...)``.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, activation, weight_layout
        As in `depthwise_conv2d`. The arrays are copied: what becomes of them later does not change the layer.

    Attributes
    ----------
    weight, bias, weight_layout
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
        As in `depthwise_conv2d`.

    Notes
    -----
    A layer does not change, many threads may call it at once, and it pickles as its plain weights.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> layer = fastpw.DepthwiseConv2d(np.ones((3, 3, 2), np.float32), padding=1, activation="relu6")
    >>> layer(np.ones((5, 5, 2), np.float32)).shape
    (5, 5, 2)
    """

    _GRADIENTS = staticmethod(depthwise_conv2d_backward)
    _ARGUMENTS = ("weight", "bias", "stride", "padding", "dilation", "activation", "weight_layout")
    __slots__ = (*_ARGUMENTS, "kernel_size")

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int]
    activation: Activation
    weight_layout: DepthwiseLayout
    kernel_size: tuple[int, int]

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Stride = 1,
        padding: Padding = 0,
        dilation: Stride = 1,
        activation: Activation = None,
        weight_layout: DepthwiseLayout = "HWC",
    ) -> None:
        self._refuse_another_beginning()
        layout = _checks.depthwise_layout(weight_layout)
        checked = _windowed.options(stride, padding, dilation, 1, activation, layout)
        weight = frozen("weight", weight)
        bias = None if bias is None else frozen("bias", bias)
        convolution = Depthwise(weight, bias, checked)
        self._begin(
            convolution,
            convolution.pack(),
            weight=weight,
            bias=bias,
            stride=checked.stride,
            padding=checked.padding or "same",
            dilation=checked.dilation,
            activation=own_spec(activation),
            weight_layout=layout,
            kernel_size=convolution.window.size,
        )
