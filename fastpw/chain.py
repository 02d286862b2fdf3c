"""Layers one after the other, run so that what lies between them stays in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from . import _checks
from ._fused import fused
from ._fusion import Description, Part, describe
from ._layer import Layer, dtype_of
from ._operation import Composite
from ._steps import Places, Steps, placeholder
from ._typing import ArrayLike, FloatArray
from .runtime import threads


class _InTurn(Composite):
    """Layers one after the other, some of them as one."""

    __slots__ = ("add_input", "layers")

    def __init__(self, layers: tuple[Layer, ...], add_input: bool) -> None:
        self.layers, self.add_input = layers, add_input

    @property
    def adds_residual(self) -> bool:
        return not self.add_input and self.layers[-1]._adds_residual

    def refused(self, residual: Any) -> ValueError:
        return _checks.two_residuals(residual) if self.add_input else super().refused(residual)

    def checked_input(self, x) -> np.ndarray:
        x = _checks.with_channels("x", x)
        shapes = self._shapes(x.shape)
        for layer, shape in zip(self.layers, shapes, strict=False):
            layer._check_input(placeholder(shape, x.dtype))
        self._check_sum(shapes)
        return x

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(shape)[-1]

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Of the input and of each layer's result."""
        shapes = [shape]
        for number, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as error:
                if number == 0:
                    raise
                raise ValueError(f"layers: layer {number}: {error}") from None
        return shapes

    def _check_sum(self, shapes: list[tuple[int, ...]]) -> None:
        if self.add_input and shapes[0] != shapes[-1]:
            raise _checks.input_cannot_be_added(shapes[0], shapes[-1])

    def plan(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Description, list[tuple[int, ...]]]:
        """Which of the flat layers run as one, and the shapes of the input and of their results."""
        self._check_sum(self._shapes(shape))
        shapes, layers = [shape], self.flat()
        for layer in layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return describe(layers, shapes, dtype, threads()), shapes

    def flat(self) -> tuple[Layer, ...]:
        """The layers, those of chains among them one by one, but for chains that add their own input."""
        found = []
        for layer in self.layers:
            inner = layer._operation
            found += inner.flat() if isinstance(inner, _InTurn) and not inner.add_input else [layer]
        return tuple(found)

    def add_to(self, steps: Steps, packed: None, places: Places, start: int) -> None:
        """What lies between the steps takes turns at both ends of one piece of the room."""
        x, y, residual, _ = places
        parts, shapes = self.plan(x.array.shape, x.array.dtype)
        sizes = [steps.size(shapes[part.last]) for part in parts[:-1]]
        end = start + max((a + b for a, b in pairwise([*sizes, 0])), default=0)
        before = x
        for number, part in enumerate(parts[:-1]):
            at = end - sizes[number] if number % 2 else start
            after = steps.between(shapes[part.last], at)
            self._add_part(steps, part, Places(before, after), end)
            before = after
        self._add_part(steps, parts[-1], Places(before, y, x if self.add_input else residual), end)

    def _add_part(self, steps: Steps, part: Part, places: Places, start: int) -> None:
        layers = self.flat()[part.first : part.last]
        if part.way == "alone":
            layers[0]._operation.add_to(steps, layers[0]._packed, places, start)
        else:
            steps.add(fused(layers, *places.arrays[:3]), places)


class Chain(Layer):
    """Layers one after the other: an inverted residual, a bottleneck, an MLP.

    The result has the bits of the layers called one after the other. How it is computed follows from the
    shape of the input and the caches of the machine: `describe` says how.

    Parameters
    ----------
    layers : iterable of layers
        At least one; each takes the result of the one before. Chains and Concats may be among them.
    add_input : bool
        Whether the last layer adds the chain's own input, as its residual. The input then has the shape of
        the result.

    Attributes
    ----------
    layers : tuple
    add_input : bool

    Raises
    ------
    TypeError, ValueError
        The message names the argument.

    Examples
    --------
    An inverted residual of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, figure 3):

    >>> import numpy as np, fastpw
    >>> expand = fastpw.Conv1x1(np.ones((12, 2), np.float32), activation="relu6")
    >>> depthwise = fastpw.DepthwiseConv2d(np.ones((3, 3, 12), np.float32), padding=1, activation="relu6")
    >>> project = fastpw.Conv1x1(np.ones((2, 12), np.float32))
    >>> block = fastpw.Chain([expand, depthwise, project], add_input=True)
    >>> block(np.ones((4, 4, 2), np.float32)).shape
    (4, 4, 2)
    """

    _ARGUMENTS = ("layers", "add_input")
    __slots__ = _ARGUMENTS

    layers: tuple[Layer, ...]
    add_input: bool

    def __init__(self, layers: Iterable[Layer], *, add_input: bool = False) -> None:
        self._refuse_another_beginning()
        layers = _checks.layers("layers", layers, Layer)
        add_input = _checks.flag("add_input", add_input)
        if add_input and not layers[-1]._adds_residual:
            raise _checks.nothing_to_add_to(layers[-1])
        self._begin(_InTurn(layers, add_input), None, layers=layers, add_input=add_input)

    def __call__(
        self, x: ArrayLike, *, residual: ArrayLike | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """The result of the last layer.

        Parameters
        ----------
        x : array
            As the first layer needs it.
        residual : array, optional
            Goes to the last layer, which must be a convolution then; not with `add_input`.
        out : array, optional
            Where the result goes, as for the last layer.

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

    def describe(self, shape: tuple[int, ...]) -> Description:
        """How the chain would run for an input of a shape, and why.

        Parameters
        ----------
        shape : tuple of int
            As that of ``x``.

        Returns
        -------
        Description
            A tuple with a part for layers that run as one, or for a layer that runs by itself: the numbers
            of its ``first`` layer and behind its ``last``, where the layers of inner chains count one by one;
            the ``way``, "bands" or "alone", and ``why`` not in bands; ``threads``, ``bands`` of an image,
            ``rows`` of a band, bytes of ``scratch`` for each thread, and bytes ``saved``, which need not be
            written and read again. Printed, it is a line for each.

        Raises
        ------
        TypeError, ValueError
            The chain takes no such input.
        """
        shape = _checks.shape("shape", shape)
        return _InTurn(self.layers, self.add_input).plan(shape, self._dtype() or np.dtype(np.float32))[0]

    def _dtype(self) -> np.dtype | None:
        """That of the weights; None if there are none."""
        return dtype_of(self.layers)

    def _description(self) -> list[str]:
        return [*map(repr, self.layers)] + ["input added"] * self.add_input
