"""What promises are tested under: each instruction set of the CPU, one and two threads, both entrances."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fastpw
from fastpw import _bounds
from fastpw.core import machine

# Children of the tests find the installed package too, not the folder that they start in.
os.environ["PYTHONSAFEPATH"] = "1"

ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))

settings.register_profile(
    "fastpw",
    deadline=None,
    derandomize=True,
    max_examples=100,
    # The fixtures set the instruction set and the threads, which hold for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("fastpw")


@pytest.fixture(params=ISAS)
def isa(request):
    """The instruction set in use."""
    before = next(row["isa"] for row in machine.kernel_sets() if row["chosen"])
    machine.choose_isa(request.param)
    yield request.param
    machine.choose_isa(before)


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


@pytest.fixture
def quick_bench(monkeypatch):
    """The benchmarks' runner, in a moment: one call a round, one round, no look at the memory."""
    runner = pytest.importorskip("fastpw.bench.runner")
    monkeypatch.setattr(runner, "ROUNDS", 1)
    monkeypatch.setattr(runner, "SECONDS", 0.0)
    monkeypatch.setattr(runner.roofs, "memory_bandwidth", lambda threads: 1e10)
    return runner
