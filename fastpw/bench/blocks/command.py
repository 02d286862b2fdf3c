"""fastpw bench --blocks: measure, show two tables, write the files that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

from fastpw.bench import peers
from fastpw.bench.blocks import plot, table
from fastpw.bench.blocks.parts import Block
from fastpw.bench.blocks.run import BlockRunner
from fastpw.bench.command import measure, show_tables, write_json
from fastpw.bench.setting import Setting


def main(
    chosen: Sequence[Block],
    setting: Setting,
    with_peers: bool = False,
    json_path: str | None = None,
    plot_path: str | None = None,
) -> int:
    """Measure these blocks in this setting; returns the exit status."""
    runner = BlockRunner(setting, peers.table(setting) if with_peers else {})
    measure(runner, chosen)
    report = runner.report
    show_tables(report, table.title(report), [table.of_blocks(report), table.of_families(report)])
    write_json(report, json_path)
    if plot_path:
        plot.save(report, plot_path)
    return 0
