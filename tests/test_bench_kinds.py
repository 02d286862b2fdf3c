"""fastpw bench --kind dense | depthwise: the layers, who computes them, and the check of the results."""

import json
from itertools import product

import numpy as np
import pytest

from fastpw import cli
from fastpw.bench import layers, peers
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.bench.worker import Worker

# Padding that is odd, that is even, none; kernels along one axis; strides that are larger than the kernel.
DENSE = [
    Layer("tiny.3x3", 1, 5, 6, 8, 16, 1, 3, 3),
    Layer("tiny.mirrored", 2, 8, 7, 37, 3, 2, 3, 3),
    Layer("tiny.1x7", 2, 6, 7, 9, 12, 1, 1, 7),
    Layer("tiny.down", 1, 8, 8, 4, 6, 2, 2, 2),
    Layer("tiny.skipping", 1, 9, 7, 4, 6, 4, 3, 1),
]
DEPTHWISE = [
    Layer("tiny.3x3", 1, 5, 6, 8, 8, 1, 3, 3),
    Layer("tiny.mirrored", 2, 8, 7, 37, 37, 2, 5, 5),
    Layer("tiny.blocks", 1, 60, 60, 40, 40, 1, 3, 3),
    Layer("tiny.7x7", 2, 7, 7, 20, 20, 1, 7, 7),
    Layer("tiny.skipping", 1, 9, 7, 4, 4, 4, 3, 1),
]
TINY = {"dense": DENSE, "depthwise": DEPTHWISE}
SETTINGS = [
    Setting(kind=kind, backward=backward, new_arrays=new)
    for kind, backward, new in product(TINY, (False, True), (False, True))
]


def name_of(setting):
    backward = ", backward" * setting.backward
    return f"{setting.kind}{backward}{', new arrays' * setting.new_arrays}"


@pytest.fixture
def problem():
    return pytest.importorskip("fastpw.bench.problem")


@pytest.fixture
def implementations():
    return pytest.importorskip("fastpw.bench.implementations")


# ---- the layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, networks", [
    ("dense", ["resnet50", "mobilenetv1", "mobilenetv3_large", "inceptionv3", "convnext_t"]),
    ("depthwise", ["mobilenetv1", "mobilenetv2", "mobilenetv3_large", "convnext_t"]),
])  # fmt: skip
def test_layers_are_the_papers(kind, networks):
    known = layers.load(kind=kind)
    assert len(known) > 30
    assert len({layer.name for layer in known}) == len(known)
    sizes = {(layer.N, layer.H, layer.W, layer.C, layer.K, layer.stride, layer.kernel) for layer in known}
    assert len(sizes) == len(known)
    assert set(layers.networks(kind)) == set(networks)
    assert set(networks) <= set(layers.all_networks())
    for layer in known:
        assert max(layer.kernel) > 1
        assert (layer.N == 8) == layer.name.endswith(".n8")
        assert kind == "dense" or layer.C == layer.K


def test_layers_know_their_work():
    stem = {layer.name: layer for layer in layers.load(kind="dense")}["resnet50.stem"]
    assert stem.output_shape == (1, 112, 112, 64)
    assert stem.sides == ((2, 3), (2, 3))
    dense = Setting(kind="dense")
    assert dense.weight_shape(stem) == (64, 7, 7, 3)
    assert dense.flops(stem) == 2 * 112 * 112 * 64 * 7 * 7 * 3
    assert dense.bytes(stem) == 4 * (224 * 224 * 3 + 64 * 7 * 7 * 3 + 64 + 112 * 112 * 64)

    down = {layer.name: layer for layer in layers.load(kind="depthwise")}["mobilenetv2.b2.dw"]
    depthwise = Setting(kind="depthwise", backward=True)
    assert down.output_shape == (1, 56, 56, 96)
    assert depthwise.weight_shape(down) == (3, 3, 96)
    assert depthwise.flops(down) == 2 * 2 * 56 * 56 * 96 * 9
    assert depthwise.bytes(down) == 4 * 96 * (2 * (112 * 112 + 9 + 56 * 56) + 1)


def test_pixels_that_the_stride_skips_are_not_read():
    skipping = DENSE[-1]
    assert skipping.output_shape == (1, 3, 2, 6)
    assert skipping.pixels_read == 9 * 2


# ---- who computes them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("setting", SETTINGS, ids=name_of)
def test_implementation_agrees_with_the_reference(setting, dtype, problem, implementations):
    setting = Setting(
        kind=setting.kind, backward=setting.backward, new_arrays=setting.new_arrays, dtype=dtype
    )
    for layer in TINY[setting.kind]:
        of_layer = problem.of(layer, setting)
        for name, prepare in implementations.table(setting).items():
            run = prepare(of_layer)
            run()  # what it leaves in memory of its own must not show
            of_layer.check(run(), name)


@pytest.mark.parametrize("setting", SETTINGS, ids=name_of)
def test_numpy_reads_the_image_at_each_call(setting, problem, implementations):
    of_layer = problem.of(TINY[setting.kind][0], setting)
    problem.of.cache_clear()  # its image will be another one
    run = implementations.table(setting)["numpy"](of_layer)

    def result():  # (of the gradients dweight, which x is read for)
        return np.copy(run()[1] if setting.backward else run())

    before = result()
    of_layer.x *= 2
    assert not np.array_equal(before, result())


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("spoil", [lambda y: y * np.float32(1.001), lambda y: np.where(y > 0, y, np.nan)])
def test_check_finds_a_wrong_result(kind, spoil, problem, implementations):
    for layer in TINY[kind]:
        setting = Setting(kind=kind, new_arrays=True)
        y = implementations.table(setting)["numpy"](problem.of(layer, setting))()
        with pytest.raises(ArithmeticError, match=rf"{layer.name}: .*mine"):
            problem.of(layer, setting).check(spoil(y), "mine")


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("spoilt", ["dx", "dweight", "dbias"])
def test_check_finds_a_wrong_gradient(kind, spoilt, problem, implementations):
    setting = Setting(kind=kind, backward=True, new_arrays=True)
    for layer in TINY[kind]:
        of_layer = problem.of(layer, setting)
        run = implementations.table(setting)["numpy"](of_layer)
        gradients = dict(zip(("dx", "dweight", "dbias"), run(), strict=True))
        of_layer.check(gradients.values(), "mine")
        gradients[spoilt] *= np.float32(1.1)  # (sums over many pixels have wide bounds)
        with pytest.raises(ArithmeticError, match=rf"{layer.name}: {spoilt} of mine"):
            of_layer.check(gradients.values(), "mine")


def test_check_wants_zeros_where_the_stride_skips(problem, implementations):
    setting = Setting(kind="dense", backward=True)
    of_layer = problem.of(DENSE[-1], setting)
    dx, *others = implementations.table(setting)["numpy"](of_layer)()
    assert not dx[:, :, 1:4].any()
    dx[:, :, 1:4] = 1e-6
    with pytest.raises(ArithmeticError, match=r"tiny\.skipping: dx of mine"):
        of_layer.check((dx, *others), "mine")


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("name", [*peers.WINDOWED, *peers.WINDOWED_BACKWARD])
def test_peer_agrees_with_the_reference(kind, name):
    backward = name in peers.WINDOWED_BACKWARD
    settings = [Setting(kind=kind, backward=backward, new_arrays=new) for new in (False, True)]
    if name in peers.absent(settings[0]):
        pytest.skip(f"{name}: {peers.absent(settings[0])[name]}")
    worker = Worker(name, peers.table(settings[0])[name].target)
    try:
        for setting, layer in product(settings, TINY[kind]):
            worker.prepare(layer, setting)
            assert worker.burst(0)
            worker.check()
    finally:
        worker.close()


# ---- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def quick(quick_bench, monkeypatch):
    """The bench on tiny layers, without peers."""
    pytest.importorskip("fastpw.bench.command")
    monkeypatch.setattr(peers, "WINDOWED_BACKWARD", {})
    monkeypatch.setattr(layers, "load", lambda path=None, kind="pointwise": TINY.get(kind, []))


@pytest.mark.parametrize("options", [[], ["--backward"], ["--numpy-to-numpy"], ["--dtype", "float64"]])
@pytest.mark.parametrize("kind, channels", [("dense", "37→3"), ("depthwise", "37 ")])
def test_bench_shows_and_writes_a_kind(quick, kind, channels, options, capsys, tmp_path):
    json_path, plot_path = tmp_path / "bench.json", tmp_path / "bench.png"
    paths = ["--json", str(json_path)]
    if not options:  # a plot takes a second
        paths += ["--plot", str(plot_path)]
    assert cli.main(["bench", "--kind", kind, "--threads", "1", *options, *paths]) == 0
    said = capsys.readouterr().out
    assert f"{kind} convolutions: " in said
    mirrored = next(line for line in said.splitlines() if "tiny.mirrored" in line)
    assert "2×8×7/2" in mirrored
    assert channels in mirrored
    assert ("3×3" if kind == "dense" else "5×5") in mirrored
    assert options or plot_path.read_bytes().startswith(b"\x89PNG")
    report = json.loads(json_path.read_text())
    assert report["kind"] == kind
    assert [tuple(row["kernel"]) for row in report["layers"]] == [layer.kernel for layer in TINY[kind]]
    assert all(set(row["implementations"]) == {"numpy", "fastpw"} for row in report["layers"])


def test_bench_of_other_layers_of_a_kind(quick_bench, capsys, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    path = tmp_path / "mine.csv"
    path.write_text("layer,N,H,W,C,K,stride,kh,kw\nmine.odd,1,3,2,5,7,1,3,2\n")
    assert cli.main(["bench", "--kind", "dense", "--layers", str(path)]) == 0
    assert "mine.odd" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("layer,N,H,W,C,K,stride\n", "columns layer,N,H,W,C,K,stride,kh,kw are needed"),
        ("layer,N,H,W,C,K,stride,kh,kw\na,1,1,1,1,1,1,0,1\n", "positive integers are needed"),
        ("layer,N,H,W,C,K,stride,kh,kw\na,1,1,1,2,4,1,3,3\n", "K = C is needed of a depthwise layer"),
    ],
)
def test_bench_says_what_is_wrong_with_a_file_of_depthwise_layers(text, complaint, capsys, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    path = tmp_path / "mine.csv"
    path.write_text(text)
    assert cli.main(["bench", "--kind", "depthwise", "--layers", str(path)]) == 2
    assert complaint in capsys.readouterr().err


def test_bench_says_that_a_network_has_no_layers_of_a_kind(capsys):
    pytest.importorskip("fastpw.bench.command")
    assert cli.main(["bench", "--kind", "depthwise", "--network", "resnet50"]) == 2
    assert "one with depthwise layers is needed, got resnet50" in capsys.readouterr().err
