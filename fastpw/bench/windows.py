"""How NumPy comes to the windows of an image without a copy more than it needs, in memory of its own."""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np

from fastpw._typing import FloatArray
from fastpw.bench.arrays import Problem

Block: TypeAlias = tuple[int, slice]  # an image, some rows of its outputs

BLOCK = 1 << 17  # outputs: with what they are made of they stay in the caches, and calls of NumPy are few


class Rows:
    """Each window of x as a row: (P, kh * kw * C)."""

    def __init__(self, problem: Problem) -> None:
        layer = problem.layer
        (N, Ho, Wo, _), (kh, kw) = layer.output_shape, layer.kernel
        (top, _), (left, _) = layer.sides
        self._x, self._padded = problem.x, problem.copy(problem.padded(problem.x))
        self._inner = self._padded[:, top : top + layer.H, left : left + layer.W]
        n, h, w, c = self._padded.strides
        # (the pixels of a window's row are adjacent: they are copied at once)
        self._windows = np.lib.stride_tricks.as_strided(
            self._padded,
            (N, Ho, Wo, kh, kw * layer.C),
            (n, layer.stride * h, layer.stride * w, h, c),
            writeable=False,
        )
        self._copied = np.empty(self._windows.shape, self._padded.dtype)

    def copy(self) -> FloatArray:
        """The rows, of x as it is now."""
        self._inner[...] = self._x
        self._copied[...] = self._windows
        return self._copied.reshape(-1, self._copied.shape[-2] * self._copied.shape[-1])


class Phases:
    """A padded image in which a row of outputs meets a tap in one run of memory, whatever the stride.

    It lies there as one image for each phase of the stride, and is computed with block by block.
    """

    def __init__(self, problem: Problem) -> None:
        layer = problem.layer
        self._layer, s = layer, layer.stride
        N, Ho, Wo, _ = layer.output_shape
        (top, _), (left, _) = layer.sides
        height = max((layer.kh - 1) // s + Ho, (layer.H - 1 + top) // s + 1)
        width = max((layer.kw - 1) // s + Wo, (layer.W - 1 + left) // s + 1)
        self.images: FloatArray = np.zeros((s, s, N, height, width * layer.C), problem.x.dtype)
        self._pixels = self.images.reshape(s, s, N, height, width, layer.C)
        count = max(BLOCK // (Wo * layer.C), 1)
        self.blocks: list[tuple[Block, list[FloatArray]]] = [
            (block, self._seen(*block))
            for block in product(range(N), (slice(row, min(row + count, Ho)) for row in range(0, Ho, count)))
        ]
        self.product: FloatArray = np.empty((min(count, Ho), Wo * layer.C), problem.x.dtype)

    def _seen(self, n, rows):
        """What the taps of some rows of outputs look at, tap by tap."""
        s, C, run = self._layer.stride, self._layer.C, self._layer.output_shape[2] * self._layer.C
        return [
            self.images[
                i % s, j % s, n, i // s + rows.start : i // s + rows.stop, j // s * C : j // s * C + run
            ]
            for i, j in product(range(self._layer.kh), range(self._layer.kw))
        ]

    def _parts(self, x):
        """Each phase of x, and where it lies."""
        s, ((top, _), (left, _)) = self._layer.stride, self._layer.sides
        for a, b in product(range(s), range(s)):
            first, left_first = (a - top) % s, (b - left) % s
            part = x[:, first::s, left_first::s]
            down, across = (first + top) // s, (left_first + left) // s
            yield part, self._pixels[a, b, :, down : down + part.shape[1], across : across + part.shape[2]]

    def read(self, x: FloatArray) -> None:
        """x as it is now."""
        for part, inside in self._parts(x):
            inside[...] = part

    def write(self, x: FloatArray) -> None:
        """The way back, without the padding."""
        for part, inside in self._parts(x):
            part[...] = inside

    def as_rows(self, y: FloatArray) -> FloatArray:
        """(N, Ho, Wo, C) as rows of outputs, which a block chooses from."""
        return y.reshape(*y.shape[:2], -1)

    def along_rows(self, by_channel: FloatArray) -> FloatArray:
        """(..., C) as it meets a row of outputs."""
        return np.tile(by_channel, self._layer.output_shape[2])
