"""What promises are tested under: each instruction set of the CPU, one and two threads, both entrances."""

import os
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from pairs import thin

import fastpw
from fastpw import _bounds, _fusion
from fastpw.core import bands, caches, edges, fusing, machine, partition

pytest.register_assert_rewrite("fences")

# Children of the tests find the installed package too, not the folder that they start in.
os.environ["PYTHONSAFEPATH"] = "1"

ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))

settings.register_profile(
    "fastpw",
    deadline=None,
    derandomize=True,
    max_examples=50,
    # The fixtures set the instruction set and the threads, which hold for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("fastpw")


def pytest_collection_modifyitems(config, items):
    items[:], others = thin(items)
    if others:
        config.hook.pytest_deselected(items=others)


@pytest.fixture(params=ISAS)
def isa(request):
    """The instruction set in use."""
    before = next(row["isa"] for row in machine.kernel_sets() if row["chosen"])
    machine.choose_isa(request.param)
    yield request.param
    machine.choose_isa(before)


@pytest.fixture(params=["float32", "float64"])
def kernel_set(request, isa):
    """A set of kernels in use, as `machine.kernel_sets` describes it."""
    return next(row for row in machine.kernel_sets() if (row["isa"], row["dtype"]) == (isa, request.param))


@pytest.fixture(params=[1, 2], ids=["1thread", "2threads"])
def threads(request):
    """The most threads that calls use."""
    fastpw.set_num_threads(request.param)
    yield request.param
    fastpw.set_num_threads(None)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


def _through_layer(x, weight, bias=None, *, residual=None, out=None, **options):
    return fastpw.Conv1x1(weight, bias, **options)(x, residual=residual, out=out)


@pytest.fixture(params=[fastpw.conv1x1, _through_layer], ids=["function", "layer"])
def conv(request):
    """conv1x1, or a layer called with the same arguments (it has no out_z)."""
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


@pytest.fixture
def keeps_promise():
    """Whether a result lies within the promised bound of the reference (same arguments as the call)."""

    def check(result, *arrays, **options):
        return _bounds.excess(result, *_bounds.promise(*arrays, **options)) <= 1

    return check


# ---- chains --------------------------------------------------------------------------------------------


def _one_by_one(layer, x, residual=None):
    """What a chain computes by its definition: its layers, and those of the chains in it, each by itself."""
    if isinstance(layer, fastpw.Chain):
        y = x
        for inner in layer.layers[:-1]:
            y = _one_by_one(inner, y)
        return _one_by_one(layer.layers[-1], y, x if layer.add_input else residual)
    if isinstance(layer, fastpw.Concat):
        return np.concatenate([_one_by_one(inner, x) for inner in layer.layers], axis=-1)
    return layer(x) if residual is None else layer(x, residual=residual)


@pytest.fixture
def one_by_one():
    """The specification of a chain: a function of a layer, its input and its residual."""

    def compute(layer, x, residual=None):
        with fastpw.num_threads(1):
            return _one_by_one(layer, np.ascontiguousarray(x), residual)

    return compute


def _inverted_residual(normal):
    expand = fastpw.Conv1x1(normal(72, 12), normal(72), activation="relu6")
    spatial = fastpw.DepthwiseConv2d(normal(3, 3, 72), normal(72), padding=1, activation="relu6")
    return fastpw.Chain([expand, spatial, fastpw.Conv1x1(normal(12, 72), normal(12))], add_input=True)


def _separable(normal):
    spatial = fastpw.DepthwiseConv2d(normal(5, 5, 12), stride=2, padding="same", activation="hardswish")
    return fastpw.Chain([spatial, fastpw.Conv1x1(normal(40, 12), normal(40), activation="silu")])


def _bottleneck(normal):
    narrow = fastpw.Conv1x1(normal(8, 12), normal(8), activation="relu")
    spatial = fastpw.Conv2d(normal(8, 3, 3, 8), normal(8), padding=1, activation="relu")
    return fastpw.Chain([narrow, spatial, fastpw.Conv1x1(normal(30, 8), activation="relu")])


def _mlp(normal):
    spatial = fastpw.DepthwiseConv2d(normal(7, 7, 12), normal(12), padding=3)
    hidden = fastpw.Conv1x1(normal(48, 12), normal(48), activation="gelu")
    return fastpw.Chain([spatial, hidden, fastpw.Conv1x1(normal(12, 48), normal(12))], add_input=True)


def _shuffled(normal):
    grouped = fastpw.Conv1x1(normal(24, 4), normal(24), groups=3, activation="relu")
    spatial = fastpw.DepthwiseConv2d(normal(3, 3, 24), normal(24), stride=2, padding=((1, 0), (0, 1)))
    layers = grouped, fastpw.ChannelShuffle(3), spatial, fastpw.Conv1x1(normal(18, 8), groups=3)
    return fastpw.Chain(layers)


def _stem(normal):
    first = fastpw.Conv2d(normal(9, 3, 3, 12), normal(9), stride=2, padding="same", activation="silu")
    layers = (
        first,
        fastpw.Conv2d(normal(20, 3, 3, 9), activation="relu"),
        fastpw.MaxPool2d(3, stride=2, padding=1),
    )
    return fastpw.Chain(layers)


def _classifier(normal):
    inner = fastpw.Chain([_inverted_residual(normal), fastpw.AveragePool2d(2, stride=1)])
    layers = inner, fastpw.Conv1x1(normal(50, 12), activation="hardswish"), fastpw.GlobalAveragePool()
    return fastpw.Chain([*layers, fastpw.Conv1x1(normal(7, 50), normal(7))])


def _inception(normal):
    factored = (
        fastpw.Conv2d(normal(6, 1, 7, 12), padding="same"),
        fastpw.Conv2d(normal(5, 7, 1, 6), padding=(3, 0)),
    )
    pooled = fastpw.MaxPool2d(3, stride=1, padding=1), fastpw.Conv1x1(normal(4, 12), activation="relu")
    branches = fastpw.Conv1x1(normal(3, 12), normal(3)), fastpw.Chain(factored), fastpw.Chain(pooled)
    return fastpw.Chain([fastpw.Concat(branches), fastpw.Conv1x1(normal(12, 12), normal(12))])


BLOCKS = {
    maker.__name__[1:]: maker
    for maker in (
        _inverted_residual, _separable, _bottleneck, _mlp, _shuffled, _stem, _classifier, _inception
    )
}  # fmt: skip


@pytest.fixture
def blocks():
    """Makers of chains of real networks for 12 channels: functions of a dtype, by name."""

    def of(name, dtype=np.float32):
        rng = np.random.default_rng(7)
        return BLOCKS[name](lambda *shape: (rng.standard_normal(shape) / 2).astype(dtype))

    return {name: partial(of, name) for name in BLOCKS}


@pytest.fixture(params=BLOCKS)
def block(request, blocks, dtype):
    """Each of them in turn."""
    return blocks[request.param](dtype)


@pytest.fixture(params=["usual", "tiny"])
def machine_size(request, monkeypatch):
    """The machine as it is, or one with caches so small that the least work is cut, and shared out."""
    if request.param == "tiny":
        monkeypatch.setattr(partition, "CACHES", caches.Caches(8 << 10, 64 << 10))
        monkeypatch.setattr(partition, "SMALL_B_BYTES", 4 << 10)
        for module in partition, bands:
            monkeypatch.setattr(module, "SMALL_WORK", 0)
            monkeypatch.setattr(module, "TASK_WORK", 1 << 8)
        # Nearly all layers that can run as one do so, in many bands, some rows of which are computed twice.
        monkeypatch.setattr(fusing, "SMALL_WORK", 0)
        monkeypatch.setattr(fusing, "SCRATCH_BYTES", 32 << 10)
        monkeypatch.setattr(_fusion, "SMALL_BETWEEN", 0)
        monkeypatch.setattr(_fusion, "LEAST_PIXELS", 0)
        monkeypatch.setattr(_fusion, "MOST_WORK", 1 << 30)
        monkeypatch.setattr(_fusion, "MOST_REPEATED", 10)
    forget_cuts()
    yield request.param
    monkeypatch.undo()
    forget_cuts()


def forget_cuts():
    """What was found for other constants."""
    for module in partition, bands, edges, fusing:
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()


@pytest.fixture
def quick_bench(monkeypatch):
    """The benchmarks' runner, in a moment: one call a round, one round, no look at the memory."""
    runner = pytest.importorskip("fastpw.bench.runner")
    monkeypatch.setattr(runner, "ROUNDS", 1)
    monkeypatch.setattr(runner, "SECONDS", 0.0)
    monkeypatch.setattr(runner.roofs, "memory_bandwidth", lambda threads: 1e10)
    return runner
