"""The memory of a call: one block, in which values share a place that are never needed at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .entering import Entry
from .plan import Bound, Plan
from .values import Tensor

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Life(NamedTuple):
    """From which step to which a value is needed."""

    tensor: Tensor
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        return -(-max(self.tensor.like.nbytes, 1) // ALIGNMENT) * ALIGNMENT

    def meets(self, other: Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def lives(plan: Plan) -> list[Life]:
    """Those of all values that have memory of their own."""
    spans: dict[Tensor, tuple[int, int]] = {}

    def needed(tensors: Iterable[object], step: int) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                first, _ = spans.get(tensor.root, (step, step))
                spans[tensor.root] = first, step

    needed(plan.inputs, -1)
    for number, step in enumerate(plan.steps):
        needed((*step.reads, step.writes), number)
    needed(plan.outputs, len(plan.steps))
    return [Life(tensor, *span) for tensor, span in spans.items()]


class Layout:
    """Where each value lies in the block.

    The largest first, each at the lowest place that is free during its life (Pisarchyk and Lee 2020,
    Efficient memory management for deep neural net inference, arXiv:2001.03288, section 5.2).
    """

    def __init__(self, plan: Plan) -> None:
        self.offsets: dict[Tensor, int] = {}
        self.nbytes: int = 0
        placed: list[tuple[int, int, Life]] = []  # start, end
        for life in sorted(lives(plan), key=lambda life: -life.nbytes):
            start = 0
            for other_start, other_end, other in sorted(placed, key=lambda place: place[:2]):
                if not life.meets(other):
                    continue
                if other_start - start >= life.nbytes:
                    break
                start = max(start, other_end)
            placed.append((start, start + life.nbytes, life))
            self.offsets[life.tensor] = start
            self.nbytes = max(self.nbytes, start + life.nbytes)


class Arena:
    """The block, and the plan's steps bound to it. One call at a time uses it."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        raw = np.empty(layout.nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self._block = raw[start : start + layout.nbytes]
        self._offsets = layout.offsets
        self._arrays: dict[Tensor, np.ndarray] = {}
        self._entries = [Entry(self._array(tensor)) for tensor in plan.inputs]
        self.outputs: list[np.ndarray] = [self._array(value) for value in plan.outputs]
        self.calls: list[Bound] = [
            step.bind(*map(self._array, step.reads), self._array(step.writes)) for step in plan.steps
        ]
        self._arrays.clear()

    def take(self, arrays: Iterable[np.ndarray]) -> None:
        """Copy the inputs of a call."""
        for entry, array in zip(self._entries, arrays, strict=True):
            entry(array)

    def _array(self, value: object) -> np.ndarray | None:
        if not isinstance(value, Tensor):
            return value
        if value not in self._arrays:
            self._arrays[value] = self._made(value)
        return self._arrays[value]

    def _made(self, tensor: Tensor) -> np.ndarray:
        if tensor.base is not None:
            return tensor.view(self._array(tensor.base))
        like = tensor.like
        return np.ndarray(like.shape, like.dtype, self._block, self._offsets[tensor], like.strides)
