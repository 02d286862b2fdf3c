"""Layers one after the other, run so that what lies between them stays in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from . import _checks
from ._fusion import Description, Joined, Part, describe
from ._layer import Layer, dtype_of
from ._operation import placeholder
from ._typing import ArrayLike, FloatArray
from .core.kept import LINE, borrow, give_back
from .runtime import threads

# Plans that a chain keeps, for as many shapes of its input.
MOST_PLANS = 4


class _Room(NamedTuple):
    """Where the results of all steps but the last go: in turn at both ends of one piece of memory."""

    size: int  # of the memory, in bytes
    places: tuple[tuple[tuple[int, ...], int], ...]  # of each its shape, and where it begins

    @classmethod
    def of(cls, shapes: list[tuple[int, ...]], itemsize: int) -> _Room:
        sizes = [-(-prod(shape) * itemsize // LINE) * LINE for shape in shapes]
        size = max((a + b for a, b in pairwise([*sizes, 0])), default=0)
        starts = (size - sizes[number] if number % 2 else 0 for number in range(len(sizes)))
        return cls(size, tuple(zip(shapes, starts, strict=True)))


class _Plan(NamedTuple):
    """How a chain runs for an input of a shape."""

    shape: tuple[int, ...]
    dtype: np.dtype
    threads: int
    steps: tuple[Layer, ...]  # one after the other
    room: _Room  # for their results but the last
    result: tuple[int, ...]  # the shape of that
    parts: Description


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
    __slots__ = ("_joined", "_plans", *_ARGUMENTS)

    layers: tuple[Layer, ...]
    add_input: bool
    _plans: tuple[_Plan, ...]
    _joined: dict[tuple[int, int], Joined]  # layers that run as one, by the first and behind the last

    def __init__(self, layers: Iterable[Layer], *, add_input: bool = False) -> None:
        if hasattr(self, "layers"):
            raise self._does_not_change("__init__")
        layers = _checks.layers("layers", layers, Layer)
        add_input = _checks.flag("add_input", add_input)
        if add_input and not layers[-1]._adds_residual:
            raise _checks.nothing_to_add_to(layers[-1])
        self._set(layers=layers, add_input=add_input, _plans=(), _joined={})

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
        x = _checks.with_channels("x", x)
        if residual is not None and self.add_input:
            raise _checks.two_residuals(residual)
        if residual is not None and not self._adds_residual:
            raise _checks.no_residual(residual)
        plan = self._plan_for(x)
        added = x if self.add_input else residual
        if len(plan.steps) == 1:
            return self._last(plan, x, added, out)
        if residual is not None:
            _checks.like_result("residual", residual, plan.result, plan.dtype)
        if out is not None:
            _checks.output("out", out, plan.result, plan.dtype)
        y, memory = x, borrow(plan.room.size)
        for step, (shape, start) in zip(plan.steps, plan.room.places, strict=False):
            y = step(y, out=np.ndarray(shape, plan.dtype, memory, start))
        y = self._last(plan, y, added, out)
        give_back(memory)
        return y

    @staticmethod
    def _last(plan: _Plan, x, added, out) -> FloatArray:
        """The last step of a plan. Only convolutions take a residual, None or not."""
        return plan.steps[-1](x, out=out) if added is None else plan.steps[-1](x, residual=added, out=out)

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
        self.output_shape(shape)
        return self._plan(shape, self._dtype() or np.dtype(np.float32), threads()).parts

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._shapes(_checks.shape("shape", shape))[-1]

    output_shape.__doc__ = Layer.output_shape.__doc__

    def _plan_for(self, x: np.ndarray) -> _Plan:
        """How it runs for an input like this one, which is checked."""
        limit = threads()
        for plan in self._plans:
            if plan.shape == x.shape and plan.dtype == x.dtype and plan.threads == limit:
                return plan
        self._check_input(x)
        plan = self._plan(x.shape, np.dtype(x.dtype.type), limit)
        self._set(_plans=(plan, *self._plans[: MOST_PLANS - 1]))
        return plan

    def _plan(self, shape: tuple[int, ...], dtype: np.dtype, limit: int) -> _Plan:
        result = self.output_shape(shape)
        if self.add_input and result != shape:
            raise _checks.input_cannot_be_added(shape, result)
        layers = self._flat()
        shapes = [shape]
        for layer in layers:
            shapes.append(layer.output_shape(shapes[-1]))
        found = describe(layers, shapes, dtype, limit)
        steps = tuple(self._step(layers, part) for part in found)
        room = _Room.of([shapes[part.last] for part in found[:-1]], dtype.itemsize)
        return _Plan(shape, dtype, limit, steps, room, result, found)

    def _step(self, layers: tuple[Layer, ...], part: Part) -> Layer:
        if part.way == "alone":
            return layers[part.first]
        key = part.first, part.last
        if key not in self._joined:
            self._joined[key] = Joined(layers[part.first : part.last])
        return self._joined[key]

    def _dtype(self) -> np.dtype | None:
        """That of the weights; None if there are none."""
        return dtype_of(self.layers)

    def _room(self, x: np.ndarray, y: np.ndarray, residual: np.ndarray | None = None) -> int:
        plan = self._plan_for(x)
        between = [placeholder(shape, plan.dtype) for shape, _ in plan.room.places]
        ends = [x, *between[: len(plan.steps) - 1], y]
        added = [None] * (len(plan.steps) - 1) + [x if self.add_input else residual]
        rooms = map(lambda step, *arrays: step._room(*arrays), plan.steps, ends, ends[1:], added)
        return plan.room.size + max(rooms)

    def _flat(self) -> tuple[Layer, ...]:
        """The layers, those of chains among them one by one, but for chains that add their own input."""
        found = []
        for layer in self.layers:
            inner = isinstance(layer, Chain) and not layer.add_input
            found += layer._flat() if inner else [layer]
        return tuple(found)

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

    def _check_input(self, x: np.ndarray) -> None:
        for layer, shape in zip(self.layers, self._shapes(x.shape), strict=False):
            layer._check_input(placeholder(shape, x.dtype))

    @property
    def _adds_residual(self) -> bool:
        return not self.add_input and self.layers[-1]._adds_residual

    def _description(self) -> list[str]:
        return [*map(repr, self.layers)] + ["input added"] * self.add_input
