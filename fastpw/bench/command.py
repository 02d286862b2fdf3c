"""fastpw bench: measure, show a table, write the files that were asked for."""

import json
from collections.abc import Callable, Collection, Sequence
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
    note: str = "",
) -> int:
    """Measure these layers in this setting, and show each as soon as it is measured; returns the exit status.

    The note is a line below the title.
    """
    runner = Runner(setting, implementations.shown(setting), peers.table(setting) if with_peers else {})
    console = Console()
    rows = table.Table(runner.report, chosen, console.width if console.is_terminal else None)
    say(console, "\n".join(filter(None, [table.title(runner.report), note])), "italic")
    say(console, "\n" + rows.head(), "bold")
    report = measure(runner, chosen, console, lambda result: say(console, rows.row(result)))
    say(console, "")
    for line in [*table.notes(report), table.roofs(report)]:
        say(console, line)
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


def show_tables(report: Report, title: str, tables: Sequence[Any], head: str = "") -> Any:
    """Tables of rich below a title, and who does not count; returns the console that they went to."""
    console = wide_console(*tables)
    if head:
        say(console, head, "bold")
    say(console, title, "italic")
    for rows in tables:
        console.print(rows)
    for note in table.notes(report):
        say(console, note)
    return console


def say(console: Any, text: str, style: str | None = None) -> None:  # rich.console.Console
    """Some text, as it is: a terminal's lines end between words, a file's where the text says."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def write_json(report: Report, path: str | None) -> None:
    """All figures, if that was asked for."""
    if path:
        Path(path).write_text(json.dumps(report.as_dict(), indent=1) + "\n")


def measure(
    runner: Runner,
    chosen: Collection[Any],
    console: Any = None,  # rich.console.Console
    show: Callable[[Any], object] = lambda result: None,
) -> Report:
    """Measure layers, or what the runner measures, one after the other, and tell how far it is.

    `show` is called with each result as soon as it is there, and may write it to the `console`.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Where rows go to a file, the bar goes to the terminal, if there is one.
    if console is None or not console.is_terminal:
        console = Console(stderr=True)
    # (no refresh in the background: its thread would take a core from whoever is being timed)
    options = {"transient": True, "auto_refresh": False, "redirect_stdout": False}
    with Progress(*columns, console=console, disable=not console.is_terminal, **options) as progress:
        task = progress.add_task("measuring the machine", total=len(chosen))
        progress.refresh()
        with runner:
            for layer in chosen:
                progress.update(task, description=layer.name, refresh=True)
                show(runner.measure(layer))
                progress.update(task, advance=1, refresh=True)
    return runner.report
