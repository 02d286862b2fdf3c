"""What all layers have in common: they do not change, pickle as their arguments, keep their programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _checks
from ._frozen import frozen_array
from ._operation import Operation, Program
from ._typing import Activation, ArrayLike, FloatArray
from .reference import Gradients

# What a pickle of each version holds, besides its version: the layer's arguments. Defaults will stand for
# arguments that come later.
VERSION = 1

# Programs that a layer keeps, for as many sizes of its input.
MOST_PROGRAMS = 4
MOST_PROGRAM_BYTES = 1 << 20  # of each: a program has a part for each group and each box of pixels


def frozen(name: str, value: ArrayLike) -> FloatArray:
    """A copy whose memory nobody can make writable again; the array itself, where that is so already."""
    return frozen_array(_checks.array(name, value))


def _no_program(*arrays: Any) -> None:
    """Stands for the program of the last call where there was none."""


class Layer:
    """A layer with its options checked and its weights packed once."""

    __slots__ = ("__weakref__", "_latest", "_operation", "_packed", "_programs")

    _ARGUMENTS: ClassVar[tuple[str, ...]] = ()

    _operation: Operation
    _packed: Any
    _programs: tuple[Program, ...]  # of the last sizes
    _latest: Callable[..., FloatArray | None]  # that of the last call

    def __call__(
        self, x: ArrayLike, *, residual: ArrayLike | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """The layer's result.

        Parameters
        ----------
        x : (H, W, C) or (N, H, W, C) array
        residual : None
            Only convolutions add one.
        out : array, optional
            Where the result goes; it may be a channel slice or a crop of a larger array, with adjacent
            channels.

        Returns
        -------
        array
            `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            The message names the argument, and nothing is written.
        """
        y = self._latest(x, residual, out, None)
        return self._run(x, residual, out, None) if y is None else y

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result for an input of a shape.

        Parameters
        ----------
        shape : tuple of int
            As that of ``x``.

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            The layer takes no such input.
        """
        return self._operation.output_shape(_checks.shape("shape", shape))

    @property
    def _joins(self) -> bool:
        """Whether it may stand in a Chain or a Concat: what it reads and gives has one dtype, a float's."""
        return True

    @property
    def _adds_residual(self) -> bool:
        """Whether a call may bring one."""
        return self._operation.adds_residual

    def _dtype(self) -> np.dtype | None:
        """That of the weights; None if there are none."""
        return None

    def _check_input(self, x: np.ndarray) -> None:
        """Whether the layer takes an array; where it does, only its shape is left to fit."""
        self._operation.checked_input(x)

    def _begin(self, operation: Operation, packed: Any, **arguments: Any) -> None:
        """Set all attributes, once."""
        self._set(**arguments, _operation=operation, _packed=packed, _programs=(), _latest=_no_program)

    def _refuse_another_beginning(self) -> None:
        if hasattr(self, "_operation"):
            raise self._does_not_change("__init__")

    def _run(self, *arrays: Any) -> FloatArray:
        """A call that does not fit the latest program."""
        known = self._programs
        for program in known:
            y = program(*arrays)
            if y is not None:
                self._set(_latest=program)
                return y
        y, used = self._operation.run(known, self._packed, arrays)
        if used.nbytes <= MOST_PROGRAM_BYTES:
            self._set(_latest=used)
            if used not in known:
                self._set(_programs=(used, *known[: MOST_PROGRAMS - 1]))
        return y

    # A layer does not change

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _does_not_change(self, name: str) -> AttributeError:
        kind = type(self).__name__
        return AttributeError(f"{name}: a {kind} does not change; make a new one")

    def __setattr__(self, name: str, value: Any) -> None:
        raise self._does_not_change(name)

    def __delattr__(self, name: str) -> None:
        raise self._does_not_change(name)

    # Pickles and copies

    def __getstate__(self) -> dict[str, Any]:
        return {"version": VERSION, **{name: getattr(self, name) for name in self._ARGUMENTS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments = _arguments(state, set(self._ARGUMENTS))
        try:
            self.__init__(**arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"state: {error}") from error

    def __repr__(self) -> str:
        said = ", ".join(self._description())
        return f"<{type(self).__name__}: {said}>" if said else f"<{type(self).__name__}>"

    def _description(self) -> list[str]:
        """What its repr says, part by part."""
        return []


class ConvolutionLayer(Layer):
    """What the layers with weights have in common."""

    __slots__ = ()

    _GRADIENTS: ClassVar[Callable[..., Gradients]]  # the function that computes them

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: Any
    activation: Activation

    def __call__(
        self,
        x: ArrayLike,
        *,
        residual: ArrayLike | None = None,
        out: FloatArray | None = None,
        out_z: FloatArray | None = None,
    ) -> FloatArray:
        """``activation(convolution(x) + bias + residual)``.

        Parameters
        ----------
        x : array
        residual : array, optional
        out, out_z : array, optional
            All as in the function of the same name.

        Returns
        -------
        array
            `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            As in that function.
        """
        y = self._latest(x, residual, out, out_z)
        if y is not None:
            return y
        return self._run(x, residual, out, out_z)

    def backward(
        self,
        dy: ArrayLike,
        x: ArrayLike | None,
        *,
        y: ArrayLike | None = None,
        z: ArrayLike | None = None,
        residual: ArrayLike | None = None,
        wrt: Collection[str] | str = ("x", "weight", "bias"),
        out: Gradients | tuple[FloatArray | None, ...] | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """The gradients of a call, with the layer's weights and options.

        Parameters
        ----------
        dy, x, y, z, residual, wrt, out, accumulate
            As in `conv1x1_backward` and its like.

        Returns
        -------
        Gradients
            ``dx``, ``dweight``, ``dbias`` and ``dresidual``; None where not wanted.

        Raises
        ------
        TypeError, ValueError
            As in those functions.
        """
        options = {name: getattr(self, name) for name in self._ARGUMENTS}
        if options["bias"] is None and z is None:  # z may have to be recomputed: with a bias of zeros
            options["bias"] = np.zeros(self.filters, self.dtype)
        arrays = {"y": y, "z": z, "residual": residual}
        gradients = type(self)._GRADIENTS
        return gradients(dy, x, wrt=wrt, out=out, accumulate=accumulate, **arrays, **options)

    def _dtype(self) -> np.dtype | None:
        return self._operation.dtype

    @property
    def channels(self) -> int:
        return self._operation.channels

    @property
    def filters(self) -> int:
        return self._operation.filters

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._operation.dtype

    def astype(self, dtype: DTypeLike) -> Self:
        """The same layer with its weights in another dtype.

        Parameters
        ----------
        dtype : numpy.dtype or what makes one
            float32 or float64.

        Returns
        -------
        layer
            A new one.

        Raises
        ------
        TypeError
            Another dtype.
        """
        wanted = _checks.dtype("dtype", dtype)
        arguments = {name: getattr(self, name) for name in self._ARGUMENTS}
        for name in ("weight", "bias"):
            if arguments[name] is not None:
                arguments[name] = arguments[name].astype(wanted)
        return type(self)(**arguments)

    def _description(self) -> list[str]:
        groups, dilation = getattr(self, "groups", 1), getattr(self, "dilation", _checks.ONCE)
        size = getattr(self, "kernel_size", None)
        said = [f"{self.channels} -> {self.filters} channels", str(self.dtype)]
        said += [f"kernel {size}"] * (size is not None)
        said += ["bias"] * (self.bias is not None)
        said += [f"stride {self.stride}"] * (self.stride != _checks.ONCE)
        said += [f"padding {self.padding}"] * (self.padding != _checks.NOTHING)
        said += [f"dilation {dilation}"] * (dilation != _checks.ONCE)
        said += [f"{groups} groups"] * (groups > 1)
        said += [f"activation {self.activation!r}"] * (self.activation is not None)
        return said


def dtype_of(layers: Iterable[Layer]) -> np.dtype | None:
    """That of the first weights; None if there are none."""
    return next((dtype for dtype in (layer._dtype() for layer in layers) if dtype is not None), None)


def _arguments(state: Any, needed: set[str]) -> dict[str, Any]:
    """The constructor's arguments that a pickle's state holds."""
    version = state.get("version") if isinstance(state, dict) else None
    if type(version) is not int or version != VERSION:
        raise ValueError(f"state: a dict of version {VERSION} is needed, got {_checks.shown(state)[:200]}")
    arguments = {name: value for name, value in state.items() if name != "version"}
    if arguments.keys() != needed:
        wanted, came = (", ".join(sorted(map(str, names))) for names in (needed, arguments))
        raise ValueError(f"state: {wanted} are needed in version {version}, got {came}")
    return arguments
