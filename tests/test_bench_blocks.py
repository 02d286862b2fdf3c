"""fastpw bench --blocks: the blocks and networks, their reference, and fastpw's ways to compute them."""

import math

import numpy as np
import pytest

from fastpw import reference
from fastpw.bench.blocks import catalogue, expected, graph, memory, own
from fastpw.bench.blocks.buffers import Buffers
from fastpw.bench.blocks.graph import Graph
from fastpw.bench.blocks.parts import (
    Block,
    Channels,
    Convolution,
    Depthwise,
    GlobalAverage,
    Pool,
    Shuffle,
    branches,
    sequence,
)
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.setting import Setting

SETTING = Setting(kind="block")
BY_NAME = {block.name: block for block in catalogue.load()}


def tiny(name, body, height=6, width=8, channels=8):
    return Block(f"tiny.{name}", "tiny", (1, height, width, channels), body)


# One of each family, with padding that is odd, even or none, and images that are not square.
TINY = [
    tiny("mlp", catalogue.convnext_mlp(8), 3, 5),
    tiny("mlpconv", catalogue.mlpconv(8, 16)),
    tiny("bottleneck", catalogue.bottleneck(2)),
    tiny("projected", catalogue.bottleneck(4, stride=2, project=True)),
    tiny("projected_odd", catalogue.bottleneck(4, stride=2, project=True), 7, 8),
    tiny("inception", catalogue.inception_a(3)),
    tiny("reduction", catalogue.inception_reduction(), 7, 9),
    tiny("separable", catalogue.separable(16, stride=2)),
    tiny("inverted", catalogue.inverted_residual(8, 8)),
    tiny("shuffle1", catalogue.shuffle_v1(24), channels=24),
    tiny("shuffle2", catalogue.shuffle_v2(8)),
    tiny(
        "twice_added",
        sequence(
            Convolution(4),
            sequence(sequence(Convolution(4), Convolution(4), added="input"), Convolution(4), added="input"),
        ),
    ),
    tiny("network1", catalogue.mobilenet_v1(10), 32, 32, 3),
    tiny("network2", catalogue.mobilenet_v2(10), 32, 32, 3),
]


def name_of(block):
    return block.name


# ---- the blocks ------------------------------------------------------------------------------------------


def test_blocks_are_of_all_families():
    assert len(BY_NAME) == len(catalogue.BLOCKS) == 22
    assert list(dict.fromkeys(block.family for block in catalogue.BLOCKS)) == [
        "inverted residuals", "depthwise-separable", "bottlenecks", "MLPs", "Inception", "ShuffleNet",
        "networks",
    ]  # fmt: skip
    assert set(catalogue.networks()) == {
        "mobilenetv1", "mobilenetv2", "resnet50", "nin", "convnext_t", "inceptionv3", "shufflenetv1",
        "shufflenetv2",
    }  # fmt: skip


@pytest.mark.parametrize("name, millions", [("mobilenetv1.network", 569), ("mobilenetv2.network", 300)])
def test_networks_have_the_multiply_adds_of_their_papers(name, millions):
    assert graph.of(BY_NAME[name]).flops / 2e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize("name, weights", [
    ("mobilenetv1.network", 4.2e6), ("mobilenetv2.network", 3.4e6), ("resnet50.56.256", 69.6e3),
])  # fmt: skip
def test_networks_have_the_parameters_of_their_papers(name, weights):
    counted = sum(math.prod(node.weight_shape) for _, node in graph.of(BY_NAME[name]).convolutions())
    assert counted == pytest.approx(weights, rel=0.03)


@pytest.mark.parametrize("name, shape", [
    ("mobilenetv2.112.16-24s", (1, 56, 56, 24)),
    ("mobilenetv2.7.160-160", (1, 7, 7, 160)),
    ("resnet50.56.256-512s", (1, 28, 28, 512)),
    ("inceptionv3.5b", (1, 35, 35, 256)),
    ("inceptionv3.6a", (1, 17, 17, 768)),
    ("shufflenetv2.28.116", (1, 28, 28, 116)),
    ("mobilenetv2.network", (1, 1000)),
])  # fmt: skip
def test_results_have_the_shapes_of_their_papers(name, shape):
    assert graph.of(BY_NAME[name]).shape == shape


def test_chosen_are_those_with_the_name():
    assert catalogue.chosen([], None) == list(catalogue.BLOCKS)
    assert [block.name for block in catalogue.chosen(["14.1024", "5B"], None)] == [
        "resnet50.14.1024", "inceptionv3.5b",
    ]  # fmt: skip
    assert {block.family for block in catalogue.chosen(["inverted"], None)} == {"inverted residuals"}
    assert [block.name for block in catalogue.chosen(["networks"], ["mobilenetv1"])] == [
        "mobilenetv1.network"
    ]


def test_a_graph_refuses_a_shortcut_that_nothing_adds():
    with pytest.raises(AssertionError, match="cannot add a shortcut"):
        Graph(tiny("wrong", sequence(Convolution(8), Shuffle(2), added="input")))


# ---- the reference ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [
    Convolution(6, (3, 3), activation=None),
    Convolution(6, (3, 3), 2),
    Convolution(6, (1, 3), 2, "valid", 2, "relu6"),
    Convolution(6, groups=2, activation="gelu"),
    Depthwise(2, (5, 5)),
], ids=str)  # fmt: skip
def test_convolution_is_the_references(part):
    problem = BlockProblem(tiny("one", part, 7, 6), SETTING)
    ((_, node),) = problem.graph.convolutions()
    ((kernel, bias),) = problem.weights.values()
    options = {"stride": node.part.stride, "padding": node.part.padding, "groups": node.part.groups}
    y = reference.conv2d(problem.x, kernel, bias, activation=node.part.activation, **options)
    np.testing.assert_allclose(problem.expected.exact, y, rtol=1e-12, atol=1e-14)


def test_reference_follows_shortcuts_and_branches():
    body = sequence(
        branches(Channels(0, 3), sequence(Channels(3, 8), Convolution(5, activation=None))),
        Shuffle(2),
        Pool("average", 2),
        Convolution(8, activation="relu", groups=2),
        added=Pool("maximum", 2),
    )
    problem = BlockProblem(tiny("all", body), SETTING)
    x = problem.x.astype(np.float64)
    (one, one_bias), (two, two_bias) = problem.weights.values()
    y = np.concatenate([x[..., :3], x[..., 3:] @ one[:, 0, 0].T + one_bias], axis=-1)
    y = reference.average_pool2d(y[..., [0, 4, 1, 5, 2, 6, 3, 7]], 3, 2, "same")
    y = reference.conv1x1(
        y, two, two_bias, groups=2, activation="relu", weight_layout="OHWI",
        residual=reference.max_pool2d(x, 3, 2, "same"),
    )  # fmt: skip
    np.testing.assert_allclose(problem.expected.exact, y, rtol=1e-12, atol=1e-14)


def test_global_average():
    problem = BlockProblem(tiny("mean", GlobalAverage()), SETTING)
    np.testing.assert_allclose(problem.expected.exact, problem.x.astype(np.float64).mean(axis=(1, 2)))


@pytest.mark.parametrize("block", TINY, ids=name_of)
def test_errors_of_float32_lie_within_the_allowed_and_not_far_below(block):
    """As NumPy's float32 makes them: the allowed is neither passed nor so wide that it finds nothing."""
    problem = BlockProblem(block, SETTING)
    exact, error = problem.expected
    y = own.chains(problem)()
    scale = np.sqrt(np.mean(np.square(exact)))
    assert np.abs(y - exact).max() > 0
    assert (np.abs(y - exact) <= expected.LIMIT * error).all()
    assert expected.LIMIT * error.max() < 1e-3 * max(scale, np.abs(exact).max())


@pytest.mark.parametrize("spoil", ["scaled", "one channel", "an edge", "left out"])
@pytest.mark.parametrize("block", TINY, ids=name_of)
def test_check_finds_a_wrong_result(block, spoil):
    problem = BlockProblem(block, SETTING)
    y = own.chains(problem)().copy()
    problem.check(y, "mine")
    largest = np.unravel_index(np.argmax(y), y.shape)
    if spoil == "scaled":
        y *= np.float32(1.01)
    elif spoil == "one channel":
        y[..., largest[-1]] = y[..., (largest[-1] + 1) % y.shape[-1]]
    elif spoil == "an edge":
        y[0, -1] = y[0, 0]
    else:
        y[largest] = np.nan
    with pytest.raises(ArithmeticError, match=rf"{block.name}: .*mine"):
        problem.check(y, "mine")


# ---- fastpw ----------------------------------------------------------------------------------------------


# Others of their family have the same operations, in a fraction of the time.
LARGE = ("convnext_t.56.96", "resnet50.56.256", "mobilenetv2.14.96-96")


@pytest.mark.parametrize("block", [b for b in (*catalogue.BLOCKS, *TINY) if b.name not in LARGE], ids=name_of)
def test_chains_are_right_and_have_the_bits_of_their_layers(block):
    problem = BlockProblem(block, SETTING)
    chains, layers = (prepare(problem) for prepare in own.TABLE.values())
    chains(), layers()  # what they leave in memory of their own must not show
    problem.check(chains(), "fastpw")
    np.testing.assert_array_equal(chains(), layers())


@pytest.mark.parametrize("block", TINY, ids=name_of)
@pytest.mark.parametrize("name", own.TABLE)
def test_new_arrays_are_new_and_the_same(block, name):
    problem = BlockProblem(block, Setting(kind="block", new_arrays=True))
    run = own.TABLE[name](problem)
    y, again = run(), run()
    assert not np.shares_memory(y, again)
    np.testing.assert_array_equal(y, own.TABLE[name](BlockProblem(block, SETTING))())


@pytest.mark.parametrize("block", [*catalogue.BLOCKS, *TINY], ids=name_of)
def test_results_that_are_needed_at_a_time_lie_apart(block):
    """Every result still holds what its node wrote when the last of its readers comes."""
    of_block = Graph(block)
    buffers = Buffers(of_block)
    x, y = np.zeros(block.shape, np.int32), np.zeros(of_block.shape, np.int32)
    views = buffers.views(np.zeros(buffers.size, np.int32), x, y)
    for number, node in enumerate(of_block.nodes):
        for read in node.inputs:
            written = _writer(of_block, read)
            assert (views[read] == written).all() or written is None, f"node {number} reads {read}"
        if _writer(of_block, number) == number:
            views[number][...] = number
    assert x.max() == 0


def _writer(of_block, number):
    """The node that writes a result, or None where several do."""
    part = of_block.nodes[number].part
    if isinstance(part, Channels):
        return _writer(of_block, of_block.nodes[number].inputs[0])
    return None if type(part).__name__ == "Branches" else number


def test_memory_is_used_again():
    def needed(name):
        return 4 * Buffers(graph.of(BY_NAME[name])).size

    hidden = 4 * 56 * 56 * 144
    assert needed("mobilenetv2.56.24-24") == 2 * hidden  # before and after the depthwise convolution
    assert needed("nin.55.96") == 4 * 55 * 55 * 96
    assert needed("mobilenetv2.network") == 4 * 112 * 112 * 96 + 4 * 56 * 56 * 96


@pytest.mark.skipif(not memory.measurable(), reason="the system does not tell")
def test_peak_memory_is_that_of_the_arrays():
    block = tiny("wide", sequence(Convolution(64), Depthwise(), Convolution(16)), 64, 64, 16)
    arrays = 4 * 64 * 64 * (16 + 2 * 64 + 16)
    measured = memory.peak(block, SETTING, "fastpw layers")
    assert arrays <= measured <= arrays + (128 << 10)
    single = tiny("single", sequence(Convolution(64)), 64, 64, 16)
    arrays = 4 * 64 * 64 * (16 + 64)
    assert arrays <= memory.peak(single, SETTING, "fastpw") <= arrays + (128 << 10)


@pytest.mark.skipif(not memory.measurable(), reason="the system does not tell")
def test_peak_memory_counts_what_is_freed_before_the_end():
    block = tiny("freed", catalogue.shuffle_v2(64), 64, 64, 64)
    before_the_shuffle = result = x = 4 * 64 * 64 * 64
    assert memory.peak(block, SETTING, "fastpw") >= x + before_the_shuffle + result


@pytest.mark.skipif(not memory.measurable(), reason="the system does not tell")
def test_memory_says_that_its_process_failed():
    with pytest.raises(RuntimeError, match=r"tiny\.none: the process that measures the memory"):
        memory.peak(tiny("none", Pool("median")), SETTING, "fastpw")


def test_memory_is_unknown_elsewhere(monkeypatch):
    monkeypatch.setattr(memory, "measurable", lambda: False)
    assert memory.peak(TINY[0], SETTING, "fastpw") is None
