"""Builds a network as a graph of ONNX's operators, with seeded weights: neither onnx nor torch is needed.

Batch normalization is taken as folded into weights and biases. Weights keep the numbers about one (He et al.
2015, arXiv:1502.01852).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpw.network.graph import Graph, Node, Port

FLOAT32: np.dtype[Any] = np.dtype(np.float32)
OPSET = 17  # whose operators the graphs are made of


class Image(NamedTuple):
    """A value (N, channels, pixels, pixels); with pixels None any height and width. Or (N, channels)."""

    name: str
    channels: int
    pixels: int | None = None


class Builder:
    """Takes nodes one after the other.

    Parameters
    ----------
    pixels : int or None
        Height and width of the input; None leaves them and the batch open.
    width : float
        Of the network: 1 is that of the paper.
    depth : float
        How many of the blocks that are repeated.
    classes : int
    """

    def __init__(
        self, pixels: int | None, width: float = 1.0, depth: float = 1.0, classes: int = 1000
    ) -> None:
        self._random = np.random.default_rng(0)
        self._width, self._depth = width, depth
        self.classes: int = classes
        self._nodes: list[Node] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._ranks: dict[str, int] = {}
        batch = None if pixels is None else 1
        self._input = Port("x", (batch, 3, pixels, pixels), FLOAT32)
        self.x: Image = Image("x", 3, pixels)

    # ---- how large ---------------------------------------------------------------------------------------

    def channels(self, count: int, step: int = 8) -> int:
        """As many as the width leaves, a multiple of a step."""
        return count if self._width == 1 else max(round(count * self._width / step), 1) * step

    def times(self, count: int) -> int:
        """As many blocks as the depth leaves."""
        return max(round(count * self._depth), 1)

    # ---- nodes -------------------------------------------------------------------------------------------

    def node(
        self, op: str, inputs: list[str], channels: int, pixels: int | None, rank: int = 4, **attributes: Any
    ) -> Image:
        """Append one with one result; returns that."""
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(Node(op, inputs, [name], attributes, name))
        self._ranks[name] = rank
        return Image(name, channels, pixels)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Returns its name."""
        name = f"constant{len(self._constants)}"
        self._constants[name] = np.asarray(values, dtype)
        return name

    def normal(self, *shape: int, scale: float) -> str:
        """A constant of random numbers with this standard deviation; returns its name."""
        numbers = self._random.standard_normal(shape, FLOAT32)
        numbers *= np.float32(scale)
        return self.constant(numbers)

    def convolution(
        self,
        x: Image,
        filters: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = "relu",
        padding: int | None = None,
    ) -> Image:
        """A convolution, its bias and an activation; by default the stride alone changes the size."""
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = (rows // 2, columns // 2) if padding is None else (padding, padding)
        inputs = x.channels // groups * rows * columns
        gain = 1.0 if activation is None else 2.0
        weight = self.normal(filters, x.channels // groups, rows, columns, scale=(gain / inputs) ** 0.5)
        y = self.node(
            "Conv", [x.name, weight, self.normal(filters, scale=0.1)], filters,
            _size(x.pixels, rows, stride, pads[0]),
            kernel_shape=[rows, columns], strides=[stride] * 2, pads=[*pads, *pads], group=groups,
        )  # fmt: skip
        return self.activation(y, activation)

    def activation(self, x: Image, name: str | None) -> Image:
        """As exporters write it: hard_swish is a node, relu6, silu and gelu are arithmetic."""
        if name is None:
            return x
        rest = x.channels, x.pixels, self._ranks[x.name]
        match name:
            case "relu6":
                return self.node("Clip", [x.name, self.constant(0), self.constant(6)], *rest)
            case "silu":
                gate = self.node("Sigmoid", [x.name], *rest)
                return self.node("Mul", [x.name, gate.name], *rest)
            case "gelu":
                scaled = self.node("Div", [x.name, self.constant(2**0.5)], *rest)
                bent = self.node("Erf", [scaled.name], *rest)
                moved = self.node("Add", [bent.name, self.constant(1)], *rest)
                twice = self.node("Mul", [x.name, moved.name], *rest)
                return self.node("Mul", [twice.name, self.constant(0.5)], *rest)
            case "hard_sigmoid":
                return self.node("HardSigmoid", [x.name], *rest, alpha=1 / 6)
        return self.node(
            {"relu": "Relu", "hard_swish": "HardSwish", "sigmoid": "Sigmoid"}[name], [x.name], *rest
        )

    def pool(
        self, x: Image, kind: str, kernel: int = 3, stride: int = 2, padding: int = 0, up: bool = False
    ) -> Image:
        """The largest ("Max") or the mean ("Average") of windows; `up`: their number is rounded up."""
        attributes: dict[str, Any] = {"count_include_pad": 1} if kind == "Average" else {}
        return self.node(
            f"{kind}Pool", [x.name], x.channels, _size(x.pixels, kernel, stride, padding, up),
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4, ceil_mode=int(up),
            **attributes,
        )  # fmt: skip

    def mean(self, x: Image) -> Image:
        """Of all pixels, (N, channels, 1, 1)."""
        return self.node("GlobalAveragePool", [x.name], x.channels, 1)

    def flat(self, x: Image) -> Image:
        """(N, channels, 1, 1) as (N, channels)."""
        return self.node("Flatten", [x.name], x.channels, None, 2, axis=1)

    def linear(self, x: Image, filters: int, activation: str | None = None) -> Image:
        """A product of rows, its bias and an activation."""
        gain = 1.0 if activation is None else 2.0
        weight = self.normal(filters, x.channels, scale=(gain / x.channels) ** 0.5)
        inputs = [x.name, weight, self.normal(filters, scale=0.1)]
        return self.activation(self.node("Gemm", inputs, filters, None, 2, transB=1), activation)

    def add(self, x: Image, y: Image) -> Image:
        return self.node("Add", [x.name, y.name], x.channels, x.pixels)

    def multiply(self, x: Image, y: Image) -> Image:
        """Of y each pixel with x's, or one factor for all pixels."""
        return self.node("Mul", [x.name, y.name], x.channels, x.pixels)

    def together(self, *branches: Image) -> Image:
        """Side by side in the channels."""
        channels = sum(branch.channels for branch in branches)
        return self.node("Concat", [branch.name for branch in branches], channels, branches[0].pixels, axis=1)

    def halves(self, x: Image) -> tuple[Image, Image]:
        """The first and the second half of the channels."""
        half, name = x.channels // 2, f"split{len(self._nodes)}"
        names = [f"{name}.{number}" for number in range(2)]
        sizes = self.constant([half, half], np.int64)
        self._nodes.append(Node("Split", [x.name, sizes], names, {"axis": 1}, name))
        self._ranks.update(dict.fromkeys(names, 4))
        return Image(names[0], half, x.pixels), Image(names[1], half, x.pixels)

    def shuffled(self, x: Image, groups: int) -> Image:
        """The channels of groups in turn. The size must be known, as where exporters write it."""
        assert x.pixels is not None
        inner = [1, groups, x.channels // groups, x.pixels, x.pixels]
        outer = [1, x.channels, x.pixels, x.pixels]
        y = self.node("Reshape", [x.name, self.constant(inner, np.int64)], x.channels, x.pixels, 5)
        y = self.node("Transpose", [y.name], x.channels, x.pixels, 5, perm=[0, 2, 1, 3, 4])
        return self.node("Reshape", [y.name, self.constant(outer, np.int64)], x.channels, x.pixels)

    # ---- whose channels come last ------------------------------------------------------------------------

    def turned(self, x: Image, *axes: int) -> Image:
        """With its axes in another order."""
        return self.node("Transpose", [x.name], x.channels, x.pixels, perm=list(axes))

    def normalized(self, x: Image) -> Image:
        """A layer normalization of each pixel, whose channels come last."""
        channels = x.channels
        scale = self.constant(1 + 0.2 * self._random.standard_normal(channels))
        inputs = [x.name, scale, self.normal(channels, scale=0.2)]
        return self.node("LayerNormalization", inputs, channels, x.pixels, axis=-1, epsilon=1e-6)

    def of_pixels(self, x: Image, filters: int, activation: str | None = None, scale: float = 1.0) -> Image:
        """A product of each pixel's channels, which come last, its bias and an activation."""
        gain = 1.0 if activation is None else 2.0
        weight = self.normal(x.channels, filters, scale=scale * (gain / x.channels) ** 0.5)
        product = self.node("MatMul", [x.name, weight], filters, x.pixels)
        bias = self.normal(filters, scale=0.1 * scale)
        return self.activation(self.node("Add", [bias, product.name], filters, x.pixels), activation)

    # ---- done --------------------------------------------------------------------------------------------

    def graph(self, last: Image) -> Graph:
        """The network that ends with this value, called "y"."""
        for node in self._nodes:
            node.outputs = ["y" if name == last.name else name for name in node.outputs]
        output = Port("y", (self._input.shape[0], last.channels), FLOAT32)
        graph = Graph([self._input], [output], self._nodes, self._constants)
        graph.ranks = {"x": 4, "y": 2, **self._ranks}
        return graph


def _size(pixels: int | None, kernel: int, stride: int, padding: int, up: bool = False) -> int | None:
    """How many windows there are."""
    if pixels is None:
        return None
    room = pixels + 2 * padding - kernel
    return (-(-room // stride) if up else room // stride) + 1
