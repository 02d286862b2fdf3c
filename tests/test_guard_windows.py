"""Nothing outside the arrays of windows, shuffles and chains is touched: as in test_guard_pages.py."""

from itertools import count, cycle, product

import numpy as np
import pytest
from fences import PLACES, around, fenced, fences_hold, integers, survives

import fastpw
from fastpw.core import machine, stencil, stencil_gradient


def under_taps(x, window, fill):
    """What each output has under each tap, with as many outputs as strides lead over the pixels."""
    (taps, _), (step, _), (stride, _), origin = window
    after = taps * step
    padded = np.pad(x, ((0, 0), *((-first, after) for first in origin), (0, 0)), constant_values=fill)
    for i, j in product(range(taps), repeat=2):
        tap = padded[:, i * step :: stride, j * step :: stride]
        yield tap[:, : (x.shape[1] - 1) // stride + 1, : (x.shape[2] - 1) // stride + 1]


def stencil_cases(kernel_set):
    """Channels around a vector and two, columns around a tile, windows of all ways."""
    rng, dtype, turns, places = np.random.default_rng(0), kernel_set["dtype"], count(), cycle(PLACES)
    lanes = kernel_set["lanes"]
    channels = sorted({1, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3, 5 * lanes})
    linear, costly = (
        (code, 0.0, 0.0) for name, code, _ in machine.activations() if name in ("linear", "hard_swish")
    )
    for taps, stride, step, n in product((1, 2, 3, 5, 7), (1, 2, 3), (1, 2), channels):
        turn, place = next(turns), next(places)
        window = (taps, taps), (step, step), (stride, stride), (-(taps // 2), -(taps // 2 + turn % 2))
        yield window, n, place
        x, weight = (
            integers(rng, dtype, 1, 4 + turn % 3, 5 + turn % 7, n),
            integers(rng, dtype, taps * taps, n),
        )
        z = sum(tap * w for tap, w in zip(under_taps(x, window, 0), weight, strict=True))
        bias, residual = integers(rng, dtype, n), integers(rng, dtype, *z.shape)
        z += bias + residual
        x, weight, bias, residual, out, out_z = fenced(
            place,
            x=x,
            weight=weight,
            bias=bias,
            residual=residual,
            out=np.zeros_like(z),
            out_z=np.zeros_like(z),
        )
        if turn % 3 == 0:
            out, out_z = residual, None
        activation, packed = (costly, linear)[turn % 5 > 0], stencil.PackedStencil(weight, bias, 1)
        program = stencil.Stencil((x, out, residual, out_z), window, packed, activation, lambda: 1)
        assert program(x, residual, out, out_z) is out
        assert activation is costly or np.array_equal(out, z)
        assert out_z is None or np.array_equal(out_z, z)
        fences_hold()


def stencil_gradient_cases(kernel_set):
    rng, dtype, turns, places = np.random.default_rng(0), kernel_set["dtype"], count(), cycle(PLACES)
    lanes = kernel_set["lanes"]
    channels = (1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, 20 * lanes + 1)
    for taps, stride, step, n in product(range(1, 8), (1, 2, 3), (1, 2), channels):
        turn, place = next(turns), next(places)
        window = (taps, taps), (step, step), (stride, stride), (-(taps // 2), -(taps // 2 + turn % 2))
        yield window, n, place
        x = integers(rng, dtype, 1 + turn % 2, 4 + turn % 3, 5 + turn % 7, n)
        pixels = [*under_taps(x, window, 0)]
        dz, before = integers(rng, dtype, *pixels[0].shape), integers(rng, dtype, taps, taps, n)
        sums = np.array([(tap * dz).sum((0, 1, 2)) for tap in pixels]).reshape(before.shape)
        x, dz, dweight = fenced(place, x=x, dz=dz, dweight=before)
        program = stencil_gradient.StencilGradient((x, dz, dweight), window, turn % 3 == 0, lambda: 1)
        assert program.run_checked(x, dz, dweight)
        assert np.array_equal(dweight, sums + before if turn % 3 == 0 else sums)
        fences_hold()


def forming_cases(kernel_set):
    rng, dtype, places = np.random.default_rng(0), kernel_set["dtype"], cycle((False, True))
    codes = {name: (code, 0.0, 0.0) for name, code, _ in machine.activations()}
    for m, n in product((1, 2, 7, 300), range(1, 4 * kernel_set["lanes"] + 2)):
        place = next(places)
        yield m, n, place
        dy, y, empty = integers(rng, dtype, m, n), integers(rng, dtype, m, n), np.zeros((m, n), dtype)
        expected = dy * (y > 0)
        dy, y, dz, total = fenced((0, place, False), dy=dy, y=y, dz=empty, total=empty[0])
        stencil_gradient.form(dy, y, dz, total, codes["relu"], 1)
        assert np.array_equal(dz, expected)
        assert np.array_equal(total, expected.sum(0))
        stencil_gradient.form(dy, None, None, total, codes["linear"], 1)
        assert np.array_equal(total, dy.sum(0))
        fences_hold()


def pool_cases(kernel_set):
    rng, dtype, places = np.random.default_rng(0), kernel_set["dtype"], cycle(PLACES)
    lanes = kernel_set["lanes"]
    for taps, stride, n in product(
        (1, 2, 3), (1, 2), (1, lanes - 1, lanes, lanes + 1, 4 * lanes, 5 * lanes + 2)
    ):
        for kind, turn in product(("max", "average_padded"), range(2)):
            place, window = (
                next(places),
                ((taps, taps), (1, 1), (stride, stride), (-(taps // 2), -(taps // 2))),
            )
            yield kind, window, n, place
            x = integers(rng, dtype, 1 + turn, 5, 7, n)
            pixels = np.array([*under_taps(x, window, -np.inf if kind == "max" else 0)])
            y = np.max(pixels, 0) if kind == "max" else (np.sum(pixels, 0) / taps**2).astype(dtype)
            x, out = fenced(place, x=x, out=np.zeros_like(y))
            assert stencil.Pool((x, out, None, None), window, kind, lambda: 1)(x, None, out, None) is out
            assert np.array_equal(out, y)
            fences_hold()


def shuffle_cases(kernel_set):
    rng, dtype, places = np.random.default_rng(0), kernel_set["dtype"], cycle(PLACES)
    for groups, n in product((1, 2, 3, 4, 5, 8), range(1, 20)):
        place = next(places)
        yield groups, n, place
        x = integers(rng, dtype, 2, 3, groups * n)
        y = x.reshape(2, 3, groups, n).swapaxes(-1, -2).reshape(x.shape)
        x, out = fenced(place, x=x, out=np.zeros_like(x))
        program = stencil.Shuffle((x, out, None, None), (x.reshape(2, 3, groups, n), out), lambda: 1)
        assert program(x, None, out, None) is out
        assert np.array_equal(out, y)
        fences_hold()


@pytest.mark.parametrize(
    "cases", [stencil_cases, stencil_gradient_cases, forming_cases, pool_cases, shuffle_cases]
)
def test_windows_over_planes(kernel_set, cases):
    survives(cases(kernel_set))


def chain_cases(kernel_set):
    """An inverted residual and an MLP, of channels around vectors and panels; few rows and some more."""
    rng, dtype, turns, places = np.random.default_rng(0), kernel_set["dtype"], count(), cycle(PLACES)
    lanes, columns = kernel_set["lanes"], kernel_set["tiles"][0][1]
    widths = around([lanes, columns, 2 * columns])
    for C, hidden, height in product(widths, widths, (1, 2, 11)):
        turn, place = next(turns), next(places)
        yield C, hidden, height, place
        stride, adds, act = 1 + turn % 2, turn % 4 == 0, (None, "relu6", "hard_swish")[turn % 3]
        weights = [integers(rng, dtype, *shape) for shape in ((hidden, C), (3, 3, hidden), (C, hidden))]
        layers = [
            fastpw.Conv1x1(weights[0], weights[0][:, 0], activation=act),
            fastpw.DepthwiseConv2d(weights[1], stride=stride, padding=1, activation=act),
            fastpw.Conv1x1(weights[2], weights[2][:, 0]),
        ]
        if turn % 5 == 0:
            del layers[1]
        chain, x = fastpw.Chain(layers, add_input=adds), integers(rng, dtype, 2, height, 5, C)
        residual = None if adds else integers(rng, dtype, *chain.output_shape(x.shape))
        y = x
        for layer in layers[:-1]:
            y = layer(y)
        y = layers[-1](y, residual=x if adds else residual)
        x, residual, out = fenced(place, x=x, residual=residual, out=np.zeros_like(y))
        with fastpw.num_threads(1 + turn % 3):
            chain(x, residual=residual, out=out)
            assert np.array_equal(out, y)
            if residual is not None:
                assert np.array_equal(chain(x, residual=residual, out=residual), y)
        fences_hold()


@pytest.mark.usefixtures("machine_size")
def test_chains(kernel_set):
    survives(chain_cases(kernel_set))
