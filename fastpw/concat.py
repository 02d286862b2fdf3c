"""Branches of one input, side by side in the channels of one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from . import _checks
from ._layer import Layer, dtype_of
from ._operation import new
from ._typing import ArrayLike, FloatArray


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
        if hasattr(self, "layers"):
            raise self._does_not_change("__init__")
        self._set(layers=_checks.layers("layers", layers, Layer))

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
        start = 0
        for layer, (*_, channels) in zip(self.layers, shapes, strict=True):
            layer(x, out=y[..., start : start + channels])
            start += channels
        return y if out is None else out

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
