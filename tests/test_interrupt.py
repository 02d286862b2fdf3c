"""Ctrl-C is answered within one call, and what was interrupted goes on working."""

import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import fastpw

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def ctrl_c():
    """A process started in the background ignores it, and so does Python there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_at(calls, call):
    """Makes many calls, has itself interrupted amid them; how many had been finished."""
    finished = 0
    timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for finished in range(calls):  # noqa: B007
            call()
        timer.join()
    timer.join()
    return finished


@pytest.mark.usefixtures("isa", "threads")
def test_a_batch_ends_and_goes_on():
    layer, x = fastpw.Conv1x1(np.ones((64, 64), "f4")), np.ones((500, 64), "f4")
    chain = fastpw.Chain([layer, layer])
    for call in (lambda: layer(x), lambda: fastpw.conv1x1_backward(x, x, layer.weight), lambda: chain(x)):
        assert interrupted_at(100_000, call) < 99_999
        assert np.all(layer(x) == 64)
        assert np.all(chain(x) == 4096)
        assert np.all(fastpw.conv1x1_backward(x, x, layer.weight).dx == 64)


CALLS = ["fastpw.conv1x1(x, weight)", "chain(x)"]


@pytest.mark.parametrize("call", CALLS)
def test_within_one_call(call):
    """The signal comes during a call: that call ends, the next does not begin."""
    code = textwrap.dedent("""
        import os, signal, threading, numpy as np, fastpw
        x, weight = np.ones((20_000, 512), "f4"), np.ones((512, 512), "f4")
        chain = fastpw.Chain([fastpw.Conv1x1(weight[:256]), fastpw.Conv1x1(weight[:, :256])])
        calls = [0, 0]

        def interrupt():
            while calls[0] == calls[1]:
                pass
            interrupted.append(calls[0])
            os.kill(os.getpid(), signal.SIGINT)

        interrupted = []
        threading.Thread(target=interrupt, daemon=True).start()
        try:
            while True:
                calls[0] += 1
                CALL
                calls[1] += 1
        except KeyboardInterrupt:
            print(calls[0] - interrupted[0])
    """)
    command = [sys.executable, "-c", code.replace("CALL", call)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True)
    assert int(done.stdout) <= 1
