"""fastpw bench --peers: processes of their own, whose results count only if they are right."""

import json

import numpy as np
import pytest

from fastpw import cli
from fastpw.bench import layers, peers
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.bench.worker import PeerError, Worker

LAYERS = [Layer("nin.tiny", 1, 5, 6, 8, 16, 1), Layer("odd.strided", 2, 7, 5, 37, 3, 2)]

# A runtime to play with: what each function does wrong, if anything, says its name.
FAKE = """
import os
import threading
import numpy as np
from fastpw.bench import backward, implementations

def right(problem):
    table = implementations.table(problem.setting)
    run = table["numpy"](problem)
    return run, run

def wrong(problem):
    run, read = right(problem)
    return run, lambda: read() * np.float32(1.001)

def refuses(problem):
    if problem.layer.stride > 1:
        raise RuntimeError("no strides")
    return right(problem)

def dies(problem):
    os._exit(3)

def dies_later(problem):
    run, read = right(problem)
    calls = []
    def run_twice():
        calls.append(run())
        if len(calls) > 1:
            os._exit(4)
    return run_twice, read

def never_answers(problem):
    threading.Event().wait()

def spins(problem):
    from fastpw.bench import timing
    timing.settle.__defaults__ = (0.05,)
    def spin():
        while True:
            pass
    threading.Thread(target=spin, daemon=True).start()
    return right(problem)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function that starts the worker of one of FAKE's functions."""
    (tmp_path / "fake_runtime.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)  # which workers inherit
    started = []

    def start(function):
        started.append(Worker(function, f"fake_runtime:{function}"))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.mark.parametrize("backward", [False, True])
def test_worker_times_and_checks(fake, backward):
    worker = fake("right")
    for layer in LAYERS:
        worker.prepare(layer, Setting(backward=backward))
        calls = worker.burst(0.001)
        assert len(calls) >= 1
        assert all(0 < seconds < 60 for seconds in calls)
        worker.check()


@pytest.mark.parametrize(
    "function, complaint",
    [
        ("wrong", r"odd\.strided: the result of wrong lies .* further from the reference"),
        ("refuses", r"refuses: RuntimeError\('no strides'\)"),
        ("dies", "dies ended with exit status 3"),
        ("spins", "still busy"),
        ("not_there", "not_there: AttributeError"),
    ],
)
def test_worker_says_what_is_wrong(fake, function, complaint):
    with pytest.raises(PeerError, match=complaint):
        fake(function).prepare(LAYERS[1], Setting())


def test_worker_answers_after_an_error(fake):
    worker = fake("refuses")
    with pytest.raises(PeerError, match="no strides"):
        worker.prepare(LAYERS[1], Setting())
    worker.prepare(LAYERS[0], Setting())
    assert worker.burst(0)


def test_worker_is_given_up_and_started_again(fake, monkeypatch):
    worker = fake("never_answers")
    monkeypatch.setattr("fastpw.bench.worker.PATIENCE", 0.1)
    for _ in range(2):
        with pytest.raises(PeerError, match=r"no answer within 0\.1 s"):
            worker.prepare(LAYERS[0], Setting())


def test_bench_counts_only_what_is_right(quick_bench, fake, monkeypatch, capsys, tmp_path):
    pytest.importorskip("fastpw.bench.command")
    functions = ["right", "wrong", "refuses", "dies_later"]
    table = {name: peers.Peer(f"fake_runtime:{name}", ()) for name in functions}
    table["absent"] = peers.Peer("absent:function", ("numpy", "a_module_that_is_absent"))
    monkeypatch.setattr(peers, "FORWARD", table)
    monkeypatch.setattr(layers, "load", lambda path=None, kind="pointwise": LAYERS)
    json_path, plot_path = tmp_path / "bench.json", tmp_path / "bench.png"
    paths = ["--json", str(json_path), "--plot", str(plot_path)]
    assert cli.main(["bench", "--peers", "--threads", "1", *paths]) == 0
    said = capsys.readouterr().out
    assert "without absent: a_module_that_is_absent not installed" in said
    assert "best other" in said
    assert plot_path.read_bytes().startswith(b"\x89PNG")
    report = json.loads(json_path.read_text())
    own = {"einsum", "numpy", "fastpw"}
    tiny, strided = (set(row["implementations"]) for row in report["layers"])
    assert tiny == own | {"right", "refuses"}
    assert strided == own | {"right"}
    assert {(layer, name) for layer, name, _ in report["failures"]} == {
        ("nin.tiny", "wrong"), ("nin.tiny", "dies_later"),
        ("odd.strided", "wrong"), ("odd.strided", "refuses"), ("odd.strided", "dies_later"),
    }  # fmt: skip
    for _, _, reason in report["failures"]:
        assert reason in said
    assert report["mean_speedup"]["wrong"] is None
    for row in report["layers"]:
        seconds = {name: figures["best_seconds"] for name, figures in row["implementations"].items()}
        del seconds["fastpw"]
        assert row["best_other"] == min(seconds, key=seconds.get)


@pytest.mark.parametrize("name", [*peers.FORWARD, *peers.BACKWARD])
def test_peer_agrees_with_the_reference(name):
    settings = [Setting(backward=name in peers.BACKWARD, new_arrays=new) for new in (False, True)]
    if name in peers.absent(settings[0]):
        pytest.skip(f"{name}: {peers.absent(settings[0])[name]}")
    worker = Worker(name, peers.table(settings[0])[name].target)
    try:
        for setting in settings:
            for layer in LAYERS:
                worker.prepare(layer, setting)
                assert worker.burst(0)
                worker.check()
    finally:
        worker.close()


def test_peers_are_compared_in_float32():
    assert set(peers.absent(Setting(dtype="float64"))) == set(peers.FORWARD)


@pytest.mark.parametrize("name", ["einsum", "numpy", "fastpw"])
@pytest.mark.parametrize("spoilt", ["dx", "dweight", "dbias", "skipped"])
def test_backward_check_finds_what_is_wrong(name, spoilt):
    implementations = pytest.importorskip("fastpw.bench.implementations")
    problem = pytest.importorskip("fastpw.bench.problem").of(LAYERS[1], Setting(backward=True))
    gradients = dict(zip(("dx", "dweight", "dbias"), implementations.BACKWARD[name](problem)(), strict=True))
    problem.check(gradients.values(), name)
    if spoilt == "skipped":
        gradients["dx"][:, 1] = 1e-6
    else:
        gradients[spoilt] *= np.float32(1.001)
    with pytest.raises(ArithmeticError, match=rf"odd\.strided: .*{name}"):
        problem.check(gradients.values(), name)
