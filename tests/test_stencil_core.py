"""Stencils, pools and shuffles of core against what they say, in NumPy."""

from itertools import count, product

import numpy as np
import pytest

import fastpw
from fastpw import _activations, reference
from fastpw.core import machine, stencil

LINEAR = (0, 0.0, 0.0)
CODES = {name: code for name, code, _ in machine.activations()}
CHANNELS = [*range(1, 41), 64, 130]
NUMBER_OF_WINDOWS = 150


def taps_of(x, window, outputs, fill):
    """What each output has under each tap: (taps, N, Ho, Wo, C)."""
    (kh, kw), (step_h, step_w), (stride_h, stride_w), (origin_h, origin_w) = window
    ho, wo = outputs
    reach = [
        (origin, origin + (n - 1) * stride + (k - 1) * step + 1)
        for origin, n, stride, k, step in (
            (origin_h, ho, stride_h, kh, step_h), (origin_w, wo, stride_w, kw, step_w),
        )
    ]  # fmt: skip
    before = [max(0, -start) for start, _ in reach]
    after = [max(0, stop - size) for (_, stop), size in zip(reach, x.shape[1:3], strict=True)]
    padded = np.pad(x, ((0, 0), *zip(before, after, strict=True), (0, 0)), constant_values=fill)
    rows = (np.arange(ho) * stride_h + origin_h + before[0])[:, None] + np.arange(kh) * step_h
    columns = (np.arange(wo) * stride_w + origin_w + before[1])[:, None] + np.arange(kw) * step_w
    return [padded[:, rows[:, i]][:, :, columns[:, j]] for i, j in product(range(kh), range(kw))]


def expected_stencil(x, weight, bias, residual, window, outputs):
    z = np.zeros((x.shape[0], *outputs, x.shape[3])) if bias is None else bias.astype("float64")
    if residual is not None:
        z = z + residual
    for pixels, w in zip(
        taps_of(x.astype("float64"), window, outputs, 0), weight.astype("float64"), strict=True
    ):
        z = z + pixels * w
    return z


def expected_pool(x, window, outputs, kind):
    if kind == "max":
        return np.max(taps_of(x, window, outputs, -np.inf), axis=0)
    there = np.sum(taps_of(np.ones_like(x, "float64"), window, outputs, 0), axis=0)
    count = there if kind == "average" else np.full_like(there, np.prod(window[0]))
    return np.sum(taps_of(x.astype("float64"), window, outputs, 0), axis=0) / count


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def windows(rng, number):
    """Of sizes 1 to 7, strides and steps 1 to 3, origins inside and outside; with the sizes of x and y."""
    for turn in range(number):
        taps = [(k, k) for k in range(1, 8)][turn % 7] if turn % 3 else tuple(rng.integers(1, 8, 2).tolist())
        if turn % 11 == 0:
            taps = ((1, taps[1]), (taps[0], 1))[turn % 2]
        steps = (1, 1) if turn % 2 else tuple(rng.integers(1, 4, 2).tolist())
        strides = ((1, 1), (2, 2), tuple(rng.integers(1, 4, 2).tolist()))[turn % 5 % 3]
        origin = tuple(rng.integers(-3, 3, 2).tolist()) if turn % 4 == 0 else tuple(-(k // 2) for k in taps)
        size, outputs = rng.integers(1, 18, 2).tolist(), rng.integers(1, 18, 2).tolist()
        yield (taps, steps, strides, origin), size, outputs


def run(
    x, window, outputs, weight, bias=None, residual=None, out=None, out_z=None, activation=LINEAR, threads=1
):
    """y of a program that is described for these arrays and then bound to them."""
    shape = (x.shape[0], *outputs, x.shape[3])
    like = np.empty(shape, x.dtype) if out is None else out
    packed = stencil.PackedStencil(weight, bias, threads)
    program = stencil.Stencil((x, like, residual, out_z), window, packed, activation, lambda: threads)
    return program(x, residual, out, out_z)


def pool(x, window, outputs, kind, threads=1):
    like = np.empty((x.shape[0], *outputs, x.shape[3]), x.dtype)
    return stencil.Pool((x, like, None, None), window, kind, lambda: threads)(x, None, None, None)


def view_of(array, turn):
    """The same numbers, laid out in another way."""
    if turn % 3 == 0:
        return array
    if turn % 3 == 1:
        memory = np.empty((*array.shape[:2], array.shape[2] + 2, array.shape[3] + 3), array.dtype)
        view = memory[:, :, 1:-1, 2:-1]
    else:
        memory = np.empty((array.shape[1], array.shape[0], *array.shape[2:]), array.dtype)
        view = memory.swapaxes(0, 1)[:, ::-1, ::-1]
    view[...] = array
    return view


def test_values(isa, dtype, threads):
    """Small integers are summed exactly in any order."""
    rng, turns, channels = np.random.default_rng(1), count(), np.random.default_rng(2).permutation(CHANNELS)
    for window, size, outputs in windows(rng, NUMBER_OF_WINDOWS):
        turn = next(turns)
        n = int(channels[turn % len(channels)])
        x, weight = integers(rng, dtype, 1 + turn % 2, *size, n), integers(rng, dtype, np.prod(window[0]), n)
        bias = integers(rng, dtype, 2 * n)[::2] if turn % 3 else None
        shape = (x.shape[0], *outputs, n)
        residual = view_of(integers(rng, dtype, *shape), turn // 3) if turn % 2 else None
        out = residual if turn % 8 == 1 else view_of(np.empty(shape, dtype), turn // 2)
        out_z = view_of(np.empty(shape, dtype), turn // 4) if turn % 4 == 0 else None
        z = expected_stencil(x, weight, bias, residual, window, outputs)
        weight = np.asfortranarray(weight) if turn % 5 == 0 else weight
        relu = (CODES["relu"], 0.0, 0.0) if turn % 4 < 2 else LINEAR
        y = run(view_of(x, turn), window, outputs, weight, bias, residual, out, out_z, relu, threads)
        assert y is out, (window, x.shape, outputs)
        assert np.array_equal(y, np.maximum(z, 0) if turn % 4 < 2 else z), (window, x.shape, outputs)
        assert out_z is None or np.array_equal(out_z, z)


@pytest.mark.parametrize("kind", ["max", "average", "average_padded"])
def test_pools(isa, dtype, threads, kind):
    rng, turns = np.random.default_rng(3), count()
    for window, size, outputs in windows(rng, NUMBER_OF_WINDOWS):
        turn = next(turns)
        n = CHANNELS[turn % len(CHANNELS)]
        x = integers(rng, dtype, 1 + turn % 2, *size, n)
        with np.errstate(invalid="ignore"):
            expected = expected_pool(x, window, outputs, kind).astype(dtype)
            y = pool(view_of(x, turn), window, outputs, kind, threads)
        assert np.array_equal(y, expected, equal_nan=True), (window, x.shape, outputs)


def test_the_mean_of_all_pixels(isa, dtype, threads, rng):
    x = rng.standard_normal((3, 56, 57, 100)).astype(dtype)
    y = pool(x, ((56, 57), (1, 1), (1, 1), (0, 0)), (1, 1), "average", threads)
    exact = x.astype("float64").mean((1, 2), keepdims=True)
    magnitude = np.abs(x.astype("float64")).mean((1, 2), keepdims=True)
    assert np.all(np.abs(y - exact) <= (56 + 57) * np.finfo(dtype).eps * magnitude)


def test_nan_and_infinity_in_pools(isa, dtype, rng):
    x = rng.standard_normal((1, 9, 9, 21)).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = -np.inf
    x[rng.random(x.shape) < 0.02] = np.inf
    x[:, :3, :3] = -np.inf
    for kind in ("max", "average"):
        window = (3, 3), (1, 1), (2, 2), (-1, -1)
        with np.errstate(invalid="ignore"):
            expected = expected_pool(x, window, (5, 5), kind)
        y = pool(x, window, (5, 5), kind)
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_nan_and_infinity_stay_where_they_are(isa, dtype, rng):
    x = integers(rng, dtype, 1, 9, 9, 21)
    x[0, 4, 4, 3], x[0, 0, 8, 20] = np.nan, np.inf
    weight = integers(rng, dtype, 9, 21)
    weight[0, 7] = np.inf  # times the zeros around x, too
    for step in (1, 2):
        window = (3, 3), (step, step), (1, 1), (-step, -step)
        with np.errstate(invalid="ignore"):
            expected = expected_stencil(x, weight, None, None, window, (9, 9))
        assert np.array_equal(run(x, window, (9, 9), weight), expected, equal_nan=True)


@pytest.mark.parametrize("name", _activations.NAMES if hasattr(_activations, "NAMES") else sorted(CODES))
def test_activations(isa, dtype, name, rng):
    """What a product of one weight per channel gives, to the bit: both activate the same z."""
    x, n = rng.standard_normal((1, 9, 11, 37)).astype(dtype), 37
    weight, bias = rng.standard_normal((9, n)).astype(dtype), rng.standard_normal(n).astype(dtype)
    window, alpha, beta = ((3, 3), (1, 1), (1, 1), (-1, -1)), 0.25, 0.5
    z, y = np.empty_like(x), np.empty_like(x)
    run(x, window, (9, 11), weight, bias, out=y, out_z=z, activation=(CODES[name], alpha, beta))
    exact = expected_stencil(x, weight, bias, None, window, (9, 11))
    np.testing.assert_allclose(z, exact, atol=40 * np.finfo(dtype).eps)
    one = (1, 1), (1, 1), (1, 1), (0, 0)
    same = run(z, one, (9, 11), np.ones((1, n), dtype), activation=(CODES[name], alpha, beta))
    assert np.array_equal(y, same)
    parameters = {"leaky_relu": (alpha,), "clip": (alpha, beta)}.get(name)
    spec = (name, *parameters) if parameters else None if name == "linear" else name
    np.testing.assert_allclose(
        y,
        reference.conv1x1(z.reshape(-1, n), np.eye(n), activation=spec).reshape(z.shape),
        rtol=1e-5,
        atol=1e-6,
    )


KNOWN = [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2), (4, 1), (3, 3)]


@pytest.mark.parametrize("taps, stride", KNOWN)
def test_bits_do_not_depend_on_neighbours(isa, dtype, rng, taps, stride):
    """Alone, in a batch, with one thread or more, in a crop: a pixel has the same bits."""
    x = rng.standard_normal((3, 23, 25, 41)).astype(dtype)
    weight, bias = rng.standard_normal((taps * taps, 41)).astype(dtype), rng.standard_normal(41).astype(dtype)
    before = taps // 2
    ho, wo = (23 - 1) // stride + 1, (25 - 1) // stride + 1
    window = (taps, taps), (1, 1), (stride, stride), (-before, -before)
    y = run(x, window, (ho, wo), weight, bias)
    for threads in (2, 3):
        assert np.array_equal(run(x, window, (ho, wo), weight, bias, threads=threads), y)
    assert np.array_equal(run(x[1:2], window, (ho, wo), weight, bias), y[1:2])
    one = (taps, taps), (1, 1), (stride, stride), (0, 0)
    around = np.pad(x, ((0, 0), (before, taps), (before, taps), (0, 0)))
    for row, column in product(range(ho), range(0, wo, 3)):
        top, left = row * stride, column * stride
        crop = np.ascontiguousarray(around[:, top : top + taps, left : left + taps])
        assert np.array_equal(run(crop, one, (1, 1), weight, bias)[:, 0, 0], y[:, row, column])
    for channel in (0, 17, 40):
        some = slice(channel, channel + 1)
        assert np.array_equal(run(x[..., some], window, (ho, wo), weight[:, some], bias[some]), y[..., some])


@pytest.mark.parametrize("kind", ["max", "average"])
def test_bits_of_pools_do_not_depend_on_neighbours(isa, dtype, rng, kind):
    x = rng.standard_normal((3, 23, 25, 41)).astype(dtype)
    window = (3, 3), (1, 1), (2, 2), (-1, -1)
    y = pool(x, window, (12, 13), kind)
    for threads in (2, 3):
        assert np.array_equal(pool(x, window, (12, 13), kind, threads), y)
    assert np.array_equal(pool(x[1:2], window, (12, 13), kind), y[1:2])
    assert np.array_equal(pool(x[..., 7:8], window, (12, 13), kind), y[..., 7:8])


def test_large_work_is_shared_out(isa):
    rng = np.random.default_rng(5)
    x, weight = (
        rng.standard_normal((2, 60, 57, 72)).astype("float32"),
        rng.standard_normal((9, 72)).astype("float32"),
    )
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    y = run(x, window, (60, 57), weight)
    for threads in (2, 3):
        assert np.array_equal(run(x, window, (60, 57), weight, threads=threads), y)


@pytest.mark.parametrize("channels", [384, 512, 1024])
def test_pixels_that_share_lines_of_the_cache(isa, threads, channels):
    """They are copied together first, some rows at a time."""
    rng = np.random.default_rng(6)
    for taps, stride, step, size in ((3, 1, 1, 14), (3, 2, 1, 15), (7, 1, 1, 9), (2, 3, 2, 11), (1, 3, 1, 7)):
        x = integers(rng, "float32", 2, size, size + 1, channels)
        weight, outputs = integers(rng, "float32", taps * taps, channels), ((size - 1) // stride + 1,) * 2
        window = (taps, taps), (step, step), (stride, stride), (-(taps // 2), -(taps // 2))
        y = run(x, window, outputs, weight, threads=threads)
        assert np.array_equal(y, expected_stencil(x, weight, None, None, window, outputs))
        for kind in ("max", "average"):
            y = pool(x, window, outputs, kind, threads)
            assert np.array_equal(y, expected_pool(x, window, outputs, kind).astype("float32"))


def shuffle(x, y, groups, threads):
    """The program for groups that lie side by side in x."""
    return stencil.Shuffle((x, y, None, None), (x.reshape(*x.shape[:-1], groups, -1), y), lambda: threads)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 5, 8])
def test_shuffles(isa, dtype, threads, groups, rng):
    for per_group, turn in product((1, 2, 3, 4, 5, 8, 17, 64), range(3)):
        x = view_of(rng.standard_normal((2, 7, 9, groups * per_group)).astype(dtype), turn)
        y = view_of(np.empty_like(x), turn + 1)
        assert shuffle(x, y, groups, threads)(x, None, y, None) is y
        expected = x.reshape(2, 7, 9, groups, per_group).swapaxes(-1, -2).reshape(x.shape)
        assert np.array_equal(y, expected)


def test_a_large_shuffle_is_shared_out(isa, threads, rng):
    x = rng.standard_normal((2, 40, 40, 96)).astype("float32")
    y = shuffle(x, np.empty_like(x), 3, threads)(x, None, None, None)
    assert np.array_equal(y, x.reshape(2, 40, 40, 3, 32).swapaxes(-1, -2).reshape(x.shape))


@pytest.mark.parametrize(("channels", "staged"), [(1, False), (3, False), (12, False), (1024, True)])
def test_pixels_that_share_lines_are_read_where_they_lie(isa, channels, staged):
    """Of 1024 channels, a tile's pixels share sets of the first-level cache."""
    x, y = np.ones((1, 14, 14, channels), "float32"), np.empty((1, 14, 14, channels), "float32")
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    program = stencil.Pool((x, y, None, None), window, "max", lambda: 1)
    assert bool(program.schedule()["staged_rows"]) == staged


# ---- the protocol ----------------------------------------------------------------------------------------


def described(threads=lambda: 1):
    x, weight = np.ones((1, 5, 5, 8), "float32"), np.ones((9, 8), "float32")
    packed = stencil.PackedStencil(weight, None, 1)
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    return x, stencil.Stencil((x, np.empty_like(x), None, None), window, packed, LINEAR, threads)


def test_what_does_not_fit_is_not_run():
    x, program = described()
    assert program(x, None, None, None) is not None
    assert program(x[:, :4], None, None, None) is None
    assert program(x.astype("float64"), None, None, None) is None
    assert program(x, x, None, None) is None
    assert program(x, None, x, None) is None, "what is written lies apart from x"
    assert program(x, None, np.empty((1, 5, 5, 9), "float32"), None) is None
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    assert program(x, None, frozen, None) is None
    assert program.run_checked(x, None, np.empty_like(x), None, None, None) is True
    assert program.run_checked(x, None, np.empty((1, 5, 5, 9), "float32"), None, None, None) is False
    assert program.nbytes > 0


def test_a_program_follows_the_threads():
    threads = [2]
    x = np.ones((1, 56, 56, 64), "float32")
    packed = stencil.PackedStencil(np.ones((9, 64), "float32"), None, 1)
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    program = stencil.Stencil((x, np.empty_like(x), None, None), window, packed, LINEAR, lambda: threads[0])
    assert program(x, None, None, None) is not None
    threads[0] = 1
    assert program(x, None, None, None) is None
    small, follows_not = described(lambda: threads[0])
    threads[0] = 2
    assert follows_not(small, None, None, None) is not None


def test_what_cannot_be_described():
    x, weight = np.ones((1, 5, 5, 8), "float32"), stencil.PackedStencil(np.ones((9, 8), "float32"), None, 1)
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    for arrays in (
        (x, np.empty((2, 5, 5, 8), "float32"), None, None),
        (x, np.empty((1, 5, 5, 8)), None, None),
        (x, np.empty_like(x), np.empty((1, 5, 4, 8), "float32"), None),
        (x, np.empty((1, 5, 5, 16), "float32")[..., ::2], None, None),
    ):
        with pytest.raises(ValueError, match="changed meanwhile"):
            stencil.Stencil(arrays, window, weight, LINEAR, fastpw.get_num_threads)
    with pytest.raises(ValueError, match="25 x 8"):
        stencil.Stencil(
            (x, np.empty_like(x), None, None), ((5, 5), *window[1:]), weight, LINEAR, fastpw.get_num_threads
        )
    far = (3, 3), (1 << 60, 1 << 60), (1, 1), (0, 0)
    with pytest.raises(MemoryError):
        stencil.Stencil((x, np.empty_like(x), None, None), far, weight, LINEAR, fastpw.get_num_threads)


@pytest.mark.parametrize("shape", [(0, 5, 5, 8), (1, 5, 5, 0)])
def test_nothing_to_compute(shape):
    x = np.ones(shape, "float32")
    window = (3, 3), (1, 1), (1, 1), (-1, -1)
    assert run(x, window, (5, 5), np.ones((9, shape[3]), "float32")).shape == shape
    assert pool(x, window, (5, 5), "average").shape == shape
