"""Pools: the maximum or the average of each channel over a window."""

from __future__ import annotations

from . import _checks
from ._geometry import Window
from ._layer import Layer
from ._typing import Padding, Stride
from ._windowed import Pooled


def _window(size, stride, padding) -> Window:
    size = _checks.steps("size", size)
    stride = size if stride is None else _checks.steps("stride", stride)
    padding = _checks.padding(padding)
    _checks.smaller_padding(padding, size)
    return Window(size, _checks.ONCE, stride, padding)


class MaxPool2d(Layer):
    """The maximum of each channel over windows of pixels.

    Parameters
    ----------
    size : int or (int, int)
        Of a window, in pixels; both sides alike or (h, w).
    stride : int or (int, int), optional
        Between two windows, in pixels; None: the size.
    padding : int, (int, int), ((int, int), (int, int)), "valid" or "same"
        As in `conv2d`, but smaller than the size. The padding holds minus infinity.

    Attributes
    ----------
    size, stride : (int, int)
        (h, w).
    padding : ((int, int), (int, int)) or "same"
        ((top, bottom), (left, right)).

    Raises
    ------
    TypeError, ValueError
        The message names the argument.

    Notes
    -----
    A window that holds a NaN has NaN as its maximum, as in np.max.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    >>> fastpw.MaxPool2d(2)(x)[..., 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """

    _ARGUMENTS = ("size", "stride", "padding")
    __slots__ = _ARGUMENTS

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding

    def __init__(self, size: Stride, *, stride: Stride | None = None, padding: Padding = 0) -> None:
        self._refuse_another_beginning()
        window = _window(size, stride, padding)
        self._begin(
            Pooled("max", window),
            None,
            size=window.size,
            stride=window.stride,
            padding=window.padding or "same",
        )

    def _description(self) -> list[str]:
        return [f"size {self.size}", f"stride {self.stride}", f"padding {self.padding}"]


class AveragePool2d(Layer):
    """The average of each channel over windows of pixels.

    Parameters
    ----------
    size : int or (int, int)
        Of a window, in pixels; both sides alike or (h, w).
    stride : int or (int, int), optional
        Between two windows, in pixels; None: the size.
    padding : int, (int, int), ((int, int), (int, int)), "valid" or "same"
        As in `conv2d`, but smaller than the size.
    count_padding : bool
        Whether a sum is divided by all pixels of the window (torch's default), the padding being zeros, or by
        those that the image has (that of TensorFlow and ONNX).

    Attributes
    ----------
    size, stride : (int, int)
        (h, w).
    padding : ((int, int), (int, int)) or "same"
        ((top, bottom), (left, right)).
    count_padding : bool

    Raises
    ------
    TypeError, ValueError
        The message names the argument.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    >>> fastpw.AveragePool2d(2)(x)[..., 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """

    _ARGUMENTS = ("size", "stride", "padding", "count_padding")
    __slots__ = _ARGUMENTS

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    count_padding: bool

    def __init__(
        self,
        size: Stride,
        *,
        stride: Stride | None = None,
        padding: Padding = 0,
        count_padding: bool = False,
    ) -> None:
        self._refuse_another_beginning()
        window = _window(size, stride, padding)
        counts = _checks.flag("count_padding", count_padding)
        self._begin(
            Pooled("average_padded" if counts else "average", window),
            None,
            size=window.size,
            stride=window.stride,
            padding=window.padding or "same",
            count_padding=counts,
        )

    def _description(self) -> list[str]:
        said = [f"size {self.size}", f"stride {self.stride}", f"padding {self.padding}"]
        return said + ["padding counted"] * self.count_padding


class GlobalAveragePool(Layer):
    """The average of each channel over all pixels of an image: (N, H, W, C) to (N, C), (H, W, C) to (C,).

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> fastpw.GlobalAveragePool()(np.ones((2, 7, 7, 5), np.float32)).shape
    (2, 5)
    """

    __slots__ = ()

    def __init__(self) -> None:
        self._refuse_another_beginning()
        self._begin(Pooled("average", None), None)
