"""Recurrent layers: LSTM, GRU and RNN, step by step, the products with the inputs all at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .registry import operator
from .whole import wants, whole

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * z) + 0.5  # which overflows for no z


_FUNCTIONS: dict[str, Callable[..., Any]] = {  # of z, and of alpha and beta where they have them
    "affine": lambda z, alpha=1.0, beta=0.0: alpha * z + beta,
    "elu": lambda z, alpha=1.0: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
    "hardsigmoid": lambda z, alpha=0.2, beta=0.5: np.clip(alpha * z + beta, 0, 1),
    "leakyrelu": lambda z, alpha=0.01: np.where(z > 0, z, alpha * z),
    "relu": lambda z: np.maximum(z, 0),
    "scaledtanh": lambda z, alpha=1.0, beta=1.0: alpha * np.tanh(beta * z),
    "sigmoid": _sigmoid,
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "tanh": np.tanh,
    "thresholdedrelu": lambda z, alpha=1.0: np.where(z > alpha, z, 0),
}
_PARAMETERS = {
    "affine": 2, "elu": 1, "hardsigmoid": 2, "leakyrelu": 1, "scaledtanh": 2, "thresholdedrelu": 1,
}  # fmt: skip


class Weights(NamedTuple):
    """Of one direction: (gates * hidden, inputs), (gates * hidden, hidden), two biases, peepholes."""

    w: np.ndarray
    r: np.ndarray
    wb: np.ndarray
    rb: np.ndarray
    p: np.ndarray | None


def _functions(node: Node, directions: int) -> list[list[Callable[[np.ndarray], np.ndarray]]]:
    """The activations of each direction, behind the clip of what they are given."""
    get = node.attributes.get
    names = [name.lower() for name in get("activations") or _DEFAULTS[node.op] * directions]
    each = len(_DEFAULTS[node.op])
    unknown = [name for name in names if name not in _FUNCTIONS]
    if len(names) != each * directions or unknown:
        raise ValueError(f"activations: {each * directions} of ONNX's are needed, got {names}")
    alphas, betas, clip = iter(get("activation_alpha") or ()), iter(get("activation_beta") or ()), get("clip")
    functions = []
    for name in names:
        count = _PARAMETERS.get(name, 0)
        numbers = {}
        if count:
            numbers["alpha"] = next(alphas, None)
        if count == 2:
            numbers["beta"] = next(betas, None)
        given = {key: number for key, number in numbers.items() if number is not None}
        functions.append(partial(_clipped, partial(_FUNCTIONS[name], **given), clip))
    return [functions[i : i + each] for i in range(0, len(functions), each)]


def _clipped(function: Callable[..., Any], bound: float | None, z: np.ndarray) -> np.ndarray:
    return function(z if bound is None else np.clip(z, -bound, bound))


# ---- one step: of the inputs' part of the gates, and of the states before; returns the states after


def _rnn_step(z: np.ndarray, states: list, weights: Weights, functions: list, node: Node) -> list:
    return [functions[0](z + states[0] @ weights.r.T + weights.rb)]


def _gru_step(z: np.ndarray, states: list, weights: Weights, functions: list, node: Node) -> list:
    """Cho et al. 2014, arXiv:1406.1078, as ONNX has it."""
    (h,), (f, g) = states, functions
    size = h.shape[-1]
    update, reset = np.split(
        f(z[:, : 2 * size] + h @ weights.r[: 2 * size].T + weights.rb[: 2 * size]), 2, axis=1
    )
    r, rb = weights.r[2 * size :].T, weights.rb[2 * size :]
    inner = reset * (h @ r + rb) if node.attributes.get("linear_before_reset", 0) else (reset * h) @ r + rb
    return [(1 - update) * g(z[:, 2 * size :] + inner) + update * h]


def _lstm_step(z: np.ndarray, states: list, weights: Weights, functions: list, node: Node) -> list:
    """Hochreiter and Schmidhuber 1997, with peepholes (Gers and Schmidhuber 2000)."""
    (h, c), (f, g, last) = states, functions
    gates = z + h @ weights.r.T + weights.rb
    i, o, forget, cell = np.split(gates, 4, axis=1)
    if weights.p is not None:
        pi, po, pf = np.split(weights.p, 3)
        i, forget = i + pi * c, forget + pf * c
    i = f(i)
    forget = 1 - i if node.attributes.get("input_forget", 0) else f(forget)
    c = forget * c + i * g(cell)
    o = f(o + po * c) if weights.p is not None else f(o)
    return [o * last(c), c]


_STEPS = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}


# ---- all steps


@operator("RNN", "GRU", "LSTM")
def recurrent(
    plan: Plan,
    node: Node,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    *states: Value | None,
) -> tuple[Value | None, ...]:
    """The states after all steps, those after the last one, and of an LSTM its cells.

    They lie in one array: (steps, directions, batch, hidden), then the last states and the last cells.
    """
    batch_first, hidden = node.attributes.get("layout", 0), r.shape[-1]
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(
        node.attributes.get("direction", "forward"), 0
    )
    if w.shape[0] != directions or w.shape[1] != _GATES[node.op] * hidden or w.shape[2] != x.shape[2]:
        wanted = directions, _GATES[node.op] * hidden, x.shape[2]
        raise ValueError(f"W: shape {wanted} is needed, got {w.shape}")
    h, c, p = [*states, None, None, None][:3]
    functions = _functions(node, directions)
    count = 2 if node.op == "LSTM" else 1
    plan.count(steps * batch * (w.size + r.size))

    def run(x, w, r, b, lengths, h, c, p) -> np.ndarray:
        if batch_first:
            x, h, c = (None if a is None else np.swapaxes(a, 0, 1) for a in (x, h, c))
        y = np.zeros((steps + count, directions, batch, hidden), x.dtype)
        for number in range(directions):
            started = [
                np.zeros((batch, hidden), x.dtype) if state is None else state[number]
                for state in (h, c)[:count]
            ]
            weights = _weights(number, w, r, b, p)
            backwards = number == 1 or node.attributes.get("direction") == "reverse"
            one_way = _OneWay(node, weights, functions[number], lengths, backwards)
            y[steps:, number] = one_way.run(x, started, y[:steps, number])
        return y

    y = whole(
        plan, run, x, w, r, b, lengths, h, c, p,
        shape=(steps + count, directions, batch, hidden), dtype=x.dtype,
    )  # fmt: skip

    def view(value: Value, axes: tuple[int, ...]) -> Value:
        return plan.view(value, lambda a: a.transpose(axes)) if batch_first else value

    results = [view(plan.view(y, lambda a: a[:steps]), (2, 0, 1, 3))]
    for number in range(1, len(node.outputs)):
        last = plan.view(y, lambda a, at=steps + number - 1: a[at])
        results.append(view(last, (1, 0, 2)) if wants(node, number) else None)
    return tuple(results)


def _weights(number: int, w, r, b, p) -> Weights:
    """Those of one direction."""
    biases = np.zeros((2, w.shape[1]), w.dtype) if b is None else b[number].reshape(2, -1)
    return Weights(w[number], r[number], biases[0], biases[1], None if p is None else p[number])


class _OneWay(NamedTuple):
    """A layer in one direction."""

    node: Node
    weights: Weights
    functions: list
    lengths: np.ndarray | None  # of the sequences of the batch, where they differ
    backwards: bool

    def run(self, x: np.ndarray, states: list[np.ndarray], y: np.ndarray) -> np.ndarray:
        """Write the states of all steps, return the last ones."""
        steps, batch, _ = x.shape
        lengths = None if self.lengths is None or np.all(self.lengths == steps) else self.lengths
        inputs = (x.reshape(steps * batch, -1) @ self.weights.w.T + self.weights.wb).reshape(steps, batch, -1)
        step = _STEPS[self.node.op]
        for t in range(steps)[:: -1 if self.backwards else 1]:
            after = step(inputs[t], states, self.weights, self.functions, self.node)
            if lengths is not None:  # beyond its end a sequence keeps its states and gives zeros
                going = (t < lengths)[:, np.newaxis]
                after = [np.where(going, new, old) for new, old in zip(after, states, strict=True)]
                y[t] = np.where(going, after[0], 0)
            else:
                y[t] = after[0]
            states = after
        return np.stack(states)
