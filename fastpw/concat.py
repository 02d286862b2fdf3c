"""Branches of one input, side by side in the channels of one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from . import _checks
from ._layer import Layer, dtype_of
from ._operation import Composite
from ._steps import Places, Steps
from ._typing import ArrayLike, FloatArray


class _SideBySide(Composite):
    """Layers of one input, each with some channels of the result."""

    __slots__ = ("layers",)

    adds_residual = False

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers

    def checked_input(self, x) -> np.ndarray:
        x = _checks.with_channels("x", x)
        for layer in self.layers:
            layer._check_input(x)
        return x

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shapes = self._shapes(shape)
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        shapes = [layer.output_shape(shape) for layer in self.layers]
        for number, other in enumerate(shapes):
            if other[:-1] != shapes[0][:-1]:
                raise ValueError(
                    "layers: results of one shape but for the channels are needed, "
                    f"got {shapes[0]} of layer 0 and {other} of layer {number}"
                )
        return shapes

    def add_to(self, steps: Steps, packed: None, places: Places, start: int) -> None:
        """Each layer writes its channels itself."""
        first = 0
        for layer, shape in zip(self.layers, self._shapes(places.x.array.shape), strict=True):
            part = places.y.channels(first, first + shape[-1])
            layer._operation.add_to(steps, layer._packed, Places(places.x, part), start)
            first += shape[-1]


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
    __slots__ = _ARGUMENTS

    layers: tuple[Layer, ...]

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._refuse_another_beginning()
        layers = _checks.layers("layers", layers, Layer)
        self._begin(_SideBySide(layers), None, layers=layers)

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
        return super().__call__(x, residual=residual, out=out)

    def _dtype(self) -> np.dtype | None:
        return dtype_of(self.layers)

    def _description(self) -> list[str]:
        return [*map(repr, self.layers)]
