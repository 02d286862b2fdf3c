"""Rules on everything but arrays: the convolution's options, and which gradients are wanted."""

from __future__ import annotations

import math
from collections.abc import Collection
from operator import index

import numpy as np

from .. import _activations

MAX_FLOAT32 = (2 - 2.0**-23) * 2.0**127

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

ONCE: Pair = (1, 1)
NOTHING: Padding = ((0, 0), (0, 0))

# Of what is counted in pixels or channels: sums with an array's sizes, and products with the distance between
# two pixels in bytes, stay far below 2**63.
MOST = 2**31 - 1


def shown(value) -> str:
    """What came, for a message."""
    try:
        return repr(value)
    except Exception:  # what has no repr, or one of too many digits
        return f"an unprintable {type(value).__name__}"


def groups(value) -> int:
    if type(value) is int and value == 1:
        return value
    return integer("groups", value, 1, MOST)


def divides(groups: int, filters: int) -> None:
    """Whether it divides C too shows in the weights: they have C // groups columns."""
    if filters % groups:
        raise ValueError(f"groups: a divisor of K = {filters} is needed, got {shown(groups)}")


def divides_channels(groups: int, shape: tuple[int, ...]) -> None:
    if shape[-1] % groups:
        raise ValueError(f"x: channels in {groups} equal groups are needed, got shape {shape}")


def layers(name: str, value, kind: type) -> tuple:
    """At least one layer."""
    try:
        given = tuple(value)
    except Exception as error:
        raise TypeError(f"{name}: a list of layers is needed, got {shown(value)[:200]}") from error
    for layer in given:
        if not isinstance(layer, kind):
            raise TypeError(f"{name}: layers are needed, got {shown(layer)[:200]}")
        if not layer._joins:
            raise TypeError(f"{name}: layers of floats are needed, got {shown(layer)[:200]}")
    if not given:
        raise ValueError(f"{name}: at least one layer is needed, got none")
    return given


def integer(name: str, value, least: int, most: int) -> int:
    try:
        number = index(value)
    except Exception as error:
        raise TypeError(f"{name}: an integer is needed, got {shown(value)}") from error
    if not least <= number <= most:
        raise ValueError(f"{name}: {least} to {most} is needed, got {shown(number)}")
    return number


def number(name: str, value) -> float:
    """A finite one that is not negative."""
    try:
        real = None if isinstance(value, (str, bytes)) else float(value)
    except OverflowError:
        real = math.inf
    except Exception:
        real = None
    if real is None:
        raise TypeError(f"{name}: a number is needed, got {shown(value)}")
    if not 0 <= real < math.inf:
        raise ValueError(f"{name}: a finite number >= 0 is needed, got {shown(value)}")
    return real


def steps(name: str, value) -> Pair:
    """(h, w) of what is at least one pixel: a stride, a dilation, a size."""
    if type(value) is int and value == 1:
        return ONCE
    try:
        both = _integers(value)
    except Exception as error:
        raise TypeError(f"{name}: an integer or (h, w) is needed, got {shown(value)}") from error
    if not 1 <= min(both) <= max(both) <= MOST:
        raise ValueError(f"{name}: 1 to {MOST} is needed, got {shown(value)}")
    return both


def padding(value) -> Padding | None:
    """((top, bottom), (left, right)); None for "same", which depends on the image."""
    if type(value) is int and value == 0:
        return NOTHING
    if isinstance(value, str) and str.lower(value) in ("valid", "same"):
        return NOTHING if str.lower(value) == "valid" else None
    try:
        vertical, horizontal = _pair(value)
        sides = _integers(vertical), _integers(horizontal)
    except Exception as error:
        kind = ValueError if isinstance(value, str) else TypeError
        allowed = "'valid', 'same', an integer, (h, w) or ((top, bottom), (left, right))"
        raise kind(f"padding: {allowed} is needed, got {shown(value)}") from error
    if min(map(min, sides)) < 0 or max(map(max, sides)) > MOST:
        raise ValueError(f"padding: 0 to {MOST} is needed, got {shown(value)}")
    return sides


def _pair(value):
    """Two of something, or one integer for both."""
    try:
        index(value)
    except TypeError:
        first, second = value
        return first, second
    return value, value


def _integers(value) -> Pair:
    first, second = _pair(value)
    return index(first), index(second)


def smaller_padding(padding: Padding | None, size: Pair) -> None:
    """A pool's window must meet a pixel."""
    for sides, most in zip(padding or NOTHING, size, strict=True):
        if max(sides) >= most:
            raise ValueError(f"padding: less than the size {size} is needed, got {padding}")


def image(shape: tuple[int, ...], needed_for: str = "") -> None:
    """For strides, padding, and what looks at neighbours."""
    if len(shape) not in (3, 4):
        raise ValueError(f"x: (H, W, C) or (N, H, W, C) is needed{needed_for}, got shape {shape}")


def holds_window(shape: tuple[int, ...], outputs: Pair, reach: Pair) -> None:
    """Whether an image with its padding is as large as the window."""
    if min(outputs) < 1:
        raise ValueError(
            f"x: an image of {reach[0]} x {reach[1]} pixels or more, padding included, is needed, "
            f"got shape {shape}"
        )


def has_pixels(shape: tuple[int, ...]) -> None:
    """A window over the padding alone has no maximum and no average."""
    if min(shape[-3:-1]) < 1:
        raise ValueError(f"x: an image of at least one pixel is needed, got shape {shape}")


def shape(name: str, value) -> tuple[int, ...]:
    try:
        sizes = tuple(map(index, value))
    except Exception as error:
        raise TypeError(f"{name}: a tuple of integers is needed, got {shown(value)}") from error
    if not sizes or min(sizes) < 0:
        raise ValueError(f"{name}: sizes >= 0 and channels are needed, got {shown(value)}")
    return sizes


def no_residual(value) -> ValueError:
    return ValueError(f"residual: None is needed where no convolution adds it, got {shown(value)[:100]}")


def two_residuals(value) -> ValueError:
    return ValueError(f"residual: None is needed where add_input adds the input, got {shown(value)[:100]}")


def nothing_to_add_to(layer) -> ValueError:
    return ValueError(f"add_input: a convolution is needed as the last layer, got {shown(layer)[:200]}")


def input_cannot_be_added(shape: tuple[int, ...], result: tuple[int, ...]) -> ValueError:
    return ValueError(f"x: the result's shape {result} is needed where the input is added, got {shape}")


def too_large(shape: tuple[int, ...]) -> ValueError:
    return ValueError(f"x, padding: a result of less than 2**63 bytes is needed, got shape {shown(shape)}")


WRT = ("x", "weight", "bias", "residual")
_INPUTS = frozenset(WRT)


def wrt(value) -> Collection[str]:
    """The inputs whose gradients are wanted."""
    try:
        names = frozenset((value,) if isinstance(value, str) else value)
        if names <= _INPUTS:
            return names
        kind = ValueError
    except TypeError:
        kind = TypeError
    raise kind(f"wrt: some of {', '.join(map(repr, WRT))} are needed, got {shown(value)}")


def flag(name: str, value) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: True or False is needed, got {shown(value)}")
    return bool(value)


def z_can_be_had(reads: str | None, y, z, bias) -> None:
    """Where it is read, it is given or recomputed. That there is a y shows that there was a layer."""
    if reads == "z" and z is None and y is not None and bias is None:
        raise ValueError(
            "z: the activation's derivative is read from it, so pass z, or bias=zeros if there was none, "
            "got y alone"
        )


def x_is_needed() -> TypeError:
    return TypeError(
        "x: an array is needed, got None, which is allowed with stride 1, padding 0, no 'weight' in wrt "
        "and what the activation's derivative is read from, y or z"
    )


# Activations

# What the kernels are given: code, alpha, beta
Epilogue = tuple[int, float, float]

_READY: dict[str | None, Epilogue] = {
    name: (row.code, float(row.alpha), float(row.beta))
    for row in _activations.TABLE
    if not row.parameters
    for name in (row.spec, row.name, *row.aliases)
}


def activation(spec) -> Epilogue:
    if spec is None or isinstance(spec, str):
        ready = _READY.get(spec)
        if ready is not None:
            return ready
    row, parameters = _named(spec)
    if len(parameters) != len(row.parameters) or not parameters:
        raise ValueError(f"activation: {_usage(row)} is needed, got {shown(spec)}")
    try:
        alpha, beta = (*map(float, parameters), 0.0)[:2]
    except OverflowError:
        alpha, beta = math.nan, 0.0
    except Exception as error:
        raise TypeError(f"activation: numbers are needed as parameters, got {shown(spec)}") from error
    if row.name == "clip" and not alpha <= beta:
        raise ValueError(f"activation: lo <= hi is needed for ('clip', lo, hi), got {shown(spec)}")
    if row.name == "leaky_relu" and not 0 <= alpha <= MAX_FLOAT32:
        allowed = "a finite slope >= 0 is needed for ('leaky_relu', slope)"
        raise ValueError(f"activation: {allowed}, got {shown(spec)}")
    return row.code, alpha + 0.0, beta + 0.0  # no zero is negative: what is equal computes the same


def _named(spec) -> tuple[_activations.Activation, tuple]:
    """The row that is meant, and the parameters that came with its name."""
    name, *parameters = spec if isinstance(spec, (tuple, list)) and spec else (spec,)
    row = _activations.BY_ANY_NAME.get(name) if isinstance(name, str) else None
    if row is None:
        allowed = ", ".join(map(_usage, _activations.TABLE))
        kind = ValueError if isinstance(spec, (str, tuple, list)) else TypeError
        raise kind(f"activation: one of {allowed} is needed, got {shown(spec)}")
    return row, tuple(parameters)


def _usage(row: _activations.Activation) -> str:
    if row.parameters:
        return f"({row.name!r}, {', '.join(row.parameters)})"
    return repr(row.spec)
