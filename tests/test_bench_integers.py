"""fastpw bench --dtype int8: the arrays, the peers, and the share of outputs that are wrong."""

import json

import numpy as np
import pytest

from fastpw import cli
from fastpw.bench import layers, peers
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.bench.worker import Worker

LAYERS = [Layer("nin.tiny", 1, 5, 6, 8, 16, 1), Layer("odd.strided", 2, 7, 5, 37, 3, 2)]
SETTINGS = [Setting(dtype="int8", dynamic=dynamic, new_arrays=new) for dynamic in (0, 1) for new in (0, 1)]

FAKE = """
import numpy as np
from fastpw.bench import implementations

def right(problem):
    run = implementations.INTEGERS["fastpw"](problem)
    return run, run

def wrong(problem):
    run, read = right(problem)
    def spoilt():
        y = read().copy()
        y.reshape(-1)[::4] ^= 64
        return y
    return run, spoilt
"""


@pytest.fixture
def problem():
    return pytest.importorskip("fastpw.bench.problem")


@pytest.fixture
def implementations():
    return pytest.importorskip("fastpw.bench.implementations")


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_implementations_agree_with_the_reference(setting, problem, implementations):
    for layer in LAYERS:
        of_layer = problem.of(layer, setting)
        assert of_layer.x.dtype == (np.float32 if setting.dynamic else np.int8)
        for name, prepare in implementations.shown(setting).items():
            run = prepare(of_layer)
            run()
            assert not of_layer.check(run(), name)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_check_counts_what_is_wrong(dynamic, problem):
    setting = Setting(dtype="int8", dynamic=dynamic)
    of_layer = problem.of(LAYERS[0], setting)
    y = of_layer.expected.astype(of_layer.x.dtype)
    assert of_layer.check(y, "fastpw") == of_layer.check(y, "peer") == 0
    y.reshape(-1)[:12] += np.array(40 if dynamic else 64, y.dtype)  # (of int8 some turn over)
    assert of_layer.check(y, "peer") == 12 / y.size
    with pytest.raises(ArithmeticError, match=r"nin\.tiny: 2\.500% of the outputs of fastpw"):
        of_layer.check(y, "fastpw")


def test_a_step_off_is_another_formula_but_not_ours(problem):
    of_layer = problem.of(LAYERS[0], Setting(dtype="int8"))
    y = of_layer.expected.astype(np.int8)
    y[0, 0, 0, 0] += 1 if y[0, 0, 0, 0] < 127 else -1
    assert of_layer.check(y, "peer") == 0
    assert of_layer.check(y.view(np.uint8) ^ 128, "unsigned peer") == 0
    with pytest.raises(ArithmeticError, match="fastpw"):
        of_layer.check(y, "fastpw")


def test_the_traffic_is_that_of_integers():
    layer = LAYERS[0]
    assert Setting(dtype="int8").bytes(layer) == 30 * 8 + 30 * 16 + 8 * 16 + 4 * 16
    assert Setting(dtype="int8", dynamic=True).bytes(layer) == 4 * (30 * 8 + 30 * 16) + 8 * 16 + 4 * 16


EXACT = {"litert", "ort u8u8"}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", sorted({*peers.INTEGERS, *peers.DYNAMIC}))
def test_peers_are_right_or_saturate(name, dynamic):
    settings = [Setting(dtype="int8", dynamic=dynamic, new_arrays=new) for new in (False, True)]
    if name not in peers.table(settings[0]):
        pytest.skip(f"{name} is not compared so")
    if name in peers.absent(settings[0]):
        pytest.skip(f"{name}: {peers.absent(settings[0])[name]}")
    worker = Worker(name, peers.table(settings[0])[name].target)
    try:
        for setting in settings:
            for layer in LAYERS:
                share = worker.prepare(layer, setting)
                assert worker.burst(0)
                assert share == worker.check()
                assert share == 0 if name in EXACT else share < 0.3
    finally:
        worker.close()


def test_a_wrong_peer_is_shown_with_its_share(quick_bench, tmp_path, monkeypatch, capsys):
    pytest.importorskip("fastpw.bench.command")
    (tmp_path / "fake_integers.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    table = {name: peers.Peer(f"fake_integers:{name}", ()) for name in ("right", "wrong")}
    monkeypatch.setattr(peers, "INTEGERS", table)
    monkeypatch.setattr(layers, "load", lambda path=None, kind="pointwise": LAYERS)
    paths = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]
    assert cli.main(["bench", "--dtype", "int8", "--peers", "--threads", "1", *paths]) == 0
    said = capsys.readouterr().out
    assert "(25.00% wrong)" in said
    assert "wrong on 2 layers, up to 25." in said
    assert "fastpw float32" in said
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["dtype"] == "int8"
    for row in report["layers"]:
        assert row["best_other"] == "right"
        assert list(row["wrong"]) == ["wrong"]
        assert set(row["implementations"]) == {"fastpw", "fastpw float32", "right", "wrong"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dynamic"], "int8 is needed for --dynamic, got float32"),
        (["--dtype", "int8", "--backward"], "does not go with --backward"),
        (["--dtype", "int8", "--kind", "dense"], "does not go with --kind"),
        (["--blocks", "--dynamic"], "do not go with --dynamic"),
    ],
)
def test_what_is_not_measured_in_integers(arguments, words, capsys):
    pytest.importorskip("fastpw.bench.command")
    assert cli.main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err
