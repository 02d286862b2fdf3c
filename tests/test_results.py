"""The tables of README.md and docs/results.md are written from what `fastpw bench --json` measured."""

import json
import re
import runpy
from pathlib import Path

import pytest

from fastpw import cli
from fastpw.bench import layers, report
from fastpw.bench.layers import Layer

ROOT = Path(__file__).parents[1]
WRITER = runpy.run_path(str(ROOT / "bench" / "write_results.py"))
RUNS = ["one", "two", "new_arrays", "heldout"]


@pytest.fixture
def runs(quick_bench, monkeypatch, tmp_path):
    """Short runs, without peers but for one that is made up: it takes twice NumPy's time."""
    pytest.importorskip("fastpw.bench.command")
    small = [Layer("a.small", 2, 6, 6, 12, 8, 1), Layer("a.strided", 1, 9, 9, 8, 16, 2)]
    monkeypatch.setattr(layers, "load", lambda path=None, kind="pointwise": small)
    runs = {}
    for name in RUNS:
        # (to new arrays, no whole network is measured after the layers)
        assert cli.main(["bench", "--all", "--numpy-to-numpy", "--json", str(tmp_path / "run.json")]) == 0
        runs[name] = json.loads((tmp_path / "run.json").read_text())
    for run in runs.values():
        run["mean_speedup"]["litert"] = run["mean_speedup"]["numpy"] * 2
        run["mean_fraction_of_peak"]["litert"] = run["mean_fraction_of_peak"]["numpy"] / 2
        run["packages"] = {"ai-edge-litert": "2.0"}
    return runs | {"networks_one": of_networks(0.5), "networks_two": of_networks(0.25)}


def of_networks(seconds):
    """A run of one network that is made up; the peer takes half as long again."""
    own = {"fastpw": {"best_seconds": seconds}, "ort": {"best_seconds": 1.5 * seconds}}
    network = {
        "network": "nin",
        "implementations": own,
        "best_peer": "ort",
        "speedup_over_best_peer": 1.5,
    }
    return {
        "date": "a day",
        "processor": "a CPU",
        "isa": "avx2",
        "networks": [network],
        "mean_speedup_over_best_peer": 1.5,
    }


def cells(table):
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]


def test_the_pages_take_every_table(runs):
    pages = {}
    for page, name, text in WRITER["parts"](runs):
        before = pages.get(page) or (ROOT / page).read_text()
        pages[page] = WRITER["replaced"](before, name, text)
        assert text in pages[page]
        assert WRITER["replaced"](pages[page], name, text) == pages[page]
    comments = re.findall(r"<!-- (begin|end) ", "".join(pages.values()))
    assert len(comments) == 2 * len(list(WRITER["parts"](runs)))  # no table is forgotten
    assert pages["README.md"].count("\n") <= 150


def test_figures_are_those_of_the_runs(runs):
    one, two = runs["one"], runs["two"]
    rows = cells(WRITER["layers"](one))
    assert [row[0] for row in rows[2:]] == ["a.small", "a.strided"]
    assert rows[2][1:3] == ["2×6×6", "12→8"]
    assert rows[3][1:3] == ["9×9 /2", "8→16"]
    times = one["layers"][0]["implementations"]
    seconds = {name: figures["best_seconds"] for name, figures in times.items()}
    assert rows[2][3] == f"{seconds['fastpw'] * 1e6:.0f}"
    assert rows[2][5:7] == [f"{seconds['numpy'] / seconds['fastpw']:.2f}", "–"]
    means = {row[0]: row[1:] for row in cells(WRITER["means"](one, two))}
    assert means["**fastpw**"][2] == f"**{two['mean_fraction_of_peak']['fastpw']:.2f}**"
    assert means["LiteRT (XNNPACK)"][3] == f"{two['mean_speedup']['litert']:.2f} ×"
    assert not any("OpenVINO" in name for name in means)  # it was not measured
    (of_new_arrays, of_heldout) = cells(WRITER["others"](runs))[2:]
    assert of_new_arrays[1] == of_heldout[1] == "2"
    network = cells(WRITER["networks"](runs["networks_one"], runs["networks_two"]))[-2]
    assert network == ["Network in Network", "500.0", "1.50 ONNX Runtime", "250.0", "1.50 ONNX Runtime"]
    lowest = min(map(WRITER["over_best"], runs["heldout"]["layers"]))
    assert of_heldout[5].startswith(f"{lowest:.2f} × (a.")


def test_a_page_without_the_comments_is_refused():
    with pytest.raises(ValueError, match="begin means"):
        WRITER["replaced"]("no table", "means", "text")


def test_the_processor_is_named(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A CPU of 2 GHz\nflags\t: fma\n")
    assert report._processor(str(tmp_path / "cpuinfo")) == "A CPU of 2 GHz"
    assert report._processor(str(tmp_path / "nothing"))
