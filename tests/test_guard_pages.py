"""Nothing outside the arrays is read or written: they lie against pages that nobody may touch.

Every array has its own memory, between two such pages; it begins right behind the first or ends right before
the second, and what is left of its memory must keep its contents. A touch would end the process, so the
calls are made in a child.
"""

import ctypes
import faulthandler
import mmap
import os
import sys
import traceback
from itertools import count, cycle, product

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastpw
from fastpw import reference
from fastpw.core import forward, machine, partition, stencil, stencil_gradient
from fastpw.runtime import threads

if sys.platform != "linux":
    pytest.skip("mprotect and fork as on Linux", allow_module_level=True)

PAGE = mmap.PAGESIZE
UNTOUCHED = 0x5A
libc = ctypes.CDLL(None, use_errno=True)


class Fence:
    """Memory between two pages that may not be touched."""

    def __init__(self, size=1 << 17):
        self.map = mmap.mmap(-1, size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (start, start + size + PAGE):
            assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
        self.bytes = np.frombuffer(self.map, np.uint8, size, PAGE)
        self.bytes[:] = UNTOUCHED

    def array(self, contents, gap, behind, reverse):
        """A copy of the contents; `gap` elements between its rows, `reverse`d in memory, at either end."""
        self.view = None
        shape, item = contents.shape, contents.itemsize
        strides, reach = [], 1
        for axis, size in enumerate(reversed(shape)):
            strides.append(reach * item)
            reach = reach * size + (gap if axis == 0 and len(shape) > 1 else 0)
        strides = strides[::-1]
        span = sum(stride * (size - 1) for stride, size in zip(strides, shape, strict=True)) + item
        start = self.bytes.size - span if behind else 0
        space = self.bytes[start : start + span].view(contents.dtype)
        view = as_strided(space, shape, strides)
        if reverse and len(shape) > 1:
            view = view[::-1]
        view[...] = contents
        self.view = view
        return view

    def close(self):
        """Checks that nothing but the array was written."""
        self.view[...] = np.frombuffer(bytes([UNTOUCHED] * self.view.itemsize), self.view.dtype)[0]
        assert np.all(self.bytes == UNTOUCHED)


FENCES = {}
PLACES = [*product((0, 3), (False, True), (False, True))]  # gap, behind, reverse


def fenced(place, **contents):
    """The arrays (None stays None), each at this place in a memory of its own."""
    for name, array in contents.items():
        if array is None:
            yield None
        else:
            if name not in FENCES:
                FENCES[name] = Fence()
            yield FENCES[name].array(array, *place)


def fences_hold():
    for fence in FENCES.values():
        if fence.view is not None:
            fence.close()
            fence.view = None


def survives(cases):
    """Runs an iterable of cases in a child process; says which one ended it."""
    reached = mmap.mmap(-1, PAGE)  # shared with the child
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            for case in cases:
                reached[:200] = repr(case).encode().ljust(200)[:200]
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"status {status} after {reached[:200].decode().strip()}"


@pytest.fixture(params=["float32", "float64"])
def kernel_set(request, isa):
    return next(row for row in machine.kernel_sets() if (row["isa"], row["dtype"]) == (isa, request.param))


def around(sizes):
    return sorted({size for s in sizes for size in (s - 1, s, s + 1) if size > 0})


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def act(z, activation):
    return np.maximum(z, 0) if activation == "relu" else np.clip(z, -2, 9) if activation else z


ACTIVATIONS = [None, "relu", ("clip", -2, 9)]


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
        assert stencil.Shuffle((x, out, None, None), groups, lambda: 1)(x, None, out, None) is out
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
