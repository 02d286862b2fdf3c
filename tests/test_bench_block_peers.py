"""fastpw bench --blocks --peers: others' results count only if they are right; and the command."""

import json
import math

import numpy as np
import pytest

from fastpw import cli
from fastpw.bench import peers
from fastpw.bench.blocks import catalogue, graph, memory, own
from fastpw.bench.blocks.parts import Block
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.setting import Setting
from fastpw.bench.worker import PeerError, Worker

SETTING = Setting(kind="block")


def tiny(name, body, height=6, width=8, channels=8):
    return Block(f"tiny.{name}", "tiny", (1, height, width, channels), body)


# One of each family, with padding that is odd, even or none, and images that are not square.
TINY = [
    tiny("mlp", catalogue.convnext_mlp(8), 3, 5),
    tiny("mlpconv", catalogue.mlpconv(8, 16)),
    tiny("bottleneck", catalogue.bottleneck(2)),
    tiny("projected", catalogue.bottleneck(4, stride=2, project=True)),
    tiny("projected_odd", catalogue.bottleneck(4, stride=2, project=True), 7, 8),
    tiny("inception", catalogue.inception_a(3)),
    tiny("reduction", catalogue.inception_reduction(), 7, 9),
    tiny("separable", catalogue.separable(16, stride=2)),
    tiny("inverted", catalogue.inverted_residual(8, 8)),
    tiny("shuffle1", catalogue.shuffle_v1(24), channels=24),
    tiny("shuffle2", catalogue.shuffle_v2(8)),
    tiny("network1", catalogue.mobilenet_v1(10), 32, 32, 3),
    tiny("network2", catalogue.mobilenet_v2(10), 32, 32, 3),
]


# ---- torch, written by hand ------------------------------------------------------------------------------


def mobilenet_v1(convolution, x):
    x, channels = convolution(x, 2), 32
    for filters in [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]:
        stride = 2 if filters > max(channels, 64) else 1
        x = convolution(convolution(x, stride, depthwise=True))
        channels = filters
    return x


def mobilenet_v2(convolution, x):
    x = convolution(x, 2, most=6)
    for number, (count, stride) in enumerate([(1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)]):
        for step in [stride, *[1] * (count - 1)]:
            y = convolution(x, most=6) if number else x
            y = convolution(y, step, depthwise=True, most=6)
            y = convolution(y, least=-math.inf)
            x = x + y if y.shape == x.shape else y
    return convolution(x, most=6)


@pytest.mark.parametrize("name, network", [
    ("mobilenetv1.network", mobilenet_v1), ("mobilenetv2.network", mobilenet_v2),
])  # fmt: skip
def test_networks_equal_torch(name, network):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    problem = BlockProblem({block.name: block for block in catalogue.BLOCKS}[name], SETTING)
    *others, (matrix, last_bias) = problem.weights.values()
    weights = iter(others)

    def convolution(x, stride=1, depthwise=False, least=0, most=math.inf):
        kernel, bias = next(weights)
        around = len(kernel[0]) // 2
        x = functional.pad(
            x, [1 - around, around] * 2 if stride == 2 else [around] * 4
        )  # TensorFlow's "same"
        kernel, bias = torch.from_numpy(kernel.transpose(0, 3, 1, 2).copy()), torch.from_numpy(bias)
        groups = len(kernel) if depthwise else 1
        return functional.conv2d(x, kernel, bias, stride, groups=groups).clamp(least, most)

    x = network(convolution, torch.from_numpy(problem.x).permute(0, 3, 1, 2))
    assert next(weights, None) is None
    x = x.mean((2, 3))
    theirs = (x @ torch.from_numpy(matrix[:, 0, 0]).T + torch.from_numpy(last_bias)).numpy()
    ours = own.chains(problem)()
    problem.check(theirs, "torch")
    problem.check(ours, "fastpw")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


# ---- the peers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", peers.BLOCKS)
def test_peer_agrees_with_the_reference(name):
    if name in peers.absent(SETTING):
        pytest.skip(f"{name}: {peers.absent(SETTING)[name]}")
    worker = Worker(name, peers.BLOCKS[name].target)
    try:
        for block in TINY:
            if name in peers.OF_POINTWISE_BLOCKS and not graph.of(block).pointwise:
                continue
            for new_arrays in (False, True):
                worker.prepare(block, Setting(kind="block", new_arrays=new_arrays))
                assert worker.burst(0)
                worker.check()
    finally:
        worker.close()


def test_litert_gives_a_whole_block_to_xnnpack():
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - only where installed

    from fastpw.bench.peers import litert_blocks  # noqa: PLC0415

    for block in TINY:
        interpreter = Interpreter(model_content=litert_blocks.model(BlockProblem(block, SETTING)))
        interpreter.allocate_tensors()
        operators = [operator["op_name"] for operator in interpreter._get_ops_details()]
        assert operators.count("DELEGATE") == 1, block.name


# ---- the command -----------------------------------------------------------------------------------------

# Runtimes to play with.
FAKE = """
import numpy as np
from fastpw.bench.blocks import own

def right(problem):
    run = own.layer_by_layer(problem)
    return run, run

def wrong(problem):
    run = own.layer_by_layer(problem)
    return run, lambda: run() * np.float32(1.01)

def refuses(problem):
    raise RuntimeError("no blocks")
"""


@pytest.fixture
def quick(quick_bench, monkeypatch, tmp_path):
    """The bench on three tiny blocks, in a moment, beside the runtimes of FAKE."""
    pytest.importorskip("fastpw.bench.blocks.command")
    (tmp_path / "fake_blocks.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)  # which workers inherit
    table = {name: peers.Peer(f"fake_blocks:{name}", ()) for name in ("right", "wrong", "refuses")}
    table["absent"] = peers.Peer("absent:function", ("a_module_that_is_absent",))
    monkeypatch.setattr(peers, "BLOCKS", table)
    chosen = [TINY[0], TINY[8], Block("other.one", "others", (1, 5, 5, 8), catalogue.separable(8))]
    monkeypatch.setattr(catalogue, "load", lambda: chosen)


def test_bench_shows_and_writes_every_block(quick, capsys, tmp_path):
    json_path, plot_path = tmp_path / "blocks.json", tmp_path / "blocks.png"
    paths = ["--json", str(json_path), "--plot", str(plot_path)]
    assert cli.main(["bench", "--blocks", "--threads", "1", *paths]) == 0
    said = capsys.readouterr().out
    assert "blocks of networks: float32, bias and activations, into the same array, threads: 1" in said
    assert "best peer" not in said
    inverted = next(line for line in said.splitlines() if "tiny.inverted" in line)
    assert "6×8×8" in inverted
    assert plot_path.read_bytes().startswith(b"\x89PNG")
    report = json.loads(json_path.read_text())
    assert list(report["families"]) == ["tiny", "others", "all"]
    assert report["families"]["all"]["blocks"] == 3
    assert report["families"]["tiny"]["speedup_over_best_peer"] is None
    for row in report["blocks"]:
        assert set(row["implementations"]) == set(row["peak_memory_bytes"]) == {"fastpw", "fastpw layers"}
        assert row["best_peer"] is None
        for figures in row["implementations"].values():
            assert figures["best_seconds"] <= figures["median_seconds"]
            assert figures["gflops"] == pytest.approx(row["flops"] / figures["best_seconds"] / 1e9)
        if memory.measurable():
            assert all(used > 4 * math.prod(row["shape"]) for used in row["peak_memory_bytes"].values())


def test_bench_counts_only_peers_that_are_right(quick, capsys, tmp_path):
    json_path, plot_path = tmp_path / "blocks.json", tmp_path / "blocks.png"
    paths = ["--json", str(json_path), "--plot", str(plot_path)]
    assert cli.main(["bench", "--blocks", "inverted", "other", "--peers", "--numpy-to-numpy", *paths]) == 0
    said = capsys.readouterr().out
    assert "new arrays each call" in said
    assert "tiny.mlp" not in said
    assert "without absent: a_module_that_is_absent not installed" in said
    assert "does not count: tiny.inverted: the result of wrong lies" in said
    assert "does not count: refuses: RuntimeError('no blocks')" in said
    assert plot_path.read_bytes().startswith(b"\x89PNG")
    report = json.loads(json_path.read_text())
    for row in report["blocks"]:
        seconds = {name: figures["best_seconds"] for name, figures in row["implementations"].items()}
        assert set(seconds) == {"fastpw", "fastpw layers", "right"}
        assert row["best_peer"] == "right"
        assert row["speedup_over_best_peer"] == pytest.approx(seconds["right"] / seconds["fastpw"])
    ratios = [row["speedup_over_best_peer"] for row in report["blocks"]]
    means = report["families"]["all"]
    assert means["speedup_over_best_peer"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    assert means["speedup"]["right"] == means["speedup_over_best_peer"]
    assert means["speedup"]["wrong"] is None


def test_bench_asks_only_some_peers_for_pointwise_blocks(quick, monkeypatch, capsys):
    run = pytest.importorskip("fastpw.bench.blocks.run")
    monkeypatch.setattr(run, "OF_POINTWISE_BLOCKS", ("refuses",))
    monkeypatch.setattr(peers, "BLOCKS", {"refuses": peers.BLOCKS["refuses"]})
    assert cli.main(["bench", "--blocks", "--peers"]) == 0
    assert capsys.readouterr().out.count("does not count: refuses") == 1  # of the MLP


def test_bench_refuses_a_wrong_result(quick, monkeypatch):
    def spoilt(problem):
        run = own.chains(problem)
        return lambda: run() * np.float32(1.01)

    monkeypatch.setitem(own.TABLE, "fastpw", spoilt)
    with pytest.raises(ArithmeticError, match=r"tiny\.mlp: the result of fastpw"):
        cli.main(["bench", "--blocks"])


@pytest.mark.parametrize(
    "options, complaint",
    [
        (
            ["lenet"],
            "a part of one of tiny.mlp, tiny.inverted, other.one, or of its family, is needed, got lenet",
        ),
        (["--network", "nin"], "is needed, got nin"),
        (["--backward"], "do not go with --backward"),
        (["--kind", "dense"], "do not go with --kind"),
        (["--dtype", "float64"], "do not go with --dtype"),
        (["--layers", "mine.csv"], "do not go with --layers"),
    ],
)
def test_bench_says_what_does_not_go_with_blocks(quick, options, complaint, capsys):
    assert cli.main(["bench", "--blocks", *options]) == 2
    assert complaint in capsys.readouterr().err


def test_a_peer_that_is_wrong_is_named(quick):
    worker = Worker("wrong", "fake_blocks:wrong")
    try:
        with pytest.raises(PeerError, match=r"tiny\.mlp: the result of wrong lies"):
            worker.prepare(TINY[0], SETTING)
    finally:
        worker.close()
