"""fastpw bench: measure, show a table, write the files that were asked for."""

import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import fastpw
from fastpw.bench import implementations, layers, plot, table
from fastpw.bench.runner import Report, threads_held

WIDTH = 124  # of the table where the output is no terminal


def main(networks=None, threads=None, json_path=None, plot_path=None):
    """Run the benchmark over the named networks (default: all); returns the exit status."""
    chosen = [layer for layer in layers.load() if not networks or layer.network in networks]
    threads = threads or fastpw.get_num_threads()
    with threads_held(threads):
        report = _measure(chosen, threads)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table.render(report))
    console.print(table.summary(report), style="bold")
    if json_path:
        Path(json_path).write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    if plot_path:
        plot.save(report, plot_path)
    return 0


def _measure(chosen, threads):
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring the machine", total=len(chosen))
        report = Report(implementations.FORWARD, threads)
        for layer in chosen:
            progress.update(task, description=layer.name)
            report.measure(layer)
            progress.advance(task)
    return report
