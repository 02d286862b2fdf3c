"""What `fastpw bench` measures by default, and its table, of which rows are shown as they come."""

import re
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastpw import cli
from fastpw.bench import layers
from fastpw.bench.report import Report, Result
from fastpw.bench.setting import Setting
from fastpw.bench.timing import Timing

ROOT = Path(__file__).parents[1]


def test_a_third_of_the_layers_has_the_means_of_all():
    """Of every network a third; no geometric mean of shapes and of the figures in the results is 1 % away."""
    known = layers.load()
    chosen, note = layers.representative(known)
    assert note == "20 layers that stand for all 60 (--all measures these)"
    everywhere, taken = (Counter(layer.network for layer in some) for some in (known, chosen))
    assert taken == Counter({name: round(count / 3) for name, count in everywhere.items()})
    numbers = [known.index(layer) for layer in chosen]
    choosing = runpy.run_path(str(ROOT / "bench" / "representative.py"))
    away = choosing["differences"](known, numbers, (ROOT / "docs" / "results.md").read_text())
    assert away.size >= 15
    assert np.abs(away).max() < 0.01
    worse = choosing["differences"](known, np.arange(20), (ROOT / "docs" / "results.md").read_text())
    assert np.abs(worse).max() > 0.1


def test_other_layers_have_none_that_stand_for_them():
    dense = layers.load(kind="dense")
    assert layers.representative(dense) == (dense, "")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 20),
        (["--backward"], 20),
        (["--all"], 60),
        (["--network", "nin"], 4),
        (["--kind", "depthwise"], 37),
    ],
)
def test_what_is_measured(options, count, monkeypatch):
    command = pytest.importorskip("fastpw.bench.command")
    seen = []
    monkeypatch.setattr(command, "main", lambda chosen, *others: seen.append(len(chosen)) or 0)
    assert cli.main(["bench", *options]) == 0
    assert seen == [count]


def test_all_goes_with_no_other_choice(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "--all", "--network", "nin"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_rows_are_shown_as_they_are_measured(quick_bench, capsys, monkeypatch, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    path = tmp_path / "two.csv"
    path.write_text("layer,N,H,W,C,K,stride\na.first,1,3,2,5,7,1\na.second,1,3,2,5,7,1\n")
    measure, said = quick_bench.Runner.measure, []

    def watched(runner, layer):
        said.append(capsys.readouterr().out)
        return measure(runner, layer)

    monkeypatch.setattr(quick_bench.Runner, "measure", watched)
    assert cli.main(["bench", "--layers", str(path)]) == 0
    assert "fastpw µs" in said[0]
    assert "a.first" not in said[0]
    assert "a.first" in said[1]
    assert "a.second" in capsys.readouterr().out


@pytest.fixture
def table():
    return pytest.importorskip("fastpw.bench.table")


def report_of(chosen, *names, peers=(), kind="pointwise"):
    report = Report(Setting(kind=kind), [*names, *peers], list(peers), {})
    for number, layer in enumerate(chosen, start=1):
        timings = {name: Timing([number * 1e-3]) for name in report.implementations}
        report.results.append(Result(layer, report.setting, timings, 100.0))
    return report


@pytest.mark.parametrize("peers", [(), ("litert", "torch onednn")])
@pytest.mark.parametrize("kind", layers.KINDS)
def test_columns_stand_below_each_other(kind, peers, table):
    chosen = layers.load(kind=kind)
    report = report_of(chosen, "einsum", "numpy", "fastpw", peers=peers, kind=kind)
    rows = table.Table(report, chosen)
    head, *lines = rows.head(), *map(rows.row, report.results)
    assert len({len(line) for line in [head, *lines]}) == 1
    for right in (column.end() for column in re.finditer(r"µs", head)):
        assert all(line[right - 1].isdigit() for line in lines)


def test_a_narrow_terminal_gets_fewer_columns(table):
    chosen, _ = layers.representative(layers.load())
    report = report_of(chosen, "einsum", "numpy", "fastpw")
    wide, narrow = table.Table(report, chosen), table.Table(report, chosen, 80)
    assert len(wide.head()) > 80
    assert max(len(narrow.row(result)) for result in report.results) <= 80
    for needed in ("layer", "C→K", "fastpw µs", "of peak", "× einsum", "× numpy"):
        assert needed in narrow.head()


def test_who_failed_on_a_layer_has_a_dash(table):
    chosen = layers.load()[:1]
    report = report_of(chosen, "numpy", "fastpw", peers=("litert",))
    del report.results[0].timings["litert"]
    assert "–" in table.Table(report, chosen).row(report.results[0]).split()
