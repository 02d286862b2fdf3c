"""The 1x1 convolution as a layer: its weights are checked and packed once, and used by many calls."""

from __future__ import annotations

from typing import SupportsIndex

from ._activations import own_spec
from ._convolution import Convolution, options
from ._layer import ConvolutionLayer, frozen
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout
from .gradients import conv1x1_backward


class Conv1x1(ConvolutionLayer):
    """A pointwise (1x1) convolution with its weights packed: ``layer(x)`` is ``conv1x1(x, weight, ...)``.

    Parameters
    ----------
    weight, bias, stride, padding, groups, activation, weight_layout
        As in `conv1x1`. The arrays are copied: what becomes of them later does not change the layer.

    Attributes
    ----------
    weight, bias, groups, weight_layout
        As given; the arrays are read-only.
    activation : str, tuple or None
        By its own name, where an alias was given.
    stride : (int, int)
        (h, w).
    padding : ((int, int), (int, int))
        ((top, bottom), (left, right)).
    channels, filters : int
        C and K.
    dtype : numpy.dtype
        Of the weights, and of all arrays of a call: float32 or float64.

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`.

    Notes
    -----
    A layer does not change: its weights are packed. Many threads may call one layer at once. It pickles as
    its plain weights and packs again where it is loaded, for the instruction set in use there.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> layer = fastpw.Conv1x1(np.ones((4, 3), np.float32), activation="relu6")
    >>> layer(np.ones((2, 3), np.float32))
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]], dtype=float32)
    """

    _GRADIENTS = staticmethod(conv1x1_backward)
    _ARGUMENTS = ("weight", "bias", "stride", "padding", "groups", "activation", "weight_layout")
    __slots__ = _ARGUMENTS

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    activation: Activation
    weight_layout: WeightLayout
    _operation: Convolution

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Stride = 1,
        padding: Padding = 0,
        groups: SupportsIndex = 1,
        activation: Activation = None,
        weight_layout: WeightLayout = "OI",
    ) -> None:
        self._refuse_another_beginning()
        checked = options(stride, padding, groups, activation, weight_layout)
        convolution = Convolution(
            frozen("weight", weight), None if bias is None else frozen("bias", bias), checked
        )
        self._begin(
            convolution,
            convolution.pack(),
            weight=convolution.given,
            bias=convolution.bias,
            stride=checked.stride,
            padding=checked.padding,
            groups=checked.groups,
            activation=own_spec(activation),
            weight_layout=str(weight_layout),
        )
