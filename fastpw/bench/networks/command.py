"""fastpw bench --networks and --model: measure, show tables, write the files that were asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import fastpw
from fastpw.bench import peers
from fastpw.bench.command import measure, say, show_tables, write_json
from fastpw.bench.networks import catalogue, files, model, plot, table
from fastpw.bench.networks.model import Model
from fastpw.bench.networks.report import ModelReport
from fastpw.bench.networks.run import ModelRunner
from fastpw.bench.setting import Setting
from fastpw.network import load


def of_networks(
    names: Iterable[str],
    setting: Setting,
    with_peers: bool = False,
    json_path: str | None = None,
    plot_path: str | None = None,
) -> int:
    """Measure networks of the catalogue; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        models = Built(names, Path(folder), with_peers and find_spec("onnx") is not None)
        report = _measured(models, setting, with_peers)
    console = show_tables(report, table.title(report), [table.of_times(report), table.of_starts(report)])
    if text := table.summary(report):
        say(console, text, "bold")
    write_json(report, json_path)
    if plot_path:
        plot.save_networks(report, plot_path)
    return 0


def of_model(
    path: Path,
    shapes: model.Shapes,
    setting: Setting,
    with_peers: bool = False,
    json_path: str | None = None,
    plot_path: str | None = None,
) -> int:
    """Measure the network in a file; returns the exit status.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        The file cannot be read, or its network not be called with these shapes.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = model.prepare(path.stem, path, Path(folder), shapes)
        with fastpw.num_threads(setting.threads):
            net = load(path)
            nodes = net._node_times(model.inputs_of(net, shapes), calls=10)
        report = _measured([prepared], setting, with_peers)
    head, tables = f"{path.name}: {prepared.told}", [table.of_one(report), table.of_nodes(nodes)]
    show_tables(report, table.title(report), tables, head)
    write_json(report, json_path)
    if plot_path:
        plot.save_nodes(path.stem, nodes, str(setting), plot_path)
    return 0


def one_line(setting: Setting) -> str:
    """What `fastpw bench` says of one network in the end."""
    with tempfile.TemporaryDirectory() as folder:
        models = Built([catalogue.FIRST], Path(folder), False)
        return table.line(_measured(models, setting, with_peers=False))


class Built(Collection[Model]):
    """Networks of the catalogue, each built when its turn comes: in .onnx files for all, or saved."""

    def __init__(self, names: Iterable[str], folder: Path, as_onnx: bool) -> None:
        self._names, self._folder, self._as_onnx = list(names), folder, as_onnx

    def __contains__(self, model: object) -> bool:
        return isinstance(model, Model) and model.name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def _build(self, name: str) -> Model:
        path = self._folder / f"{name}.{'onnx' if self._as_onnx else 'npz'}"
        write = files.write_onnx if self._as_onnx else files.write_saved
        write(catalogue.build(name), path)
        return model.prepare(name, path, self._folder)

    def __iter__(self) -> Iterator[Model]:
        for name in self._names:
            built = self._build(name)
            yield built
            Path(built.path).unlink()  # together they take half a gigabyte


def _measured(models: Collection[Model], setting: Setting, with_peers: bool) -> ModelReport:
    runner = ModelRunner(setting, peers.table(setting) if with_peers else {})
    measure(runner, models)
    return runner.report
