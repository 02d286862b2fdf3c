"""Activations, however a file writes them: a function of one number is recognised by its values.

Exporters write HardSwish as Clip, Mul and Div, a GELU as Erf or Tanh with some arithmetic, each in its own
order. So no form is looked for. Nodes that make one value of another, element by element and with single
numbers as constants, are a function of one number. It is evaluated in float64 at many numbers, at the
constants and around them, and compared with fastpw's activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from .graph import Graph, Node
from .lowering import clipped

_MOST_NODES = 12  # of a function
_TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}  # constants are float32, some with six digits

_erf = np.vectorize(math.erf, otypes=[np.float64])

_FORMULAS: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Div": np.divide,
    "Erf": _erf,
    "Exp": np.exp,
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Softplus": lambda z: np.logaddexp(z, 0),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
}


class Function(NamedTuple):
    """after * activation(scale * z + offset)"""

    activation: Any
    scale: float = 1.0
    offset: float = 0.0
    after: float = 1.0

    def at(self, z: np.ndarray) -> np.ndarray:
        name, *parameters = [self.activation] if isinstance(self.activation, str) else self.activation
        return self.after * reference.FUNCTIONS[name](self.scale * z + self.offset, *parameters)

    @property
    def steps(self) -> list[Any]:
        """What it is made of: scales and offsets as pairs of floats, and the activation."""
        before, after = (self.scale, self.offset), (self.after, 0.0)
        named = [] if self.activation == "linear" else [self.activation]
        same = (1.0, 0.0)
        return [*([before] if before != same else []), *named, *([after] if after != same else [])]


def recognise(graph: Graph) -> bool:
    """Put activations in the place of the nodes that make them. True if there were any."""
    changed = False
    position = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not graph.has(node):
            continue
        for region, source in reversed([*_regions(graph, node, position)]):  # the largest first
            found = _function(graph, region, source, node.outputs[0])
            if found is not None and len(found.steps) < _worth(region):
                for new in _put(graph, region, source, found):
                    position[new] = position[node]
                changed = True
                break
    return changed


def _worth(region: Collection[Node]) -> int:
    """Fewer steps than these are better than the nodes: those that have no layer count double."""
    return sum(1 if node.op in ("Activation", "Affine") else 2 for node in region)


# ---- which nodes are a function of one value


def _elementwise(graph: Graph, node: Node) -> bool:
    """Whether a node computes elements one by one, and what it reads besides are single numbers."""
    if node.op == "Activation":
        return True
    if node.op != "Affine" and (node.op not in _FORMULAS or node.attributes.get("activation") is not None):
        return False
    if node.op == "Affine" and (node.attributes.get("activation") is not None or node.input(3)):
        return False
    constants = [graph.constant(value) for value in node.inputs]
    if node.op == "Pow" and constants[1] is not None:
        constants[1] = constants[1].astype(np.float64)
    # (integers, of which shapes are computed, have another arithmetic)
    return all(
        constant is None or (constant.size == 1 and constant.dtype.kind == "f") for constant in constants
    )


def _of_floats(graph: Graph, region: dict[Node, None]) -> bool:
    """Whether a constant or an activation tells that the numbers are floats."""
    return any(node.op == "Activation" or any(v in graph.constants for v in node.inputs) for node in region)


def _regions(graph: Graph, end: Node, position: dict[Node, int]) -> Iterator[tuple[dict[Node, None], str]]:
    """Sets of nodes that make the result of the last one from one value, the smallest first."""
    if not _elementwise(graph, end):
        return
    region = {end: None}
    while True:
        entering = {v for node in region for v in node.inputs if v and v not in graph.constants}
        entering -= {node.outputs[0] for node in region}
        if (
            len(entering) == 1
            and len(region) > 1
            and _enclosed(graph, region, end)
            and _of_floats(graph, region)
        ):
            yield dict(region), next(iter(entering))
        makers = [graph.producer(value) for value in entering]
        makers = [maker for maker in makers if maker in position and _elementwise(graph, maker)]
        if not makers or len(region) == _MOST_NODES:
            return
        region[max(makers, key=position.__getitem__)] = None


def _enclosed(graph: Graph, region: dict[Node, None], end: Node) -> bool:
    """Whether nobody else wants what lies between."""
    inner = [node.outputs[0] for node in region if node is not end]
    return all(
        value not in graph.results and all(reader in region for reader in graph.readers(value))
        for value in inner
    )


def _values(graph: Graph, region: dict[Node, None], source: str, result: str, z: np.ndarray) -> np.ndarray:
    """The function at some numbers."""
    known = {source: z}

    def value(name: str) -> np.ndarray:
        if name in graph.constants:
            return graph.constants[name].reshape(()).astype(np.float64)
        if name not in known:
            node = graph.producer(name)
            known[name] = _formula(node)(*(value(n) if n else None for n in node.inputs))
        return known[name]

    with np.errstate(all="ignore"):
        return value(result)


def _formula(node: Node) -> Callable[..., Any]:
    if node.op == "Activation":
        return Function(node.attributes["activation"]).at
    if node.op == "Affine":
        return lambda z, scale, offset=None: (
            z * (1.0 if scale is None else scale) + (0.0 if offset is None else offset)
        )
    return _FORMULAS[node.op]


# ---- which function it is


def _samples(constants: list[float]) -> np.ndarray:
    """Numbers of all sizes, and those around which the function may bend."""
    sizes = 2.0 ** np.arange(-10, 41)
    near = [c * f for c in constants for f in (1 - 1e-3, 1, 1 + 1e-3)] + [
        c + s for c in constants for s in (-0.5, 0.5)
    ]
    near = [c for c in near if math.isfinite(c)]
    return np.unique(np.concatenate([np.linspace(-10, 10, 161), sizes, -sizes, near, np.negative(near)]))


def _constants(graph: Graph, region: dict[Node, None]) -> list[float]:
    numbers = [
        float(graph.constants[v].reshape(())) for node in region for v in node.inputs if v in graph.constants
    ]
    for node in region:
        spec = node.attributes.get("activation")
        numbers += [float(n) for n in spec[1:]] if isinstance(spec, (list, tuple)) else []
    return numbers


def _function(graph: Graph, region: dict[Node, None], source: str, result: str) -> Function | None:
    """The function that some nodes compute, if fastpw has it."""
    z = _samples(_constants(graph, region))
    f = _values(graph, region, source, result, z)
    if np.shape(f) != z.shape or np.isnan(f).any():
        return None
    for function in _guesses(z, f):
        with np.errstate(all="ignore"):
            if np.allclose(f, function.at(z), **_TOLERANCE):
                return function
    return None


def _guesses(z: np.ndarray, f: np.ndarray) -> Iterator[Function]:
    """What it may be, the plainest first."""
    for name in (
        "relu",
        "relu6",
        "hard_sigmoid",
        "hard_swish",
        "sigmoid",
        "tanh",
        "silu",
        "gelu",
        "gelu_tanh",
    ):
        yield Function(name)
    yield from _clips(z, f)
    if f[-1] > 0:
        yield Function(("leaky_relu", float(f[0] / z[0])))
    # z * gate(scale * z): the slope of f(z) / z at zero tells the scale.
    h = 2.0**-10
    up, down = (float(f[np.searchsorted(z, at)]) / at for at in (h, -h))
    for name, slope in (
        ("hard_swish", 1 / 6),
        ("silu", 1 / 4),
        ("gelu", (2 * math.pi) ** -0.5),
        ("gelu_tanh", (2 * math.pi) ** -0.5),
    ):
        scale = (up - down) / (2 * h) / slope
        if scale > 0:
            yield Function(name, scale, 0.0, 1 / scale)


def _clips(z: np.ndarray, f: np.ndarray) -> Iterator[Function]:
    """A line, between two bounds or without one."""
    low, high = (float(side[0]) if side[0] == side[1] else None for side in (f[:2], f[:-3:-1]))
    inside = np.flatnonzero((f != low) & (f != high) & (np.abs(z) <= 16))
    if len(inside) < 2:
        return
    first, last = inside[0], inside[-1]
    scale = float((f[last] - f[first]) / (z[last] - z[first]))
    offset = float(f[last] - scale * z[last])
    if abs(offset) <= 1e-7 * abs(scale):
        offset = 0.0
    if low is None and high is None:
        yield Function("linear", scale, offset)
    if scale < 0:
        low, high = high, low
    bounds = -np.inf if low is None else low, np.inf if high is None else high
    if bounds[0] < bounds[1]:
        yield Function(clipped(*bounds), scale, offset)


# ---- put in its place


def _put(graph: Graph, region: dict[Node, None], source: str, found: Function) -> list[Node]:
    """The nodes that take the place of others."""
    end = next(iter(region))
    result, name = end.outputs[0], end.name
    for node in region:
        graph.remove(node)
    steps = found.steps or [(1.0, 0.0)]
    values = [source, *(graph.fresh(result) for _ in steps[1:]), result]
    made = []
    for step, x, y in zip(steps, values, values[1:], strict=False):
        if isinstance(step, tuple) and isinstance(step[0], float):
            numbers = [graph.new_constant(y, np.asarray(number, np.float64)) for number in step]
            made.append(Node("Affine", [x, *numbers], [y], {"axis": -1}, name))
        else:
            spec = list(step) if isinstance(step, tuple) else step
            made.append(Node("Activation", [x], [y], {"activation": spec}, name))
        graph.add(made[-1])
    return made
