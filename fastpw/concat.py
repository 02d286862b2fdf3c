"""Branches of one input, side by side in the channels of one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from . import _checks
from ._layer import Layer, dtype_of
from ._operation import HeldBack, new
from ._typing import ArrayLike, FloatArray
from .runtime import threads

MOST_ROOMS = 16


class Concat(Layer):
    """Layers that all read one input and write into slices of the channels of one array: an Inception module.

    Nothing is copied: each layer writes its slice itself.

    Parameters
    ----------
    layers : iterable of layers
        At least one; a Concat may be one of them. Their results must agree in all but the channels.

    Attributes
    ----------
    layers : tuple

    Raises
    ------
    TypeError, ValueError
        The message names the argument.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> pointwise = fastpw.Conv1x1(np.ones((4, 3), np.float32))
    >>> spatial = fastpw.Conv2d(np.ones((2, 3, 3, 3), np.float32), padding=1)
    >>> fastpw.Concat([pointwise, spatial])(np.ones((8, 8, 3), np.float32)).shape
    (8, 8, 6)
    """

    _ARGUMENTS = ("layers",)
    __slots__ = ("_rooms", *_ARGUMENTS)

    layers: tuple[Layer, ...]
    _rooms: dict[tuple, int]  # what calls take, by the layouts of their arrays

    def __init__(self, layers: Iterable[Layer]) -> None:
        if hasattr(self, "layers"):
            raise self._does_not_change("__init__")
        self._set(layers=_checks.layers("layers", layers, Layer), _rooms={})

    def __call__(
        self, x: ArrayLike, *, residual: ArrayLike | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """The results of the layers, side by side.

        Parameters
        ----------
        x : array
            As the layers need it.
        residual : None
            Only convolutions add one.
        out : array, optional
            Where the result goes, as for each layer.

        Returns
        -------
        array
            `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, and nothing is written.
        """
        if residual is not None:
            raise _checks.no_residual(residual)
        x = _checks.with_channels("x", x)
        for layer in self.layers:
            layer._check_input(x)
        shapes = self._shapes(x.shape)
        shape, dtype = self._joined(shapes), np.dtype(x.dtype.type)
        y = new(shape, dtype) if out is None else _checks.output("out", out, shape, dtype)
        if out is not None:
            x = _checks.unwritten(x, (y,))
        held = HeldBack(0 if out is None else self._room_for(x, y))
        for layer, part in self._parts(y, shapes):
            held.run(layer, x, out=part)
        return y if out is None else out

    def _parts(self, y: np.ndarray, shapes: list[tuple[int, ...]]) -> Iterator[tuple[Layer, np.ndarray]]:
        """Each layer, and its slice of the result."""
        start = 0
        for layer, (*_, channels) in zip(self.layers, shapes, strict=True):
            yield layer, y[..., start : start + channels]
            start += channels

    def _room_for(self, x: np.ndarray, y: np.ndarray) -> int:
        """`_room`, looked up for arrays that are laid out as those of an earlier call."""
        key = x.shape, x.strides, y.strides, x.dtype, threads()
        room = self._rooms.get(key)
        if room is None:
            room = self._room(x, y)
            if len(self._rooms) >= MOST_ROOMS:
                self._rooms.clear()
            self._rooms[key] = room
        return room

    def _room(self, x: np.ndarray, y: np.ndarray, residual: np.ndarray | None = None) -> int:
        return max(layer._room(x, part) for layer, part in self._parts(y, self._shapes(x.shape)))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._joined(self._shapes(_checks.shape("shape", shape)))

    output_shape.__doc__ = Layer.output_shape.__doc__

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        shapes = [layer.output_shape(shape) for layer in self.layers]
        for number, other in enumerate(shapes):
            if other[:-1] != shapes[0][:-1]:
                raise ValueError(
                    "layers: results of one shape but for the channels are needed, "
                    f"got {shapes[0]} of layer 0 and {other} of layer {number}"
                )
        return shapes

    @staticmethod
    def _joined(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    @property
    def _adds_residual(self) -> bool:
        return False

    def _dtype(self) -> np.dtype | None:
        return dtype_of(self.layers)

    def _check_input(self, x: np.ndarray) -> None:
        for layer in self.layers:
            layer._check_input(x)

    def _description(self) -> list[str]:
        return [*map(repr, self.layers)]
