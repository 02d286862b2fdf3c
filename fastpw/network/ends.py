"""A network's inputs and outputs as the caller sees them: names, shapes, dtypes, and the layout asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .graph import Port
from .values import CHANNELS_FIRST, CHANNELS_LAST, Shape

NetworkLayout: TypeAlias = Literal["NHWC"] | None


class NetworkPort(NamedTuple):
    """An input or an output of a network.

    Attributes
    ----------
    name : str
        As in the file.
    shape : tuple of (int or None)
        In the layout of the network; None where the size may differ from call to call.
    dtype : numpy.dtype
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Ends:
    """Both ends of a network, and the way of arrays from the caller's axes to those of the file and back."""

    def __init__(self, inputs: Iterable[Port], outputs: Iterable[Port], layout: NetworkLayout) -> None:
        self._layout = layout
        self.inputs: list[NetworkPort] = [self._outside(port) for port in inputs]
        self.outputs: list[NetworkPort] = [self._outside(port) for port in outputs]
        self._names = frozenset(port.name for port in self.inputs)

    def told(self) -> str:
        """What a network takes and gives, for a message."""
        ends = (
            ", ".join(f"{port.name} {_shown(port.shape)}" for port in ports)
            for ports in (self.inputs, self.outputs)
        )
        return " -> ".join(ends)

    def checked(self, arrays: Mapping[str, ArrayLike]) -> list[np.ndarray]:
        """The arrays of a call with the axes of the file, in its order.

        Raises
        ------
        TypeError, ValueError
            The message names the input.
        """
        if not isinstance(arrays, (dict, Mapping)):
            raise TypeError(f"inputs: a dict of arrays by name is needed, got {type(arrays).__name__}")
        if arrays.keys() != self._names:
            names = [port.name for port in self.inputs]
            raise ValueError(f"inputs: {names} are needed, got {[*arrays]}")
        return [self._inside(port, np.asarray(arrays[port.name])) for port in self.inputs]

    def _inside(self, port: NetworkPort, array: np.ndarray) -> np.ndarray:
        if array.dtype != port.dtype:
            raise TypeError(f"input {port.name!r}: {port.dtype} is needed, got {array.dtype}")
        if array.shape != port.shape and not _fits(array.shape, port.shape):
            raise ValueError(f"input {port.name!r}: shape {_shown(port.shape)} is needed, got {array.shape}")
        return array.transpose(CHANNELS_FIRST) if self._turned(array.ndim, array.dtype) else array

    def given_out(self, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """A result as a new array."""
        if self._turned(array.ndim, array.dtype):
            array = array.transpose(CHANNELS_LAST)
        if dtype.char == "e":  # float16
            return np.array(array, dtype, order="C")
        return np.array(array, order="C")  # what the file says of other outputs need not be so

    def planned_for(self, shape: tuple[int, ...] | None) -> tuple[Shape, ...]:
        """The shapes of the inputs, with the axes of the file, where the caller gives that of the only one.

        Raises
        ------
        ValueError
            It does not fit, or sizes are missing.
        """
        if shape is None:
            shapes = [port.shape for port in self.inputs]
        elif len(self.inputs) == 1 and _fits(tuple(shape), self.inputs[0].shape):
            shapes = [tuple(shape)]
        else:
            raise ValueError(f"shape: one that fits {self.told()} is needed, got {shape}")
        if any(None in sizes for sizes in shapes):
            raise ValueError(f"shape: the sizes of the input are needed, of {self.told()}")
        return tuple(
            tuple(sizes[axis] for axis in CHANNELS_FIRST) if self._turned(len(sizes), port.dtype) else sizes
            for sizes, port in zip(shapes, self.inputs, strict=True)
        )

    def _outside(self, port: Port) -> NetworkPort:
        """As the caller sees it."""
        shape = port.shape
        if self._turned(len(shape), port.dtype):
            shape = tuple(shape[axis] for axis in CHANNELS_LAST)
        return NetworkPort(port.name, shape, port.dtype)

    def _turned(self, ndim: int, dtype: np.dtype) -> bool:
        """Whether the caller has the channels last, where the file has them first."""
        return self._layout == "NHWC" and ndim == 4 and dtype.kind == "f"


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted, strict=True))


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"
