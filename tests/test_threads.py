"""Promise 6: how many threads calls use, and who says so."""

import sys
import threading

import pytest
from fresh import BY_CPUS, THREADS, needs_libgomp, run

import fastpw
from fastpw import runtime
from fastpw.core import machine

# ---- how many --------------------------------------------------------------------------------------------


def test_set_and_get():
    default = fastpw.get_num_threads()
    try:
        fastpw.set_num_threads(7)
        assert fastpw.get_num_threads() == 7
        assert fastpw.show_config("dicts")["threads"]["why"] == "set_num_threads(n)"
        with fastpw.num_threads(3):
            assert fastpw.get_num_threads() == 3
            assert fastpw.show_config("dicts")["threads"]["why"] == "with num_threads(n)"
            with fastpw.num_threads(2):
                assert fastpw.get_num_threads() == 2
            fastpw.set_num_threads(5)
            assert fastpw.get_num_threads() == 3
        assert fastpw.get_num_threads() == 5
    finally:
        fastpw.set_num_threads(None)
    assert fastpw.get_num_threads() == default


def test_a_block_holds_for_its_own_thread():
    seen = []
    with fastpw.num_threads(9):
        other = threading.Thread(target=lambda: seen.append(fastpw.get_num_threads()))
        other.start()
        other.join()
        assert fastpw.get_num_threads() == 9
    assert seen == [fastpw.get_num_threads()]


def test_a_block_ends_with_an_exception():
    default = fastpw.get_num_threads()
    with pytest.raises(KeyError), fastpw.num_threads(9):
        raise KeyError
    assert fastpw.get_num_threads() == default


SAME_AS_ALONE = """
import numpy as np, fastpw
random = np.random.default_rng(0)
numbers = lambda *shape: random.integers(-8, 9, shape).astype("f4")
calls = [(numbers(m, n), numbers(m, k), numbers(n, k)) for m, n, k in
         ((49, 512, 256), (3000, 40, 24), (3000, 96, 512), (400, 900, 300))]
def results():
    for dy, x, weight in calls:
        yield fastpw.Conv1x1(weight)(x)
        yield from fastpw.conv1x1_backward(dy, x, weight)[:3]
fastpw.set_num_threads(6)
together = list(results())
fastpw.set_num_threads(1)
print(all(map(np.array_equal, together, results())))
"""


@pytest.mark.parametrize("variables", [{"OMP_THREAD_LIMIT": "2"}, {"OMP_DYNAMIC": "true"}], ids="".join)
def test_openmp_may_give_fewer_threads_than_asked(variables):
    assert run(SAME_AS_ALONE, **variables) == "True"


FOLLOWS = """
import os, numpy as np, fastpw
rng = np.random.default_rng(0)
x, weight, dy = (rng.random(shape, np.float32) for shape in ((3000, 64), (96, 64), (3000, 96)))
layer = fastpw.Conv1x1(weight)
call = {call}
def threads():
    return len(os.listdir("/proc/self/task"))
fastpw.set_num_threads(1)
for _ in range(3):
    call()
before = threads()
fastpw.set_num_threads(3)
call()
print(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("call", ["lambda: layer(x)", "lambda: fastpw.conv1x1_backward(dy, x, weight)"])
def test_a_call_made_again_may_use_more_threads_than_before(call):
    assert run(FOLLOWS.format(call=call)) == "2"


def test_threadpoolctl_limits():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    default = fastpw.get_num_threads()
    with threadpoolctl.threadpool_limits(1):
        assert fastpw.get_num_threads() == 1
        if machine.openmp_threads() < runtime._openmp_at_import:
            assert "threadpoolctl" in fastpw.show_config("dicts")["threads"]["why"]
        with fastpw.num_threads(4):
            assert fastpw.get_num_threads() == (4 if runtime._openmp_at_import == 1 else 1)
    assert fastpw.get_num_threads() == default


ALL_CPUS = f"{machine.openmp_limits()[0]} {BY_CPUS}"
SAID = {
    "1": "1 OMP_NUM_THREADS=1",
    " +3 ": "3 OMP_NUM_THREADS=+3",
    "1,2": "1 OMP_NUM_THREADS=1,2",
    "3 , 1": "3 OMP_NUM_THREADS=3 , 1",
    "1024": "1024 OMP_NUM_THREADS=1024",
    "2000": "1024 no call uses more than 1024",
}
REJECTED = ["", "garbage", "0", "-1", "1.5", "1x", "2,x", "2,", ",2", "\u0661", "\udcff", "9" * 30, "2,0"]
BEYOND_INT = ["4294967295", "4294967296"]


@needs_libgomp
@pytest.mark.parametrize(("value", "said"), SAID.items())
def test_omp_num_threads(value, said):
    assert run(THREADS, OMP_NUM_THREADS=value) == said


@needs_libgomp
@pytest.mark.parametrize("value", REJECTED + BEYOND_INT)
def test_omp_num_threads_that_openmp_does_not_take(value):
    assert run(THREADS, OMP_NUM_THREADS=value) == ALL_CPUS


def test_omp_num_threads_set_too_late():
    many = machine.openmp_limits()[0] + 1
    code = f"import fastpw, os; os.environ['OMP_NUM_THREADS'] = '{many}'; {THREADS}"
    assert run(code) == ALL_CPUS


@pytest.mark.parametrize("name", ["OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_NESTED"])
def test_other_variables_of_openmp(name):
    assert run(THREADS, **{name: "true"}) == ALL_CPUS


def test_omp_thread_limit():
    assert run(THREADS, OMP_THREAD_LIMIT="1") == "1 OMP_THREAD_LIMIT=1"
    code = f"import fastpw; fastpw.set_num_threads(7); {THREADS}"
    assert run(code, OMP_THREAD_LIMIT="5") == "5 OMP_THREAD_LIMIT=5"
    assert run(THREADS, OMP_THREAD_LIMIT="garbage") == ALL_CPUS


def test_openmp_set_to_more_threads_than_cpus():
    """As another library may do for its own sake."""
    pytest.importorskip("threadpoolctl")
    assert run(f"import fastpw, threadpoolctl; threadpoolctl.threadpool_limits(99); {THREADS}") == ALL_CPUS


# ---- the import ------------------------------------------------------------------------------------------


def test_the_import_brings_little():
    """Beside NumPy's modules and Python's own only fastpw's."""
    code = (
        "import sys, numpy; before = set(sys.modules); import fastpw\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "own = new - sys.stdlib_module_names - {'numpy'}\n"
        "print(*sorted(name for name in own if 'cython' not in name))"
    )
    assert run(code) == "fastpw"
