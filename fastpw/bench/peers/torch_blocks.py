"""torch on blocks and networks: its functions one by one, or with oneDNN's fused primitives."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from fastpw.bench.blocks.graph import Node
from fastpw.bench.blocks.parts import Branches, Channels, Convolution, GlobalAverage, Pool, Shuffle
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.peers.torch import array, start, tensor

Compute: TypeAlias = Callable[..., torch.Tensor]
Pair: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]

ONE = [1, 1]  # dilation

IN_PLACE: dict[str | None, Compute] = {
    None: lambda z: z,
    "relu": torch.relu_,
    "relu6": lambda z: torch.clamp_(z, 0, 6),
    "gelu": torch.nn.functional.gelu,
}
# As oneDNN is asked for them: name, parameters, algorithm.
FUSED: dict[str | None, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "gelu": ("gelu", [], "none"),
}


class Network:
    """A block's operations, each a function of tensors.

    "same" puts an odd pixel of padding behind the image, and torch as many before it as behind. So it
    computes the mirrored image with mirrored kernels, as with layers, where there is such a pixel.

    Parameters
    ----------
    problem : BlockProblem
    convolution : function
        Of a node, its kernel as a tensor, and its bias; returns what computes it.
    """

    def __init__(self, problem: BlockProblem, convolution: Callable[..., Compute]) -> None:
        start(problem)
        self._problem, nodes = problem, problem.graph.nodes
        padded = (node.sides for node in nodes if isinstance(node.part, Convolution | Pool))
        self._mirrored = any(before != after for sides in padded for before, after in sides)
        self._steps = [
            (self._compute(node, number, convolution), node.inputs, problem.graph.last_used(number))
            for number, node in enumerate(nodes[1:], 1)
        ]

    def _compute(self, node, number, convolution):
        if not isinstance(node.part, Convolution):
            return _operation(node)
        kernel, bias = self._problem.weights[number]
        rest = tensor(self.turned(kernel)), torch.from_numpy(bias)
        if not self._mirrored or not _skips_behind(node):
            return convolution(node, *rest)
        # What the stride skips behind the image lies before the mirrored one: torch gets the other pixels.
        step, dense = node.part.stride, replace(node.part, stride=1)
        down, across = ((n - 1) % step for n in node.source[1:3])
        compute = convolution(replace(node, part=dense, source=(*node.shape[:3], node.source[3])), *rest)
        return lambda x, *added: compute(x[..., down::step, across::step], *added)

    def turned(self, image: Any) -> Any:
        """Of an image or a kernel the one that is computed with, and the way back."""
        if not self._mirrored or image.ndim < 4:
            return image
        return self._problem.copy(image[:, ::-1, ::-1])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        values: list[Any] = [x]
        for compute, inputs, done_with in self._steps:
            values.append(compute(*[values[read] for read in inputs]))
            for number in done_with:
                values[number] = None
        return values[-1]

    def timed(self, compute: Compute) -> Pair:
        """What is timed, and what says what it computed, `compute` being this, compiled or not."""
        image = self.turned(self._problem.x)

        def run():
            return _result(compute(tensor(image)))

        if self._problem.setting.new_arrays:
            return run, lambda: self.turned(run())
        x = tensor(image)
        return lambda: compute(x), lambda: self.turned(run())


def _result(y):
    return y.numpy() if y.ndim == 2 else array(y)


def _operation(node: Node) -> Compute:
    match node.part:
        case Pool("maximum", stride, size):
            padding = _padding(node)
            return lambda x: torch.max_pool2d(x, size, stride, padding)
        case Pool("average", stride, size):
            rest = (
                size,
                stride,
                _padding(node),
                False,
                False,
            )  # neither larger at the end, nor padding counted
            return lambda x: torch.nn.functional.avg_pool2d(x, *rest)
        case GlobalAverage():
            return lambda x: x.mean((2, 3))
        case Shuffle(groups):
            return lambda x: torch.channel_shuffle(x, groups)
        case Channels(first, stop):
            return lambda x: x[:, first:stop]
        case Branches():
            return lambda *branches: torch.cat(branches, 1)
    raise AssertionError(f"no such operation: {node.part}")


def _padding(node):
    return [after for _, after in node.sides]


def _skips_behind(node):
    """Whether a convolution of strided pixels leaves some behind the last one."""
    if len(node.shape) == 2 or node.part.size != (1, 1):
        return False
    return any((n - 1) % node.part.stride for n in node.source[1:3])


def _strides(node):
    return [node.part.stride] * 2


def _plain(node, kernel, bias):
    """torch's own convolution, then what is added, and the activation, in place."""
    activate = IN_PLACE[node.part.activation]
    if len(node.shape) == 2:
        weight = kernel[..., 0, 0].contiguous()
        return lambda x: activate(torch.nn.functional.linear(x, weight, bias))
    weight = kernel.contiguous(memory_format=torch.channels_last)
    rest = _strides(node), _padding(node), ONE, node.part.groups

    def compute(x, *added):
        z = torch.conv2d(x, weight, bias, *rest)
        for other in added:
            z.add_(other)
        return activate(z)

    return compute


def _fused(node, kernel, bias):
    """What torch.compile calls: one primitive, with its weight reordered beforehand."""
    if len(node.shape) == 2:
        return _plain(node, kernel, bias)
    rest = _padding(node), _strides(node), ONE, node.part.groups
    channels_last = kernel.contiguous(memory_format=torch.channels_last)
    N, H, W, C = node.source
    weight = torch._C._nn.mkldnn_reorder_conv2d_weight(channels_last.to_mkldnn(), *rest, [N, C, H, W])
    activation = FUSED[node.part.activation]
    if node.added is None:
        convolution = torch.ops.mkldnn._convolution_pointwise.default
        return lambda x: convolution(x, weight, bias, *rest, *activation)
    name, *parameters = activation
    binary = torch.ops.mkldnn._convolution_pointwise.binary
    after = None if name == "none" else name, *parameters
    return lambda x, other: binary(x, other, weight, bias, *rest, "add", 1.0, *after)


def eager(problem: BlockProblem) -> Pair:
    """Its functions one by one."""
    network = Network(problem, _plain)
    return network.timed(network)


def onednn(problem: BlockProblem) -> Pair:
    """oneDNN's fused primitives, and torch's functions between them."""
    network = Network(problem, _fused)
    return network.timed(network)
