"""Load: thousands of calls from many threads are right, and leave no memory and no thread behind."""

import sys
import threading
import time
from itertools import cycle, islice

import numpy as np
import pytest

import fastpw
from fastpw.core import machine

FASTEST = next(row["isa"] for row in machine.kernel_sets() if row["chosen"])
CALLERS, CALLS = 8, 1000
# KiB in two rounds, 64 bytes a call. Allocators that find other places grow now and then, a leak goes on.
LITTLE, MOST_ROUNDS = 1024, 10


@pytest.fixture
def work(isa):
    """Calls of different shapes and entrances, on shared layers, each with what it has to return."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    calls = []
    for m, n, k in ((3, 8, 8), (49, 300, 96), (700, 40, 30), (1500, 24, 16)):
        x, layer = normal(m, k), fastpw.Conv1x1(normal(n, k), normal(n), activation="silu")
        calls.append(lambda layer=layer, x=x: layer(x))
        calls.append(lambda layer=layer, x=x: fastpw.conv1x1(x, layer.weight, layer.bias, activation="relu"))
        dy = normal(m, n)
        calls.append(lambda layer=layer, x=x, dy=dy: fastpw.conv1x1_backward(dy, x, layer.weight).dweight)
    image, weight = normal(2, 9, 8, 24), normal(32, 12)
    calls.append(lambda: fastpw.conv1x1(image, weight, stride=2, padding=1, groups=2))
    chain = fastpw.Chain(
        [
            fastpw.Conv1x1(normal(40, 24), activation="relu6"),
            fastpw.DepthwiseConv2d(normal(3, 3, 40), padding=1),
            fastpw.Conv1x1(normal(24, 40)),
        ],
        add_input=True,
    )
    for shape in ((2, 9, 8, 24), (21, 13, 24), (1, 1, 24)):
        x = normal(*shape)
        calls.append(lambda x=x: chain(x))
    crop = normal(30, 12, 24)[:, :5]
    calls.append(lambda: fastpw.conv1x1(crop, weight, groups=2))
    with fastpw.num_threads(1):
        return [(call, call()) for call in calls]


def run_together(targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))


def settled(count):
    """The number of threads, once those that end have ended."""
    for _ in range(200):
        if status("Threads") <= count:
            break
        time.sleep(0.01)
    return status("Threads")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("isa", [FASTEST], indirect=True)
def test_a_thousand_calls_from_each_of_eight_threads(work):
    wrong = []

    def caller(first):
        for call, y in islice(cycle(work), first, first + CALLS):
            if not np.array_equal(call(), y):
                wrong.append(first)

    def callers(calls):
        return [lambda first=first: caller(first) for first in range(calls)]

    run_together(callers(CALLERS))  # the allocators' arenas, and whatever else comes with the first time
    threads, memory = status("Threads"), [status("VmRSS")]
    while len(memory) <= MOST_ROUNDS and (len(memory) < 3 or memory[-1] - memory[-3] > LITTLE):
        run_together(callers(CALLERS))
        memory.append(status("VmRSS"))
    assert not wrong
    assert settled(threads) <= threads
    assert memory[-1] - memory[-3] <= LITTLE, memory


def test_every_result_has_the_same_bits(work):
    """Whatever the number of threads, and whoever else computes."""
    wrong = []

    def caller(n):
        with fastpw.num_threads(n):
            for _ in range(10):
                wrong.extend(i for i, (call, y) in enumerate(work) if call().tobytes() != y.tobytes())

    run_together([lambda n=n: caller(n) for n in (1, 2, 3, 2, 4)])
    assert not wrong


def test_limits_come_and_go_while_others_call(work):
    """set_num_threads, threadpoolctl and num_threads in one thread, calls in others."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    default, wrong, done = fastpw.get_num_threads(), [], threading.Event()

    def caller():
        while not done.is_set():
            wrong.extend(call for call, y in work if not np.array_equal(call(), y))

    def limiter():
        for n in range(100):
            with threadpoolctl.threadpool_limits(1 + n % 2):
                limited = fastpw.get_num_threads()
                with fastpw.num_threads(1 + n % 3):
                    work[3][0]()
                if limited > 1 + n % 2:
                    wrong.append(limited)
            fastpw.set_num_threads(1 + n % 3)
            fastpw.set_num_threads(None)
        done.set()

    run_together([caller, caller, limiter])
    assert not wrong
    assert fastpw.get_num_threads() == default


def test_an_exception_leaves_nothing_locked(work):
    """In the middle of other threads' calls, from within and from without."""
    failed, wrong = [], []

    def fails():
        for _ in range(200):
            try:
                fastpw.conv1x1(np.ones((5, 3), "f4"), np.ones((2, 4), "f4"))
            except ValueError as error:
                failed.append(error)

    def works():
        wrong.extend(call for call, y in islice(cycle(work), 200) if not np.array_equal(call(), y))

    run_together([fails, works, fails, works])
    assert len(failed) == 400
    assert not wrong
    works()
    assert not wrong
