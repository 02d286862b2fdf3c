"""The account of a run: a Result per layer, the roofs of the same run, and what follows from them."""

import datetime
import platform
import re
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import fastpw
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.bench.timing import Timing
from fastpw.core import machine


@dataclass
class Result:
    """One layer's timings, by implementation; a peer that failed on it has none."""

    layer: Layer
    setting: Setting
    timings: dict[str, Timing]
    peak_gflops: float  # of the FMA peak's turns beside them: the clock, and who else uses the core, change
    # The share of wrong outputs of a peer that has some.
    wrong: dict[str, float] = field(default_factory=dict, kw_only=True)

    @property
    def flops(self) -> int:
        return self.setting.flops(self.layer)

    @property
    def bytes(self) -> int:
        return self.setting.bytes(self.layer)

    @property
    def intensity(self) -> float:
        return self.setting.intensity(self.layer)

    @property
    def best_other(self) -> str:
        """The fastest that is not fastpw: that is right, and is not fastpw in float32, if there is one."""
        others = [name for name in self.timings if name != "fastpw"]
        right = [name for name in others if name not in self.wrong and not name.startswith("fastpw ")]
        return min(right or others, key=lambda name: self.timings[name].best)

    def gflops(self, name: str = "fastpw") -> float:
        return self.flops / self.timings[name].best / 1e9

    def fraction(self, name: str = "fastpw") -> float:
        """Of the FMA peak."""
        return self.gflops(name) / self.peak_gflops

    def speedup(self, over: str, name: str = "fastpw") -> float:
        return self.timings[over].best / self.timings[name].best


class Report:
    """What one run measured."""

    def __init__(
        self, setting: Setting, implementations: list[str], peers: list[str], absent: dict[str, str]
    ) -> None:
        self.setting = setting
        self.implementations = implementations  # names, peers included
        self.peers = peers
        self.absent = absent  # why a peer took no part, by name
        self.failures: dict[tuple[str, str], str] = {}  # why a peer failed, by the names of layer and peer
        self.results: list[Result] = []
        self.peak_gflops: float = 0.0
        self.bandwidth_gbs: float = 0.0

    @property
    def others(self) -> list[str]:
        """The implementations that fastpw is compared with."""
        return [name for name in self.implementations if name != "fastpw"]

    def timed(self, name: str) -> list[Result]:
        """The layers that this implementation computed."""
        return [result for result in self.results if name in result.timings]

    def most_wrong(self, name: str) -> tuple[int, float]:
        """The number of layers of which it gets outputs wrong, and the largest share of a layer's."""
        shares = [result.wrong[name] for result in self.results if name in result.wrong]
        return len(shares), max(shares, default=0.0)

    def mean_fraction(self, name: str = "fastpw") -> float | None:
        """Of the FMA peak, the geometric mean over the layers."""
        return _mean(result.fraction(name) for result in self.timed(name))

    def mean_speedup(self, over: str) -> float | None:
        """How many times faster fastpw is, the geometric mean over the layers."""
        return _mean(result.speedup(over) for result in self.timed(over))

    def mean_speedup_over_best(self) -> float | None:
        """The same over whoever of the others is the fastest on each layer."""
        return _mean(result.speedup(result.best_other) for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain numbers and strings, for JSON."""
        return {
            **self._run_as_dict(),
            "bandwidth_gbs": self.bandwidth_gbs,
            "mean_fraction_of_peak": {name: self.mean_fraction(name) for name in self.implementations},
            "mean_speedup": {name: self.mean_speedup(name) for name in self.others},
            "mean_speedup_over_best": self.mean_speedup_over_best(),
            "layers": [self._row(result) for result in self.results],
        }

    def _run_as_dict(self):
        """Where and how it was measured, and who does not count."""
        return {
            "fastpw": fastpw.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.platform(),
            "processor": _processor(),
            "packages": dict(_packages()),
            "date": datetime.date.today().isoformat(),
            "compiler": machine.compiler(),
            "isa": chosen_isa(self.setting.dtype),
            **asdict(self.setting),
            "peak_gflops": self.peak_gflops,
            "absent": self.absent,
            "failures": [[*names, reason] for names, reason in self.failures.items()],
        }

    def _row(self, result):
        layer = result.layer
        return {
            "layer": layer.name,
            "shape": [layer.N, layer.H, layer.W, layer.C],
            "K": layer.K,
            "stride": layer.stride,
            "kernel": list(layer.kernel),
            "flops": result.flops,
            "bytes": result.bytes,
            "peak_gflops": result.peak_gflops,
            "best_other": result.best_other,
            "wrong": result.wrong,
            "implementations": {name: self.figures(result, name) for name in result.timings},
        }

    def figures(self, result: Result, name: str) -> dict[str, float]:
        """One implementation's on one layer."""
        timing = result.timings[name]
        return {
            "best_seconds": timing.best,
            "median_seconds": timing.median,
            "gflops": result.gflops(name),
            "fraction_of_peak": result.fraction(name),
            "gbs": result.bytes / timing.best / 1e9,
        }


def _mean(ratios):
    ratios = list(ratios)
    return statistics.geometric_mean(ratios) if ratios else None


def _processor(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The CPU's own name, where the system tells it; else its architecture."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path(cpuinfo).read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _packages() -> Iterator[tuple[str, str]]:
    """The versions of the peers that are installed."""
    for name in ("ai-edge-litert", "torch", "onnxruntime", "openvino"):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def chosen_isa(dtype: str) -> str:
    """The instruction set of the kernels in use."""
    if dtype == "int8":
        return next(row["isa"] for row in machine.integer_sets() if row["chosen"])
    return next(row["isa"] for row in machine.kernel_sets() if row["chosen"] and row["dtype"] == dtype)
