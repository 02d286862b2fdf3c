"""Matrix products: with constant weights, packed once, and of what the network computes."""

from __future__ import annotations

import math

import numpy as np

from ..._typing import Activation
from ...conv import conv1x1
from ...layer import Conv1x1
from ..graph import Node
from ..plan import Bound, Plan
from ..values import Shape, Tensor, Value
from .images import bound, is_float
from .registry import operator
from .scaling import activation_of, finish
from .whole import whole


@operator("Linear")
def linear(
    plan: Plan,
    node: Node,
    x: Value,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    residual: Value | None = None,
) -> Value:
    """activation(x @ weight.T + bias + residual) along the last axis, the weight being (K, C)."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x: {weight.shape[1]} numbers along the last axis are needed, got {x.shape}")
    if x.dtype != weight.dtype:
        raise TypeError(f"one dtype for x and weight is needed, got {x.dtype} and {weight.dtype}")
    shape = (*x.shape[:-1], len(weight))
    plan.count(math.prod(shape) * weight.shape[1])
    if residual is not None and residual.shape != shape:
        y = _by_layer(plan, linear_layer(plan, node, weight, bias, None), x, None, shape)
        return finish(plan, y, residual, activation_of(node))
    layer = linear_layer(plan, node, weight, bias, activation_of(node))
    return _by_layer(plan, layer, x, residual, shape)


def linear_layer(
    plan: Plan, node: Node, weight: np.ndarray, bias: np.ndarray | None, activation: Activation
) -> Conv1x1:
    """The layer that computes a node, packed once for all plans."""
    key = node.name, node.outputs[0], "linear", activation
    return plan.layer(key, lambda: Conv1x1(weight, bias, activation=activation))


def _by_layer(plan: Plan, layer: Conv1x1, x: Value, residual: Value | None, shape: Shape) -> Value:
    x = plan.adjacent(x, -1)
    if residual is not None:
        residual = plan.adjacent(residual, -1)

    def bind(x: np.ndarray, residual: np.ndarray | None, y: np.ndarray) -> Bound:
        return bound(layer, x, residual, y)

    return plan.step(bind, x, residual, shape=shape, dtype=x.dtype)


@operator("Gemm")
def gemm(plan: Plan, node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    """alpha * op(A) @ op(B) + beta * C, where op may transpose."""
    get = node.attributes.get
    for value, name in ((a, "A"), (b, "B")):
        if value.ndim != 2:
            raise ValueError(f"{name}: two axes are needed, got shape {value.shape}")
    a = plan.view(a, np.transpose) if get("transA", 0) else a
    b = plan.view(b, np.transpose) if get("transB", 0) else b
    y = _times(plan, _product(plan, a, b), get("alpha", 1.0))
    if c is None:
        return finish(plan, y, None, activation_of(node))
    return finish(plan, y, _times(plan, c, get("beta", 1.0)), activation_of(node))


def _times(plan: Plan, x: Value, factor: float) -> Value:
    if factor == 1:
        return x
    return plan.compute(
        lambda a, out: np.multiply(a, a.dtype.type(factor), out=out), x, shape=x.shape, dtype=x.dtype
    )


@operator("Einsum")
def einsum(plan: Plan, node: Node, *arrays: Value) -> Value:
    """Sums of products along the axes that letters name, as np.einsum has them."""
    equation = node.attributes["equation"].replace(" ", "")
    sizes: dict[str, int] = {}
    terms, _, result = equation.partition("->")
    rest: tuple[int, ...] = ()
    for term, array in zip(terms.split(","), arrays, strict=True):
        front, dots, back = term.partition("...")
        behind = array.ndim - len(back)
        if dots:
            rest = np.broadcast_shapes(rest, array.shape[len(front) : behind])
        ends = (*array.shape[: len(front)], *array.shape[behind:]) if dots else array.shape
        for letter, size in zip(front + back, ends, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0))
    if "->" not in equation:
        letters = terms.replace(",", "").replace(".", "")
        result = "..." * ("..." in terms) + "".join(sorted(c for c in sizes if letters.count(c) == 1))
        equation = f"{terms}->{result}"
    front, dots, back = result.partition("...")
    shape = (*(sizes[c] for c in front), *(rest if dots else ()), *(sizes[c] for c in back))

    def run(*arrays: np.ndarray) -> np.ndarray:
        return np.einsum(equation, *arrays, optimize=len(arrays) > 1)

    return whole(plan, run, *arrays, shape=shape, dtype=arrays[0].dtype)


@operator("MatMul")
def matmul(plan: Plan, node: Node, a: Value, b: Value) -> Value:
    """np.matmul, of stacks of matrices, too."""
    column, row = b.ndim == 1, a.ndim == 1
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"at least one axis each is needed, got shapes {a.shape} and {b.shape}")
    a = plan.view(a, lambda m: m[np.newaxis]) if row else a
    b = plan.view(b, lambda m: m[:, np.newaxis]) if column else b
    y = _product(plan, a, b)
    y = plan.view(y, lambda m: m[..., 0]) if column else y
    y = plan.view(y, lambda m: m[..., 0, :] if not column else m[..., 0]) if row else y
    return finish(plan, y, None, activation_of(node))


def _product(plan: Plan, a: Value, b: Value) -> Value:
    """a @ b, each at least two axes."""
    if a.shape[-1] != b.shape[-2] or a.dtype != b.dtype:
        raise ValueError(
            f"as many columns as the other has rows, and one dtype, are needed, "
            f"got {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        )
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*stack, a.shape[-2], b.shape[-1])
    plan.count(math.prod(shape) * a.shape[-1])
    if not is_float(a) or not (isinstance(a, Tensor) or isinstance(b, Tensor)) or a.shape[-1] == 0:
        return plan.compute(np.matmul, a, b, shape=shape, dtype=a.dtype)
    a = plan.adjacent(a, -1)

    def bind(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> Bound:
        left = np.broadcast_to(a, (*stack, *a.shape[-2:]))
        right = np.broadcast_to(b, (*stack, *b.shape[-2:]))
        triples = [(left[i], right[i], y[i]) for i in np.ndindex(stack)]

        def run() -> None:
            for x, weight, out in triples:
                conv1x1(x, weight, weight_layout="IO", out=out)

        return run

    return plan.step(bind, a, b, shape=shape, dtype=a.dtype)
