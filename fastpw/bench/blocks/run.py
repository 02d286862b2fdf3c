"""Measures blocks, one after the other, into a BlockReport."""

from __future__ import annotations

from fastpw.bench.blocks import graph, memory, own
from fastpw.bench.blocks.parts import Block
from fastpw.bench.blocks.report import BlockReport, BlockResult
from fastpw.bench.peers import OF_POINTWISE_BLOCKS, Peer
from fastpw.bench.runner import Runner
from fastpw.bench.setting import Setting


class BlockRunner(Runner):
    """As a Runner, but of blocks; all of fastpw's ways take part."""

    report: BlockReport

    def __init__(self, setting: Setting, peers_: dict[str, Peer], rounds: int | None = None) -> None:
        super().__init__(setting, own.TABLE, peers_, rounds)

    def _new_report(self, implementations, peers_, absent) -> BlockReport:
        return BlockReport(self.setting, implementations, peers_, absent)

    def measure(self, layer: Block) -> BlockResult:
        """Check and time everyone on a block, then measure the memory of fastpw's ways."""
        timings, peak = self._time(layer)
        peaks = {way: memory.peak(layer, self.setting, way) for way in own.TABLE}
        result = BlockResult(layer, self.setting, timings, peak, peaks)
        self.report.results.append(result)
        return result

    def _able(self, layer):
        able = super()._able(layer)
        if graph.of(layer).pointwise:
            return able
        return [one for one in able if one.name not in OF_POINTWISE_BLOCKS]
