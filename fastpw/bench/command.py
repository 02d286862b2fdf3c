"""fastpw bench: measure, show a table, write the files that were asked for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastpw.bench import implementations, peers, plot, table
from fastpw.bench.layers import Layer
from fastpw.bench.report import Report
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
    runner = Runner(setting, implementations.shown(setting), peers.table(setting) if with_peers else {})
    report = measure(runner, chosen)
    console = wide_console(table.render(report))
    say(console, table.title(report), "italic")
    console.print(table.render(report))
    for note in table.notes(report):
        say(console, note)
    say(console, table.summary(report), "bold")
    write_json(report, json_path)
    if plot_path:
        plot.save(report, plot_path)
    return 0


def wide_console(*tables: Any) -> Any:  # rich.table.Table, rich.console.Console
    """Where its output goes to a file, it is as wide as the widest table."""
    console = Console()
    if not console.is_terminal:
        console.width = 1000
        console.width = max(console.measure(rows).maximum for rows in tables)
    return console


def say(console: Any, text: str, style: str | None = None) -> None:  # rich.console.Console
    """Some text, as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def write_json(report: Report, path: str | None) -> None:
    """All figures, if that was asked for."""
    if path:
        Path(path).write_text(json.dumps(report.as_dict(), indent=1) + "\n")


def measure(runner: Runner, chosen: Sequence[Any]) -> Report:
    """Measure layers, or what the runner measures, one after the other, and show how far it is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # (no refresh in the background: its thread would take a core from whoever is being timed)
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("measuring the machine", total=len(chosen))
        progress.refresh()
        with runner:
            for layer in chosen:
                progress.update(task, description=layer.name, refresh=True)
                runner.measure(layer)
                progress.update(task, advance=1, refresh=True)
    return runner.report
