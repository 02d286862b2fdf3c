"""A pixel's result has the same bits alone, in any batch, crop or view: y, z, dx and dresidual."""

from itertools import cycle

import numpy as np
import pytest

import fastpw
from fastpw import _activations
from fastpw.core import machine

# Around the heights of tiles, the blocks of rows, and what makes a backward pass walk in slices.
ROWS = (*range(1, 131), 191, 192, 193, 255, 256, 257, 511, 767, 768, 769, 1023, 1024, 1025, 1537)
MOST = max(ROWS)

# Input channels whose last panel takes each tile of every kernel set.
CHANNELS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 20, 24, 28, 32, 40)


def few_rows(channels, filters):
    """All rows where little is computed, some elsewhere."""
    return ROWS if channels * filters < 2000 else (1, 2, 3, 5, 8, 13, 49, 130, 256, 767, 768, 1025)


@pytest.fixture(params=machine.kernel_sets(), ids=lambda row: f"{row['isa']}-{row['dtype']}")
def dtype(request):
    row = request.param
    if not row["runs"]:
        pytest.skip(f"this CPU does not run {row['isa']}")
    machine.choose_isa(row["isa"])
    yield np.dtype(row["dtype"])
    machine.choose_isa()


def numbers(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_same_bits(few, all_, case):
    assert few.tobytes() == all_[: len(few)].tobytes(), case


@pytest.mark.parametrize("filters", [1, 7, 33, 700, 1100])
def test_dx_of_some_rows(dtype, filters):
    """Of weights in one layout and the other: every tile meets both, with few filters and with many."""
    layouts = ("OI", "HWIO") if filters % 2 else ("HWIO", "OI")
    for channels, layout in zip(CHANNELS, cycle(layouts), strict=False):
        dy = numbers((MOST, filters), dtype, 1)
        weight = numbers((filters, channels), dtype, 2)
        if layout == "HWIO":
            weight = np.ascontiguousarray(weight.T)[None, None]
        whole = fastpw.conv1x1_backward(dy, None, weight, wrt="x", weight_layout=layout).dx
        for rows in few_rows(channels, filters):
            few = fastpw.conv1x1_backward(dy[:rows], None, weight, wrt="x", weight_layout=layout).dx
            assert_same_bits(few, whole, (channels, rows))


@pytest.mark.parametrize("depth", [1, 5, 40, 300])
def test_y_of_some_rows(dtype, depth):
    for filters in CHANNELS:
        x, residual = numbers((MOST, depth), dtype, 3), numbers((MOST, filters), dtype, 4)
        layer = fastpw.Conv1x1(
            numbers((filters, depth), dtype, 5), numbers(filters, dtype, 6), activation="relu"
        )
        whole = layer(x, residual=residual)
        for rows in few_rows(filters, depth):
            assert_same_bits(layer(x[:rows], residual=residual[:rows]), whole, (filters, rows))


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
def test_every_activation(dtype, row):
    x, dy, residual = (numbers((MOST, n), dtype, n) for n in (9, 21, 21))
    weight, bias = numbers((21, 9), dtype, 7), numbers(21, dtype, 8)

    def results(rows):
        z = np.empty((rows, 21), dtype)
        options = {"activation": row.spec, "residual": residual[:rows]}
        y = fastpw.conv1x1(x[:rows], weight, bias, out_z=z, **options)
        wrt = "x", "residual"
        given = fastpw.conv1x1_backward(dy[:rows], x[:rows], weight, bias, y=y, z=z, wrt=wrt, **options)
        found = fastpw.conv1x1_backward(dy[:rows], x[:rows], weight, bias, wrt=wrt, **options)
        return y, z, given.dx, given.dresidual, found.dx, found.dresidual

    whole = results(MOST)
    for rows in (1, 2, 3, 5, 7, 11, 12, 13, 49, 96, 97, 130, 256, 257, 768, 1025):
        for few, all_ in zip(results(rows), whole, strict=True):
            assert_same_bits(few, all_, rows)


def test_a_crop_and_a_view(dtype):
    images = numbers((2, 40, 23, 13), dtype, 9)
    dy = numbers((2, 40, 23, 8), dtype, 10)
    weight = numbers((8, 13), dtype, 11)
    y, dx = fastpw.conv1x1(images, weight), fastpw.conv1x1_backward(dy, images, weight, wrt="x").dx
    for crop in (np.s_[1:, 3:4, 5:6], np.s_[:, 7:19, 2:21], np.s_[::-1, ::2, ::-3], np.s_[:1, 39:, :]):
        assert fastpw.conv1x1(images[crop], weight).tobytes() == y[crop].tobytes()
        some = fastpw.conv1x1_backward(dy[crop], images[crop], weight, wrt="x").dx
        assert some.tobytes() == dx[crop].tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "silu"])
def test_pixels_of_few_channels_with_and_without_gaps(dtype, channels, activation):
    """Without gaps several pixels are taken together, with gaps each by itself."""
    for filters in (1, 2, 3, 4, 5):
        x, weight = numbers((203, channels), dtype, 9), numbers((filters, channels), dtype, 10)
        bias = numbers(filters, dtype, 11)
        apart = np.zeros((203, channels + 1), dtype)
        apart[:, :channels] = x
        layer = fastpw.Conv1x1(weight, bias, activation=activation)
        y = layer(x)
        assert_same_bits(y, layer(apart[:, :channels]), filters)
        assert_same_bits(np.concatenate([layer(row) for row in x[:, None]]), y, filters)
