"""ONNX's activations and its batch normalization, as scales and activations of fastpw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value, order_of
from .registry import Unsupported, known, operator
from .scaling import activate, activation_of, affine, everywhere, finish

NAMED = {"HardSwish": "hard_swish", "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


@operator(*NAMED)
def named(plan: Plan, node: Node, x: Value) -> Value:
    """One that fastpw has under its own name."""
    return activate(plan, x, NAMED[node.op])


@operator("LeakyRelu")
def leaky_relu(plan: Plan, node: Node, x: Value) -> Value:
    """x, and below zero x times alpha."""
    return activate(plan, x, ("leaky_relu", node.attributes.get("alpha", 0.01)))


@operator("Gelu")
def gelu(plan: Plan, node: Node, x: Value) -> Value:
    """x times the normal distribution, or an approximation of it."""
    return activate(plan, x, "gelu_tanh" if node.attributes.get("approximate", "none") == "tanh" else "gelu")


@operator("HardSigmoid")
def hard_sigmoid(plan: Plan, node: Node, x: Value) -> Value:
    """alpha * x + beta, not below 0, not above 1."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return everywhere(plan, x, alpha, beta, ("clip", 0.0, 1.0))


def normalization(node: Node, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The scale and offset, in float64, that a BatchNormalization comes to.

    As `fold_batch_norm` has it (Ioffe and Szegedy 2015, arXiv:1502.03167).
    """
    gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
    epsilon = node.attributes.get("epsilon", 1e-5)
    with np.errstate(all="ignore"):  # NaN and infinities pass in silence
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale


@operator("BatchNormalization")
def batch_normalization(plan: Plan, node: Node, x: Value, *arrays: Value) -> Value:
    """What it is at inference: a scale and an offset for each channel."""
    if node.attributes.get("training_mode", 0) or any(node.outputs[1:]):
        raise Unsupported("in training mode")
    scale, offset = normalization(node, [known(array, "a parameter") for array in arrays])
    per_channel = Node("Affine", node.inputs, node.outputs, {"axis": 1}, node.name)
    return affine(plan, per_channel, x, scale, offset)


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _shrunk(x: np.ndarray, bound: float, bias: float) -> np.ndarray:
    return np.where(x < -bound, x + bias, np.where(x > bound, x - bias, 0))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_FORMULAS: dict[str, Callable[[np.ndarray, Callable[..., Any]], np.ndarray]] = {
    "Celu": lambda x, get: get("alpha", 1.0) * _elu(x / get("alpha", 1.0), 1.0),
    "Elu": lambda x, get: _elu(x, get("alpha", 1.0)),
    "Mish": lambda x, get: x * np.tanh(_softplus(x)),
    "Selu": lambda x, get: get("gamma", 1.05070102214813232421875) * _elu(x, get("alpha",
    1.67326319217681884765625)), "Softplus": lambda x, get: _softplus(x),
    "Shrink": lambda x, get: _shrunk(x, get("lambd", 0.5), get("bias", 0.0)),
    "Softsign": lambda x, get: x / (1 + np.abs(x)),
    "Swish": lambda x, get: x / (1 + np.exp(-get("alpha", 1.0) * x)),
    "ThresholdedRelu": lambda x, get: np.where(x > get("alpha", 1.0), x, 0),
}  # fmt: skip


@operator(*_FORMULAS)
def by_formula(plan: Plan, node: Node, x: Value) -> Value:
    """One that fastpw has no kernel for."""
    formula, get = _FORMULAS[node.op], node.attributes.get

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, formula(x, get), casting="unsafe")

    y = plan.compute(run, x, shape=x.shape, dtype=x.dtype, order=order_of(x))
    return finish(plan, y, None, activation_of(node))
