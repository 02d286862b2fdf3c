"""The convolution as a layer: its weights are checked and packed once, and used by many calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from . import _checks
from ._activations import own_spec
from ._convolution import Convolution, options
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout
from .core.forward import Forward, PackedWeights
from .gradients import conv1x1_backward
from .reference import Gradients

ARGUMENTS = ("weight", "bias", "stride", "padding", "groups", "activation", "weight_layout")

# What a pickle of each version holds, besides its version; defaults stand for arguments that came later.
STATES = {1: set(ARGUMENTS)}
VERSION = max(STATES)

# Programs that a layer keeps, for as many sizes of its input.
MOST_PROGRAMS = 4
MOST_PROGRAM_BYTES = 1 << 20  # of each: a program has a part for each group and each box of pixels


def _frozen(name: str, value: ArrayLike) -> FloatArray:
    """A copy whose memory nobody can make writable again."""
    array = _checks.array(name, value)
    return np.ndarray(array.shape, array.dtype, array.tobytes())


def _no_program(*arrays: Any) -> None:
    """Stands for the program of the last call where there was none."""


class Conv1x1:
    """A pointwise (1x1) convolution with its weights packed: ``layer(x)`` is ``conv1x1(x, weight, ...)``.

    Parameters
    ----------
    weight, bias, stride, padding, groups, activation, weight_layout
        As in `conv1x1`. The arrays are copied: what becomes of them later does not change the layer.

    Attributes
    ----------
    weight, bias, groups, weight_layout
        As given; the arrays are read-only.
    activation : str, tuple or None
        By its own name, where an alias was given.
    stride : (int, int)
        (h, w).
    padding : ((int, int), (int, int))
        ((top, bottom), (left, right)).
    channels, filters : int
        C and K.
    dtype : numpy.dtype
        Of the weights, and of all arrays of a call: float32 or float64.

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`.

    Notes
    -----
    A layer does not change: its weights are packed. Many threads may call one layer at once. It pickles as
    its plain weights and packs again where it is loaded, for the instruction set in use there.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> layer = fastpw.Conv1x1(np.ones((4, 3), np.float32), activation="relu6")
    >>> layer(np.ones((2, 3), np.float32))
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]], dtype=float32)
    """

    __slots__ = (*ARGUMENTS, "__weakref__", "_convolution", "_latest", "_packed", "_programs")

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    activation: Activation
    weight_layout: WeightLayout
    _convolution: Convolution
    _packed: PackedWeights
    _programs: tuple[Forward, ...]  # of the last sizes
    _latest: Callable[..., FloatArray | None]  # that of the last call

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Stride = 1,
        padding: Padding = 0,
        groups: SupportsIndex = 1,
        activation: Activation = None,
        weight_layout: WeightLayout = "OI",
    ) -> None:
        if hasattr(self, "_packed"):
            raise self._does_not_change("__init__")
        checked = options(stride, padding, groups, activation, weight_layout)
        convolution = Convolution(
            _frozen("weight", weight), None if bias is None else _frozen("bias", bias), checked
        )
        self._set(
            weight=convolution.given,
            bias=convolution.bias,
            stride=checked.stride,
            padding=checked.padding,
            groups=checked.groups,
            activation=own_spec(activation),
            weight_layout=str(weight_layout),
            _convolution=convolution,
            _packed=convolution.pack(),
            _programs=(),
            _latest=_no_program,
        )

    def __call__(
        self,
        x: ArrayLike,
        *,
        residual: ArrayLike | None = None,
        out: FloatArray | None = None,
        out_z: FloatArray | None = None,
    ) -> FloatArray:
        """``activation(x @ weight.T + bias + residual)`` at every pixel.

        Parameters
        ----------
        x : (..., C) array
        residual : (..., K) array, optional
        out, out_z : (..., K) array, optional
            All as in `conv1x1`.

        Returns
        -------
        (..., K) array
            `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            As in `conv1x1`.
        """
        y = self._latest(x, residual, out, out_z)
        if y is not None:
            return y
        return self._run(x, residual, out, out_z)

    def _run(self, *arrays: Any) -> FloatArray:
        """A call that does not fit the latest program."""
        known = self._programs
        for program in known:
            y = program(*arrays)
            if y is not None:
                self._set(_latest=program)
                return y
        y, used = self._convolution.run(known, self._packed, arrays)
        if used.nbytes <= MOST_PROGRAM_BYTES:
            self._set(_latest=used)
            if used not in known:
                self._set(_programs=(used, *known[: MOST_PROGRAMS - 1]))
        return y

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
        """The gradients of a call: `conv1x1_backward` with the layer's weights and options.

        Parameters
        ----------
        dy, x, y, z, residual, wrt, out, accumulate
            As in `conv1x1_backward`.

        Returns
        -------
        Gradients
            ``dx``, ``dweight``, ``dbias`` and ``dresidual``; None where not wanted.

        Raises
        ------
        TypeError, ValueError
            As in `conv1x1_backward`.
        """
        bias = self.bias
        if (
            bias is None and z is None
        ):  # z is recomputed where it is needed: this layer has no bias, which is one of zeros
            bias = np.zeros(self.filters, self.dtype)
        return conv1x1_backward(
            dy,
            x,
            self.weight,
            bias,
            y=y,
            z=z,
            residual=residual,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            activation=self.activation,
            weight_layout=self.weight_layout,
            wrt=wrt,
            out=out,
            accumulate=accumulate,
        )

    @property
    def channels(self) -> int:
        return self._convolution.channels

    @property
    def filters(self) -> int:
        return self._convolution.filters

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._convolution.dtype

    def astype(self, dtype: DTypeLike) -> Conv1x1:
        """The same layer with its weights in another dtype.

        Parameters
        ----------
        dtype : numpy.dtype or what makes one
            float32 or float64.

        Returns
        -------
        Conv1x1
            A new layer.

        Raises
        ------
        TypeError
            Another dtype.
        """
        wanted = _checks.dtype("dtype", dtype)
        arguments = {name: getattr(self, name) for name in ARGUMENTS}
        for name in ("weight", "bias"):
            if arguments[name] is not None:
                arguments[name] = arguments[name].astype(wanted)
        return type(self)(**arguments)

    # A layer does not change

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _does_not_change(self, name: str) -> AttributeError:
        return AttributeError(f"{name}: a Conv1x1 does not change, its weights are packed; make a new one")

    def __setattr__(self, name: str, value: Any) -> None:
        raise self._does_not_change(name)

    def __delattr__(self, name: str) -> None:
        raise self._does_not_change(name)

    # Pickles and copies

    def __getstate__(self) -> dict[str, Any]:
        return {"version": VERSION, **{name: getattr(self, name) for name in ARGUMENTS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments = _arguments(state)
        try:
            self.__init__(**arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"state: {error}") from error

    def __repr__(self) -> str:
        said = [f"{self.channels} -> {self.filters} channels", str(self.dtype)]
        said += ["bias"] * (self.bias is not None)
        said += [f"stride {self.stride}"] * (self.stride != _checks.ONCE)
        said += [f"padding {self.padding}"] * (self.padding != _checks.NOTHING)
        said += [f"{self.groups} groups"] * (self.groups > 1)
        said += [f"activation {self.activation!r}"] * (self.activation is not None)
        return f"<Conv1x1: {', '.join(said)}>"


def _arguments(state: Any) -> dict[str, Any]:
    """The constructor's arguments that a pickle's state holds."""
    version = state.get("version") if isinstance(state, dict) else None
    if type(version) is not int or version not in STATES:
        raise ValueError(
            f"state: a dict of version 1 to {VERSION} is needed, got {_checks.shown(state)[:200]}"
        )
    arguments = {name: value for name, value in state.items() if name != "version"}
    if arguments.keys() != STATES[version]:
        needed, came = (", ".join(sorted(map(str, names))) for names in (STATES[version], arguments))
        raise ValueError(f"state: {needed} are needed in version {version}, got {came}")
    return arguments
