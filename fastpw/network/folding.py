"""What stands beside a convolution or a product becomes part of it: scales, activations, sums, padding."""

from __future__ import annotations

import numpy as np

from .graph import Graph, Node, Rewriting

# Nodes that end in an activation, if they have been given one.
_ACTIVATED = {
    "Add", "Affine", "Conv", "ConvTranspose", "Gemm", "Linear", "MatMul", "Sum",
}  # fmt: skip
_ADDING = {"Affine", "Conv", "Linear"}  # and those that add a residual before it, their fourth input
_RESIDUAL = 3


def _plain(node: Node | None) -> bool:
    """Whether a node ends where its product or sum does."""
    return node is not None and node.attributes.get("activation") is None and not node.input(_RESIDUAL)


def _only_source(graph: Graph, node: Node, value: str) -> Node | None:
    """The node that makes a value for this one alone."""
    maker = graph.producer(value)
    return maker if maker is not None and graph.only_reader(value) is node else None


def _take_over(graph: Graph, node: Node, absorbed: Node) -> bool:
    """A node makes what another, which read it, made."""
    outputs = absorbed.outputs
    graph.remove(absorbed)
    graph.set_outputs(node, outputs)
    return True


def join_activation(graph: Graph, node: Node) -> bool:
    """An activation ends the node before it."""
    if node.op != "Activation":
        return False
    maker = _only_source(graph, node, node.inputs[0])
    if maker is None or maker.op not in _ACTIVATED or maker.attributes.get("activation") is not None:
        return False
    maker.attributes["activation"] = node.attributes["activation"]
    return _take_over(graph, maker, node)


def join_scale(graph: Graph, node: Node) -> bool:
    """A scale and an offset become part of the convolution, product, normalization or scale before them."""
    if node.op != "Affine" or graph.constant(node.inputs[0]) is not None:
        return False
    scale, offset = _numbers(graph, node)
    if _says_nothing(node, scale, offset):
        graph.substitute(node.outputs[0], node.inputs[0])
        graph.remove(node)
        return True
    maker = _only_source(graph, node, node.inputs[0])
    if not _plain(maker):
        return False
    if maker.op == "Affine":
        return _compose(graph, maker, node)
    if maker.op == "LayerNormalization":
        return _into_normalization(graph, maker, node)
    if maker.op not in ("Conv", "ConvTranspose", "Linear") or not _fits(graph, maker, node):
        return False
    weight, bias = graph.constant(maker.inputs[1]), graph.constant(maker.input(2))
    if weight is None or (maker.input(2) and bias is None):
        return False
    across = 1 if maker.op == "ConvTranspose" else 0
    shape = [1] * weight.ndim
    shape[across] = -1
    with np.errstate(all="ignore"):
        scaled = weight * scale.reshape(shape)
        moved = (0.0 if bias is None else bias.astype(np.float64)) * scale + offset
    filters = weight.shape[across]
    _set_weights(
        graph, maker, scaled.astype(weight.dtype), np.broadcast_to(moved, filters).astype(weight.dtype)
    )
    return _replace_by(graph, maker, node)


def _replace_by(graph: Graph, maker: Node, node: Node) -> bool:
    """A node absorbs the scale after it, with the residual and the activation that this had."""
    if node.attributes.get("activation") is not None:
        maker.attributes["activation"] = node.attributes["activation"]
    if node.input(_RESIDUAL):
        inputs = maker.inputs + [""] * (_RESIDUAL - len(maker.inputs))
        graph.set_inputs(maker, [*inputs, node.input(_RESIDUAL)])
    return _take_over(graph, maker, node)


def _numbers(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of an Affine or a normalization; each one number or one for each channel."""
    scale, offset = graph.constant(node.input(1)), graph.constant(node.input(2))
    return np.float64(1) if scale is None else scale, np.float64(0) if offset is None else offset


def _says_nothing(node: Node, scale: np.ndarray, offset: np.ndarray) -> bool:
    return (
        _plain(node) and scale.size == offset.size == 1 and scale.reshape(()) == 1 and offset.reshape(()) == 0
    )


def _fits(graph: Graph, maker: Node, node: Node) -> bool:
    """Whether the scale is one number, or one for each output of the node before."""
    size = max(number.size for number in _numbers(graph, node))
    weight = graph.constant(maker.inputs[1])
    if weight is None:
        return False
    if maker.op == "ConvTranspose" and (maker.attributes.get("group", 1) != 1 or node.input(_RESIDUAL)):
        return False
    if size == 1:
        return True
    axis, ndim = node.attributes["axis"], weight.ndim
    channels = weight.shape[1 if maker.op == "ConvTranspose" else 0]
    wanted = (-1,) if maker.op == "Linear" else (1, 1 - ndim)
    return size == channels and axis in wanted


def _set_weights(graph: Graph, node: Node, weight: np.ndarray, bias: np.ndarray | None) -> None:
    names = [graph.new_constant(node.inputs[1], weight)]
    names.append("" if bias is None else graph.new_constant(f"{node.inputs[1]}:bias", bias))
    graph.set_inputs(node, [node.inputs[0], *names, *node.inputs[3:]])


def _compose(graph: Graph, first: Node, second: Node) -> bool:
    """Two scales, one after the other."""
    (a, b), (c, d) = _numbers(graph, first), _numbers(graph, second)
    sizes = [max(x.size, y.size) for x, y in ((a, b), (c, d))]
    if min(sizes) > 1 and (sizes[0] != sizes[1] or first.attributes["axis"] != second.attributes["axis"]):
        return False
    with np.errstate(all="ignore"):
        numbers = a * c, b * c + d
    first.attributes["axis"] = (first if sizes[0] > 1 else second).attributes["axis"]
    names = [graph.new_constant(second.outputs[0], np.asarray(number)) for number in numbers]
    graph.set_inputs(first, [first.inputs[0], *names])
    return _replace_by(graph, first, second)


def _into_normalization(graph: Graph, norm: Node, node: Node) -> bool:
    """A layer normalization of the last axis has a scale and an offset of its own."""
    if norm.attributes.get("axis", -1) != -1 or node.attributes["axis"] != -1 or not _plain(node):
        return False
    if any(value not in graph.constants for value in norm.inputs[1:]):
        return False
    (a, b), (c, d) = _numbers(graph, norm), _numbers(graph, node)
    size = max(number.size for number in (a, b, c, d))
    if size == 1:
        return False
    arrays = [np.broadcast_to(number, size).astype(np.float64) for number in (a * c, b * c + d)]
    graph.set_inputs(
        norm, [norm.inputs[0], *(graph.new_constant(norm.outputs[0], array) for array in arrays)]
    )
    return _take_over(graph, norm, node)


def join_scale_before(graph: Graph, node: Node) -> bool:
    """A scale before a convolution or a product, and an offset where no padding lies around it."""
    if node.op not in ("Conv", "Linear"):
        return False
    maker, weight = _only_source(graph, node, node.inputs[0]), graph.constant(node.inputs[1])
    if maker is None or maker.op != "Affine" or not _plain(maker) or weight is None:
        return False
    if node.input(2) and graph.constant(node.input(2)) is None:
        return False
    scale, offset = _numbers(graph, maker)
    groups = node.attributes.get("group", 1)
    channels = weight.shape[1] * groups
    size = max(scale.size, offset.size)
    wanted = (-1,) if node.op == "Linear" else (1, 1 - weight.ndim)
    if size > 1 and (size != channels or maker.attributes["axis"] not in wanted):
        return False
    if np.any(offset) and _pads(node):
        return False
    # Of each filter: the numbers of the channels that it reads.
    by_group = [
        np.broadcast_to(number.reshape(-1), channels).reshape(groups, -1) for number in (scale, offset)
    ]
    factors, added = (
        np.repeat(n, len(weight) // groups, 0).reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))
        for n in by_group
    )
    with np.errstate(all="ignore"):
        bias = (weight * added).reshape(len(weight), -1).sum(axis=1)
        scaled = (weight * factors).astype(weight.dtype)
    given = graph.constant(node.input(2))
    if given is not None or np.any(bias):
        bias = (bias + (0.0 if given is None else given)).astype(weight.dtype)
    else:
        bias = None
    source = maker.inputs[0]
    _set_weights(graph, node, scaled, bias)
    graph.set_inputs(node, [source, *node.inputs[1:]])
    graph.remove(maker)
    return True


def _pads(node: Node) -> bool:
    automatic = node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    return automatic or any(node.attributes.get("pads") or ())


def join_sum(graph: Graph, node: Node) -> bool:
    """A sum becomes the residual of the later of the nodes that make what is added."""
    if node.op != "Add" or len(node.inputs) != 2 or node.inputs[0] == node.inputs[1]:
        return False
    if any(value in graph.constants for value in node.inputs):
        return False
    position = {n: number for number, n in enumerate(graph.nodes)}
    found = []
    for value, other in (node.inputs, reversed(node.inputs)):
        maker = _only_source(graph, node, value)
        if _plain(maker) and maker.op in _ADDING:
            found.append((position[maker], maker, other))
    if not found:
        return _sum_before_transpose(graph, node)
    _, maker, other = max(found, key=lambda row: row[0])
    _add_residual(graph, maker, other)
    maker.attributes["activation"] = node.attributes.get("activation")
    return _take_over(graph, maker, node)


def _add_residual(graph: Graph, maker: Node, other: str) -> None:
    inputs = maker.inputs + [""] * (_RESIDUAL - len(maker.inputs))
    graph.set_inputs(maker, [*inputs, other])


def _sum_before_transpose(graph: Graph, node: Node) -> bool:
    """x + transpose(product) is the transpose of the product with x, turned back, as its residual."""
    for value, other in (node.inputs, reversed(node.inputs)):
        turn = _only_source(graph, node, value)
        if turn is None or turn.op != "Transpose" or not turn.attributes.get("perm"):
            continue
        axes = turn.attributes["perm"]
        maker = _only_source(graph, turn, turn.inputs[0])
        if not _plain(maker) or maker.op not in _ADDING or graph.rank(other) != len(axes):
            continue
        back = graph.fresh(other)
        graph.ranks[back] = len(axes)
        graph.add(Node("Transpose", [other], [back], {"perm": [int(a) for a in np.argsort(axes)]}, turn.name))
        _add_residual(graph, maker, back)
        maker.attributes["activation"] = node.attributes.get("activation")
        return _take_over(graph, turn, node)
    return False


def join_padding(graph: Graph, node: Node) -> bool:
    """Zeros around an image, put there for a convolution alone, are its padding."""
    if node.op != "Conv" or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return False
    maker = _only_source(graph, node, node.inputs[0])
    if (
        maker is None
        or maker.op != "Pad"
        or maker.attributes.get("mode", "constant") != "constant"
        or maker.input(3)
    ):
        return False
    pads, fill = graph.constant(maker.inputs[1]), graph.constant(maker.input(2))
    if pads is None or (maker.input(2) and (fill is None or np.any(fill))) or np.min(pads, initial=0) < 0:
        return False
    before, after = np.split(pads.reshape(-1), 2)
    if np.any(before[:2]) or np.any(after[:2]):
        return False
    more = [*before[2:], *after[2:]]
    given = node.attributes.get("pads") or [0] * len(more)
    if len(given) != len(more):
        return False
    node.attributes["pads"] = [int(a + b) for a, b in zip(given, more, strict=True)]
    graph.set_inputs(node, [maker.inputs[0], *node.inputs[1:]])
    graph.remove(maker)
    return True


FOLDINGS: tuple[Rewriting, ...] = (
    join_scale, join_scale_before, join_activation, join_sum, join_padding,
)  # fmt: skip
