"""bench/: the pytest-benchmark suite and the sweep, on two tiny layers."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fastpw
from fastpw.bench import roofs
from fastpw.bench.runner import Runner
from fastpw.bench.setting import Setting
from fastpw.core import partition

BENCH = Path(__file__).parents[1] / "bench"
LAYERS = "layer,N,H,W,C,K,stride\nodd.tiny,1,5,6,8,16,1\nodd.strided,2,7,5,37,3,2\n"


@pytest.fixture
def layers_path(tmp_path):
    path = tmp_path / "tiny.csv"
    path.write_text(LAYERS)
    return path


def run_suite(name, layers_path, tmp_path, *options):
    """Its figures of each layer, setting and implementation."""
    for needed in ("pytest_benchmark", "threadpoolctl"):
        pytest.importorskip(needed)
    json_path = tmp_path / "suite.json"
    command = [sys.executable, "-P", "-m", "pytest", BENCH / f"{name}.py", "--import-mode=importlib"]
    command += ["-p", "no:cacheprovider", "-k", "numpy or fastpw or einsum", "--layers", layers_path]
    command += ["--threads", "1", "--rounds", "1", "--benchmark-json", json_path, *options]
    # (where these tests share the CPUs by pytest-xdist, pytest-benchmark would measure nothing)
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_XDIST_WORKER"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(json_path.read_text())["benchmarks"]


@pytest.mark.parametrize("name", ["test_forward", "test_backward"])
def test_suite_has_a_group_per_layer_and_all_figures(name, layers_path, tmp_path):
    report = run_suite(name, layers_path, tmp_path)
    assert {row["params"]["implementation"] for row in report} >= {"einsum", "numpy", "fastpw"}
    groups = {row["group"] for row in report}
    assert len(groups) == 4  # two layers, into own arrays and new ones
    assert all(sum(row["group"] == group for row in report) >= 3 for group in groups)
    for row in report:
        figures = row["extra_info"]
        assert row["stats"]["min"] == pytest.approx(figures["best_seconds"])
        assert figures["fraction_of_peak"] == pytest.approx(figures["gflops"] / figures["peak_gflops"])
        assert figures["gbs"] > 0
        assert figures["threads"] == 1
        assert figures["isa"]
        assert figures["shape"] in ([1, 5, 6, 8], [2, 7, 5, 37])


@pytest.mark.parametrize("name", ["test_forward", "test_backward"])
def test_suite_measures_another_kind(name, tmp_path):
    path = tmp_path / "dense.csv"
    path.write_text("layer,N,H,W,C,K,stride,kh,kw\nodd.dense,1,5,6,8,16,2,3,1\n")
    report = run_suite(name, path, tmp_path, "--kind", "dense")
    assert {row["params"]["implementation"] for row in report} == {"numpy", "fastpw"}
    assert {tuple(row["extra_info"]["kernel"]) for row in report} == {(3, 1)}


@pytest.fixture
def sweep():
    pytest.importorskip("rich")
    pytest.importorskip("threadpoolctl")
    return runpy.run_path(str(BENCH / "sweep.py"))


def test_sweep_knows_the_constants(sweep):
    assert {"SMALL_WORK", "MOST_ROWS", "TASKS_PER_THREAD"} <= set(sweep["CONSTANTS"])


def test_sweep_computes_with_the_constant_it_names(sweep, layers_path, capsys, monkeypatch):
    seen = set()
    right = fastpw.Conv1x1.__call__

    def watch(*arguments, **options):
        seen.add(partition.MOST_ROWS)
        return right(*arguments, **options)

    monkeypatch.setattr(fastpw.Conv1x1, "__call__", watch)
    now = partition.MOST_ROWS
    sweep["main"].__globals__["SECONDS"] = 0.0
    arguments = ["MOST_ROWS", "--factors", "0.5", "2", "--layers", str(layers_path)]
    sweep["main"]([*arguments, "--threads", "1", "--rounds", "1"])
    assert seen == {now // 2, now, now * 2}
    assert now == partition.MOST_ROWS
    said = capsys.readouterr().out
    assert f"{now} present" in said
    assert f"{now} again" in said


def test_held_constants_are_derived_anew_and_given_back(sweep):
    blocks = (1000, 2, 64, 12, 32, 4, 1)
    before = partition.blocks(*blocks)
    with pytest.raises(KeyError), sweep["held"]("MOST_ROWS", 24):
        assert partition.blocks(*blocks).rows <= 24 < before.rows
        raise KeyError
    assert partition.blocks(*blocks) == before


def test_sweep_names_a_constant_that_is_not_there(sweep, capsys):
    with pytest.raises(SystemExit, match="2"):
        sweep["main"](["BLOCK_LENGTH"])
    assert "BLOCK_LENGTH: a constant of partition.py is needed" in capsys.readouterr().err


def test_the_best_measure_of_the_memory_counts(monkeypatch):
    pytest.importorskip("threadpoolctl")
    measured = iter([8e9, 42e9, 42e9, 8e9, 5e9])
    monkeypatch.setattr(roofs, "memory_bandwidth", lambda threads: next(measured))
    for _ in range(2):
        with Runner(Setting(), {}, {}) as runner:
            pass
        assert runner.report.bandwidth_gbs == 42
    with pytest.raises(KeyboardInterrupt), Runner(Setting(), {}, {}):
        raise KeyboardInterrupt  # the end is not measured then: there is no sixth
