"""The convolution as a layer: its weights are checked and packed once, and used by many calls."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np

from . import checks
from ._activations import own_spec
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout
from .plan import Plan

# What a pickle holds: the constructor's arguments.
STATE = {"weight", "bias", "stride", "padding", "groups", "activation", "weight_layout"}


def _frozen(name: str, value) -> np.ndarray:
    copy = checks.array(name, value).copy()
    copy.flags.writeable = False
    return copy


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

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`.

    Notes
    -----
    Many threads may call one layer at once. It pickles as its attributes and packs again where it is loaded,
    for the instruction set in use there.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> layer = fastpw.Conv1x1(np.ones((4, 3), np.float32), activation="relu6")
    >>> layer(np.ones((2, 3), np.float32))
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]], dtype=float32)
    """

    weight: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    activation: Activation
    weight_layout: WeightLayout
    _plan: Plan
    _again = None  # makes a call like the last one, without its checks

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
        weight = _frozen("weight", weight)
        bias = None if bias is None else _frozen("bias", bias)
        plan = Plan(weight, bias, stride, padding, groups, activation, weight_layout)
        self.__dict__.update(
            weight=weight,
            bias=bias,
            stride=plan.stride,
            padding=plan.padding,
            groups=plan.groups,
            activation=own_spec(activation),
            weight_layout=str(weight_layout),
            _plan=plan,
        )

    def __call__(
        self, x: ArrayLike, residual: ArrayLike | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """``activation(x @ weight.T + bias + residual)`` at every pixel.

        Parameters
        ----------
        x : (..., C) array
        residual : (..., K) array, optional
        out : (..., K) array, optional
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
        again = self._again
        if again is not None and residual is None:
            y = again(x, out)
            if y is not None:
                return y
        y = self._plan.run(x, residual, out)
        if residual is None:
            self.__dict__["_again"] = self._plan.replay(x, y)
        return y

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: a Conv1x1 does not change, its weights are packed; make a new one")

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in STATE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or state.keys() != STATE:
            came = ", ".join(map(str, state)) if isinstance(state, dict) else f"a {type(state).__name__}"
            raise ValueError(f"state: a dict of {', '.join(sorted(STATE))} is needed, got {came}")
        try:
            self.__init__(**state)
        except (TypeError, ValueError) as error:
            raise ValueError(f"state: {error}") from error

    def __repr__(self) -> str:
        plan = self._plan
        said = [f"{plan.channels} -> {plan.filters} channels", str(plan.dtype)]
        said += ["bias"] * (self.bias is not None)
        said += [f"stride {self.stride}"] * (self.stride != checks.ONCE)
        said += [f"padding {self.padding}"] * (self.padding != checks.NOTHING)
        said += [f"{self.groups} groups"] * (self.groups > 1)
        said += [f"activation {self.activation!r}"] * (self.activation is not None)
        return f"<Conv1x1: {', '.join(said)}>"
