"""The gradients of a convolution: checked, brought to rows, and computed in one walk over the pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import SupportsIndex

from . import _checks, _programs
from ._backward import Call
from ._convolution import Convolution, options
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout
from .reference import Gradients


def conv1x1_backward(
    dy: ArrayLike,
    x: ArrayLike | None,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    z: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    stride: Stride = 1,
    padding: Padding = 0,
    groups: SupportsIndex = 1,
    activation: Activation = None,
    weight_layout: WeightLayout = "OI",
    wrt: Collection[str] | str = ("x", "weight", "bias"),
    out: Gradients | Sequence[FloatArray | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """The gradients of `conv1x1`: of ``activation(z)``, ``z = x @ weight.T + bias + residual``.

    With ``dz = dy * activation'(z)``: ``dx = dz @ weight``, ``dweight = dz.T @ x``, ``dbias`` is the sum of
    dz over all output pixels, and ``dresidual`` is dz itself. One walk over the pixels computes them all; dz
    is formed block by block, never as a whole.

    Parameters
    ----------
    dy : (..., K) array
        The gradient of `conv1x1`'s result, and of its shape. float32 or float64, as all other arrays.
    x : (..., C) array or None
        As in `conv1x1`. None where nothing is read from it: without stride and padding (which need its
        shape), without "weight" in `wrt`, and with nothing to recompute.
    weight, bias, stride, padding, groups, activation, weight_layout
        As in `conv1x1`.
    y, z : (..., K) array, optional
        What `conv1x1` returned and what it wrote to `out_z`. The derivatives of "hard_swish", "silu", "gelu"
        and "gelu_tanh" are read from `z`, the others from `y`, or from `z` if only that is given. Without
        them, they are recomputed block by block from `x`, `weight`, `bias` and `residual`. No activation
        needs neither. Of the first four, `y` alone needs the `bias`, zeros if there was none.
    residual : (..., K) array, optional
        As in `conv1x1`. Only read if y or z is recomputed.
    wrt : collection of {"x", "weight", "bias", "residual"}, or one of them
        Which gradients are wanted; the others are not computed. (Those of the bias and the residual exist
        whether or not there is one.)
    out : Gradients or tuple of four, optional
        Where dx, dweight, dbias and dresidual go; None where they are allocated or not wanted. Pixels may
        have any strides if their channels are adjacent; dweight and dbias may have any.
    accumulate : bool
        Add to the arrays in `out`. Gradients that are allocated start from zero.

    Returns
    -------
    Gradients
        ``dx`` (..., C), ``dweight`` of the weight's shape, in its layout, ``dbias`` (K,), ``dresidual``
        (..., K): the arrays in `out`, or new ones; None where not wanted. At pixels that a stride skips, dx
        is 0; the padding takes part in dbias and dresidual only.

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`; the message names the argument, and nothing is written.

    Notes
    -----
    Where an activation has no derivative: 0 at relu's 0, and at the ends of relu6, clip and hard_sigmoid; the
    slope at leaky_relu's 0; 0 at hard_swish's -3 and 1 at its 3.

    Outputs may share memory with inputs, not with each other; the result is as if they did not. dresidual
    and, without stride and padding, dx may lie exactly on dy, y, z or residual, for which nothing is copied.

    A gradient has the same bits for any number of threads, any strides, and whatever else is wanted with it.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x, weight = np.ones((5, 3), np.float32), np.ones((2, 3), np.float32)
    >>> y = fastpw.conv1x1(x, weight, activation="relu")
    >>> grads = fastpw.conv1x1_backward(y - 1, x, weight, y=y, activation="relu")
    >>> grads.dweight
    array([[10., 10., 10.],
           [10., 10., 10.]], dtype=float32)
    """
    inputs = dy, x, weight, bias, y, z, residual
    convolution = options(stride, padding, groups, activation, weight_layout)
    wanted, accumulate = _checks.wrt(wrt), _checks.flag("accumulate", accumulate)
    key = *convolution, wanted, accumulate, y is None, z is None
    shaped = dy if x is None else x  # which tells the shape of the other
    program = _programs.backward.find(shaped, weight, key)
    if program is not None and (out is None or type(out) in (tuple, Gradients)):
        grads = program(inputs, out)
        if grads is not None:
            return tuple.__new__(Gradients, grads)
    call = Call(Convolution(weight, bias, convolution), wanted, accumulate, inputs, out)
    used = call.run(() if program is None else (program,))
    if used is not None and used is not program:
        _programs.backward.keep(shaped, weight, key, used)
    return call.results()
