"""The account of a run on networks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastpw.bench.networks.model import Model
from fastpw.bench.report import Report, Result


class Account(NamedTuple):
    """What an implementation took from the file to its first answer, and how far that was from float64's.

    Attributes
    ----------
    seconds : float
    bytes : int or None
        The most memory at a time; None where the system does not tell.
    difference : float
        As a part of the largest output.
    """

    seconds: float
    bytes: int | None
    difference: float


@dataclass
class ModelResult(Result):
    """One network's timings, and the accounts of how everyone started."""

    layer: Model
    accounts: dict[str, Account]

    @property
    def flops(self) -> int:
        return self.layer.flops

    @property
    def best_peer(self) -> str | None:
        """The fastest that is not fastpw; None where there is none."""
        others = [name for name in self.timings if name != "fastpw"]
        return min(others, key=lambda name: self.timings[name].best, default=None)

    def speedup_over(self, name: str | None) -> float | None:
        """How many times faster fastpw is, where that implementation was timed."""
        return None if name not in self.timings else self.speedup(name)


class ModelReport(Report):
    """What one run measured."""

    results: list[ModelResult]

    def mean_speedup(self, over: str) -> float | None:
        return mean(result.speedup_over(over) for result in self.results)

    def mean_speedup_over_best(self) -> float | None:
        return mean(result.speedup_over(result.best_peer) for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain numbers and strings, for JSON."""
        return {
            **self._run_as_dict(),
            "mean_fraction_of_peak": self.mean_fraction(),
            "mean_speedup": {name: self.mean_speedup(name) for name in self.others},
            "mean_speedup_over_best_peer": self.mean_speedup_over_best(),
            "networks": [self._row(result) for result in self.results],
        }

    def _row(self, result):
        best = result.best_peer
        return {
            "network": result.layer.name,
            "shapes": [list(shape) for shape in result.layer.shapes],
            "flops": result.flops,
            "peak_gflops": result.peak_gflops,
            "best_peer": best,
            "speedup_over_best_peer": result.speedup_over(best),
            "implementations": {name: self.figures(result, name) for name in result.timings},
        }

    def figures(self, result: Result, name: str) -> dict[str, Any]:
        """One implementation's on one network."""
        assert isinstance(result, ModelResult)
        timing, account = result.timings[name], result.accounts[name]
        return {
            "best_seconds": timing.best,
            "median_seconds": timing.median,
            "gflops": result.gflops(name),
            "fraction_of_peak": result.fraction(name),
            "load_seconds": account.seconds,
            "peak_memory_bytes": account.bytes,
            "difference": account.difference,
        }


def mean(ratios: Iterable[float | None]) -> float | None:
    """The geometric mean of those that are known."""
    known = [ratio for ratio in ratios if ratio is not None]
    return statistics.geometric_mean(known) if known else None
