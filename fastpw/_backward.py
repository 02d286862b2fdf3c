"""A backward pass: its arrays checked, and the program that computes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from . import _checks, _geometry
from ._convolution import Convolution
from ._gradient_call import GradientCall
from .core.backward import Backward, along_few_axes
from .reference import Gradients
from .runtime import threads


class How(NamedTuple):
    """What a program has to know besides its arrays."""

    matrix: np.ndarray  # a view (K, C // groups) of the weight
    groups: int
    reads: str | None  # what the derivative of the activation is read from: "y", "z" or nothing
    activation: _checks.Epilogue
    accumulate: bool  # add to the gradients' arrays
    in_place: bool  # dx may lie exactly on dy, y, z or the residual


class Call(GradientCall):
    """A call of `conv1x1_backward`."""

    convolution: Convolution

    def run(self, known: Iterable[Backward]) -> Backward | None:
        """Compute the gradients; the program that did, if one may be kept."""
        if not self.inputs[0].size or not self.wanted:
            self._clear(self.outputs)
            return None
        inputs, outputs = self.inputs, self.outputs
        if not self._along_few_axes():
            inputs, outputs = self._as_rows()
        boxes = self._boxes()
        padding_only = boxes[0][0] is None
        if padding_only:
            self._clear(outputs[:3])  # what all boxes add to
        for program in known:
            if program.run_checked(inputs, tuple(outputs)):
                break
        else:
            program = self._describe(inputs, outputs, boxes)
            # (another thread may have changed the number of threads or the instruction set meanwhile)
            while not program.run_checked(inputs, tuple(outputs)):
                program = self._describe(inputs, outputs, boxes)
        if outputs is not self.outputs:
            self._put_back(outputs)
        return None if padding_only else program

    # Pixels along many axes

    def _along_few_axes(self) -> bool:
        """Whether the pixels of all arrays are rows of one walk, as the order of the additions asks."""
        if not self.convolution.plain:
            return True
        dy, x, _, _, y, z, residual = self.inputs
        read = z if y is None or self.reads == "z" else y
        walked = dy, read, x if self.reads_x else None, self.outputs.dresidual
        return all(
            map(along_few_axes, (walked, (dy, x if self.reads_x else None, residual), (dy, self.outputs.dx)))
        )

    def _as_rows(self) -> tuple[tuple, Gradients]:
        """The arrays with their leading axes as one: copies where that is no view."""
        dy, x, weight, bias, *of_outputs = self.inputs
        dx, dweight, dbias, dresidual = self.outputs
        dy, x, dx, dresidual, *of_outputs = (
            None if a is None else a.reshape(-1, a.shape[-1]) for a in (dy, x, dx, dresidual, *of_outputs)
        )
        return (dy, x, weight, bias, *of_outputs), Gradients(dx, dweight, dbias, dresidual)

    def _put_back(self, outputs: Gradients) -> None:
        for there, rows in ((self.outputs.dx, outputs.dx), (self.outputs.dresidual, outputs.dresidual)):
            if there is not None and not np.may_share_memory(there, rows):
                there[...] = rows.reshape(there.shape)

    # The program

    def _boxes(self) -> list[tuple[_geometry.Index | None, _geometry.Index]]:
        convolution, (dy, x, *_) = self.convolution, self.inputs
        if not convolution.channels:
            return [(None, ...)]
        return [(..., ...)] if x is None else convolution.boxes(x, dy)

    def _describe(self, inputs: tuple, outputs: Gradients, boxes: list) -> Backward:
        checked = self.convolution.options
        matrix = _checks.matrix(inputs[2], checked.weight_layout)
        parts = []
        for met, at in boxes:
            parts += self._parts(inputs, outputs, matrix, met, at)
        how = How(
            matrix, checked.groups, self.reads, checked.activation, self.accumulate, self.convolution.plain
        )
        cleared = self._skipped(outputs.dx, boxes[0][0])
        return Backward((*inputs, *outputs), parts, cleared, how, threads)

    def _skipped(self, dx: np.ndarray | None, met: _geometry.Index | None) -> list[np.ndarray]:
        """What of dx no output meets."""
        if self.accumulate or dx is None or self.convolution.plain or met is None:
            return []
        return [dx[index] for index in _geometry.skipped(dx.shape, met, self.convolution.options.stride)]

    def _parts(self, inputs: tuple, outputs: Gradients, matrix: np.ndarray, met, at) -> Iterator[tuple]:
        """The walks over a box of pixels: views of the arrays, the group, and whether dbias is added to."""
        dy, x, _, _, y, z, residual = inputs
        dx, dweight, dbias, dresidual = outputs
        passes = self.convolution.passes
        reads_y = self.reads == "y" and y is not None
        of_outputs = [
            None if a is None else a[at]
            for a in (
                dy,
                y if reads_y else None,
                None if reads_y or self.reads is None else z,
                residual if self.recomputes else None,
                dresidual,
            )
        ]
        if met is None:
            x = dx = dweight = None
            if dbias is None and dresidual is None:
                return
        elif x is None:  # nothing is read from it, but that it has channels
            x = np.broadcast_to(dy.dtype.type(0), (*dy.shape[:-1], self.convolution.channels))
        else:
            x, dx = x[met], None if dx is None else dx[met]
        weights, dweights = self._weights(matrix, dweight)
        for group in range(passes):
            dy_, y_, z_, residual_, dresidual_, x_, dx_, dbias_ = _geometry.group(
                group, passes, *of_outputs, x, dx, dbias
            )
            views = dy_, x_, weights[group], None, y_, z_, residual_, dx_, dweights[group], dbias_, dresidual_
            yield views, group, met is None and self.convolution.channels > 0

    def _weights(self, matrix: np.ndarray, dweight: np.ndarray | None) -> tuple[list, list]:
        """Group by group; where each channel has one weight, as one row."""
        groups, passes = self.convolution.options.groups, self.convolution.passes
        if dweight is not None:
            dweight = _checks.matrix(dweight, self.convolution.options.weight_layout)
        if passes == 1:
            take = np.s_[:, 0] if groups > 1 else ...
            return [matrix[take]], [None if dweight is None else dweight[take]]
        return np.split(matrix, groups), [None] * groups if dweight is None else np.split(dweight, groups)
