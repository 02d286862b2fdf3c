"""The 1x1 convolution of integers: as a layer, and as one call."""

from __future__ import annotations

from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._activations import own_spec
from ._convolution import options
from ._frozen import frozen_array
from ._layer import Layer
from ._quantized import LINEAR, QuantizedConvolution, numbers
from ._typing import Activation, ArrayLike, Padding, Stride, WeightLayout
from .layer import Conv1x1
from .quantize import of_range, quantize_weight, quantize_with_bias


class QConv1x1(Layer):
    """A pointwise (1x1) convolution of int8 weights: exact sums, the same bits on every CPU.

    An integer q stands for ``(q - zero_point) * scale``. The sums
    ``acc = Σ (x - x_zero_point) * weight + bias`` are exact in int32, and each step after them is rounded to
    float32.

    Parameters
    ----------
    weight : (K, C // groups) int8 array
        Or as `weight_layout` says; -128 is allowed. `quantize_weight` makes one.
    bias : (K,) array, optional
        For results in integers int32, in steps of ``x_scale * weight_scale[k]``, as part of acc. For results
        in float32 float32, as it is.
    weight_scale : float or (K,) array
        One scale, or one for each output channel. All scales are above 0 and rounded to float32.
    x_scale : float, optional
        Static: x is int8 or uint8. None, dynamic: x is float32, and each row (a pixel's channels) is
        quantized by itself on its way in.
    x_zero_point : int
        The integer that stands for 0.0; within the type of the x that comes. Padding holds it.
    y_scale : float, optional
        For results in int8 and uint8.
    y_zero_point : int
        Within the type of the result.
    out_dtype : numpy.dtype or what makes one, optional
        int8, uint8, int32 (acc itself) or float32. None is x's dtype if there is a y_scale, else float32.
    stride, padding, groups, activation, weight_layout
        As in `conv1x1`. int32 takes no activation.

    Attributes
    ----------
    weight, bias, weight_scale, x_scale, x_zero_point, y_scale, y_zero_point, out_dtype, groups, weight_layout
        As given; the arrays are read-only, the scales rounded.
    activation, stride, padding
        As those of `Conv1x1`.
    channels, filters : int
        C and K.

    Raises
    ------
    TypeError
        An argument is of another type than listed.
    ValueError
        A shape or value does not fit, or a sum may reach 2**31:
        ``sum(abs(weight[k])) * max(abs(x - x_zero_point)) + abs(bias[k])``.
        In either case the message names the argument.

    Notes
    -----
    The results, with every step rounded to float32:

    - int8, uint8: ``round(acc * (x_scale * weight_scale[k] / y_scale)) + y_zero_point``, halves to the even
      neighbour, between the ends of the type; this is XNNPACK's formula. relu, relu6 and clip are
      bounds of the integers: ``round(bound / y_scale + y_zero_point)``. Other activations act in float32:
      ``round(act(acc * (x_scale * weight_scale[k])) / y_scale) + y_zero_point``.
    - float32: ``act(acc * (x_scale * weight_scale[k]) + bias[k])``
    - dynamic: ``lo = min(row, 0)``, ``hi = max(row, 0)``, ``inv = 255 / (hi - lo)``, 1 where that is
      infinite, ``a = lo * inv``, ``b = hi * inv``,
      ``z = round(clip(-128 - a if (-128 + a) + (127 + b) > 0 else 127 - b, -128, 127))``,
      ``q = clip(round(row * inv) + z, -128, 127)``; then
      ``act(fma(acc * (1 / inv), weight_scale[k], bias[k]))`` with ``acc = Σ (q - z) * weight``.
      A row with NaN or infinity gives NaN.

    None, relu, relu6, clip and leaky_relu have the same bits on every instruction set, other activations are
    within one step there (float32: within their bounds).

    Layers of other libraries map onto this one to one:

    - TFLite's CONV_2D of 1 x 1 and FULLY_CONNECTED, per channel: ``weight_layout="OHWI"`` or ``"OI"``, the
      quantizations of the tensors as scales and zero points, the int32 bias as it is.
    - ONNX's QLinearConv: the inputs in order, ``weight_layout="OIHW"``; its w_zero_point has to be 0.
      ConvInteger and MatMulInteger: ``out_dtype="int32"`` with any scales.
    - torch's quantized Conv2d and Linear: ``weight.int_repr()`` and ``weight.q_per_channel_scales()``;
      its float bias becomes ``round(bias / (x_scale * weight_scale))``.

    A layer does not change, and pickles as its arguments. Many threads may call one layer at once.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> weight = np.array([[1, -2, 3], [4, 5, -128]], np.int8)
    >>> layer = fastpw.QConv1x1(weight, weight_scale=0.5, x_scale=0.1, y_scale=0.25, y_zero_point=3)
    >>> layer(np.array([10, 20, 30], np.int8))
    array([  15, -128], dtype=int8)
    """

    _ARGUMENTS = (
        *(
            "weight",
            "bias",
            "weight_scale",
            "x_scale",
            "x_zero_point",
            "y_scale",
            "y_zero_point",
            "out_dtype",
        ),
        *("stride", "padding", "groups", "activation", "weight_layout"),
    )
    __slots__ = _ARGUMENTS

    weight: NDArray[np.int8]
    bias: NDArray[np.int32] | NDArray[np.float32] | None
    weight_scale: NDArray[np.float32]
    x_scale: float | None
    x_zero_point: int
    y_scale: float | None
    y_zero_point: int
    out_dtype: np.dtype | None
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    activation: Activation
    weight_layout: WeightLayout
    _operation: QuantizedConvolution

    @property
    def _joins(self) -> bool:
        return False

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        weight_scale: ArrayLike,
        x_scale: float | None = None,
        x_zero_point: SupportsIndex = 0,
        y_scale: float | None = None,
        y_zero_point: SupportsIndex = 0,
        out_dtype: DTypeLike = None,
        stride: Stride = 1,
        padding: Padding = 0,
        groups: SupportsIndex = 1,
        activation: Activation = None,
        weight_layout: WeightLayout = "OI",
    ) -> None:
        self._refuse_another_beginning()
        checked = options(stride, padding, groups, activation, weight_layout)
        of = numbers(x_scale, x_zero_point, weight_scale, y_scale, y_zero_point, out_dtype)
        if of.out_dtype == _checks.INT32 and checked.activation[0] != LINEAR:
            raise _checks.no_activation(activation)
        given = frozen_array(_checks.integers("weight", weight, (_checks.INT8,)))
        added = None if bias is None else frozen_array(_checks.integers("bias", bias, _checks.BIASES))
        convolution = QuantizedConvolution(given, added, of, checked)
        self._begin(
            convolution,
            convolution.pack(),
            weight=given,
            bias=added,
            weight_scale=frozen_array(of.weight_scale),
            x_scale=None if of.x_scale is None else float(of.x_scale),
            x_zero_point=of.x_zero_point,
            y_scale=None if of.y_scale is None else float(of.y_scale),
            y_zero_point=of.y_zero_point,
            out_dtype=of.out_dtype,
            stride=checked.stride,
            padding=checked.padding,
            groups=checked.groups,
            activation=own_spec(activation),
            weight_layout=str(weight_layout),
        )

    def __call__(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The layer's result.

        Parameters
        ----------
        x : (..., C) array
            int8 or uint8; dynamic: float32. Any number of leading axes; with a stride or padding
            ``(H, W, C)`` or ``(N, H, W, C)``.
        out : (..., K) array, optional
            Where the result goes; it may be a channel slice or a crop of a larger array, with adjacent
            channels.

        Returns
        -------
        (..., K) array
            `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, and nothing is written.
        """
        y = self._latest(x, None, out, None)
        return self._run(x, None, out, None) if y is None else y

    @classmethod
    def from_float(
        cls,
        layer: Conv1x1,
        *,
        x_range: tuple[float, float] | None = None,
        y_range: tuple[float, float] | None = None,
    ) -> Self:
        """A layer of floats with its weights in int8, by `quantize_weight`.

        Parameters
        ----------
        layer : Conv1x1
        x_range : (float, float), optional
            The least and the largest number that x holds: x becomes int8. None: dynamic, x is float32.
        y_range : (float, float), optional
            The same of the result, which becomes int8. None: it is float32.

        Returns
        -------
        QConv1x1
            Its x_scale, x_zero_point, y_scale and y_zero_point are those for `quantize` and `dequantize`.

        Raises
        ------
        TypeError, ValueError
            The message names the argument.
        """
        if not isinstance(layer, Conv1x1):
            raise TypeError(f"layer: a Conv1x1 is needed, got {_checks.shown(layer)[:200]}")
        if x_range is None and y_range is not None:
            raise ValueError(
                f"x_range: (lo, hi) is needed with a y_range, got None and {_checks.shown(y_range)}"
            )
        given: dict[str, Any] = {}
        for name, ends in (("x", x_range), ("y", y_range)):
            if ends is not None:
                of = of_range(*_checks.range_of(f"{name}_range", ends), _checks.INT8)
                given |= {f"{name}_scale": of.scale, f"{name}_zero_point": of.zero_point}
        if y_range is not None:
            made = quantize_with_bias(layer.weight, layer.bias, given["x_scale"], layer.weight_layout)
            weight, given["weight_scale"], bias = made
        else:
            weight, given["weight_scale"] = quantize_weight(layer.weight, layer.weight_layout)
            bias = None if layer.bias is None else _checks.in_float32("bias", layer.bias)
        kept = {
            name: getattr(layer, name)
            for name in ("stride", "padding", "groups", "activation", "weight_layout")
        }
        return cls(weight, bias, **given, **kept)

    @property
    def channels(self) -> int:
        return self._operation.channels

    @property
    def filters(self) -> int:
        return self._operation.filters

    def _description(self) -> list[str]:
        of = self._operation.numbers
        said = [f"{self.channels} -> {self.filters} channels", "dynamic" if of.x_scale is None else "static"]
        said += [f"results in {of.out_dtype}"] * (of.out_dtype is not None)
        said += ["bias"] * (self.bias is not None)
        said += [f"stride {self.stride}"] * (self.stride != _checks.ONCE)
        said += [f"padding {self.padding}"] * (self.padding != _checks.NOTHING)
        said += [f"{self.groups} groups"] * (self.groups > 1)
        said += [f"activation {self.activation!r}"] * (self.activation is not None)
        return said


def qconv1x1(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    out: NDArray[Any] | None = None,
    weight_scale: ArrayLike,
    **arguments: Any,
) -> NDArray[Any]:
    """The convolution of int8 weights as one call: ``QConv1x1(weight, bias, ...)(x, out=out)``.

    It packs the weights at each call; a layer does so once.

    Parameters
    ----------
    x, out
        As in a call of a `QConv1x1`.
    weight, bias, weight_scale, **arguments
        As for `QConv1x1`.

    Returns
    -------
    (..., K) array
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        As those of `QConv1x1`.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x, weight = np.array([211, 171], np.uint8), np.array([[71, 107]], np.int8)
    >>> fastpw.qconv1x1(x, weight, weight_scale=1, x_scale=1, out_dtype="int32")
    array([33278], dtype=int32)
    """
    return QConv1x1(weight, bias, weight_scale=weight_scale, **arguments)(x, out=out)
