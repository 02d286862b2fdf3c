"""The convolution as one call."""

from __future__ import annotations

from typing import SupportsIndex

from . import _programs
from ._convolution import Convolution, options
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout


def conv1x1(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Stride = 1,
    padding: Padding = 0,
    groups: SupportsIndex = 1,
    activation: Activation = None,
    residual: ArrayLike | None = None,
    weight_layout: WeightLayout = "OI",
    out: FloatArray | None = None,
    out_z: FloatArray | None = None,
) -> FloatArray:
    """Pointwise (1x1) convolution: ``y = activation(x @ weight.T + bias + residual)`` at every pixel.

    Parameters
    ----------
    x : (..., C) array
        float32 or float64, as all other arrays of the call. Any number of leading axes: ``(P, C)`` rows,
        ``(N, L, C)`` sequences, ``(H, W, C)`` images, ``(N, H, W, C)`` batches. Used in place, whatever its
        strides, if its channels are adjacent in memory; otherwise copied first.
    weight : (K, C // groups) array
        Or as `weight_layout` says.
    bias : (K,) array, optional
        `fold_batch_norm` makes a batch normalization part of it and of the weight.
    stride : int or (int, int)
        In pixels, along both axes or (h, w); below 2**31. Other than 1, `x` must be ``(H, W, C)`` or
        ``(N, H, W, C)``.
    padding : int, (int, int), ((int, int), (int, int)), "valid" or "same"
        In pixels: on all sides, (h, w), or ((top, bottom), (left, right)); below 2**31. Other than 0, `x`
        must be ``(H, W, C)`` or ``(N, H, W, C)``. An output pixel that lies in the padding is
        ``activation(bias + residual)``. "same" is TensorFlow's, Ho = ceil(H / stride), which for a 1x1 kernel
        pads nothing; "SAME" and "VALID" will do, too.
    groups : int
        Divides C and K: each K // groups output channels see C // groups input channels, in order. Where
        ``groups == C == K``, each channel has one weight.
    activation : str or tuple, optional
        "relu", "relu6", ("clip", lo, hi), ("leaky_relu", slope) with a finite slope >= 0, "hard_sigmoid"
        (``relu6(z + 3) / 6``), "hard_swish" (``z * relu6(z + 3) / 6``), "sigmoid", "tanh", "silu", "gelu"
        (the erf form) or "gelu_tanh". "linear" is None; `activations` lists these and their aliases.
    residual : (..., K) array, optional
        Of the result's shape; added before the activation. It may be `out` itself, which copies nothing.
    weight_layout : {"OI", "IO", "OIHW", "HWIO", "OHWI"}
        The weight's axes, in the order of the library that it comes from:

        - "OI", ``(K, C // groups)``: ``x @ W.T``, torch's Linear, scikit-learn's ``coef_``
        - "IO", ``(C // groups, K)``: ``x @ W``, scikit-learn's ``coefs_``, the Dense of Keras and Flax
        - "OIHW", ``(K, C // groups, 1, 1)``: torch's Conv2d, ONNX's Conv
        - "HWIO", ``(1, 1, C // groups, K)``: Keras' Conv2D, TensorFlow, Flax's Conv
        - "OHWI", ``(K, 1, 1, C // groups)``: TFLite

        Of a square weight the shape does not tell "OI" from "IO": the wrong one gives wrong results.
    out : (..., K) array, optional
        Where the result goes; it may be a channel slice or a crop of a larger array, with adjacent channels.
    out_z : (..., K) array, optional
        Receives the pre-activation, for the backward pass. Its memory must be apart from that of `out`.

    Returns
    -------
    (..., K) array
        `out`, or a new array. Of an image it is Ho x Wo pixels, Ho = (H + top + bottom - 1) // stride + 1.

    Raises
    ------
    TypeError
        An array is not float32 or float64 in native byte order, the dtypes differ, or an argument is of
        another type than listed.
    ValueError
        A shape or value does not fit. In either case the message names the argument, and nothing is written.

    Notes
    -----
    If `out` or `out_z` shares memory with an input, the result is as if it did not. The same inputs give the
    same bits for any number of threads, any strides, and through `Conv1x1`. NaN and infinities pass as in
    NumPy.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x = np.ones((1, 28, 28, 256), np.float32)
    >>> weight = np.full((16, 256), 1 / 256, np.float32)
    >>> fastpw.conv1x1(x, weight, activation="relu").shape
    (1, 28, 28, 16)
    """
    checked = options(stride, padding, groups, activation, weight_layout)
    program = _programs.forward.find(x, weight, checked)
    if program is not None:
        y = program.with_weights(weight, bias, x, residual, out, out_z)
        if y is not None:
            return y
    convolution = Convolution(weight, bias, checked)
    known = () if program is None else (program,)
    y, used = convolution.run(known, None, (x, residual, out, out_z))
    if used is not program:
        _programs.forward.keep(x, weight, checked, used)
    return y
