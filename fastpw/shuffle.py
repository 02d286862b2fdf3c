"""The channel shuffle, which lets grouped convolutions see the channels of other groups."""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np

from . import _checks
from ._layer import Layer
from ._operation import Operation
from .core.stencil import Shuffle
from .runtime import threads


class ChannelShuffle(Layer):
    """Exchanges the channels of groups: (g, C / g) becomes (C / g, g).

    Channel ``i * (C // groups) + j`` of the input is channel ``j * groups + i`` of the result, for each pixel
    of an array of any leading axes (Zhang et al. 2017, ShuffleNet, arXiv:1707.01083, section 3.1).

    Parameters
    ----------
    groups : int
        Divides C.

    Raises
    ------
    TypeError, ValueError
        The message names the argument.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> fastpw.ChannelShuffle(2)(np.arange(6, dtype=np.float32))
    array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """

    _ARGUMENTS = ("groups",)
    __slots__ = _ARGUMENTS

    groups: int

    def __init__(self, groups: SupportsIndex) -> None:
        self._refuse_another_beginning()
        count = _checks.groups(groups)
        self._begin(_Shuffling(count), None, groups=count)

    def _description(self) -> list[str]:
        return [f"{self.groups} groups"]


class _Shuffling(Operation):
    """The shuffle of arrays of any shape."""

    __slots__ = ("groups",)

    adds_residual = False

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def checked_input(self, x) -> np.ndarray:
        return _checks.with_channels("x", x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _checks.divides_channels(self.groups, shape)
        return shape

    def describe(self, packed: None, *arrays: np.ndarray | None) -> Shuffle:
        x, y, *_ = arrays
        grouped = x.reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups)
        return Shuffle(arrays, (grouped, y), threads)
