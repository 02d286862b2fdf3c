"""fastpw info | verify | bench, as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastpw
from fastpw import _bounds, cli, verify
from fastpw.bench import layers, peers
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.commands import info


def run_python(code):
    """A fresh interpreter; -P: that finds the installed package, not the folder it is started in."""
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)


# ---- info, and what every command shares ---------------------------------------------------------------


def test_info_prints_what_show_config_knows(capsys):
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    told = {line[:19].strip(): line[19:].strip() for line in said.splitlines() if line.startswith("  ")}
    config = fastpw.show_config("dicts")
    assert said.startswith(f"fastpw {fastpw.__version__}\n")
    assert told["compiler"] == config["compiler"]
    assert told["NumPy"] == np.__version__
    for dtype in ("float32", "float64"):
        assert told[dtype] == config["instruction sets"]["chosen"][dtype]
    assert told["this CPU runs"].startswith(", ".join(config["instruction sets"]["this CPU runs"]))
    assert told["number"] == str(fastpw.get_num_threads())
    assert not set(said) & set("{}[]")  # no dictionaries


def test_info_has_80_columns_and_says_all_that_there_is():
    config = {
        "fastpw": {"version": "1.0"},
        "compiler": "gcc 12",
        "instruction sets": {
            "chosen": {"float32": "avx2", "float64": "avx2"},
            "built": ["avx2", "baseline"],
            "this CPU runs": ["avx2"],
            "FASTPW_ISA": "avx2",
        },
        "threads": {"number": 2, "why": "a reason of many words " * 9, "CPU quota": 1.5},
    }
    integers = [
        {"isa": "avx_vnni", "runs": True, "chosen": True},
        {"isa": "avx2", "runs": True, "chosen": False},
    ]
    lines = list(info.lines(config, integers))
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()).count("a reason of many words") == 9
    said = dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))
    assert (said["int8"], said["FASTPW_ISA"]) == ("avx_vnni", "avx2")
    assert "  built               avx2, baseline; for integers avx_vnni" in lines
    assert "  CPU quota           1.5" in lines


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"fastpw {fastpw.__version__}\n"


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "required: command"),
        (["bench", "--network", "lenet"], "invalid choice: 'lenet'"),
        (["bench", "--kind", "transposed"], "invalid choice: 'transposed'"),
        (["bench", "--threads", "0"], "0 is not a positive number"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments, complaint, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert complaint in capsys.readouterr().err


# ---- verify --------------------------------------------------------------------------------------------


def test_verify_checks_every_kernel_set_and_restores_the_one_in_use(capsys):
    in_use = fastpw.show_config("dicts")["instruction sets"]["chosen"]
    assert cli.main(["verify"]) == 0
    assert fastpw.show_config("dicts")["instruction sets"]["chosen"] == in_use
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "All right."
    assert max(map(len, lines)) <= 80
    for row in fastpw.core.machine.kernel_sets():
        of_set = [line for line in lines if line.split()[:2] == [row["isa"], row["dtype"]]]
        if row["runs"]:
            assert len(of_set) > 15
            assert all(" ok " in line for line in of_set)
        else:
            assert of_set == [line for line in of_set if "CPU lacks it" in line]
    for row in fastpw.core.machine.integer_sets():
        of_set = [line for line in lines if line.split()[:2] == [row["isa"], "int8"]]
        assert len(of_set) == (5 if row["runs"] else 1)
        assert all((" ok " if row["runs"] else "CPU lacks it") in line for line in of_set)


def test_verify_finds_a_wrong_integer(capsys, monkeypatch):
    right = fastpw.qconv1x1

    def wrong(*arrays, **options):
        y = right(*arrays, **options)
        return y + (y == y.min()).astype(y.dtype) if y.dtype == np.uint8 and y.size > 100 else y

    monkeypatch.setattr(fastpw, "qconv1x1", wrong)
    monkeypatch.setattr(verify, "CHECKS", ())
    assert cli.main(["verify"]) == 1
    *_, last, verdict = capsys.readouterr().out.splitlines()
    assert last.split()[2:4] == ["uint8", "FAILED"]
    assert "NOT right" in verdict


def test_verify_stops_at_the_first_wrong_value(capsys, monkeypatch):
    right = fastpw.conv1x1

    def wrong(*arrays, activation=None, **options):
        y = right(*arrays, activation=activation, **options)
        return y + (np.abs(y) * 1e-3 if activation == "tanh" else 0)

    monkeypatch.setattr(fastpw, "conv1x1", wrong)
    assert cli.main(["verify"]) == 1
    *_, last, verdict = capsys.readouterr().out.splitlines()
    assert "tanh" in last
    assert "FAILED" in last
    assert "NOT right" in verdict


def test_verify_needs_numpy_alone():
    absent = ["matplotlib", "rich", "threadpoolctl", "scipy"]
    done = run_python(f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
from fastpw import cli, verify
verify.CHECKS = verify.CHECKS[-1:]
sys.exit(cli.main(["verify"]))""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("All right.\n")


def test_bounds_excess_sees_what_is_not_finite():
    y = np.array([1.0, np.nan, np.inf])
    allowed = np.array([0.5, np.nan, np.nan])
    assert _bounds.excess(np.array([1.25, np.nan, np.inf]), y, allowed) == 0.5
    for wrong in ([np.nan, np.nan, np.inf], [1, 0, np.inf], [1, np.nan, -np.inf], [1, np.nan, 3e38]):
        assert _bounds.excess(np.array(wrong), y, allowed) == np.inf


def test_edges_lie_around_every_size():
    assert verify._edges([4, 12], 24) == [1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 23, 24]


# ---- bench ---------------------------------------------------------------------------------------------


def test_layers_are_the_papers():
    by_name = {layer.name: layer for layer in layers.load()}
    assert len(by_name) == 60
    assert layers.networks() == [
        "resnet50", "mobilenetv1", "mobilenetv2", "inceptionv3", "seed", "nin", "squeezenet", "convnext_t",
    ]  # fmt: skip
    short = by_name["resnet50.c3.short"]
    assert short.output_shape == (1, 28, 28, 512)
    assert Setting().flops(short) == 2 * 28 * 28 * 256 * 512
    assert Setting().bytes(short) == 4 * (28 * 28 * 256 + 256 * 512 + 512 + 28 * 28 * 512)
    backward = Setting(backward=True, dtype="float64")
    assert backward.flops(short) == 2 * Setting().flops(short)
    assert backward.bytes(short) == 8 * (2 * (28 * 28 * 256 + 256 * 512 + 28 * 28 * 512) + 512)


def test_held_out_layers_are_not_in_the_list():
    held_out = layers.load(Path(__file__).parents[1] / "bench" / "heldout.csv")
    assert len(held_out) >= 24
    known = {(layer.N, layer.H, layer.W, layer.C, layer.K, layer.stride) for layer in layers.load()}
    assert not known & {(layer.N, layer.H, layer.W, layer.C, layer.K, layer.stride) for layer in held_out}


@pytest.fixture
def quick(quick_bench, monkeypatch):
    """The bench on two tiny layers, one of them strided, in a moment."""
    pytest.importorskip("fastpw.bench.command")
    tiny = [Layer("nin.tiny", 1, 5, 6, 8, 16, 1), Layer("squeezenet.tiny", 2, 7, 5, 4, 3, 2)]
    monkeypatch.setattr(layers, "load", lambda path=None, kind="pointwise": tiny)


def test_bench_shows_and_writes_every_layer(quick, capsys, tmp_path):
    json_path, plot_path = tmp_path / "bench.json", tmp_path / "bench.png"
    assert cli.main(["bench", "--threads", "1", "--json", str(json_path), "--plot", str(plot_path)]) == 0
    said = capsys.readouterr().out
    assert "nin.tiny" in said
    assert "2×7×5/2" in said
    assert "geometric means of 2 layers" in said.splitlines()[-2]
    assert "a whole network, squeezenet on 1×3×224×224" in said.splitlines()[-1]
    assert plot_path.read_bytes().startswith(b"\x89PNG")
    report = json.loads(json_path.read_text())
    assert report["threads"] == 1
    assert report["peak_gflops"] > 0
    for row in report["layers"]:
        assert set(row["implementations"]) == {"einsum", "numpy", "fastpw"}
        for figures in row["implementations"].values():
            assert figures["best_seconds"] <= figures["median_seconds"]
            assert figures["gflops"] == pytest.approx(row["flops"] / figures["best_seconds"] / 1e9)
            assert figures["gbs"] == pytest.approx(row["bytes"] / figures["best_seconds"] / 1e9)


@pytest.mark.parametrize("options", [[], ["--numpy-to-numpy"], ["--dtype", "float64"]])
@pytest.mark.parametrize("options_too", [[], ["--backward"]])
def test_bench_measures_what_was_asked_for(quick, options, options_too, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "BACKWARD", {})
    json_path = tmp_path / "bench.json"
    assert cli.main(["bench", *options, *options_too, "--json", str(json_path)]) == 0
    report = json.loads(json_path.read_text())
    assert report["backward"] == ("--backward" in options_too)
    assert report["new_arrays"] == ("--numpy-to-numpy" in options)
    assert report["dtype"] == ("float64" if "float64" in options else "float32")
    assert len(report["layers"]) == 2
    said = capsys.readouterr().out
    assert report["dtype"] in said
    assert ("gradients" in said) == report["backward"]
    assert ("new arrays" in said) == report["new_arrays"]


def test_bench_of_other_layers(quick_bench, capsys, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    path = tmp_path / "mine.csv"
    path.write_text("layer,N,H,W,C,K,stride\nmine.odd,1,3,2,5,7,1\n")
    assert cli.main(["bench", "--layers", str(path)]) == 0
    assert "mine.odd" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("name,N\n", "columns layer,N,H,W,C,K,stride are needed"),
        ("layer,N,H,W,C,K,stride\na,1,1,1,0,1,1\n", "positive integers are needed, got a,1,1,1,0,1,1"),
        ("layer,N,H,W,C,K,stride\na,1,1,1\n", "positive integers are needed"),
        (None, "No such file"),
    ],
)
def test_bench_says_what_is_wrong_with_a_file_of_layers(text, complaint, capsys, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    path = tmp_path / "mine.csv"
    if text:
        path.write_text(text)
    assert cli.main(["bench", "--layers", str(path)]) == 2
    assert complaint in capsys.readouterr().err


def test_bench_of_one_network(quick, capsys):
    assert cli.main(["bench", "--network", "squeezenet"]) == 0
    said = capsys.readouterr().out
    assert "squeezenet.tiny" in said
    assert "nin.tiny" not in said


def test_bench_threads_hold_for_fastpw_and_numpy():
    runner = pytest.importorskip("fastpw.bench.runner")
    before = fastpw.get_num_threads()
    with runner.threads_held(1):
        assert fastpw.get_num_threads() == 1
        blas = [pool for pool in runner.threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert all(pool["num_threads"] == 1 for pool in blas)
    assert fastpw.get_num_threads() == before


@pytest.mark.parametrize("spoil", [lambda y: y * np.float32(1.0001), lambda y: np.where(y > 0, y, np.nan)])
def test_bench_refuses_a_wrong_result(quick, spoil, monkeypatch):
    implementations = pytest.importorskip("fastpw.bench.implementations")

    def spoilt(problem):
        run = implementations.fastpw_layer(problem)
        return lambda: spoil(run())

    monkeypatch.setitem(implementations.FORWARD, "fastpw", spoilt)
    with pytest.raises(ArithmeticError, match=r"nin\.tiny: .*fastpw"):
        cli.main(["bench"])


@pytest.mark.parametrize("absent", ["rich", "matplotlib", "threadpoolctl"])
def test_bench_names_the_extra_that_is_missing(absent):
    pytest.importorskip("fastpw.bench.command")
    done = run_python(f"""
import sys
sys.modules["{absent}"] = None
from fastpw import cli
sys.exit(cli.main(["bench"]))""")
    assert done.returncode == 2
    assert done.stderr == f'fastpw bench needs {absent}: pip install "fastpw[bench]"\n'
