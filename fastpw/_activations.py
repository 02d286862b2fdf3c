"""The table of activations: one row each.

The formulas are in reference.py, the vector code in kernels/vec_math.h. To add an activation: a row here and
one in kernels/activations.h, a line in reference.py; the tests and ``fastpw verify`` run over this table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Spec: TypeAlias = str | tuple[str | float, ...] | list[str | float] | None  # what a caller passes


class ErrorBound(NamedTuple):
    """``|computed - exact| <= ulps * eps * |exact| + absolute``, for every z, eps being the dtype's."""

    ulps: float
    absolute: float


class Activation(NamedTuple):
    name: str
    code: int  # its place in kernels/activations.h
    alpha: float  # what the kernel is given, unless the caller gives the parameters
    beta: float
    parameters: tuple[str, ...]  # what the caller gives with the name: alpha, then beta
    gradient_from: Literal["y", "z"]  # the array that act'(z) is read from; "y" wherever y determines it
    kinks: Callable[[float, float], dict[float, float]]  # alpha, beta -> {z without a derivative: ours there}
    steepest: float  # max |act'(z)|; for leaky_relu with a slope up to 1
    float32: ErrorBound
    float64: ErrorBound
    aliases: tuple[str, ...] = ()  # what others call it

    @property
    def spec(self) -> Spec:
        """What names it, with the row's own parameters."""
        if self.parameters:
            return (self.name, *(self.alpha, self.beta)[: len(self.parameters)])
        return None if self.name == "linear" else self.name

    @property
    def reads(self) -> Literal["y", "z"] | None:
        """What the backward pass reads: where act' is one, nothing."""
        return None if self.name == "linear" else self.gradient_from


def _smooth(alpha: float, beta: float) -> dict[float, float]:
    return {}


EXACT = ErrorBound(0, 0), ErrorBound(0, 0)


def _ulps(float32: float, float64: float) -> tuple[ErrorBound, ErrorBound]:
    """A relative bound down to the smallest normal numbers."""
    return ErrorBound(float32, 2.0**-126), ErrorBound(float64, 2.0**-1022)


# gelu_tanh's left tail is a power of e with a rounded exponent, which costs relative accuracy. gelu's loses
# none, but in float64 that of its reference does.
GELU = ErrorBound(5, 2.0**-126), ErrorBound(6, 2.0**-56)
GELU_TANH = ErrorBound(4, 2.0**-27), ErrorBound(6, 2.0**-56)

# hard_sigmoid and hard_swish are MobileNetV3's (Howard et al. 2019, arXiv:1905.02244, section 5.2):
# relu6(z + 3) / 6 and z * relu6(z + 3) / 6. gelu is z * Phi(z), gelu_tanh an approximation of it (Hendrycks
# and Gimpel 2016, arXiv:1606.08415, section 2). The parameters of clip and leaky_relu are examples.
TABLE = (
    Activation("linear", 0, 0, 0, (), "y", _smooth, 1, *EXACT, ("identity",)),
    Activation("relu", 1, 0, 0, (), "y", lambda a, b: {0: 0}, 1, *EXACT),
    Activation("relu6", 2, 0, 6, (), "y", lambda a, b: {0: 0, 6: 0}, 1, *EXACT),
    Activation("clip", 2, -1.5, 2.25, ("lo", "hi"), "y", lambda a, b: {a: 0, b: 0}, 1, *EXACT),
    Activation("leaky_relu", 3, 0.125, 0, ("slope",), "y", lambda a, b: {0: a}, 1, *_ulps(1, 1)),
    Activation(
        "hard_sigmoid", 4, 0, 0, (), "y", lambda a, b: {-3: 0, 3: 0}, 1 / 6, *_ulps(2, 2), ("hardsigmoid",)
    ),
    Activation("hard_swish", 5, 0, 0, (), "z", lambda a, b: {-3: 0, 3: 1}, 1.5, *_ulps(3, 3), ("hardswish",)),
    Activation("sigmoid", 6, 0, 0, (), "y", _smooth, 0.25, *_ulps(3, 3)),
    Activation("tanh", 7, 0, 0, (), "y", _smooth, 1, *_ulps(3, 3)),
    Activation("silu", 8, 0, 0, (), "z", _smooth, 1.1, *_ulps(4, 4), ("swish",)),
    Activation("gelu", 9, 0, 0, (), "z", _smooth, 1.13, *GELU),
    Activation("gelu_tanh", 10, 0, 0, (), "z", _smooth, 1.13, *GELU_TANH),
)

BY_NAME = {row.name: row for row in TABLE}
BY_ANY_NAME = {name: row for row in TABLE for name in (row.name, *row.aliases)}


def find(spec: Spec) -> tuple[Activation, tuple[float, ...]]:
    """The row of a valid ``activation`` argument, and the parameters given with it."""
    if spec is None or isinstance(spec, str):
        return BY_ANY_NAME[spec or "linear"], ()
    name, *parameters = spec
    return BY_ANY_NAME[name], tuple(parameters)


def own_spec(spec: Spec) -> Spec:
    """The same activation by its own name, as what cannot change: None, a string or a tuple."""
    row, parameters = find(spec)
    return (row.name, *map(float, parameters)) if parameters else row.spec


class ActivationInfo(NamedTuple):
    """An activation, as `activations` lists it."""

    name: str
    aliases: tuple[str, ...]
    parameters: tuple[str, ...]
    backward_reads: Literal["y", "z"] | None


def activations() -> list[ActivationInfo]:
    """Lists what `conv1x1` takes as ``activation``.

    Returns
    -------
    list of named tuples
        ``name``; ``aliases``, which mean the same; ``parameters``, which go with the name in a tuple,
        ``("clip", lo, hi)``; and ``backward_reads``, the array that `conv1x1_backward` reads the derivative
        from: "y" (or z, if only that is given), "z", or None where it reads neither. "linear" is also None.

    Examples
    --------
    >>> import fastpw
    >>> for row in fastpw.activations()[:3]:
    ...     print(row)
    ActivationInfo(name='linear', aliases=('identity',), parameters=(), backward_reads=None)
    ActivationInfo(name='relu', aliases=(), parameters=(), backward_reads='y')
    ActivationInfo(name='relu6', aliases=(), parameters=(), backward_reads='y')
    >>> [row.name for row in fastpw.activations() if row.backward_reads == "z"]
    ['hard_swish', 'silu', 'gelu', 'gelu_tanh']
    """
    return [ActivationInfo(row.name, row.aliases, row.parameters, row.reads) for row in TABLE]
