"""Chains of sizes around whatever cuts them: rows, columns, channels, windows over the edges; NaN."""

from itertools import cycle, product

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]

THREADS = cycle((1, 2, 3, 5))


@pytest.fixture
def check(one_by_one):
    """Whether a chain has the bits of its layers, on two inputs in turn, the number of threads changing."""

    def compare(chain, inputs, case, threads=None):
        expected = [one_by_one(chain, x) for x in inputs]
        out = np.full_like(expected[0], -7)
        with fastpw.num_threads(threads or next(THREADS)):
            assert_bits(chain(inputs[0], out=out), expected[0], case)
            assert_bits(chain(inputs[1]), expected[1], case)

    return compare


def assert_bits(y, expected, case):
    """Of NaNs, too."""
    assert y.dtype == expected.dtype, case
    assert y.shape == expected.shape, case
    kind = f"u{y.itemsize}"
    unequal = np.argwhere(np.ascontiguousarray(y).view(kind) != expected.view(kind))
    assert not len(unequal), (case, "first unequal", unequal[0], "of", len(unequal))


@pytest.fixture
def normal(rng):
    """Where nothing depends on the size of a number."""
    return lambda *shape: rng.standard_normal(shape, np.float32)


@pytest.fixture
def normal_of(dtype, rng):
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


def around(middle, normal, C=8, hidden=24, K=8):
    """A 1x1 layer before `middle` and one after it."""
    before = fastpw.Conv1x1(normal(hidden, C), normal(hidden), activation="relu6")
    after = fastpw.Conv1x1(normal(K, middle.filters), normal(K))
    return fastpw.Chain([before, middle, after])


# ---- rows and columns --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("machine_size")
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", range(1, 8))
def test_rows(taps, stride, normal, check):
    """Every height up to 20, under windows of every height, in steps of every stride."""
    for padding, dilation in ((taps // 2, 1), ("same", 1), (0, 1), (((2 * taps, 0), (0, taps)), 2)):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "activation": "relu"}
        layer = fastpw.DepthwiseConv2d(normal(taps, taps, 24), normal(24), **options)
        chain = around(layer, normal)
        for height in range(1, 21):
            shape = 1 + height % 2, height, 7, 8
            if padding == 0 and min(height, 7) < taps:
                continue
            inputs = [normal(*shape) for _ in range(2)]
            check(chain, inputs, (taps, stride, padding, dilation, height))


@pytest.mark.usefixtures("machine_size")
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_rows_under_two_windows(stride, normal, check):
    """The rows that are computed twice where the work is cut follow from both windows."""
    kernels = (3, 1), (3, 3), (5, 3), (3, 7), (7, 5), (2, 4)
    for first, second in kernels:
        layers = (
            fastpw.Conv2d(normal(12, first, first, 8), stride=stride, padding=first // 2, activation="relu"),
            fastpw.DepthwiseConv2d(normal(second, second, 12), padding="same", activation="silu"),
            fastpw.Conv1x1(normal(5, 12), normal(5)),
            fastpw.DepthwiseConv2d(normal(first, first, 5), stride=stride, padding=((first, 1), (1, first))),
        )
        chain = fastpw.Chain(layers)
        for height in range(1, 21):
            inputs = [normal(height, 9, 8) for _ in range(2)]
            check(chain, inputs, (first, second, stride, height))


@pytest.mark.usefixtures("machine_size")
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_columns(stride, normal, check):
    """Every width up to 40: tiles of pixels, and what is left of them."""
    options = {"stride": stride, "padding": "same"}
    kernels = (3, 3), (1, 7), (5, 5), (2, 2)
    chains = [around(fastpw.DepthwiseConv2d(normal(*size, 24), **options), normal) for size in kernels]
    chains.append(around(fastpw.Conv2d(normal(9, 3, 3, 24), stride=stride, padding=1), normal))
    for width, (number, chain) in product(range(1, 41), enumerate(chains)):
        inputs = [normal(6, width, 8) for _ in range(2)]
        check(chain, inputs, (number, stride, width))


CHANNELS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100)


@pytest.mark.usefixtures("machine_size")
@pytest.mark.parametrize("hidden", CHANNELS)
def test_channels(hidden, normal_of, check):
    """Around vectors, tiles and panels; between layers, before the first and behind the last."""
    for turn, C in enumerate(CHANNELS):
        K, stride, taps = CHANNELS[-turn], 1 + turn % 2, (3, 5, 7)[turn % 3]
        options = {"stride": stride, "padding": taps // 2, "activation": "hardswish"}
        middle = fastpw.DepthwiseConv2d(normal_of(taps, taps, hidden), normal_of(hidden), **options)
        inputs = [normal_of(9, 8, C) for _ in range(2)]
        check(around(middle, normal_of, C, hidden, K), inputs, (C, hidden, K))
        hidden_layer = fastpw.Conv1x1(normal_of(hidden, C), normal_of(hidden), activation="gelu")
        mlp = fastpw.Chain([hidden_layer, fastpw.Conv1x1(normal_of(K, hidden))])
        check(mlp, inputs, ("pixels", C, hidden, K))


# ---- large and small ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_wide_early_images(stride, normal, check):
    """What leaves the cache between layers. The first of MobileNetV2's blocks with an expansion."""
    options = {"stride": stride, "padding": 1, "activation": "relu6"}
    chain = around(fastpw.DepthwiseConv2d(normal(3, 3, 96), normal(96), **options), normal, 16, 96, 24)
    for threads in (1, 2, 3):
        check(chain, [normal(112, 112, 16) for _ in range(2)], (stride, threads), threads)


@pytest.mark.parametrize(("C", "hidden", "K"), [(160, 960, 160), (96, 576, 320), (512, 1030, 64)])
def test_many_channels_in_small_images(C, hidden, K, normal, check):
    """The panels of channels are what there is to share out."""
    middle = fastpw.DepthwiseConv2d(normal(3, 3, hidden), normal(hidden), padding=1, activation="relu6")
    chain = around(middle, normal, C, hidden, K)
    for threads, shape in ((1, (7, 7)), (2, (7, 7)), (3, (2, 7, 7)), (5, (1, 1)), (2, (4, 3))):
        check(chain, [normal(*shape, C) for _ in range(2)], (threads, shape), threads)


def test_many_pixels_through_many_hidden_channels(normal, check):
    """An MLP as in ConvNeXt and in transformers."""
    hidden = fastpw.Conv1x1(normal(384, 96) / 10, normal(384), activation="gelu")
    chain = fastpw.Chain([hidden, fastpw.Conv1x1(normal(96, 384))], add_input=True)
    for threads, pixels in ((1, 1), (2, 3), (3, 100), (2, 1567), (5, 383)):
        check(chain, [normal(pixels, 96) for _ in range(2)], (threads, pixels), threads)


@pytest.mark.usefixtures("machine_size")
def test_windows_that_reach_over_the_whole_image(normal, check):
    """And far beyond it: of a row, of a column, of a pixel."""
    for taps, dilation, (height, width) in product(
        (3, 5, 7), (1, 4), ((1, 1), (1, 9), (9, 1), (2, 3), (5, 4))
    ):
        reach = (taps - 1) * dilation
        for padding in (reach, ((reach, 0), (0, reach)), ((0, reach), (reach, reach))):
            options = {"padding": padding, "dilation": dilation}
            for layer in (
                fastpw.DepthwiseConv2d(normal(taps, taps, 24), normal(24), **options),
                fastpw.Conv2d(normal(5, taps, taps, 24), **options),
            ):
                inputs = [normal(height, width, 8) for _ in range(2)]
                check(around(layer, normal), inputs, (taps, dilation, height, width, padding))


@pytest.mark.usefixtures("machine_size")
def test_windows_that_meet_only_padding(normal, check):
    """The first or the last rows and columns of results: bias alone, or in a pool nothing at all."""
    far = {"padding": ((9, 8), (7, 9))}
    chains = (
        around(fastpw.DepthwiseConv2d(normal(3, 3, 24), normal(24), **far, activation="silu"), normal),
        around(fastpw.DepthwiseConv2d(normal(3, 3, 24), **far, stride=3), normal),
        around(fastpw.Conv2d(normal(6, 3, 3, 24), normal(6), **far, stride=2, activation="gelu"), normal),
        around(fastpw.Conv1x1(normal(6, 24), normal(6), **far, stride=3, activation="tanh"), normal),
        fastpw.Chain([around(fastpw.DepthwiseConv2d(normal(3, 3, 24), **far), normal), fastpw.MaxPool2d(2)]),
    )
    for (number, chain), height in product(enumerate(chains), range(1, 6)):
        check(chain, [normal(2, height, 1 + number, 8) for _ in range(2)], (number, height))


def pools(normal):
    options = {"stride": 4, "padding": ((0, 2), (2, 1))}
    before = fastpw.Conv1x1(normal(9, 8), normal(9), activation="relu")
    after = fastpw.Conv1x1(normal(5, 9))
    for pool in (
        fastpw.MaxPool2d(3, **options),
        fastpw.AveragePool2d(3, **options),
        fastpw.AveragePool2d(3, count_padding=True, **options),
        fastpw.MaxPool2d(3, stride=2, padding="same"),
    ):
        yield fastpw.Chain([before, pool, after])
        yield fastpw.Chain([pool, fastpw.Conv1x1(normal(9, 8))])
        yield fastpw.Chain([before, pool])


@pytest.mark.usefixtures("machine_size")
def test_pools_whose_last_window_meets_only_padding(normal, check):
    """With a stride larger than the window's rest: maxima of nothing, averages of nothing."""
    for number, chain in enumerate(pools(normal)):
        for height in range(1, 12):
            inputs = [normal(height, 2 + height % 4, 8) for _ in range(2)]
            with np.errstate(all="ignore"):
                check(chain, inputs, (number, height))


# ---- none --------------------------------------------------------------------------------------------------


def test_empty_batches(block, dtype):
    for shape in ((0, 9, 9, 12), (0, 1, 1, 12)):
        for _ in range(2):
            try:
                expected = block.output_shape(shape)
            except ValueError:  # of too few pixels for its window
                continue
            y = block(np.empty(shape, dtype))
            assert y.shape == expected
            assert y.dtype == dtype
            assert block(np.empty(shape, dtype), out=y) is y


def test_images_without_pixels(normal_of, one_by_one):
    """Where padding makes some, or where none are left; and layers that take none say so."""
    chains = (
        fastpw.Chain(
            [fastpw.Conv1x1(normal_of(5, 8), normal_of(5), padding=1), fastpw.Conv1x1(normal_of(3, 5))]
        ),
        around(fastpw.DepthwiseConv2d(normal_of(3, 3, 24), normal_of(24), padding=2), normal_of),
        around(fastpw.DepthwiseConv2d(normal_of(3, 3, 24), normal_of(24), padding="same"), normal_of),
        around(fastpw.Conv2d(normal_of(3, 3, 3, 24), padding=(1, 2)), normal_of),
        fastpw.Chain([fastpw.Conv1x1(normal_of(5, 8)), fastpw.ChannelShuffle(5)]),
        fastpw.Chain([fastpw.Conv1x1(normal_of(5, 8)), fastpw.GlobalAveragePool()]),
        fastpw.Chain([fastpw.Conv2d(normal_of(4, 3, 3, 8), padding=1), fastpw.MaxPool2d(2)]),
    )
    refused = 0
    for chain, shape in product(chains, ((0, 0, 8), (0, 5, 8), (4, 0, 8), (2, 0, 3, 8), (0, 0, 4, 8))):
        x = np.empty(shape, chain.layers[0].dtype if hasattr(chain.layers[0], "dtype") else None)
        try:
            expected = one_by_one(chain, x)
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match=r"x: an image of"):
                chain(x)
        else:
            for _ in range(2):
                assert_bits(chain(x), expected, shape)
    assert 0 < refused < 20


def test_no_channels(dtype, one_by_one):
    """A product of no channels is its bias; a layer may have no filters."""
    for C, hidden, K in ((0, 5, 3), (4, 0, 3), (4, 5, 0)):
        layers = (
            fastpw.Conv1x1(np.ones((hidden, C), dtype), np.ones(hidden, dtype)),
            fastpw.DepthwiseConv2d(np.ones((3, 3, hidden), dtype), padding=1),
            fastpw.Conv1x1(np.ones((K, hidden), dtype), np.ones(K, dtype)),
        )
        x = np.ones((6, 5, C), dtype)
        for _ in range(2):
            assert_bits(fastpw.Chain(layers)(x), one_by_one(fastpw.Chain(layers), x), (C, hidden, K))


# ---- what is not finite ------------------------------------------------------------------------------------

SPECIAL = np.nan, np.inf, -np.inf, -0.0, 1e-42, 3e38


@pytest.mark.usefixtures("machine_size")
def test_nan_and_infinities_in_the_input(block, dtype, rng, check):
    """One pixel of each kind: what meets it and what does not, at every edge of what is cut."""
    for turn, value in enumerate(SPECIAL):
        inputs = [rng.standard_normal((2, 19, 15, 12)).astype(dtype) for _ in range(2)]
        for x in inputs:
            x[turn % 2, rng.integers(19), rng.integers(15), rng.integers(12)] = value
            x[0, 2 + 3 * turn, :, turn] = value
        with np.errstate(all="ignore"):
            check(block, inputs, value)


@pytest.mark.usefixtures("machine_size")
def test_nan_and_infinities_in_the_weights(normal_of, check):
    """Times a zero of the padding they are NaN, which shows where the padding is not what it should be."""
    for value, place in product(SPECIAL, range(4)):
        weights = [normal_of(24, 8), normal_of(3, 3, 24), normal_of(24), normal_of(6, 24)]
        weights[place].reshape(-1)[5] = value
        first, spatial, bias, last = weights
        layers = (
            fastpw.Conv1x1(first, activation="relu6"),
            fastpw.DepthwiseConv2d(spatial, bias, padding=1, activation="hardswish"),
            fastpw.Conv1x1(last),
        )
        with np.errstate(all="ignore"):
            check(fastpw.Chain(layers), [normal_of(11, 6, 8) for _ in range(2)], (value, place))
