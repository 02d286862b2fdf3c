"""fastpw bench: measure, show a table, write the files that were asked for."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastpw.bench import implementations, peers, plot, table
from fastpw.bench.layers import Layer
from fastpw.bench.runner import Runner
from fastpw.bench.setting import Setting


def main(
    chosen: Sequence[Layer],
    setting: Setting,
    with_peers: bool = False,
    json_path: str | None = None,
    plot_path: str | None = None,
) -> int:
    """Measure these layers in this setting; returns the exit status."""
    report = _measure(chosen, setting, peers.table(setting) if with_peers else {})
    rows = table.render(report)
    console = Console()
    if not console.is_terminal:
        console.width = 1000
        console.width = console.measure(rows).maximum
    _say(console, table.title(report), "italic")
    console.print(rows)
    for note in table.notes(report):
        _say(console, note)
    _say(console, table.summary(report), "bold")
    if json_path:
        Path(json_path).write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    if plot_path:
        plot.save(report, plot_path)
    return 0


def _say(console, text, style=None):
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _measure(chosen, setting, peers_):
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # (no refresh in the background: its thread would take a core from whoever is being timed)
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("measuring the machine", total=len(chosen))
        progress.refresh()
        with Runner(setting, implementations.shown(setting), peers_) as runner:
            for layer in chosen:
                progress.update(task, description=layer.name, refresh=True)
                runner.measure(layer)
                progress.update(task, advance=1, refresh=True)
    return runner.report
