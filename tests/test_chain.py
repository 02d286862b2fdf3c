"""A chain has the bits of its layers called one after the other: random chains of every kind of layer."""

from functools import partial

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "machine_size")]

# Random chains of so many layers for each instruction set, dtype and machine.
CASES = 26
MOST_NUMBERS = 40_000  # of an array between two layers, about: the chains are many, so they are small

CHANNELS = (1, 2, 3, 4, 7, 8, 9, 12, 16, 17, 24, 31, 33, 48, 64, 65, 100)
ACTIVATIONS = (
    None, None, "relu", "relu6", "gelu", "silu", "tanh", "hardswish", ("leaky_relu", 0.2), ("clip", -1, 0.5)
)  # fmt: skip
DENSE_KERNELS = ((3, 3), (3, 3), (1, 7), (7, 1), (5, 5), (1, 1), (2, 4))
DEPTHWISE_KERNELS = ((3, 3), (3, 3), (5, 5), (7, 7), (1, 3), (4, 2))
STRIDES = ((1, 1), (1, 1), (2, 2), (3, 3), (1, 2), (3, 1))
DILATIONS = ((1, 1), (1, 1), (1, 1), (2, 2), (3, 1), (1, 2))
PADDINGS = ("same", "same", 0, 1, ((1, 0), (2, 1)), ((0, 3), (1, 0)), (3, 2), ((9, 8), (0, 7)))


class Maker:
    """Makes layers that fit an image (H, W, C). What holds no window of another padding gets "same"."""

    def __init__(self, dtype, *seed):
        self.dtype, self.rng = dtype, np.random.default_rng(seed)

    def one_of(self, some):
        return some[self.rng.integers(len(some))]

    def up_to(self, most):
        """From 1 on."""
        return int(self.rng.integers(1, most + 1))

    def normal(self, *shape, depth=1):
        return (self.rng.standard_normal(shape) / np.sqrt(depth)).astype(self.dtype)

    def epilogue(self, filters):
        bias = self.normal(filters) if self.one_of((True, True, False)) else None
        return {"bias": bias, "activation": self.one_of(ACTIVATIONS)}

    def filters(self, pixels, groups=1):
        most = max(MOST_NUMBERS // max(pixels, 1), 8)
        return groups * self.one_of([K for K in CHANNELS if K * groups <= most] or [1])

    def groups(self, C):
        return self.one_of([g for g in (1, 1, 1, 2, 3, 4) if C % g == 0])

    def padding(self, image, kernel, dilation, paddings=PADDINGS):
        padding = self.one_of(paddings)
        if padding == "same":
            return padding
        vertical, horizontal = (padding, padding) if isinstance(padding, int) else padding
        for size, sides, taps, step in zip(image, (vertical, horizontal), kernel, dilation, strict=False):
            if size + (2 * sides if isinstance(sides, int) else sum(sides)) < (taps - 1) * step + 1:
                return "same"
        return padding

    def conv1x1(self, shape, like=None):
        """`like`: the channels of the result, of an image of the same size."""
        H, W, C = shape
        groups = self.groups(C)
        K = self.filters(H * W, groups) if like is None else like
        groups = groups if K % groups == 0 else 1
        if self.one_of((False, False, False, True)) and like in (None, C):
            groups = K = C
        weight, options = self.normal(K, C // groups, depth=C // groups), {}
        if like is None and self.one_of((False, False, True)):
            options = {"stride": self.one_of(STRIDES), "padding": self.one_of((0, 1, ((0, 2), (1, 0))))}
        if self.one_of((False, True)):
            weight, options["weight_layout"] = weight.T[None, None], "HWIO"
        return fastpw.Conv1x1(weight, **self.epilogue(K), groups=groups, **options)

    def conv2d(self, shape, like=None):
        H, W, C = shape
        (kh, kw), dilation, groups = self.one_of(DENSE_KERNELS), self.one_of(DILATIONS), self.groups(C)
        K = self.filters(H * W, groups) if like is None else like
        groups = groups if K % groups == 0 else 1
        weight = self.normal(K, kh, kw, C // groups, depth=C // groups * kh * kw)
        options = {"dilation": dilation, "groups": groups, "stride": (1, 1), "padding": "same"}
        if like is None:
            options["stride"] = self.one_of(STRIDES)
            options["padding"] = self.padding((H, W), (kh, kw), dilation)
        return fastpw.Conv2d(weight, **self.epilogue(K), **options)

    def depthwise(self, shape, like=None):
        """`like`: keeps size and channels, whatever it is."""
        H, W, C = shape
        (kh, kw), dilation = self.one_of(DEPTHWISE_KERNELS), self.one_of(DILATIONS)
        options = {"dilation": dilation, "padding": "same"}
        times = 1
        if like is None:
            options["stride"] = self.one_of(STRIDES)
            options["padding"] = self.padding((H, W), (kh, kw), dilation)
            times = self.one_of((1, 1, 1, 2)) if C <= 33 else 1
        weight = self.normal(kh, kw, C, times, depth=kh * kw)
        return fastpw.DepthwiseConv2d(weight, **self.epilogue(C * times), weight_layout="HWIO", **options)

    def pool(self, shape):
        size = self.one_of(((2, 2), (3, 3), (1, 3), (4, 2)))
        options = {"stride": self.one_of((None, *STRIDES))}
        paddings = "same", 0, (size[0] - 1, size[1] - 1), ((0, size[0] - 1), (0, 0))
        options["padding"] = self.padding(shape[:2], size, (1, 1), paddings)
        if self.one_of((True, False)):
            return fastpw.MaxPool2d(size, **options)
        return fastpw.AveragePool2d(size, count_padding=self.one_of((True, False)), **options)

    def shuffle(self, shape):
        return fastpw.ChannelShuffle(self.one_of([g for g in (1, 2, 3, 4, 8) if shape[2] % g == 0]))

    def concat(self, shape):
        """Of layers and of chains, all of which keep the size of the image."""
        branches = []
        for _ in range(self.one_of((1, 2, 3))):
            first = self.one_of((self.conv1x1, self.conv2d))(shape, like=self.one_of((3, 8, 17)))
            branch = [first, self.depthwise(first.output_shape(shape), like=True)]
            branches.append(self.one_of((first, fastpw.Chain(branch))))
        if self.one_of((False, True)):
            branches.append(fastpw.MaxPool2d(3, stride=1, padding=1))
        return fastpw.Concat(branches)

    def nested(self, shape):
        """A chain in a chain; half of them add their input."""
        if self.one_of((False, True)):
            return self.adding(shape, most=1)
        return self.chain(shape, (self.conv1x1, self.depthwise, self.conv2d), most=2)

    def adding(self, shape, most):
        """Adds its input, with up to so many layers between its first and its last."""
        kinds = self.conv1x1, self.conv2d, self.depthwise
        layers = [self.one_of(kinds[:2])(shape, like=self.filters(shape[0] * shape[1]))]
        for _ in range(self.up_to(most + 1) - 1):
            size = (*shape[:2], layers[-1].filters)
            layers.append(self.one_of(kinds)(size, like=size[2]))
        layers.append(self.conv1x1((*shape[:2], layers[-1].filters), like=shape[2]))
        return fastpw.Chain(layers, add_input=True)

    def chain(self, shape, kinds, most):
        layers = []
        for _ in range(1 + self.up_to(most - 1)):
            layers.append(self.one_of(kinds)(shape))
            shape = layers[-1].output_shape(shape)
        return fastpw.Chain(layers)

    def problem(self, side, most):
        """A chain of up to so many layers, two inputs of one shape, and two residuals or Nones."""
        H, W = self.up_to(side), self.up_to(side)
        batch = self.one_of(((), (), (1,), (2,), (3,)))
        shape = (H, W, self.filters(H * W * (sum(batch) or 1)))
        if self.one_of((False, False, False, True)):
            chain = self.adding(shape, most - 2)
        else:
            chain = self.chain(shape, self.kinds(), most)
            if self.one_of((False, False, False, True)):
                chain = fastpw.Chain([*chain.layers, fastpw.GlobalAveragePool()])
        return self.with_inputs(chain, (*batch, *shape))

    def kinds(self):
        often = self.conv1x1, self.depthwise, self.conv2d
        return *often, *often, self.conv1x1, self.pool, self.shuffle, self.concat, self.nested

    def with_inputs(self, chain, shape):
        residuals = [None, None]
        if chain.layers[-1]._adds_residual and not chain.add_input and self.one_of((True, False)):
            residuals = [self.normal(*chain.output_shape(shape)) for _ in range(2)]
        return chain, [self.normal(*shape) for _ in range(2)], residuals

    def pixels(self, lead, most):
        """The same of plain 1x1 layers, which take arrays of any leading axes."""
        layers, first = [], self.filters(400)
        channels = first
        for _ in range(self.up_to(most)):
            layers.append(self.pointwise(channels, self.filters(400)))
            channels = layers[-1].filters
        add_input = self.one_of((False, True))
        if add_input:
            layers.append(self.pointwise(channels, first))
        return self.with_inputs(fastpw.Chain(layers, add_input=add_input), (*lead, first))

    def pointwise(self, C, K):
        return fastpw.Conv1x1(self.normal(K, C, depth=C), **self.epilogue(K))


def bits(array):
    """The numbers as integers: a NaN equals itself only if all its bits do."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def assert_same(chain, inputs, residuals, expected):
    """On two inputs in turn, so that what a call leaves behind is never what the next one needs."""
    case = f"{chain!r} of {inputs[0].shape}, residual {residuals[0] is not None}"
    for threads in (2, 1, 5, 3):
        with fastpw.num_threads(threads):
            results = [chain(x, residual=r) for x, r in zip(inputs, residuals, strict=True)]
            for y, e in zip(results, expected, strict=True):
                np.testing.assert_array_equal(bits(y), bits(e), f"{case}, {threads} threads")
            for x, r, e in zip(inputs, residuals, expected, strict=True):
                out = np.full_like(e, -7)
                assert chain(x, residual=r, out=out) is out
                np.testing.assert_array_equal(bits(out), bits(e), f"{case}, {threads} threads, out")


@pytest.mark.parametrize("most", [2, 3, 5], ids=lambda most: f"{most}layers")
def test_random_chains(most, isa, machine_size, dtype, one_by_one):
    """The first are small, so that the first to fail is a small one."""
    for case in range(CASES):
        maker = Maker(dtype, case, most, *f"{isa}{machine_size}{dtype}".encode())
        chain, inputs, residuals = maker.problem(3 + 61 * case // CASES, most)
        with np.errstate(all="ignore"):
            expected = [one_by_one(chain, x, r) for x, r in zip(inputs, residuals, strict=True)]
        assert chain.output_shape(inputs[0].shape) == expected[0].shape
        assert_same(chain, inputs, residuals, expected)


LEADS = ((1,), (300,), (0,), (3, 40), (2, 0, 3), (2, 9, 8), (3, 5, 4, 3), (2, 1, 3, 2, 30))


@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_chains_of_pixels(lead, dtype, one_by_one):
    for case in range(CASES // len(LEADS)):
        chain, inputs, residuals = Maker(dtype, case, *lead).pixels(lead, 2 + case // 3)
        expected = [one_by_one(chain, x, r) for x, r in zip(inputs, residuals, strict=True)]
        assert_same(chain, inputs, residuals, expected)


def test_blocks_of_networks(block, dtype, rng, one_by_one):
    """Large enough for a team on any machine, the second time on images of another size."""
    for shape in ((2, 37, 29, 12), (50, 23, 12), (3, 14, 14, 12), (1, 7, 61, 12)):
        inputs = [rng.standard_normal(shape).astype(dtype) for _ in range(2)]
        assert_same(block, inputs, (None, None), [one_by_one(block, x) for x in inputs])


def test_channels_that_are_no_multiple_of_anything(dtype, rng, one_by_one):
    """Before and after an expansion and its depthwise convolution: around vectors, tiles, panels."""
    normal = partial(_normal, rng, dtype)
    sizes = (1, 65, 3), (7, 8, 9), (15, 100, 31), (16, 33, 1), (17, 31, 48), (64, 15, 32), (3, 1, 65)
    for C, hidden, K in sizes:
        layers = (
            fastpw.Conv1x1(normal(hidden, C), normal(hidden), activation="relu6"),
            fastpw.DepthwiseConv2d(normal(3, 3, hidden), stride=2, padding=1, activation="hardswish"),
            fastpw.Conv1x1(normal(K, hidden), normal(K)),
        )
        chain, inputs = fastpw.Chain(layers), [normal(2, 15, 13, C) for _ in range(2)]
        residuals = [normal(2, 8, 7, K) for _ in range(2)]
        expected = [one_by_one(chain, x, r) for x, r in zip(inputs, residuals, strict=True)]
        assert_same(chain, inputs, residuals, expected)


def _normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)
