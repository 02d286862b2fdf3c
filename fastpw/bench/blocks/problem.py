"""A block's arrays, and the check of a result against the reference."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from fastpw._typing import FloatArray
from fastpw.bench.arrays import Arrays
from fastpw.bench.blocks import expected, graph
from fastpw.bench.blocks.graph import Graph, Node
from fastpw.bench.blocks.parts import Block
from fastpw.bench.setting import Setting


class BlockProblem(Arrays):
    """An input and weights.

    Attributes
    ----------
    graph : Graph
    output_shape : tuple of int
    x : array
    weights : dict
        Of each convolution its kernel, (K, kh, kw, C // groups), and bias, by the number of its node.
    """

    def __init__(self, block: Block, setting: Setting) -> None:
        super().__init__(block.name, setting)
        self.graph: Graph = graph.of(block)
        self.output_shape: tuple[int, ...] = self.graph.shape
        self.x: FloatArray = self.random(*block.shape)
        self.weights: dict[int, tuple[FloatArray, FloatArray]] = {
            number: self._weights(node) for number, node in self.graph.convolutions()
        }

    def _weights(self, node: Node):
        """Such that values stay about as large from layer to layer (He et al. 2015, arXiv:1502.01852)."""
        kernel, bias = self.random(*node.weight_shape), self.random(node.weight_shape[0])
        gain = 1 if node.part.activation is None else 2
        kernel *= np.sqrt(12 * gain / kernel[0].size)  # (1 / 12 is the variance of what `random` makes)
        return kernel, bias

    @cached_property
    def expected(self) -> expected.Value:
        """The result in float64, and how far roundings carry."""
        return expected.of(self.graph, self.x, self.weights)

    def out(self) -> FloatArray | None:
        """Where a result goes: an array of the implementation's own, or None if each call makes a new one."""
        return None if self.setting.new_arrays else self.nan(*self.output_shape)

    def check(self, y: ArrayLike, name: str) -> None:
        """Raise ArithmeticError if the result `y` of implementation `name` is not the block's."""
        y = np.reshape(y, self.output_shape)
        if not np.isfinite(y).all():
            raise ArithmeticError(f"{self.name}: {name} left pixels out or made them NaN or infinite")
        self.hold(name, "the result", y, self.expected.exact, expected.LIMIT * self.expected.error)
