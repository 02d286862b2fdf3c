"""The suite's parameters, and how what fastpw.bench measured becomes pytest-benchmark's figures.

pytest-benchmark times one implementation to its end and then the next, in one process. Here they take turns,
and the peers have processes of their own: so a layer is measured once for all of its tests, by the runner of
`fastpw bench`, and each test replays its calls to pytest-benchmark by a clock that goes forward as they took.
"""

from contextlib import ExitStack

import numpy as np
import pytest

import fastpw
from fastpw.bench import implementations, layers, peers
from fastpw.bench.report import chosen_isa
from fastpw.bench.runner import ROUNDS, Runner
from fastpw.bench.setting import Setting

REPLAYED = 500  # calls at most: evenly spread over all, from the fastest to the slowest


def pytest_addoption(parser):
    group = parser.getgroup("fastpw")
    group.addoption("--threads", type=int, default=fastpw.get_num_threads(), help="of every implementation")
    group.addoption("--kind", choices=layers.KINDS, default="pointwise", help="of the convolutions")
    group.addoption("--layers", metavar="FILE.csv", help="default: the layers of fastpw bench")
    group.addoption("--rounds", type=int, default=ROUNDS, help="in which the implementations take turns")


def pytest_generate_tests(metafunc):
    """First own arrays, then new ones; layer by layer; all implementations of a layer."""
    if "setting" not in metafunc.fixturenames:
        return
    options = metafunc.config.option
    backward = metafunc.function.__name__ == "test_backward"
    settings = [
        Setting(options.threads, backward, new_arrays, kind=options.kind) for new_arrays in (False, True)
    ]
    names = [*implementations.table(settings[0]), *peers.table(settings[0])]
    metafunc.parametrize("setting", settings, ids=["own arrays", "new arrays"])
    metafunc.parametrize("layer", layers.load(options.layers, options.kind), ids=lambda layer: layer.name)
    metafunc.parametrize("implementation", names)


class Clock:
    """Stands still until it is put forward."""

    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=CLOCK))


class Measured:
    """Each layer in each setting, measured when the first of its tests asks.

    Only the implementations that the session's tests name take part, and one runner is there at a time.
    """

    def __init__(self, items, rounds):
        self._rounds = rounds
        self._wanted = {item.callspec.params["implementation"] for item in items if hasattr(item, "callspec")}
        self._stack = ExitStack()
        self._runner = None
        self._results = {}

    def __call__(self, layer, setting):
        """The report so far, and in it the layer's result."""
        if (layer, setting) not in self._results:
            runner = self._runner_for(setting)
            self._results[layer, setting] = runner.report, runner.measure(layer)
        return self._results[layer, setting]

    def _runner_for(self, setting):
        if self._runner is None or self._runner.setting != setting:
            self.close()
            tables = (implementations.table(setting), peers.table(setting))
            chosen = [{name: row for name, row in t.items() if name in self._wanted} for t in tables]
            self._runner = self._stack.enter_context(Runner(setting, *chosen, rounds=self._rounds))
        return self._runner

    def close(self):
        self._stack.close()


@pytest.fixture(scope="session")
def measured(request):
    all_layers = Measured(request.session.items, request.config.option.rounds)
    yield all_layers
    all_layers.close()


@pytest.fixture
def replay(benchmark, measured):
    """Shows pytest-benchmark how an implementation did on a layer."""

    def show(layer, setting, implementation):
        why = peers.absent(setting).get(implementation)
        if why:
            pytest.skip(f"{implementation}: {why}")
        report, result = measured(layer, setting)
        if implementation not in result.timings:
            pytest.skip(report.failures[layer.name, implementation])
        benchmark.group = f"{layer.name}: {setting}"
        benchmark.extra_info.update(
            report.figures(result, implementation),
            threads=setting.threads,
            isa=chosen_isa(setting.dtype),
            shape=[layer.N, layer.H, layer.W, layer.C],
            K=layer.K,
            stride=layer.stride,
            kernel=list(layer.kernel),
            peak_gflops=result.peak_gflops,
        )
        _replay(benchmark, result.timings[implementation].calls)

    return show


def _replay(benchmark, calls):
    chosen = np.unique(np.linspace(0, len(calls) - 1, REPLAYED).astype(int))
    seconds = iter(np.sort(calls)[chosen].tolist())

    def call():
        CLOCK.now += next(seconds)

    benchmark.pedantic(call, rounds=len(chosen))
