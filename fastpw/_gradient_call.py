"""A call of the backward pass: its arguments checked, its results allocated."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from . import _activations, _checks
from .core.forward import empty
from .reference import Gradients

# What the derivative is read from, by the activation's code: "y", "z" or, where it is one, nothing.
READS = {row.code: row.reads for row in _activations.TABLE}


class GradientCall:
    """The arguments of a backward pass, checked. Nothing is written before all is checked.

    The convolution is an operation with weights. Where it is plain, each output pixel has an input pixel of
    its own, and a gradient of pixels may be written where they are read.
    """

    def __init__(self, convolution, wanted: Collection[str], accumulate: bool, inputs: tuple, out) -> None:
        dy, x, _, _, y, z, residual = inputs
        self.convolution, self.wanted, self.accumulate = convolution, wanted, accumulate
        self.reads = reads = READS[convolution.options.activation[0]]
        _checks.z_can_be_had(reads, y, z, convolution.bias)
        self.recomputes = reads is not None and z is None and (reads == "z" or y is None)
        self.reads_x = self.recomputes or "weight" in wanted
        x, dy, shape = self._ends(x, dy)
        y, z, residual = (
            None if a is None else _checks.like_result(name, a, dy.shape, dy.dtype)
            for name, a in (("y", y), ("z", z), ("residual", residual))
        )
        weight, bias = convolution.given, convolution.bias
        self.inputs = dy, x, weight, bias, y, z, residual
        self.given = None if out is None else _checks.four(out)
        self.outputs = self._outputs(shape)
        if out is not None:
            self._keep_apart()

    def _ends(self, x, dy) -> tuple[np.ndarray | None, np.ndarray, tuple[int, ...]]:
        """x and dy, checked, and the shape of dx."""
        convolution = self.convolution
        if x is not None:
            x = convolution.checked_input(x)
            shape = convolution.output_shape(x.shape)
            return x, _checks.like_result("dy", dy, shape, convolution.dtype), x.shape
        if self.reads_x or not convolution.plain:
            raise _checks.x_is_needed()
        dy = _checks.with_channels("dy", dy)
        dy = _checks.like_result("dy", dy, (*dy.shape[:-1], convolution.filters), convolution.dtype)
        return None, dy, (*dy.shape[:-1], convolution.channels)

    def _outputs(self, dx_shape: tuple[int, ...]) -> Gradients:
        """The caller's arrays, checked, and new ones for what else is wanted."""
        dy = self.inputs[0]
        shapes = dx_shape, self.convolution.given.shape, dy.shape[-1:], dy.shape
        grads = [None] * len(shapes)
        if self.given is not None:
            grads = _checks.gradients(self.given, self.wanted, shapes, dy.dtype)
        new = np.zeros if self.accumulate else empty
        for number, name in enumerate(_checks.WRT):
            if grads[number] is None and name in self.wanted:
                grads[number] = new(shapes[number], dy.dtype)
        return Gradients(*grads)

    def _keep_apart(self) -> None:
        """Copies of what is written before it is read; no two gradients may share memory.

        Each pixel of dy, y, z and residual is read before the same pixel of dresidual is written, and of dx,
        if it is the same.
        """
        _checks.gradients_apart(self.outputs)
        dy, x, weight, bias, *of_outputs = self.inputs
        dx, *_, dresidual = self.outputs
        written = [a for a in self.outputs if a is not None]
        in_time = [a for a in (dresidual, dx if self.convolution.plain else None) if a is not None]
        if self.reads_x:
            x = _checks.unwritten(x, written)
        weight = _checks.unwritten(weight, written)
        bias = None if bias is None else _checks.unwritten(bias, written)
        dy, *of_outputs = (
            None if a is None else _checks.unwritten(a, written, in_time) for a in (dy, *of_outputs)
        )
        self.inputs = dy, x, weight, bias, *of_outputs

    def results(self) -> Gradients:
        """The caller's own objects, and the new arrays."""
        if self.given is None:
            return self.outputs
        return Gradients(
            *[a if given is None else given for a, given in zip(self.outputs, self.given, strict=True)]
        )

    def _clear(self, arrays: Iterable[np.ndarray | None]) -> None:
        """What no pixel meets."""
        for a in arrays:
            if a is not None and not self.accumulate:
                a.fill(0)
