"""fastpw run | convert | bench --model | bench --networks, as a user calls them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastpw
from fastpw import cli
from fastpw.bench.networks import catalogue, files
from fastpw.bench.networks.builder import FLOAT32
from fastpw.commands import answers, changes
from fastpw.network.graph import Graph, Node, Port

IMAGE = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved network for images of 64 x 64, one for any size, two inputs, a photograph, labels."""
    path = tmp_path_factory.mktemp("commands")
    files.write_saved(catalogue.build_small("shufflenet_v2"), path / "fixed.npz")
    files.write_saved(catalogue.build_small("mobilenet_v1", open_sizes=True), path / "open.npz")
    ports = [Port(name, (2, 3), FLOAT32) for name in ("a", "b")]
    add = Node("Add", ["a", "b"], ["y"])
    files.write_saved(Graph(ports, [Port("y", (2, 3), FLOAT32)], [add], {}), path / "two.npz")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 131, 3), np.uint8)
    IMAGE.fromarray(pixels).save(path / "photo.png")
    (path / "labels.txt").write_text("\n".join(f"kind {number}" for number in range(10)))
    return path


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


# ---- run -----------------------------------------------------------------------------------------------


def as_torchvision(path, size, resize):
    """Resize, CenterCrop and ToTensor, in their own words, for a photograph that is wider than high."""
    image = IMAGE.open(path)
    image = image.resize((int(resize * image.width / image.height), resize), IMAGE.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    crop = np.asarray(image, np.float32)[top : top + size, left : left + size]
    return crop.transpose(2, 0, 1) / np.float32(255)


def test_run_on_a_photograph(here, capsys):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    options = ["--mean", *map(str, mean), "--std", *map(str, std), "--threads", "1", "--calls", "2"]
    sizes = ["--size", "64", "--resize", "72", "--labels", "labels.txt", "--save", "y.npz"]
    assert cli.main(["run", "fixed.npz", "--input", "photo.png", *options, *sizes]) == 0
    x = as_torchvision(here / "photo.png", 64, 72)
    x = (x - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    y = fastpw.load("fixed.npz")(x[np.newaxis])
    assert np.array_equal(np.load("y.npz")["y"], y)
    said = capsys.readouterr().out.splitlines()
    order = np.argsort(y[0])[::-1][:5]
    assert [line.split()[0] for line in said[1:6]] == [str(place) for place in order]
    assert [line.split("  ")[-1] for line in said[1:6]] == [f"kind {place}" for place in order]
    assert said[-2] == "y.npz: written"
    assert "ms (best of 2 calls, 1 thread;" in said[-1]


def test_of_equal_scores_the_first_are_shown_and_nan_is_last():
    scores = np.array([[1, np.nan, 3, 1, 3, 1, 1]], np.float32)
    _, *rows = answers.lines({"y": scores}, None)
    assert [int(row.split()[0]) for row in rows] == [2, 4, 0, 3, 5]
    _, *rows = answers.lines({"y": np.array([[0, 255, 7]], np.uint8)}, None)
    assert [int(row.split()[0]) for row in rows] == [1, 2, 0]


def test_run_on_a_photograph_of_its_own_size(here, capsys):
    assert cli.main(["run", "open.npz", "--input", "photo.png", "--calls", "1", "--save", "own.npy"]) == 0
    x = np.asarray(IMAGE.open("photo.png"), np.float32).transpose(2, 0, 1)[np.newaxis] / np.float32(255)
    assert np.array_equal(np.load("own.npy"), fastpw.load("open.npz")(x))


def test_run_on_arrays(here, capsys):
    a, b = (np.full((2, 3), number, np.float64) for number in (1, 2))
    np.save("a.npy", a)
    np.savez("both.npz", a=a, b=b)
    np.savez("one.npz", whatever=b)
    for given in (["both.npz"], ["a=a.npy", "b=one.npz"]):
        inputs = [part for text in given for part in ("--input", text)]
        assert cli.main(["run", "two.npz", *inputs, "--save", "sum.npz"]) == 0
        assert np.array_equal(np.load("sum.npz")["y"], np.full((2, 3), 3, np.float32))
    assert "y[1]: 3 float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["nothing.npz", "--input", "a.npy"], "No such file or directory: 'nothing.npz'"),
        (["labels.txt", "--input", "a.npy"], "labels.txt: "),
        (["fixed.npz", "--input", "nothing.png"], "No such file or directory: 'nothing.png'"),
        (["fixed.npz", "--input", "labels.txt"], "labels.txt: no photograph that Pillow reads"),
        (["fixed.npz", "--input", "photo.png", "--size", "32"], "input 'x': shape (1, 3, 64, 64) is needed"),
        (["fixed.npz", "--input", "photo.png", "--resize", "9"], "--resize: at least 64 is needed"),
        (
            ["fixed.npz", "--input", "photo.png", "--mean", "1", "2"],
            "--mean: 1 or 3 numbers are needed, got 2",
        ),
        (["fixed.npz", "--input", "photo.png", "--std", "0"], "--std: numbers other than 0 are needed"),
        (["fixed.npz", "--input", "photo.png", "--save", "y.txt"], "ends in .npy or .npz is needed"),
        (["fixed.npz", "--input", "z=photo.png"], "one of x; got 'z'"),
        (["two.npz", "--input", "photo.png"], "one of a, b; got no name for photo.png"),
        (["two.npz", "--input", "a=photo.png"], "photographs have shape (1, 3, H, W)"),
    ],
)
def test_run_says_in_one_line_what_is_wrong(arguments, complaint, here, capsys):
    assert cli.main(["run", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("fastpw run: ")
    assert said.err.count("\n") == 1
    assert complaint in said.err
    assert not said.out


def test_run_wants_as_many_labels_as_outputs(here, capsys):
    (here / "few.txt").write_text("one\ntwo\n")
    assert cli.main(["run", "fixed.npz", "--input", "photo.png", "--labels", "few.txt"]) == 2
    assert "--labels: 10 lines are needed, one for each of 'y', got 2" in capsys.readouterr().err


# ---- what is not installed, and where the output goes ---------------------------------------------------

WITHOUT = """
import sys
for name in {absent}: sys.modules[name] = None
from fastpw import cli
sys.exit(cli.main({arguments}))"""


def python_without(absent, arguments, folder):
    """A fresh interpreter in which these packages are not installed, on 80 columns, its output piped."""
    code = WITHOUT.format(absent=absent, arguments=arguments)
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


def test_run_needs_numpy_alone(folder):
    np.save(folder / "x.npy", np.ones((1, 3, 64, 64), np.float32))
    absent = ["PIL", "rich", "matplotlib", "threadpoolctl", "onnx"]
    done = python_without(absent, ["run", "fixed.npz", "--input", "x.npy"], folder)
    assert done.returncode == 0
    assert not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    done = python_without(absent, ["run", "fixed.npz", "--input", "photo.png"], folder)
    assert done.returncode == 2
    assert done.stderr == 'fastpw run: photo.png: Pillow is needed to read it: pip install "fastpw[images]"\n'


def test_onnx_files_need_onnx(folder):
    (folder / "some.onnx").write_bytes(b"\x08\x08")
    done = python_without(["onnx"], ["convert", "some.onnx", "some.npz"], folder)
    assert done.returncode == 2
    assert done.stderr == 'fastpw convert: some.onnx: onnx is needed to read it: pip install "fastpw[onnx]"\n'


@pytest.mark.parametrize("command", [[], ["run"], ["convert"], ["bench"]])
def test_help_fits_the_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_run_states_how_photographs_are_cropped(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "as by torchvision's Resize and CenterCrop, its short side is resized" in said


# ---- convert -------------------------------------------------------------------------------------------


def test_convert_says_what_became_of_the_nodes(here, capsys):
    pytest.importorskip("onnx")
    files.write_onnx(catalogue.build_small("mobilenet_v2"), here / "net.onnx")
    assert cli.main(["convert", "net.onnx", "net.npz"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines()}
    relu6 = sum(node.op == "Clip" for node in catalogue.build_small("mobilenet_v2").nodes)
    assert rows["Clip"][:2] == [str(relu6), "–"]
    assert rows["Conv"][0] == rows["Conv"][1]
    assert rows["Conv"][2:5] == ["with", str(relu6), "relu6,"]
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    assert np.array_equal(fastpw.load("net.npz")(x), fastpw.load("net.onnx")(x))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (22_564, "22.6 kB"), (591_500_000, "592 MB"), (5.2e9, "5.2 GB")],
)
def test_sizes_of_small_and_large_networks_are_told(count, said):
    assert changes.bytes_as_text(count) == said


def test_convert_wants_a_name_it_can_open_again(here, capsys):
    assert cli.main(["convert", "fixed.npz", "fixed.bin"]) == 2
    assert "a name that ends in .npz is needed, got fixed.bin" in capsys.readouterr().err


# ---- bench ---------------------------------------------------------------------------------------------


@pytest.fixture
def quick(quick_bench, monkeypatch):
    """Small networks in place of those of the papers."""
    pytest.importorskip("fastpw.bench.networks.command")
    monkeypatch.setattr(catalogue, "build", catalogue.build_small)


def test_bench_of_networks(quick, capsys, tmp_path):
    written = [str(tmp_path / name) for name in ("n.json", "n.png")]
    arguments = ["bench", "--networks", "squeezenet", "nin", "--threads", "1"]
    assert cli.main([*arguments, "--json", written[0], "--plot", written[1]]) == 0
    said = capsys.readouterr().out
    assert "geometric means of 2 networks" in said
    assert max(map(len, said.splitlines()[1:])) <= 80
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "n.json").read_text())
    assert [row["network"] for row in report["networks"]] == ["squeezenet", "nin"]
    for row in report["networks"]:
        figures = row["implementations"]["fastpw"]
        assert 0 < figures["best_seconds"] <= figures["median_seconds"]
        assert figures["load_seconds"] > 0
        assert 0 < figures["difference"] < 1e-4
        assert figures["gflops"] == pytest.approx(row["flops"] / figures["best_seconds"] / 1e9)


def test_bench_of_a_model_beside_peers(quick, here, capsys):
    for package in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    files.write_onnx(catalogue.build_small("mobilenet_v1", open_sizes=True), here / "any.onnx")
    arguments = ["--model", "any.onnx", "--shape", "1,3,40,48", "--peers"]
    assert cli.main(["bench", *arguments, "--json", "m.json", "--plot", "m.png"]) == 0
    (row,) = json.loads((here / "m.json").read_text())["networks"]
    assert row["shapes"] == [[1, 3, 40, 48]]
    assert {*row["implementations"]} == {"fastpw", "ort", "openvino"}
    assert all(figures["difference"] < 1e-4 for figures in row["implementations"].values())
    assert (here / "m.png").read_bytes().startswith(b"\x89PNG")
    assert "Chain + 3 layers" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--model", "nothing.onnx"], "fastpw bench --model: "),
        (["--model", "two.npz", "--shape", "2,3"], "an input is needed, one of a, b; got no name"),
        (["--model", "two.npz", "--backward"], "do not go with --backward"),
        (["--model", "two.npz", "--networks"], "do not go with --networks"),
        (["--networks", "nin", "--dtype", "float64"], "do not go with --dtype"),
        (["--shape", "1,3,8,8"], "it goes with --model"),
    ],
)
def test_bench_says_what_is_wrong(arguments, complaint, here, capsys):
    pytest.importorskip("fastpw.bench.networks.command")
    assert cli.main(["bench", *arguments]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_bench_does_not_count_wrong_answers(here, tmp_path):
    model = pytest.importorskip("fastpw.bench.networks.model")
    problem = pytest.importorskip("fastpw.bench.networks.problem")
    prepared = model.prepare("fixed", here / "fixed.npz", tmp_path)
    given = problem.ModelProblem(prepared, None)
    y = fastpw.load("fixed.npz")(given.inputs[0])
    given.check([y], "right")
    for wrong in (y * np.float32(1.01), y[:, :5], np.full_like(y, np.nan)):
        with pytest.raises(ArithmeticError, match="fixed: the result of wrong"):
            given.check([wrong], "wrong")


MULTIPLY_ADDS = {  # in millions, of the papers or of torchvision's table of models
    "mobilenet_v1": 569, "mobilenet_v2": 300, "mobilenet_v3_large": 217, "squeezenet": 349,
    "shufflenet_v1": 137, "shufflenet_v2": 145, "efficientnet_b0": 386,
}  # fmt: skip


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_networks_are_as_large_as_in_their_papers(name, tmp_path):
    files.write_saved(catalogue.build(name), tmp_path / "net.npz")
    told = fastpw.load(tmp_path / "net.npz").summary()
    (counted,) = (line.split()[0] for line in told.splitlines() if line.split()[1:] == ["multiply-adds"])
    assert int(counted.replace(",", "")) / 1e6 == pytest.approx(MULTIPLY_ADDS[name], rel=0.02)
