"""Promise 4: arrays are used where they are, whatever their strides; overlap is as if there were none."""

import tracemalloc

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

N, H, W, C, K = 2, 9, 11, 20, 33


def unaligned(array):
    """A copy whose elements lie across their natural boundaries."""
    buffer = np.empty(array.nbytes + 1, np.uint8)
    view = buffer[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def reversed_axes(array):
    """The same values, all leading axes in the other order in memory."""
    return array.transpose(2, 1, 0, 3).copy().transpose(2, 1, 0, 3)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def inside(array, fill=np.nan):
    """A crop of a larger array, in every axis."""
    wide = np.full([size + 5 for size in array.shape], fill, array.dtype)
    crop = wide[tuple(slice(2, 2 + size) for size in array.shape)]
    crop[...] = array
    return crop


VIEWS = {
    "crop": inside,
    "negative": lambda a: a[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, axis=1), 3, axis=2)[:, ::2, ::3],
    "reversed axes": reversed_axes,
    "channels apart": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "channels reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "channels first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
    "unaligned": unaligned,
    "read-only": read_only,
    "memory map's class": lambda a: a.view(np.memmap),
}


@pytest.fixture
def arrays(dtype, rng):
    """x, weight, bias, residual"""
    return [rng.standard_normal(shape).astype(dtype) for shape in ((N, H, W, C), (K, C), K, (N, H, W, K))]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("stride", [1, 2])
def test_views_of_inputs(view, stride, arrays, conv):
    x, weight, bias, residual = arrays
    residual = residual[:, ::stride, ::stride]
    y = conv(x, weight, bias, residual=residual.copy(), stride=stride)
    assert np.array_equal(conv(view(x), weight, bias, residual=view(residual), stride=stride), y)


@pytest.mark.parametrize("groups", [1, 4, C])
def test_views_of_weights(groups, arrays, conv):
    x, weight, bias, _ = arrays
    weight, bias = weight[:C, : C // groups].copy(), bias[:C]
    y = conv(x, weight, bias, groups=groups)
    for view in (np.asfortranarray, read_only, unaligned, inside, lambda a: a[::-1].copy()[::-1]):
        assert np.array_equal(conv(x, view(weight), view(bias), groups=groups), y)
    # Every column the same, every bias the same: strides of zero.
    weight, bias = np.broadcast_to(weight[:, :1], weight.shape), np.broadcast_to(bias[:1], bias.shape)
    expected = conv(x, weight.copy(), bias.copy(), groups=groups)
    assert np.array_equal(conv(x, weight, bias, groups=groups), expected)


def test_zero_strides(arrays, conv):
    x, weight, bias, residual = arrays
    x, residual = np.broadcast_to(x[:, :, :1], x.shape), np.broadcast_to(residual[:, :1], residual.shape)
    y = conv(x.copy(), weight, bias, residual=residual.copy())
    assert np.array_equal(conv(x, weight, bias, residual=residual), y)


@pytest.mark.parametrize("view", ["crop", "negative", "every other", "reversed axes", "unaligned"])
@pytest.mark.parametrize("groups", [1, 2])
def test_views_of_outputs(view, groups, arrays, conv):
    x, weight, bias, residual = arrays
    weight, bias, residual = weight[:30, : C // groups], bias[:30], residual[..., :30]
    y = conv(x, weight, bias, groups=groups, residual=residual, activation="silu")
    out = VIEWS[view](np.zeros_like(y))
    assert conv(x, weight, bias, groups=groups, residual=residual, activation="silu", out=out) is out
    assert np.array_equal(out, y)
    z = VIEWS[view](np.zeros_like(y))
    fastpw.conv1x1(x, weight, bias, groups=groups, residual=residual, activation="silu", out_z=z)
    assert np.array_equal(z, conv(x, weight, bias, groups=groups, residual=residual))


def test_nothing_around_the_output_is_written(arrays, conv):
    x, weight, bias, _ = arrays
    crop = inside(np.zeros((N, H, W, K), x.dtype), fill=7)
    conv(x, weight, bias, out=crop)
    crop[...] = 7
    assert np.all(crop.base == 7)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 3, 2), (2, 1, 3, 2), (2, 3, 1, 2, 3)])
def test_any_number_of_leading_axes(leading, dtype, rng, conv):
    x, weight = rng.standard_normal((*leading, C)).astype(dtype), rng.standard_normal((K, C)).astype(dtype)
    y = conv(x.reshape(-1, C), weight).reshape(*leading, K)
    assert np.array_equal(conv(x, weight), y)
    if len(leading) > 1:
        # No two axes lie at one distance: beyond three they are walked.
        assert np.array_equal(conv(inside(x), weight, out=inside(np.zeros_like(y))), y)
        swapped = np.moveaxis(np.moveaxis(x, 0, -2).copy(), -2, 0)
        assert np.array_equal(conv(swapped, weight, out=np.zeros_like(y)), y)


def test_x_crop_and_residual_in_place_copy_nothing(dtype, conv):
    x = np.ones((100, 100, 64), dtype)[5:-5, 5:-5]
    weight, out = np.ones((64, 64), dtype), np.ones((90, 90, 64), dtype)
    tracemalloc.start()
    try:
        conv(x, weight, residual=out, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(out == 65)
    assert peak < out.nbytes // 4


# Overlap: where the output lies, against what NumPy computes of copies.


@pytest.mark.parametrize("shift", [0, 1, -1, 7, 100])
@pytest.mark.parametrize("role", ["out", "out_z"])
def test_output_over_x(shift, role, dtype, rng):
    memory = rng.standard_normal(50 * C + 200).astype(dtype)
    weight = rng.standard_normal((C, C)).astype(dtype)
    x = memory[100 : 100 + 50 * C].reshape(50, C)
    written = memory[100 + shift : 100 + shift + 50 * C].reshape(50, C)
    y = fastpw.conv1x1(x.copy(), weight)
    fastpw.conv1x1(x, weight, **{role: written})
    assert np.array_equal(written, y)


@pytest.mark.parametrize("groups", [1, 2, C])
def test_output_over_weight_and_bias(groups, dtype, rng, conv):
    memory = rng.standard_normal(3 * C * C).astype(dtype)
    weight = memory[: C * C // groups].reshape(C, C // groups)
    bias, out = memory[C * C : C * C + C], memory[: 2 * C * C].reshape(2 * C, C)
    x = rng.standard_normal((2 * C, C)).astype(dtype)
    y = conv(x, weight.copy(), bias.copy(), groups=groups)
    assert np.array_equal(conv(x, weight, bias, groups=groups, out=out), y)


@pytest.mark.parametrize("shift", [0, 1, -7])
def test_output_over_residual(shift, dtype, rng, conv):
    memory = rng.standard_normal(50 * C + 200).astype(dtype)
    x, weight = rng.standard_normal((50, C)).astype(dtype), rng.standard_normal((C, C)).astype(dtype)
    residual = memory[100 : 100 + 50 * C].reshape(50, C)
    out = memory[100 + shift : 100 + shift + 50 * C].reshape(50, C)
    y = conv(x, weight, residual=residual.copy())
    assert np.array_equal(conv(x, weight, residual=residual, out=out), y)


def test_residual_and_out_in_other_orders(dtype, rng, conv):
    """They share all their memory, yet no element lies where the other array has it."""
    memory = rng.standard_normal((50, C)).astype(dtype)
    x, weight = rng.standard_normal((50, C)).astype(dtype), rng.standard_normal((C, C)).astype(dtype)
    y = conv(x, weight, residual=memory[::-1].copy())
    assert np.array_equal(conv(x, weight, residual=memory[::-1], out=memory), y)


def test_all_in_one(dtype, rng):
    memory = rng.standard_normal((50, C)).astype(dtype)
    weight = rng.standard_normal((C, C)).astype(dtype)
    y = fastpw.conv1x1(memory.copy(), weight, residual=memory.copy(), activation="relu")
    assert np.array_equal(fastpw.conv1x1(memory, weight, residual=memory, out=memory, activation="relu"), y)


def test_neighbouring_channel_slices_copy_nothing(dtype):
    """As in a concatenation: x, out and residual lie side by side in one array."""
    wide = np.ones((20000, 48), dtype)
    weight = np.ones((16, 16), dtype)
    tracemalloc.start()
    try:
        fastpw.conv1x1(wide[:, :16], weight, residual=wide[:, 16:32], out=wide[:, 32:])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(wide[:, 32:] == 17)
    assert peak < wide.nbytes // 12


def test_overlapping_rows_of_x(dtype, rng, conv):
    """Sliding windows: the rows share memory with one another."""
    signal, weight = rng.standard_normal(500).astype(dtype), rng.standard_normal((K, C)).astype(dtype)
    windows = as_strided(signal, (500 - C, C), (signal.itemsize, signal.itemsize), writeable=False)
    assert np.array_equal(conv(windows, weight), conv(windows.copy(), weight))
