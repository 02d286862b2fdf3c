"""The table of activations: one row each.

The formulas are in reference.py, the vector code in kernels/vec_math.h. To add an activation: a row here and
one in kernels/activations.h, a line in reference.py; the tests and ``fastpw verify`` run over this table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple


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

    @property
    def spec(self) -> str | tuple[str | float, ...] | None:
        """What a caller passes as ``activation``, with the row's own parameters."""
        if self.parameters:
            return (self.name, *(self.alpha, self.beta)[: len(self.parameters)])
        return None if self.name == "linear" else self.name


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
    Activation("linear", 0, 0, 0, (), "y", _smooth, 1, *EXACT),
    Activation("relu", 1, 0, 0, (), "y", lambda a, b: {0: 0}, 1, *EXACT),
    Activation("relu6", 2, 0, 6, (), "y", lambda a, b: {0: 0, 6: 0}, 1, *EXACT),
    Activation("clip", 2, -1.5, 2.25, ("lo", "hi"), "y", lambda a, b: {a: 0, b: 0}, 1, *EXACT),
    Activation("leaky_relu", 3, 0.125, 0, ("slope",), "y", lambda a, b: {0: a}, 1, *_ulps(1, 1)),
    Activation("hard_sigmoid", 4, 0, 0, (), "y", lambda a, b: {-3: 0, 3: 0}, 1 / 6, *_ulps(2, 2)),
    Activation("hard_swish", 5, 0, 0, (), "z", lambda a, b: {-3: 0, 3: 1}, 1.5, *_ulps(3, 3)),
    Activation("sigmoid", 6, 0, 0, (), "y", _smooth, 0.25, *_ulps(3, 3)),
    Activation("tanh", 7, 0, 0, (), "y", _smooth, 1, *_ulps(3, 3)),
    Activation("silu", 8, 0, 0, (), "z", _smooth, 1.1, *_ulps(4, 4)),
    Activation("gelu", 9, 0, 0, (), "z", _smooth, 1.13, *GELU),
    Activation("gelu_tanh", 10, 0, 0, (), "z", _smooth, 1.13, *GELU_TANH),
)

BY_NAME = {row.name: row for row in TABLE}


def find(spec: str | tuple[str | float, ...] | None) -> tuple[Activation, tuple[float, ...]]:
    """The row of a valid ``activation`` argument, and the parameters given with it."""
    if spec is None or isinstance(spec, str):
        return BY_NAME[spec or "linear"], ()
    name, *parameters = spec
    return BY_NAME[name], tuple(parameters)
