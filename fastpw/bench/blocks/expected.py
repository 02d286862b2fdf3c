"""What a graph computes, in float64, and how far roundings in float32 carry.

A sum of n products in float32, in whatever order it is added up, lies hardly ever further from the exact one
than a few times sqrt(n) * u * sum |products|, u being half the distance between 1 and the next number (Higham
and Mary 2019, A New Approach to Probabilistic Rounding Error Analysis, theorem 3.1: 8 times with a
probability of some 1e-13). That is taken as the standard deviation of an error, and errors as independent:
their variances go through the layers that follow as the squares of the weights say. Bounds that hold
whatever the roundings are grow by the sums of all weights at each layer and say nothing about a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastpw import _activations, reference
from fastpw._typing import FloatArray
from fastpw.bench.blocks.graph import Graph, Node
from fastpw.bench.blocks.parts import Branches, Channels, Convolution, GlobalAverage, Pool, Shuffle
from fastpw.reference import Array

UNIT: float = 2.0**-24
LIMIT = 8  # standard deviations


class Value(NamedTuple):
    """What a node computes, and the standard deviation of a float32 result."""

    exact: Array
    error: Array


def of(graph: Graph, x: FloatArray, weights: dict[int, tuple[FloatArray, FloatArray]]) -> Value:
    """The result of a graph.

    Parameters
    ----------
    graph : Graph
    x : array
        Its input.
    weights : dict
        Of each convolution its kernel, (K, kh, kw, C // groups), and bias, by the number of its node.
    """
    exact = np.asarray(x, np.float64)
    values: list[Value | None] = [Value(exact, np.zeros_like(exact))]
    for number, node in enumerate(graph.nodes[1:], 1):
        inputs = [values[read] for read in node.inputs]
        values.append(_evaluate(node, inputs, weights.get(number)))
        for read in graph.last_used(number):  # a network's values are large
            values[read] = None
    result = values[-1]
    assert result is not None
    return result


def _evaluate(node: Node, inputs: Sequence[Any], weights: Any) -> Value:
    match node.part:
        case Convolution():
            return _convolution(node, inputs, *weights)
        case Pool("maximum"):
            return Value(*(_pooled(reference.max_pool2d, node, array) for array in inputs[0]))
        case Pool("average"):
            average = partial(_pooled, reference.average_pool2d, node)
            return _averaged(inputs[0], average, math.prod(node.part.size))
        case GlobalAverage():
            pixels = node.source[1] * node.source[2]
            return _averaged(inputs[0], lambda array: array.mean(axis=(1, 2)), pixels)
        case Shuffle(groups):
            return Value(*(reference.channel_shuffle(array, groups) for array in inputs[0]))
        case Channels(first, stop):
            return Value(*(array[..., first:stop] for array in inputs[0]))
        case Branches():
            return Value(*(np.concatenate(arrays, axis=-1) for arrays in zip(*inputs, strict=True)))
    raise AssertionError(f"no such operation: {node.part}")


def _pooled(pool, node, array):
    return pool(array, node.part.size, node.part.stride, node.part.padding)


def _averaged(x: Value, average: Callable[[Array], Array], count: int) -> Value:
    rounded = np.sqrt(count) * UNIT * average(np.abs(x.exact))
    return Value(average(x.exact), np.hypot(average(x.error), rounded))


def _convolution(node, inputs, kernel, bias):
    x, *added = inputs
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    z = convolve(node, x.exact, kernel) + bias
    terms = convolve(node, np.abs(x.exact), np.abs(kernel)) + np.abs(bias)
    variance = convolve(node, np.square(x.error), np.square(kernel))
    for other in added:
        z += other.exact
        terms += np.abs(other.exact)
        variance += np.square(other.error)
    count = kernel[0].size + 1 + len(added)
    variance += count * np.square(UNIT * terms)
    return _activated(node.part.activation, z, np.sqrt(variance))


def _activated(activation, z, error):
    y = reference.activate(z, activation)
    row, _ = _activations.find(activation)
    slope = np.abs(reference.derivative(z, activation))
    for kink in row.kinks(row.alpha, row.beta):
        slope[np.abs(z - kink) <= LIMIT * error] = row.steepest
    # An activation of others may be less accurate than ours: four times.
    rounded = 4 * (row.float32.ulps * 2 * UNIT * np.abs(y) + row.float32.absolute)
    return Value(y, np.hypot(slope * error, rounded))


def convolve(node: Node, x: Array, kernel: Array) -> Array:
    """The sum over taps and channels, tap by tap: as reference.conv2d, but fast enough for a network."""
    part, shape = node.part, node.shape
    assert isinstance(part, Convolution)
    if x.ndim == 2:
        return x @ kernel[:, 0, 0].T
    padded = np.pad(x, [(0, 0), *node.sides, (0, 0)])
    Ho, Wo, stride = *shape[1:3], part.stride
    z = np.zeros(shape)
    filters, channels = (np.split(np.arange(n), part.groups) for n in (shape[-1], x.shape[-1]))
    for i, j in np.ndindex(*part.size):
        seen = padded[:, i::stride, j::stride][:, :Ho, :Wo]
        if node.depthwise:
            z += seen * kernel[:, i, j, 0]
        elif part.groups == 1:
            z += seen @ kernel[:, i, j].T
        else:
            for into, read in zip(filters, channels, strict=True):
                z[..., into] += seen[..., read] @ kernel[into, i, j].T
    return z
