"""The gradients of a convolution: checked, brought to rows, and computed in one walk over the pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np

from . import _activations, checks, geometry, recorded
from ._typing import Activation, ArrayLike, FloatArray, Padding, Stride, WeightLayout
from .core import passes
from .plan import Convolution
from .reference import Gradients
from .runtime import threads

# What the derivative is read from, by the activation's code: "y", "z" or, where it is one, nothing.
READS = {row.code: row.reads for row in _activations.TABLE}


class AtOutputs(NamedTuple):
    """Arrays over the output's pixels; None where there is none, or nothing is done with it."""

    dy: np.ndarray
    y: np.ndarray | None
    z: np.ndarray | None
    residual: np.ndarray | None
    dresidual: np.ndarray | None


def conv1x1_backward(
    dy: ArrayLike,
    x: ArrayLike | None,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
    z: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    stride: Stride = 1,
    padding: Padding = 0,
    groups: SupportsIndex = 1,
    activation: Activation = None,
    weight_layout: WeightLayout = "OI",
    wrt: Collection[str] | str = ("x", "weight", "bias"),
    out: Gradients | Sequence[FloatArray | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """The gradients of `conv1x1`: of ``activation(z)``, ``z = x @ weight.T + bias + residual``.

    With ``dz = dy * activation'(z)``: ``dx = dz @ weight``, ``dweight = dz.T @ x``, ``dbias`` is the sum of
    dz over all output pixels, and ``dresidual`` is dz itself. One walk over the pixels computes them all; dz
    is formed block by block, never as a whole.

    Parameters
    ----------
    dy : (..., K) array
        The gradient of `conv1x1`'s result, and of its shape. float32 or float64, as all other arrays.
    x : (..., C) array or None
        As in `conv1x1`. None where nothing is read from it: without stride and padding (which need its
        shape), without "weight" in `wrt`, and with nothing to recompute.
    weight, bias, stride, padding, groups, activation, weight_layout
        As in `conv1x1`.
    y, z : (..., K) array, optional
        What `conv1x1` returned and what it wrote to `out_z`. The derivatives of "hard_swish", "silu", "gelu"
        and "gelu_tanh" are read from `z`, the others from `y`, or from `z` if only that is given. Without
        them, they are recomputed block by block from `x`, `weight`, `bias` and `residual`. No activation
        needs neither. Of the first four, `y` alone needs the `bias`, zeros if there was none.
    residual : (..., K) array, optional
        As in `conv1x1`. Only read if y or z is recomputed.
    wrt : collection of {"x", "weight", "bias", "residual"}, or one of them
        Which gradients are wanted; the others are not computed. (Those of the bias and the residual exist
        whether or not there is one.)
    out : Gradients or tuple of four, optional
        Where dx, dweight, dbias and dresidual go; None where they are allocated or not wanted. Pixels may
        have any strides if their channels are adjacent; dweight and dbias may have any.
    accumulate : bool
        Add to the arrays in `out`. Gradients that are allocated start from zero.

    Returns
    -------
    Gradients
        ``dx`` (..., C), ``dweight`` of the weight's shape, in its layout, ``dbias`` (K,), ``dresidual``
        (..., K): the arrays in `out`, or new ones; None where not wanted. At pixels that a stride skips, dx
        is 0; the padding takes part in dbias and dresidual only.

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`; the message names the argument, and nothing is written.

    Notes
    -----
    Where an activation has no derivative: 0 at relu's 0, and at the ends of relu6, clip and hard_sigmoid; the
    slope at leaky_relu's 0; 0 at hard_swish's -3 and 1 at its 3.

    Outputs may share memory with inputs, not with each other; the result is as if they did not. dresidual
    and, without stride and padding, dx may lie exactly on dy, y, z or residual, for which nothing is copied.

    A gradient has the same bits for any number of threads, any strides, and whatever else is wanted with it.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> x, weight = np.ones((5, 3), np.float32), np.ones((2, 3), np.float32)
    >>> y = fastpw.conv1x1(x, weight, activation="relu")
    >>> grads = fastpw.conv1x1_backward(y - 1, x, weight, y=y, activation="relu")
    >>> grads.dweight
    array([[10., 10., 10.],
           [10., 10., 10.]], dtype=float32)
    """
    inputs = dy, x, weight, bias, y, z, residual
    options = None
    # By type and identity: no other value that equals these passes unchecked.
    if type(stride) is int and padding is recorded.ZERO and groups is recorded.ONE and accumulate is False:
        options = activation, wrt, weight_layout, stride
        grads = recorded.again(inputs, options, out)
        if grads is not None:
            return grads
    convolution = Convolution(weight, bias, stride, padding, groups, activation, weight_layout)
    wanted, accumulate = checks.wrt(wrt), checks.flag("accumulate", accumulate)
    reads = READS[convolution.activation[0]]
    checks.z_can_be_had(reads, y, z, bias)
    recomputes = reads is not None and z is None and (reads == "z" or y is None)
    reads_x = recomputes or "weight" in wanted
    x, dy = _ends(convolution, x, dy, reads_x)
    if y is not None:
        y = checks.like_result("y", y, dy.shape, dy.dtype)
    if z is not None:
        z = checks.like_result("z", z, dy.shape, dy.dtype)
    if residual is not None:
        residual = checks.like_result("residual", residual, dy.shape, dy.dtype)
    if out is not None:
        out = checks.four(out)
    shapes = x.shape, checks.weight_shape(convolution.weight, weight_layout), dy.shape[-1:], dy.shape
    grads = _outputs(shapes, dy.dtype, wanted, out, accumulate)
    pixels = AtOutputs(
        dy=dy,
        y=y if reads == "y" else None,
        z=z if reads == "z" or (reads == "y" and y is None) else None,
        residual=residual if recomputes else None,
        dresidual=grads.dresidual,
    )
    weight = convolution.weight
    if out is not None:
        x, weight, pixels = _unwritten(x, reads_x, weight, pixels, grads, convolution.plain)
    if wanted:
        dweight = None if grads.dweight is None else checks.matrix(grads.dweight, weight_layout)
        walk = Walk(convolution, weight, reads, recomputes, accumulate)
        walk.run(x, grads.dx, pixels, dweight, grads.dbias)
        if options is not None and not recomputes:
            checked = dy, x, convolution.bias, y, z, residual
            recorded.record(inputs, options, checked, grads, dweight, convolution, reads)
    if out is None:
        return grads
    return Gradients(*[a if given is None else given for a, given in zip(grads, out, strict=True)])


def _ends(convolution: Convolution, x, dy, reads_x: bool) -> tuple[np.ndarray, np.ndarray]:
    """x and dy, checked; where x is None, something of its shape."""
    if x is not None:
        x = convolution.checked_input(x)
        return x, checks.like_result("dy", dy, convolution.output_shape(x), convolution.dtype)
    if reads_x or not convolution.plain:
        raise checks.x_is_needed()
    dy = checks.with_channels("dy", dy)
    dy = checks.like_result("dy", dy, (*dy.shape[:-1], convolution.filters), convolution.dtype)
    return np.broadcast_to(dy.dtype.type(0), (*dy.shape[:-1], convolution.channels)), dy


def _outputs(shapes, dtype, wanted, out, accumulate: bool) -> Gradients:
    """The caller's arrays, checked, and new ones for what else is wanted."""
    grads = [None] * len(shapes) if out is None else checks.gradients(out, wanted, shapes, dtype)
    new = np.zeros if accumulate else passes.empty
    for number, name in enumerate(checks.WRT):
        if grads[number] is None and name in wanted:
            grads[number] = new(shapes[number], dtype)
    return Gradients(*grads)


def _unwritten(x, reads_x: bool, weight, pixels: AtOutputs, grads: Gradients, plain: bool):
    """Copies of what is written before it is read; no two gradients may share memory.

    Each pixel of dy, y, z and residual is read before the same pixel of dresidual and, if it is the same, of
    dx is written.
    """
    *inputs, dresidual = pixels
    if passes.apart(grads, (x if reads_x else None, weight, *inputs)):
        return x, weight, pixels
    checks.gradients_apart(grads)
    written = [a for a in grads if a is not None]
    in_time = [a for a in (pixels.dresidual, grads.dx if plain else None) if a is not None]
    if reads_x:
        x = checks.unwritten(x, written)
    weight = checks.unwritten(weight, written)
    inputs = (None if a is None else checks.unwritten(a, written, in_time) for a in inputs)
    return x, weight, AtOutputs(*inputs, dresidual)


class Walk:
    """What all calls of the core for one backward pass have in common."""

    __slots__ = ("accumulate", "convolution", "forward_panels", "reads", "weights")

    def __init__(self, convolution: Convolution, weight, reads, recomputes: bool, accumulate: bool):
        self.convolution, self.reads, self.accumulate = convolution, reads, accumulate
        if convolution.walks > 1:
            self.weights = np.split(weight, convolution.groups)
        else:
            self.weights = (weight if convolution.groups == 1 else weight[:, 0],)
        packs = recomputes and convolution.filters
        self.forward_panels = convolution.pack() if packs else (None,) * convolution.walks

    def run(self, x, dx, pixels: AtOutputs, dweight, dbias) -> None:
        """x and dx are views of images or rows; dweight is (K, C // groups), whatever its strides."""
        if not pixels.dy.size:
            if not self.accumulate:
                _clear(dx, dweight, dbias)
        elif not self.convolution.channels:
            self._pixels(None, None, pixels, None, dbias)
        elif dweight is not None and dweight.itemsize not in dweight.strides:
            # Where neither axis is adjacent, the core would add up in another order.
            copy = dweight.copy()
            self._boxes(x, dx, pixels, copy, dbias)
            dweight[...] = copy
        else:
            self._boxes(x, dx, pixels, dweight, dbias)

    def _boxes(self, x, dx, pixels: AtOutputs, dweight, dbias) -> None:
        convolution = self.convolution
        if convolution.plain:
            self._pixels(x, dx, pixels, dweight, dbias)
            return
        boxes = [*geometry.boxes(x.shape, pixels.dy.shape, convolution.stride, convolution.padding)]
        if not self.accumulate:
            _clear(*((dx, dweight, dbias) if boxes[0][0] is None else ()))
            if boxes[0][0] is not None and dx is not None and convolution.stride != checks.ONCE:
                _clear_skipped(dx, boxes[0][0], convolution.stride)
        for inputs, outputs in boxes:
            part = AtOutputs(*(None if a is None else a[outputs] for a in pixels))
            if inputs is not None:
                self._pixels(x[inputs], None if dx is None else dx[inputs], part, dweight, dbias)
            elif dbias is not None:
                border = np.zeros_like(dbias)
                self._pixels(None, None, part, None, border)
                dbias += border
            elif part.dresidual is not None:
                self._pixels(None, None, part, None, None)

    def _pixels(self, x, dx, pixels: AtOutputs, dweight, dbias) -> None:
        """Each pixel meets an input or, with x None, none does."""
        if pixels.dy.ndim <= 4:
            self._walk(x, dx, *pixels, dweight, dbias)
            return
        # One walk, whatever the strides, for the order of the additions: copies where axes do not merge.
        merged = [None if a is None else a.reshape(-1, *a.shape[-3:]) for a in (x, dx, *pixels)]
        self._walk(*merged, dweight, dbias)
        for written, copy in ((dx, merged[1]), (pixels.dresidual, merged[-1])):
            if written is not None and not np.may_share_memory(written, copy):
                written[...] = copy.reshape(written.shape)

    def _walk(self, x, dx, dy, y, z, residual, dresidual, dweight, dbias) -> None:
        """Over arrays of at most four axes."""
        convolution = self.convolution
        rest = self.accumulate, self.reads, convolution.activation, threads()
        if convolution.walks == 1:
            if dweight is not None and convolution.groups > 1:
                dweight = dweight[:, 0]  # one weight per channel
            weights = self.weights[0], self.forward_panels[0]
            passes.backward(dy, x, *weights, y, z, residual, dx, dweight, dbias, dresidual, *rest)
            return
        dweights = None if dweight is None else np.split(dweight, convolution.groups)
        for number, weights in enumerate(zip(self.weights, self.forward_panels, strict=True)):
            dy_, x_, y_, z_, residual_, dx_, dbias_, dresidual_ = geometry.group(
                number, convolution.groups, dy, x, y, z, residual, dx, dbias, dresidual
            )
            dweight_ = None if dweights is None else dweights[number]
            passes.backward(dy_, x_, *weights, y_, z_, residual_, dx_, dweight_, dbias_, dresidual_, *rest)


def _clear_skipped(dx: np.ndarray, inputs: geometry.Index, stride: geometry.Pair) -> None:
    """All pixels but those in the box `inputs`."""
    first = inputs[1].start, inputs[2].start
    for images in np.ndindex(dx.shape[:-4]):
        passes.clear_skipped(dx[images], first, stride, threads())


def _clear(*arrays: np.ndarray | None) -> None:
    for a in arrays:
        if a is not None:
            a.fill(0)
