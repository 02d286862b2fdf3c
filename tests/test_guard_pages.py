"""Nothing outside the arrays is read or written: they lie against pages that nobody may touch.

Every array has its own memory, between two such pages; it begins right behind the first or ends right before
the second, and what is left of its memory must keep its contents. A touch would end the process, so the
calls are made in a child.
"""

import ctypes
from itertools import count, cycle, product

import numpy as np
import pytest
from fences import ACTIVATIONS, PLACES, Fence, act, around, fenced, fences_hold, integers, survives

import fastpw
from fastpw import reference
from fastpw.core import forward, partition
from fastpw.runtime import threads


def forward_cases(kernel_set):
    """All widths up to two tiles and one, with all edges of rows and depths; the rest takes turns."""
    rng, dtype = np.random.default_rng(0), kernel_set["dtype"]
    rows, columns, steps, least_depth = (max(sizes) for sizes in zip(*kernel_set["tiles"], strict=True))
    depths = around([1, steps, 2 * steps, least_depth, kernel_set["lanes"], 2 * kernel_set["lanes"]])
    turns, places, activations = count(), cycle(PLACES), cycle(ACTIVATIONS)
    for n, m, k in product(range(1, 2 * columns + 2), around([1, rows, 2 * rows]), depths):
        turn, place, activation = next(turns), next(places), next(activations)
        yield m, n, k, place, activation
        x, weight, bias = integers(rng, dtype, m, k), integers(rng, dtype, n, k), integers(rng, dtype, n)
        residual, empty = integers(rng, dtype, m, n), np.zeros((m, n), dtype)
        z = x @ weight.T + bias + residual
        x, weight, bias, residual, out, out_z = fenced(
            place, x=x, weight=weight, bias=bias, residual=residual, out=empty, out_z=empty
        )
        if turn % 3 == 0:
            out, out_z = residual, None
        fastpw.conv1x1(x, weight, bias, residual=residual, activation=activation, out=out, out_z=out_z)
        assert np.array_equal(out, act(z, activation))
        assert out_z is None or np.array_equal(out_z, z)
        fences_hold()


def test_forward(kernel_set):
    survives(forward_cases(kernel_set))


def image_cases(kernel_set):
    """Short rows (which are gathered), stride, padding, groups, one weight per channel, each activation."""
    rng, dtype = np.random.default_rng(0), kernel_set["dtype"]
    options = [
        {},
        {"stride": 2},
        {"stride": (2, 1), "padding": ((1, 0), (2, 1))},
        {"groups": 2},
        {"groups": 4, "padding": 1},
        {"activation": "silu"},
        {"activation": "gelu", "groups": 4},
        {"activation": ("leaky_relu", 0.5), "stride": 3},
    ]
    places = cycle(PLACES)
    layouts = {"OI": lambda w: w, "HWIO": lambda w: w.T[None, None]}
    for h, w, C, K, option, layout in product((1, 3), (1, 2, 5), (4, 20), (4, 12, 36), options, layouts):
        place = next(places)
        yield h, w, C, K, option, layout, place
        groups = option.get("groups", 1)
        groups = C if groups == 4 and C == K else groups
        x, weight = integers(rng, dtype, 2, h, w, C), integers(rng, dtype, K, C // groups)
        weight = layouts[layout](weight)
        given = {**option, "groups": groups, "weight_layout": layout}
        y = fastpw.conv1x1(x.copy(), weight.copy(), **given)
        x, weight, out = fenced(place, x=x, weight=weight, out=np.zeros_like(y))
        assert fastpw.conv1x1(x, weight, **given, out=out).tobytes() == y.tobytes()
        fences_hold()


def test_images(kernel_set):
    survives(image_cases(kernel_set))


def window_cases(kernel_set):
    """3 x 3 and 2 x 4 taps, some beyond each edge: few channels and many, all widths up to two tiles."""
    rng, dtype, places, turns = np.random.default_rng(0), kernel_set["dtype"], cycle(PLACES), count()
    columns = kernel_set["tiles"][0][1]
    for n, k, ((kh, kw), step, stride) in product(
        range(1, 2 * columns + 2), (1, 3, 16, 33), (((3, 3), (1, 1), (1, 1)), ((2, 4), (2, 1), (1, 2)))
    ):
        turn, place = next(turns), next(places)
        yield n, k, kh, place
        x, weight, bias = (integers(rng, dtype, *shape) for shape in ((1, 6, 7, k), (n, kh, kw, k), (n,)))
        residual = integers(rng, dtype, 1, 6, 5, n)
        around_x, z = np.pad(x, ((0, 0), (1, 9), (2, 9), (0, 0))), residual + bias
        for i, j in np.ndindex(kh, kw):
            seen = around_x[:, i * step[0] :: stride[0], j * step[1] :: stride[1]][:, :6, :5]
            z += seen @ weight[:, i, j].T
        empty = np.zeros_like(residual)
        x, bias, residual, out, out_z = fenced(
            place, x=x, bias=bias, residual=residual, out=empty, out_z=empty
        )
        if turn % 3 == 0:
            out, out_z = residual, None
        arrays = x, out, residual, out_z
        weights = weight, weight.reshape(n, -1), bias, 1
        window = (kh, kw), step, stride, (-1, -2)
        program = forward.Forward(arrays, [(*arrays, 0)], weights, (0, 0.0, 0.0), threads, window)
        assert program.run_checked(x, residual, out, out_z, weight, bias)
        assert np.array_equal(out, z)
        assert out_z is None or np.array_equal(out_z, z)
        fences_hold()


def test_windows(kernel_set):
    survives(window_cases(kernel_set))


def backward_cases(kernel_set):
    """Columns of dx and of the weights' sums at all edges of the tiles; the rest takes turns."""
    rng, dtype = np.random.default_rng(0), kernel_set["dtype"]
    rows, columns, *_ = (max(sizes) for sizes in zip(*kernel_set["tiles"], strict=True))
    others = (1, 2, kernel_set["lanes"] + 1)
    pairs = [*product(range(1, 2 * columns + 2), others)]
    pairs += [(K, C) for C, K in pairs]
    places, activations, turns = cycle(PLACES), cycle(ACTIVATIONS), count()
    for (C, K), m in product(pairs, (1, rows - 1, 2 * rows + 1)):
        turn, place, activation = next(turns), next(places), next(activations)
        yield m, C, K, place, activation
        dy, x, weight = integers(rng, dtype, m, K), integers(rng, dtype, m, C), integers(rng, dtype, K, C)
        given = {"bias": integers(rng, dtype, K), "residual": None, "z": None}
        if turn % 3 == 1:
            given["z"] = integers(rng, dtype, m, K)
        elif turn % 3 == 2:
            given["residual"] = integers(rng, dtype, m, K)
        expected = reference.conv1x1_backward(dy, x, weight, **given, activation=activation)
        empty = {name: np.zeros(a.shape, dtype) for name, a in expected._asdict().items()}
        dy, x, weight, *rest = fenced(place, dy=dy, x=x, weight=weight, **given)
        given = dict(zip(given, rest, strict=True))
        out = fastpw.Gradients(*fenced(place, **empty))
        fastpw.conv1x1_backward(
            dy, x, weight, **given, activation=activation, wrt=("x", "weight", "bias", "residual"), out=out,
            accumulate=turn % 2 == 1,
        )  # fmt: skip
        for name, got, exact in zip(out._fields, out, expected, strict=True):
            assert np.array_equal(got, exact), name
        fences_hold()


def test_backward(kernel_set):
    survives(backward_cases(kernel_set))


def sliced_cases(kernel_set):
    """In slices, for which few pixels do here; with relu's y, dz may be formed as the weights are summed."""
    partition.LEAST_SLICE_ROWS = 24  # in this process, which ends with the cases
    partition.slices.cache_clear()
    rng, dtype = np.random.default_rng(0), kernel_set["dtype"]
    rows, columns, *_ = (max(sizes) for sizes in zip(*kernel_set["tiles"], strict=True))
    places, m = cycle(PLACES), partition.LEAST_SLICES * partition.LEAST_SLICE_ROWS + 5
    edges = around([kernel_set["lanes"], columns, columns + kernel_set["lanes"], 2 * columns])
    for K, C in product(edges, (1, rows, rows + 1)):
        place = next(places)
        yield m, C, K, place
        dy, x, weight = integers(rng, dtype, m, K), integers(rng, dtype, m, C), integers(rng, dtype, K, C)
        y = np.maximum(x @ weight.T, 0)
        expected = reference.conv1x1_backward(dy, x, weight, activation="relu")
        empty = {name: np.zeros(a.shape, dtype) for name, a in expected._asdict().items()}
        dy, x, weight, y = fenced(place, dy=dy, x=x, weight=weight, y=y)
        out = fastpw.Gradients(*fenced(place, **empty))
        wrt = ("x", "weight", "bias", "residual")
        fastpw.conv1x1_backward(dy, x, weight, y=y, activation="relu", wrt=wrt, out=out)
        for name, got, exact in zip(out._fields, out, expected, strict=True):
            assert np.array_equal(got, exact), name
        fences_hold()


def test_backward_in_slices(kernel_set):
    survives(sliced_cases(kernel_set))


def test_a_touch_is_seen():
    """The fences themselves."""
    fence = Fence()

    def touch(offset):
        yield offset
        ctypes.string_at(fence.bytes.ctypes.data + offset, 1)

    survives(touch(0))
    for offset in (-1, fence.bytes.size):
        with pytest.raises(AssertionError, match=f"after {offset}\n"):
            survives(touch(offset))
