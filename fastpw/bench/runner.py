"""Measures the layers, one after the other, and keeps the account."""

import platform
import statistics
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import threadpoolctl

import fastpw
from fastpw.bench import roofs
from fastpw.bench.layers import Layer
from fastpw.bench.problem import Problem
from fastpw.bench.timing import Timing, interleave
from fastpw.core import passes

ROUNDS = 10
SECONDS = 0.03  # of each implementation in each round


@dataclass
class Result:
    """One layer's timings, by implementation."""

    layer: Layer
    timings: dict[str, Timing]

    def gflops(self, name):
        return self.layer.flops / self.timings[name].best / 1e9

    def speedup(self, over, name="fastpw"):
        return self.timings[over].best / self.timings[name].best


class Report:
    """What one run measured: a Result per layer, and the roofs of the same run."""

    def __init__(self, implementations, threads):
        self.implementations = implementations
        self.threads = threads
        self.results = []
        self.peak_gflops = 0.0
        self.bandwidth_gbs = roofs.memory_bandwidth(threads) / 1e9
        self._peak_run, self._peak_flops = roofs.fma_peak(threads)

    @property
    def others(self):
        """The implementations that fastpw is compared with."""
        return [name for name in self.implementations if name != "fastpw"]

    def measure(self, layer):
        """Check every implementation on a layer, time them in turn, and check them again."""
        problem = Problem(layer)
        runs = {name: prepare(problem) for name, prepare in self.implementations.items()}
        for name, run in runs.items():
            problem.check(run(), name)
        timings = interleave({"peak": self._peak_run, **runs}, ROUNDS, SECONDS)
        for name, run in runs.items():
            problem.check(run(), name)
        self.peak_gflops = max(self.peak_gflops, self._peak_flops / timings.pop("peak").best / 1e9)
        self.results.append(Result(layer, timings))

    def fraction(self, result, name="fastpw"):
        """Of the FMA peak."""
        return result.gflops(name) / self.peak_gflops

    def mean_fraction(self, name="fastpw"):
        return statistics.geometric_mean(self.fraction(result, name) for result in self.results)

    def mean_speedup(self, over):
        return statistics.geometric_mean(result.speedup(over) for result in self.results)

    def as_dict(self):
        """All of it in plain numbers and strings, for JSON."""
        return {
            "fastpw": fastpw.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.platform(),
            "compiler": passes.compiler(),
            "isa": chosen_isa(),
            "threads": self.threads,
            "peak_gflops": self.peak_gflops,
            "bandwidth_gbs": self.bandwidth_gbs,
            "mean_fraction_of_peak": {name: self.mean_fraction(name) for name in self.implementations},
            "mean_speedup": {name: self.mean_speedup(name) for name in self.others},
            "layers": [self._row(result) for result in self.results],
        }

    def _row(self, result):
        layer = result.layer
        return {
            "layer": layer.name,
            "shape": [layer.N, layer.H, layer.W, layer.C],
            "K": layer.K,
            "stride": layer.stride,
            "flops": layer.flops,
            "bytes": layer.bytes,
            "implementations": {
                name: {
                    "best_seconds": timing.best,
                    "median_seconds": timing.median,
                    "gflops": result.gflops(name),
                    "fraction_of_peak": self.fraction(result, name),
                }
                for name, timing in result.timings.items()
            },
        }


def chosen_isa():
    """The instruction set of the float32 kernels in use."""
    return next(row["isa"] for row in passes.kernel_sets() if row["chosen"] and row["dtype"] == "float32")


@contextmanager
def threads_held(threads):
    """fastpw and the BLAS of NumPy on that many threads."""
    with threadpoolctl.threadpool_limits(threads, "blas"), fastpw.num_threads(threads):
        yield
