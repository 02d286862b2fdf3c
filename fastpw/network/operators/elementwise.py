"""Functions of one, two or more arrays, element by element, as NumPy has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Tensor, Value, order_of
from .registry import known, operator
from .scaling import activate, activation_of, add, combine, finish, main_order

Function = Callable[..., Any]  # function(*arrays, out=array)


def _divide(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Integers are divided towards zero, as in C."""
    if out.dtype.kind not in "iu":
        np.divide(a, b, out=out)
        return
    if not np.all(b):
        raise ValueError("an integer divided by zero")
    quotient = np.abs(a) // np.abs(b)
    np.multiply(quotient, np.sign(a) * np.sign(b), out=out, casting="unsafe")


# The error function by a rational approximation with a relative error of the complement below 1.2e-7 (Press
# et al. 1992, Numerical Recipes, section 6.2, erfcc).
_ERFC = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
    0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
)  # fmt: skip
_exact_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: np.ndarray, out: np.ndarray) -> None:
    """The error function: float32 by the approximation, float64 exactly, number by number."""
    if out.dtype == np.float64:
        np.copyto(out, _exact_erf(x))
        return
    size = np.abs(x, dtype=np.float64)
    t = 1 / (1 + size / 2)
    exponent = np.polynomial.polynomial.polyval(t, _ERFC) - size * size
    complement = t * np.exp(exponent)
    # Near zero the difference from one would lose what is left: there the series has two terms to spare.
    series = 2 / math.sqrt(math.pi) * size * (1 - size * size / 3 + size**4 / 10 - size**6 / 42)
    np.copyto(out, np.copysign(np.where(size < 0.15, series, 1 - complement), x))


_ONE: dict[str, Function] = {
    "Abs": np.absolute,
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "BitwiseNot": np.invert,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Erf": erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "IsNaN": np.isnan,
    "Log": np.log,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Reciprocal": np.reciprocal,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Sqrt": np.sqrt,
    "Tan": np.tan,
}
_TWO: dict[str, Function] = {
    "Add": np.add,
    "And": np.logical_and,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "Div": _divide,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Sub": np.subtract,
    "Xor": np.logical_xor,
}
_TRUTHS = {
    "And", "Equal", "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor",
}  # fmt: skip


def _result_dtype(op: str, dtype: np.dtype) -> np.dtype:
    return np.dtype(bool) if op in _TRUTHS else dtype


@operator(*_ONE)
def of_one(plan: Plan, node: Node, x: Value) -> Value:
    """A function of each element."""
    dtype = _result_dtype(node.op, x.dtype)
    return plan.compute(_ONE[node.op], x, shape=x.shape, dtype=dtype, order=order_of(x))


@operator(*_TWO)
def of_two(plan: Plan, node: Node, *values: Value) -> Value:
    """A function of elements in the same places; Max and Min take any number of arrays."""
    y = values[0]
    for value in values[1:]:
        y = _pair(plan, node.op, y, value)
    return activate(plan, y, activation_of(node))


def _pair(plan: Plan, op: str, a: Value, b: Value) -> Value:
    if a.dtype != b.dtype:
        raise TypeError(f"two arrays of one dtype are needed, got {a.dtype} and {b.dtype}")
    if op in ("Add", "Sub", "Mul", "Div"):
        y = combine(plan, op, a, b)
        if y is not None:
            return y
    shape = np.broadcast_shapes(a.shape, b.shape)
    dtype = _result_dtype(op, a.dtype)
    return plan.compute(_TWO[op], a, b, shape=shape, dtype=dtype, order=main_order(shape, a, b))


@operator("Sum")
def total(plan: Plan, node: Node, *values: Value) -> Value:
    """The sum of any number of arrays."""
    y = values[0]
    for value in values[1:-1]:
        y = add(plan, y, value)
    return finish(plan, y, values[-1] if len(values) > 1 else None, activation_of(node))


@operator("Mean")
def mean_of_arrays(plan: Plan, node: Node, *values: Value) -> Value:
    """The mean of any number of arrays."""
    y = total(plan, node, *values)
    count = y.dtype.type(len(values))
    return plan.compute(
        lambda a, out: np.divide(a, count, out=out), y, shape=y.shape, dtype=y.dtype, order=order_of(y)
    )


@operator("Pow")
def power(plan: Plan, node: Node, x: Value, exponent: Value) -> Value:
    """x to the power of another array, in the dtype of x. A square is a product."""
    if not isinstance(exponent, Tensor) and exponent.size == 1 and float(exponent.reshape(())) == 2:
        return plan.compute(
            lambda a, out: np.multiply(a, a, out=out), x, shape=x.shape, dtype=x.dtype, order=order_of(x)
        )
    shape = np.broadcast_shapes(x.shape, exponent.shape)

    def run(x: np.ndarray, exponent: np.ndarray, out: np.ndarray) -> None:
        np.power(x, exponent, out=out, casting="unsafe")

    order = main_order(shape, x, exponent)
    return plan.compute(run, x, exponent, shape=shape, dtype=x.dtype, order=order)


@operator("Clip")
def clip(plan: Plan, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """Not below one number, not above another."""

    def run(x: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, out: np.ndarray) -> None:
        if low is None and high is None:
            np.copyto(out, x)
        elif low is None or high is None:
            (np.maximum if high is None else np.minimum)(x, high if low is None else low, out=out)
        else:
            np.minimum(np.maximum(x, low), high, out=out)

    return plan.compute(run, x, low, high, shape=x.shape, dtype=x.dtype, order=order_of(x))


@operator("PRelu")
def prelu(plan: Plan, node: Node, x: Value, slope: Value) -> Value:
    """x, and below zero x times its slope."""

    def run(x: np.ndarray, slope: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, slope, out=out)
        np.copyto(out, x, where=x >= 0)

    return plan.compute(run, x, slope, shape=x.shape, dtype=x.dtype, order=order_of(x))


@operator("Where")
def where(plan: Plan, node: Node, condition: Value, a: Value, b: Value) -> Value:
    """Elements of one array or of another."""
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)

    def run(condition: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, b)
        np.copyto(out, a, where=condition)

    return plan.compute(run, condition, a, b, shape=shape, dtype=a.dtype, order=main_order(shape, a, b))


@operator("Mod")
def modulo(plan: Plan, node: Node, a: Value, b: Value) -> Value:
    """The remainder: with `fmod` that of C, otherwise that of Python."""
    function = np.fmod if node.attributes.get("fmod", 0) else np.mod
    shape = np.broadcast_shapes(a.shape, b.shape)
    return plan.compute(function, a, b, shape=shape, dtype=a.dtype, order=main_order(shape, a, b))


@operator("BitShift")
def shift(plan: Plan, node: Node, a: Value, b: Value) -> Value:
    """The bits of a moved by b places."""
    function = np.left_shift if node.attributes["direction"] == "LEFT" else np.right_shift
    shape = np.broadcast_shapes(a.shape, b.shape)
    return plan.compute(function, a, b, shape=shape, dtype=a.dtype, order=main_order(shape, a, b))


@operator("IsInf")
def is_infinite(plan: Plan, node: Node, x: Value) -> Value:
    """Whether each element is infinite: of both signs, or of one."""
    signs = [
        sign for sign, name in ((1, "positive"), (-1, "negative"))
        if node.attributes.get(f"detect_{name}", 1)
    ]  # fmt: skip

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, np.isinf(x) & np.isin(np.sign(x), signs))

    return plan.compute(run, x, shape=x.shape, dtype=np.dtype(bool), order=order_of(x))


@operator("Cast")
def cast(plan: Plan, node: Node, x: Value) -> Value:
    """Another dtype; float16 is computed as float32."""
    dtype = np.dtype(node.attributes["to"])
    if dtype == x.dtype:
        return x

    def run(x: np.ndarray, out: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            np.copyto(out, x, casting="unsafe")

    return plan.compute(run, x, shape=x.shape, dtype=dtype, order=order_of(x))


@operator("CastLike")
def cast_like(plan: Plan, node: Node, x: Value, like: Value) -> Value:
    """The dtype of another value."""
    to = Node("Cast", node.inputs[:1], node.outputs, {"to": like.dtype.name}, node.name)
    return cast(plan, to, x)


@operator("CumSum", "CumProd")
def running_sum(plan: Plan, node: Node, x: Value, axis: Value) -> Value:
    """Sums, or products, of all elements up to each one; or of those before it."""
    along = int(known(axis, "an axis").reshape(()))
    function, neutral = (np.cumsum, 0) if node.op == "CumSum" else (np.cumprod, 1)
    backwards, without = node.attributes.get("reverse", 0), node.attributes.get("exclusive", 0)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        source = np.flip(x, along) if backwards else x
        sums = function(source, along, dtype=x.dtype)
        if without:
            sums = np.roll(sums, 1, along)
            sums[(slice(None),) * (along % x.ndim) + (0,)] = neutral
        np.copyto(out, np.flip(sums, along) if backwards else sums)

    return plan.compute(run, x, shape=x.shape, dtype=x.dtype)
