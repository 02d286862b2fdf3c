"""After a fork: a child computes the same bits and does not hang, however the process was made.

The parent has led a team before; its OpenMP threads do not live on in the child.
"""

import inspect
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastpw
from fastpw.core import machine

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

PATIENCE = 60  # seconds; a child that takes longer hangs


def layer_and_input():
    """Enough work for a team, in adding up gradients too, from the same numbers in every process."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((192, 64)).astype(np.float32)
    return fastpw.Conv1x1(weight, activation="gelu"), rng.standard_normal((3000, 64)).astype(np.float32)


def compute():
    """The bits of a forward and of a backward pass, through all entrances."""
    layer, x = layer_and_input()
    y = layer(x)
    assert np.array_equal(layer(x), y)
    assert np.array_equal(fastpw.conv1x1(x, layer.weight, activation="gelu"), y)
    grads = fastpw.conv1x1_backward(y, x, layer.weight)
    spatial = fastpw.DepthwiseConv2d(np.ones((3, 3, 192), np.float32), padding=1)
    chained = fastpw.Chain([layer, spatial, fastpw.Conv1x1(layer.weight.T)])(x.reshape(50, 60, 64))
    return [a.tobytes() for a in (y, grads.dx, grads.dweight, grads.dbias, chained)]


@pytest.fixture(scope="module")
def bits():
    """What the parent computed with a team of two."""
    with fastpw.num_threads(2):
        yield compute()


def in_child(work):
    """Whether work() is true in a child that os.fork made."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    for _ in range(PATIENCE * 100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@pytest.mark.usefixtures("isa")
def test_fork():
    with fastpw.num_threads(2):
        bits = compute()
        assert in_child(lambda: compute() == bits)
        assert compute() == bits


LAYER, INPUT = layer_and_input()
CHAIN = fastpw.Chain([LAYER, fastpw.Conv1x1(LAYER.weight.T)], add_input=True)


def test_a_chain_that_was_used_before(threads):
    """And in the child by other numbers of threads, and again in the parent."""
    y = CHAIN(INPUT)

    def call():
        results = [(CHAIN(INPUT), y)]
        with fastpw.num_threads(3):
            results += [(CHAIN(INPUT), y), (CHAIN(INPUT[5:]), y[5:])]
        return all(result.tobytes() == expected.tobytes() for result, expected in results)

    assert in_child(call)
    assert call()


def test_grandchildren(bits):
    assert in_child(lambda: compute() == bits and in_child(lambda: compute() == bits))


def test_many_children_at_once(bits):
    with fastpw.num_threads(2):
        results = []

        def call():
            results.append(in_child(lambda: compute() == bits))

        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert results == [True] * 8


def test_fork_while_others_compute(bits):
    done = threading.Event()

    def call():
        with fastpw.num_threads(2):
            while not done.is_set():
                compute()

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        assert all(in_child(lambda: compute() == bits) for _ in range(20))
    finally:
        done.set()
        for caller in callers:
            caller.join()


def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))


# libgomp lets a pool go before the fork, and the child starts another.
LIBGOMP = sys.platform == "linux" and machine.compiler().startswith("gcc")
needs_libgomp = pytest.mark.skipif(not LIBGOMP, reason="needs libgomp; counts threads in /proc")


def with_team(bits):
    """Whether this process computes with three threads, two of them new."""
    before = threads_of_this_process()
    with fastpw.num_threads(3):
        return compute() == bits and fastpw.get_num_threads() == 3 and threads_of_this_process() == before + 2


@needs_libgomp
def test_a_child_and_its_children_have_teams(bits):
    with fastpw.num_threads(2):
        compute()
    assert in_child(lambda: with_team(bits) and in_child(lambda: with_team(bits)))


@needs_libgomp
def test_a_parent_has_its_team_again(bits):
    with fastpw.num_threads(3):
        compute()
        before = threads_of_this_process()
        for _ in range(20):
            assert in_child(lambda: True)
            assert compute() == bits
        assert threads_of_this_process() == before


@needs_libgomp
def test_a_thread_that_forks_gives_its_child_a_team(bits):
    seen = []

    def call():
        with fastpw.num_threads(2):
            compute()
        seen.append(in_child(lambda: with_team(bits)))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [True]


OF_ANOTHER_LIBRARY = """
import ctypes, os, re, numpy as np, fastpw
libgomp = ctypes.CDLL(re.search("/.*libgomp.*", open("/proc/self/maps").read())[0])
nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
libgomp.GOMP_parallel(nothing, None, 2, 0)
child = os.fork()
if child == 0:
    fastpw.set_num_threads(2)
    y = fastpw.conv1x1(np.ones((3000, 64), "f4"), np.ones((64, 64), "f4"))
    libgomp.GOMP_parallel(nothing, None, 2, 0)
    os._exit(0 if (y == 64).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_libgomp
def test_a_pool_that_another_library_started():
    command = [sys.executable, "-c", OF_ANOTHER_LIBRARY]
    done = subprocess.run(command, text=True, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout.split() == ["0"]


def with_fresh_team(bits):
    """In a new thread of the child: it leads a pool of its own."""
    before, seen = threads_of_this_process(), []

    def call():
        with fastpw.num_threads(3):
            seen.append((compute() == bits, fastpw.get_num_threads(), threads_of_this_process() - before))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENCE)
    return seen == [(True, 3, 3)]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_new_thread_in_the_child_leads_a_fresh_pool(bits):
    with fastpw.num_threads(2):
        compute()
        assert in_child(lambda: with_fresh_team(bits))


def test_the_first_team_in_the_child(bits):
    """A parent that only imported fastpw leaves its child all threads."""
    code = (
        "import os, sys, numpy as np, fastpw\n"
        "fastpw.set_num_threads(2)\n"
        "if os.fork() == 0:\n"
        "    x = np.ones((3000, 64), 'f4')\n"
        "    before = len(os.listdir('/proc/self/task'))\n"
        "    y = fastpw.conv1x1(x, np.ones((64, 64), 'f4'))\n"
        "    print(fastpw.get_num_threads(), (y == 64).all(), len(os.listdir('/proc/self/task')) - before)\n"
        "    sys.exit()\n"
        "os.wait()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, text=True, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout.split() == ["2", "True", "1" if sys.platform == "linux" else "0"]


WORKER = """
import sys
sys.path.insert(0, {folder!r})
import multiprocessing
import fastpw
from fork_work import compute

if __name__ == "__main__":
    fastpw.set_num_threads(2)
    bits = compute()
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        answers = [pool.apply_async(compute) for _ in range(4)]
        same = [answer.get({patience}) == bits for answer in answers]
    print(same == [True] * 4 and compute() == bits)
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_pool_of_processes(method, tmp_path):
    source = "\n".join(["import numpy as np", "import fastpw", function_source(layer_and_input, compute)])
    (tmp_path / "fork_work.py").write_text(source)
    script = tmp_path / "script.py"
    script.write_text(WORKER.format(folder=str(tmp_path), method=method, patience=PATIENCE))
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=2 * PATIENCE, check=False)
    assert done.stdout.split() == ["True"], done.stderr


def function_source(*functions):
    return "\n\n".join(map(inspect.getsource, functions))


def serve(listener, layer):
    """As a pre-fork server's worker: answers a request for a sum, then ends."""
    connection, _ = listener.accept()
    x = np.frombuffer(connection.recv(1 << 20, socket.MSG_WAITALL), np.float32).reshape(-1, 64)
    connection.sendall(layer(x).sum(axis=0, dtype=np.float64).tobytes())
    connection.close()
    return True


def test_a_pre_fork_server():
    """The parent loads the layer, tries it, and forks its workers, which share a socket."""
    layer, _ = layer_and_input()
    x = np.random.default_rng(1).standard_normal((4096, 64)).astype(np.float32)
    with fastpw.num_threads(2), socket.create_server(("localhost", 0)) as listener:
        expected = layer(x).sum(axis=0, dtype=np.float64)
        work = (lambda: serve(listener, layer),)
        workers = [threading.Thread(target=in_child, args=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for _ in workers:
            with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as connection:
                connection.sendall(x.tobytes())
                answer = connection.makefile("rb").read()
            assert np.array_equal(np.frombuffer(answer), expected)
        for worker in workers:
            worker.join()
