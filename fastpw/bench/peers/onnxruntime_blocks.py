"""ONNX Runtime on blocks and networks: the graph as exporters write it, which it fuses as it can."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from fastpw.bench.blocks.graph import Node
from fastpw.bench.blocks.parts import Branches, Channels, Convolution, GlobalAverage, Pool, Shuffle
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.peers.onnxruntime import session

ACTIVATIONS: dict[str, str] = {"relu": "Relu", "relu6": "Clip", "gelu": "Gelu"}


class OnnxGraph:
    """A block in (N, channels, H, W): nodes, and constants by name. Node n of the block is called "n"."""

    def __init__(self, problem: BlockProblem) -> None:
        self.nodes: list[Any] = []  # onnx.NodeProto
        self.constants: dict[str, NDArray[Any]] = {}
        for number, node in enumerate(problem.graph.nodes[1:], 1):
            inputs = [str(read) for read in node.inputs]
            self._add(node, inputs, str(number), problem.weights.get(number))

    def node(self, kind: str, inputs: list[str], result: str, **attributes: Any) -> str:
        """Append one; returns the name of its result."""
        self.nodes.append(helper.make_node(kind, inputs, [result], **attributes))
        return result

    def constant(self, name: str, values: Any) -> str:
        """Returns its name."""
        self.constants[name] = np.asarray(values)
        return name

    def rename(self, old: str, new: str) -> None:
        """Of the input or the result."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new

    def activation(self, name: str | None, x: str, result: str) -> str:
        """Append an activation, if there is one."""
        if name is None:
            return self.node("Identity", [x], result)
        inputs = [x]
        if name == "relu6":
            inputs += [self.constant("zero", np.float32(0)), self.constant("six", np.float32(6))]
        return self.node(ACTIVATIONS[name], inputs, result)

    def _add(self, node: Node, inputs: list[str], name: str, weights: Any) -> None:
        match node.part:
            case Convolution():
                self._add_convolution(node, inputs, name, weights)
            case Pool(kind):
                kind = "MaxPool" if kind == "maximum" else "AveragePool"
                self.node(kind, inputs, name, kernel_shape=node.part.size, **_geometry(node))
            case GlobalAverage():
                pooled = self.node("GlobalAveragePool", inputs, f"{name}.pooled")
                self.node("Flatten", [pooled], name)
            case Shuffle(groups):
                self._add_shuffle(node, inputs, name, groups)
            case Channels(first, stop):
                bounds = {"starts": [first], "ends": [stop], "axes": [1]}
                constants = [self.constant(f"{name}.{key}", value) for key, value in bounds.items()]
                self.node("Slice", [*inputs, *constants], name)
            case Branches():
                self.node("Concat", inputs, name, axis=1)

    def _add_convolution(self, node, inputs, name, weights):
        (kernel, bias), (x, *added), activation = weights, inputs, node.part.activation
        z = f"{name}.z" if added or activation else name
        if len(node.shape) == 2:
            constants = [self.constant(f"{name}.weight", kernel[:, 0, 0])]
            kind, attributes = "Gemm", {"transB": 1}
        else:
            constants = [self.constant(f"{name}.weight", kernel.transpose(0, 3, 1, 2))]
            kind, attributes = "Conv", {"group": node.part.groups, **_geometry(node)}
        constants.append(self.constant(f"{name}.bias", bias))
        z = self.node(kind, [x, *constants], z, **attributes)
        if added:
            z = self.node("Add", [z, *added], f"{name}.sum" if activation else name)
        if activation:
            self.activation(activation, z, name)

    def _add_shuffle(self, node, inputs, name, groups):
        N, H, W, C = node.shape
        split = self.constant(f"{name}.split", [N, groups, C // groups, H, W])
        joined = self.constant(f"{name}.joined", [N, C, H, W])
        y = self.node("Reshape", [*inputs, split], f"{name}.groups")
        y = self.node("Transpose", [y], f"{name}.swapped", perm=[0, 2, 1, 3, 4])
        self.node("Reshape", [y, joined], name)


def _geometry(node):
    (top, bottom), (left, right) = node.sides
    return {"strides": [node.part.stride] * 2, "pads": [top, left, bottom, right]}


def conv(problem: BlockProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """In its own layout: its own arrays are, NumPy's are transposed in the graph."""
    graph, shape = OnnxGraph(problem), problem.output_shape
    last = str(len(problem.graph.nodes) - 1)
    images = len(shape) == 4
    if problem.setting.new_arrays:
        graph.nodes.insert(0, helper.make_node("Transpose", ["x"], ["0"], perm=[0, 3, 1, 2]))
        if images:
            graph.node("Transpose", [last], "y", perm=[0, 2, 3, 1])
        else:
            graph.rename(last, "y")
        return session(problem, graph.nodes, graph.constants, problem.x, shape)
    graph.rename("0", "x")
    graph.rename(last, "y")
    x = np.ascontiguousarray(problem.x.transpose(0, 3, 1, 2))
    if not images:
        return session(problem, graph.nodes, graph.constants, x, shape)
    N, Ho, Wo, K = shape
    run, read = session(problem, graph.nodes, graph.constants, x, (N, K, Ho, Wo))
    return run, lambda: read().transpose(0, 2, 3, 1)


def gemm(problem: BlockProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A block of 1x1 convolutions alone as products of rows of pixels."""
    assert problem.graph.pointwise
    nodes, constants, name = [], {}, "x"
    last = len(problem.graph.nodes) - 1
    for number, (kernel, bias) in problem.weights.items():
        constants |= {f"{number}.weight": kernel[:, 0, 0].T, f"{number}.bias": bias}
        result = "y" if number == last else str(number)
        activation = problem.graph.nodes[number].part.activation
        z = result if activation is None else f"{result}.z"
        nodes.append(helper.make_node("Gemm", [name, f"{number}.weight", f"{number}.bias"], [z]))
        if activation is not None:
            nodes.append(helper.make_node(ACTIVATIONS[activation], [z], [result]))
        name = result
    rows = problem.x.reshape(-1, problem.x.shape[-1])
    return session(problem, nodes, constants, rows, (len(rows), problem.output_shape[-1]))
