"""What a layer computes: options that are checked once, and the programs that compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import _checks
from ._steps import Places, Steps, placeholder
from .core.forward import empty

__all__ = ["HeldBack", "Operation", "Program", "RowsOfStage", "Weighted", "new", "placeholder"]


class RowsOfStage(NamedTuple):
    """Along the rows, an output's taps: how many, one from the next, from output to output, the first of all.

    And what a number of the result costs.
    """

    taps: int
    step: int
    stride: int
    origin: int
    depth: int  # multiply-adds


class Program(Protocol):
    """Described for arrays laid out in one way; binds others that are laid out so, and runs."""

    nbytes: int
    room: int  # bytes that a run takes beside its arrays, at most

    def __call__(self, x, residual, out, out_z) -> np.ndarray | None:
        """y, or None if the arrays have to be checked first."""

    def run_checked(self, x, residual, y, z, weight, bias) -> bool:
        """Run, if the arrays are laid out so; that they may be read and written has been checked."""


class Operation:
    """Checks the arrays of a call, and finds or describes the program that computes it.

    A subclass says what input it takes, of what shape its result is, and how a program is described.
    """

    __slots__ = ()

    given: np.ndarray | None = None  # the weights as they came, where a program is given them at each call
    bias: np.ndarray | None = None
    adds_residual = True
    result_follows = _checks.INPUTS  # where its dtype comes from, for a message

    def checked_input(self, x) -> np.ndarray:
        raise NotImplementedError

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """For an input of a shape, which is checked."""
        raise NotImplementedError

    def result_dtype(self, x: np.ndarray) -> np.dtype:
        return np.dtype(x.dtype.type)

    def describe(self, packed: Any, x, y, residual, z) -> Program:
        raise NotImplementedError

    def stage(self, shape: tuple[int, ...]) -> RowsOfStage | None:
        """How rows of the result depend on those of (N, H, W, C); None: the layer is no stage of a chain."""
        return None

    def add_to(self, steps: Steps, packed: Any, places: Places, start: int) -> None:
        """The operation as the next steps of a larger one.

        Of the room between steps, what follows `start` is free.
        """
        steps.add(self.describe(packed, *places.arrays), places)

    def refused(self, residual: Any) -> ValueError:
        """What is said of a residual that is not added."""
        return _checks.no_residual(residual)

    def run(self, known: Iterable[Program], packed: Any, arrays: tuple) -> tuple[np.ndarray, Program]:
        """Check the arrays (x, residual, out, out_z) of a call and run it: y, and the program that ran.

        That is one of those that are known, or a new one. Nothing is written before all is checked.
        """
        x, residual, out, out_z = arrays
        if residual is not None and not self.adds_residual:
            raise self.refused(residual)
        x = self.checked_input(x)
        shape, dtype = self.output_shape(x.shape), self.result_dtype(x)
        if residual is not None:
            residual = _checks.like_result("residual", residual, shape, dtype)
        z = None if out_z is None else _checks.output("out_z", out_z, shape, dtype)
        if out is None:
            y = new(shape, dtype)
        else:
            y = _checks.output("out", out, shape, dtype, why=self.result_follows)
        if out is not None or z is not None:
            x, residual = _checks.apart(x, residual, y, z)
        for program in known:
            if program.run_checked(x, residual, y, z, self.given, self.bias):
                break
        else:
            program = self.describe(packed, x, y, residual, z)
            # (another thread may have changed the number of threads or the instruction set meanwhile)
            while not program.run_checked(x, residual, y, z, self.given, self.bias):
                program = self.describe(packed, x, y, residual, z)
        return y if out is None else out, program


class Composite(Operation):
    """Operations that run one after the other as one program."""

    __slots__ = ()

    def describe(self, packed: Any, x, y, residual, z) -> Program:
        steps = Steps(x, y, residual, z)
        if steps.ends.y.array.shape != self.output_shape(steps.ends.x.array.shape):
            raise ValueError("a result of another shape is needed, got an array that was changed meanwhile")
        self.add_to(steps, packed, steps.ends, 0)
        return steps.program()


class Weighted(Operation):
    """What convolutions of any kernel have in common: weights, one dtype for all arrays."""

    __slots__ = ()

    weight: np.ndarray
    dtype: np.dtype
    channels: int
    filters: int
    options: Any

    def checked_input(self, x) -> np.ndarray:
        """x with adjacent channels; whether they are C shows in its shape."""
        x = _checks.with_channels("x", x)
        if x.dtype is not self.dtype and x.dtype != self.dtype:
            raise _checks.mixed_dtypes(x=x, weight=self.weight, bias=self.bias)
        return x

    def need_channels(self, shape: tuple[int, ...]) -> None:
        if shape[-1] != self.channels:
            raise _checks.wrong_channels(shape, self.channels, self.options.groups)


class HeldBack:
    """Memory for runs that follow each other and write what is the caller's: none is to be refused some.

    Who is refused after all is given it, and runs again.
    """

    def __init__(self, room: int) -> None:
        self._memory: np.ndarray | None = np.empty(room, np.uint8)

    def run(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except MemoryError:
            if self._memory is None:  # those before gave it back
                raise
            self._memory = None
            return call(*arguments, **options)


def new(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for a result."""
    try:
        return empty(shape, dtype)
    except (ValueError, OverflowError):
        raise _checks.too_large(shape) from None
