"""Promise 6: many callers at once; children of a fork."""

import multiprocessing
import os
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from fresh import LIBGOMP

import fastpw
from fastpw import runtime
from fastpw.core import machine

# ---- many at once ----------------------------------------------------------------------------------------


@pytest.fixture
def work(dtype, rng):
    """Layers of different shapes, an input of each, and what comes out."""
    problems = []
    for m, n, k in ((3000, 64, 64), (49, 512, 96), (10, 7, 5)):
        x, weight = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
        layer = fastpw.Conv1x1(weight, activation="silu")
        problems.append((layer, x, layer(x)))
    return problems


@pytest.mark.usefixtures("isa", "threads")
def test_many_python_threads(work):
    wrong, ready = [], threading.Barrier(8)

    def call(first):
        ready.wait()
        for i in range(first, first + 60):
            layer, x, y = work[i % len(work)]
            got = layer(x) if i % 2 else fastpw.conv1x1(x, layer.weight, activation="silu")
            if not np.array_equal(got, y):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_threads_change_while_others_call(work):
    done = threading.Event()
    wrong = []

    def call():
        while not done.is_set():
            wrong.extend(x.shape for layer, x, y in work if not np.array_equal(layer(x), y))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for n in range(60):
            fastpw.set_num_threads(1 + n % 3)
            time.sleep(0.002)
    finally:
        done.set()
        for caller in callers:
            caller.join()
        fastpw.set_num_threads(None)
    assert not wrong


@pytest.mark.usefixtures("isa", "threads")
def test_other_python_threads_run_during_a_call(dtype):
    """With a switch interval of a minute the main thread sees a call under way only if it let the GIL go."""
    layer, x = fastpw.Conv1x1(np.ones((256, 256), dtype)), np.ones((20_000, 256), dtype)
    state, seen, interval = ["waiting"], set(), sys.getswitchinterval()

    def call():
        state[0] = "calling"
        for _ in range(5):
            layer(x)
        state[0] = "done"

    sys.setswitchinterval(60)
    try:
        caller = threading.Thread(target=call)
        caller.start()
        while state[0] != "done":
            seen.add(state[0])
            time.sleep(0.0005)
        caller.join()
    finally:
        sys.setswitchinterval(interval)
    assert "calling" in seen


# ---- after a fork ----------------------------------------------------------------------------------------


def _in_child(work, answers):
    same = [np.array_equal(layer(x), y) for layer, x, y in work]
    config = fastpw.show_config("dicts")["threads"]
    answers.put((same, fastpw.get_num_threads(), config["why"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.usefixtures("isa")
def test_a_forked_child_computes_the_same(work):
    with fastpw.num_threads(2):
        for layer, x, y in work:
            assert np.array_equal(layer(x), y)  # OpenMP's threads exist now
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks
            child = context.Process(target=_in_child, args=(work, answers))
            child.start()
        child.join(60)
        try:
            assert child.exitcode == 0
        finally:
            child.kill()
        same, threads, why = answers.get()
        assert same == [True] * len(work)
        assert threads == (2 if LIBGOMP else 1)
        assert ("fork" in why) == (not LIBGOMP)
        for layer, x, y in work:
            assert np.array_equal(layer(x), y)
        assert fastpw.get_num_threads() == 2


def test_a_child_that_cannot_have_threads_says_so_once(monkeypatch):
    monkeypatch.setattr(machine, "in_forked_child", lambda: True)
    monkeypatch.setattr(runtime, "_said_alone", False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fastpw.set_num_threads(1)
        with pytest.warns(RuntimeWarning, match="parent of a fork") as said:
            fastpw.set_num_threads(2)
        assert said[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fastpw.set_num_threads(2)
        monkeypatch.setattr(runtime, "_said_alone", False)
        with pytest.warns(RuntimeWarning, match="parent of a fork") as said, fastpw.num_threads(2):
            assert fastpw.get_num_threads() == 1
        assert said[0].filename == __file__
        assert "fork" in fastpw.show_config("dicts")["threads"]["why"]
    finally:
        fastpw.set_num_threads(None)
