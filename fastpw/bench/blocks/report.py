"""The account of a run on blocks: a result for each, and the means of each family."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastpw.bench.blocks import graph, own
from fastpw.bench.blocks.parts import Block
from fastpw.bench.report import Report, Result

OWN: tuple[str, ...] = tuple(own.TABLE)  # the implementations that are fastpw's
CHAINS, LAYERS = OWN


@dataclass
class BlockResult(Result):
    """One block's timings, and the peak memory of fastpw's ways, in bytes, where the system tells it."""

    layer: Block
    memory: dict[str, int | None]

    @property
    def flops(self) -> int:
        return graph.of(self.layer).flops

    @property
    def best_peer(self) -> str | None:
        """The fastest that is not fastpw; None where there is none."""
        others = [name for name in self.timings if name not in OWN]
        return min(others, key=lambda name: self.timings[name].best, default=None)

    def speedup_over(self, name: str | None) -> float | None:
        """How many times faster fastpw's chains are, where that implementation was timed."""
        return None if name not in self.timings else self.speedup(name)

    def memory_ratio(self) -> float | None:
        """The memory of the chains as a share of that layer by layer."""
        chains, layers = (self.memory.get(way) for way in OWN)
        return None if chains is None or layers is None else chains / layers


class BlockReport(Report):
    """What one run measured."""

    results: list[BlockResult]

    def families(self) -> dict[str, list[BlockResult]]:
        """The results of each family, and in the end those of all."""
        families: dict[str, list[BlockResult]] = {}
        for result in self.results:
            families.setdefault(result.layer.family, []).append(result)
        return families if len(families) == 1 else {**families, "all": self.results}

    def means(self, results: list[BlockResult]) -> dict[str, Any]:
        """Geometric means over some blocks; each over those that have the figure, None if none has it."""
        return {
            "blocks": len(results),
            "fraction_of_peak": _mean(results, BlockResult.fraction),
            "speedup": {
                name: _mean(results, lambda result, name=name: result.speedup_over(name))
                for name in self.others
            },
            "speedup_over_best_peer": _mean(results, lambda result: result.speedup_over(result.best_peer)),
            "memory_ratio": _mean(results, BlockResult.memory_ratio),
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain numbers and strings, for JSON."""
        return {
            **self._run_as_dict(),
            "families": {name: self.means(results) for name, results in self.families().items()},
            "blocks": [self._row(result) for result in self.results],
        }

    def _row(self, result):
        best = result.best_peer
        return {
            "block": result.layer.name,
            "family": result.layer.family,
            "shape": list(result.layer.shape),
            "flops": result.flops,
            "peak_gflops": result.peak_gflops,
            "best_peer": best,
            "speedup_over_best_peer": result.speedup_over(best),
            "peak_memory_bytes": result.memory,
            "implementations": {name: self.figures(result, name) for name in result.timings},
        }

    def figures(self, result: Result, name: str) -> dict[str, float]:
        """One implementation's on one block."""
        timing = result.timings[name]
        return {
            "best_seconds": timing.best,
            "median_seconds": timing.median,
            "gflops": result.gflops(name),
            "fraction_of_peak": result.fraction(name),
        }


def _mean(results: Iterable[BlockResult], figure: Callable[[BlockResult], float | None]) -> float | None:
    known = [value for value in map(figure, results) if value is not None]
    return statistics.geometric_mean(known) if known else None
