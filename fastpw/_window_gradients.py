"""The gradients of convolutions whose pixels look at their neighbours, made of simpler programs.

dz is formed first, as a whole. dweight of a dense kernel is that of one 1x1 convolution for each tap, over
the outputs whose tap lies on an input; that of a depthwise kernel is summed for all taps at once. dx is a
convolution of dz with the kernel turned round; where windows are several pixels apart, one for each phase of
the stride, since the inputs of a phase meet the same taps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

import numpy as np

from . import _checks, _programs
from ._convolution import Convolution
from ._convolution import options as pointwise_options
from ._geometry import Phase, Taps, met, met_by_inputs
from ._gradient_call import GradientCall
from ._operation import HeldBack, Program, new
from ._windowed import (
    Dense,
    Depthwise,
    WindowedConvolution,
    describe_dense,
    images,
    pack_depthwise,
    pack_groups,
)
from .core.stencil import Stencil
from .core.stencil_gradient import StencilGradient, form
from .gradients import conv1x1_backward
from .reference import Gradients
from .runtime import threads

LINEAR = pointwise_options(1, 0, 1, None, "OI")
SUMS = "sums"  # among the options of programs that are kept


def of_dense(convolution: Dense, inputs: tuple, wrt, out, accumulate) -> Gradients:
    """`conv2d_backward`, with inputs (dy, x, y, z, residual)."""
    return DenseCall(convolution, inputs, wrt, out, accumulate).run()


def of_depthwise(convolution: Depthwise, inputs: tuple, wrt, out, accumulate) -> Gradients:
    """`depthwise_conv2d_backward`, likewise."""
    return DepthwiseCall(convolution, inputs, wrt, out, accumulate).run()


class WindowCall(GradientCall):
    """What both kinds have in common."""

    convolution: WindowedConvolution

    def __init__(self, convolution: WindowedConvolution, inputs: tuple, wrt, out, accumulate) -> None:
        dy, x, y, z, residual = inputs
        x = _checks.with_channels("x", x)
        wanted: Collection[str] = _checks.wrt(wrt)
        arrays = dy, x, convolution.given, convolution.bias, y, z, residual
        super().__init__(convolution, wanted, _checks.flag("accumulate", accumulate), arrays, out)

    def run(self) -> Gradients:
        """All memory is there before anything is written that is the caller's: dx comes first then."""
        outputs = self.outputs
        if not self.inputs[0].size or not self.wanted:
            self._clear(outputs)
            return self.results()
        dz, dbias = self._through_activation()
        dweight = None
        if outputs.dweight is not None:
            dweight = self._sum_weights(images(dz), images(self.inputs[1]))
        if outputs.dx is not None:
            self._write_inputs(images(dz), images(outputs.dx))
        # (where dresidual lies, dy may lie, too, which may be dz)
        for out, got in (outputs.dweight, dweight), (outputs.dbias, dbias), (outputs.dresidual, dz):
            if out is not None and out is not got:
                self._put(out, got)
        return self.results()

    def _put(self, out: np.ndarray, got: np.ndarray) -> None:
        if self.accumulate:
            np.add(out, got, out=out)
        else:
            np.copyto(out, got)

    # dz, dbias

    def _through_activation(self) -> tuple[np.ndarray, np.ndarray | None]:
        """dz, and its sums for dbias, if that is wanted."""
        dz = dy = np.ascontiguousarray(self.inputs[0])
        read = self._read_by_derivative()
        sums = None if self.outputs.dbias is None else np.empty(dy.shape[-1:], dy.dtype)
        activation = self.convolution.options.activation
        if read is not None:
            dz = new(dy.shape, dy.dtype)
            form(dy, np.ascontiguousarray(read), dz, sums, activation, threads())
        elif sums is not None:
            form(dy, None, None, sums, activation, threads())
        return dz, sums

    def _read_by_derivative(self) -> np.ndarray | None:
        """y or z, whichever the activation's derivative is read from; recomputed if it was not given."""
        dy, x, _, _, y, z, residual = self.inputs
        if self.reads is None:
            return None
        if not self.recomputes:
            return z if self.reads == "z" else self._activated(z) if y is None else y
        convolution, remade = self.convolution, new(dy.shape, dy.dtype)
        out_z = remade if self.reads == "z" else None
        y, _ = convolution.run((), convolution.pack(), (x, residual, None, out_z))
        return y if out_z is None else out_z

    def _activated(self, z: np.ndarray) -> np.ndarray:
        """y by z: a 1x1 convolution without channels."""
        nothing = np.empty((z.shape[-1], 0), z.dtype)
        convolution = Convolution(
            nothing, None, LINEAR._replace(activation=self.convolution.options.activation)
        )
        x = np.empty((*z.shape[:-1], 0), z.dtype)
        return convolution.run((), convolution.pack(), (x, z, None, None))[0]

    # dweight

    def _sum_weights(self, dz: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dweight, in the array for it if that is not the caller's."""
        out = self.outputs.dweight
        callers = self.given is not None and self.given[1] is not None
        sums = np.empty_like(out) if callers else out
        self._write_weights(dz, x, sums)
        return sums

    def _write_weights(self, dz: np.ndarray, x: np.ndarray, dweight: np.ndarray) -> None:
        raise NotImplementedError

    # dx

    def _write_inputs(self, dz: np.ndarray, dx: np.ndarray) -> None:
        """Phase by phase: the inputs of each along both axes meet the same taps. All are described first."""
        phases, unmet = [], []
        for down, across in met_by_inputs(dx.shape[1:3], self.convolution.window):
            view = dx[:, down.inputs, across.inputs]
            if not (down.count and across.count):
                unmet.append(view)
            elif view.size:
                arrays = dz, view, view if self.accumulate else None
                describe = partial(self._phase, *arrays, _taps(down, across), (down.taps, across.taps))
                phases.append((describe(), describe, arrays))
        held = HeldBack(max((program.room for program, *_ in phases), default=0))
        self._clear(unmet)
        for phase in phases:
            held.run(_run_phase, *phase)

    def _phase(self, dz, view, earlier, taps: Taps, of_weight: tuple[slice, slice]) -> Program:
        raise NotImplementedError


def _taps(down: Phase, across: Phase) -> Taps:
    """Of dz, that the inputs of a phase meet."""
    return Taps((down.count, across.count), (down.step, across.step), (1, 1), (down.origin, across.origin))


def _run_phase(program: Program, describe: Callable[[], Program], arrays: tuple) -> None:
    dz, view, earlier = arrays
    while not program.run_checked(dz, earlier, view, None, None, None):
        program = describe()


class DenseCall(WindowCall):
    """Each output channel looks at all input channels of its group."""

    convolution: Dense

    def _weight(self) -> np.ndarray:
        """As it is before the gradients are written."""
        return _checks.dense(self.inputs[2], self.convolution.options.weight_layout)

    def _tap_views(self, dz: np.ndarray, x: np.ndarray) -> Iterator[tuple]:
        """For each tap its row and column, and the outputs and inputs that it joins; None where none are."""
        window = self.convolution.window
        (top, left), (down, across) = window.taps(*x.shape[1:3]).origin, window.dilation
        for i in range(window.size[0]):
            outputs, inputs = met(i * down + top, dz.shape[1], x.shape[1], window.stride[0])
            for j in range(window.size[1]):
                columns, from_ = met(j * across + left, dz.shape[2], x.shape[2], window.stride[1])
                some = dz[:, outputs, columns], x[:, inputs, from_]
                yield i, j, *(some if some[0].size else (None, None))

    def _write_weights(self, dz: np.ndarray, x: np.ndarray, dweight: np.ndarray) -> None:
        options, weight = self.convolution.options, self._weight()
        dweight = _checks.dense(dweight, options.weight_layout)
        for i, j, outputs, inputs in self._tap_views(dz, x):
            if outputs is None:
                dweight[:, i, j] = 0
                continue
            conv1x1_backward(
                outputs,
                inputs,
                weight[:, i, j],
                groups=options.groups,
                wrt="weight",
                out=(None, dweight[:, i, j], None, None),
            )

    def _phase(self, dz, view, earlier, taps: Taps, of_weight: tuple[slice, slice]) -> Program:
        """W with inputs and outputs exchanged, group by group, and the taps turned round."""
        options, weight = self.convolution.options, self._weight()[:, *of_weight]
        by_group = weight.reshape(options.groups, -1, *weight.shape[1:])
        packed = pack_groups(by_group.transpose(0, 4, 2, 3, 1), None)
        linear = options._replace(activation=LINEAR.activation)
        return describe_dense((dz, view, earlier, None), packed, linear, taps)


class DepthwiseCall(WindowCall):
    """Each output channel looks at one input channel."""

    convolution: Depthwise

    def _weight(self) -> np.ndarray:
        """As it is before the gradients are written."""
        return _checks.depthwise(self.inputs[2], self.convolution.options.weight_layout)

    def _repeated(self, x: np.ndarray) -> np.ndarray:
        multiplier = self.convolution.multiplier
        return x if multiplier == 1 else np.repeat(x, multiplier, axis=-1)

    def _write_weights(self, dz: np.ndarray, x: np.ndarray, dweight: np.ndarray) -> None:
        """All taps at once. Of repeated channels, the sums go to an array of their own first."""
        dweight = _checks.depthwise(dweight, self.convolution.options.weight_layout)
        if self.convolution.multiplier == 1:
            self._sum_taps(dz, x, dweight[..., 0])
            return
        sums = np.empty((*dweight.shape[:2], dz.shape[-1]), dz.dtype)
        self._sum_taps(dz, self._repeated(x), sums)
        dweight[...] = sums.reshape(dweight.shape)

    def _sum_taps(self, dz: np.ndarray, x: np.ndarray, dweight: np.ndarray) -> None:
        """By the program of an earlier call, if it fits."""
        key = SUMS, self.convolution.window
        known = program = _programs.backward.find(x, dweight, key)
        while program is None or not program.run_checked(x, dz, dweight):
            taps = tuple(self.convolution.window.taps(*x.shape[1:3]))
            program = StencilGradient((x, dz, dweight), taps, False, threads)
        if program is not known:
            _programs.backward.keep(x, dweight, key, program)

    def _write_inputs(self, dz: np.ndarray, dx: np.ndarray) -> None:
        """Where a channel was repeated, the sum over what became of it."""
        multiplier = self.convolution.multiplier
        if multiplier == 1:
            super()._write_inputs(dz, dx)
            return
        repeated = np.zeros((*dx.shape[:-1], dz.shape[-1]), dx.dtype)
        super()._write_inputs(dz, repeated)
        self._put(dx, repeated.reshape(*dx.shape, multiplier).sum(axis=-1))

    def _phase(self, dz, view, earlier, taps: Taps, of_weight: tuple[slice, slice]) -> Program:
        packed = pack_depthwise(self._weight()[of_weight], None)
        return Stencil((dz, view, earlier, None), tuple(taps), packed, LINEAR.activation, threads)
