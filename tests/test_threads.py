"""Promise 6: how many threads calls use and who says so; many callers at once; children of a fork."""

import contextvars
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import fastpw
from fastpw import runtime
from fastpw.core import machine


def run(code, **variables):
    """What a fresh interpreter with these environment variables prints, or its last words if it fails."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "FASTPW_"))
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=inherited | variables, text=True, capture_output=True, check=False)
    return (done.stderr if done.returncode else done.stdout).strip().splitlines()[-1]


LIBGOMP = sys.platform == "linux" and machine.compiler().startswith("gcc")
needs_libgomp = pytest.mark.skipif(not LIBGOMP, reason="LLVM's OpenMP does otherwise")
THREADS = "import fastpw; print(fastpw.get_num_threads(), fastpw.show_config('dicts')['threads']['why'])"

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


BY_CPUS = "the CPUs that this process may run on"
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


# ---- CPUs that come and go ---------------------------------------------------------------------------------

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
needs_cpus = pytest.mark.skipif(machine.openmp_limits()[0] < 2, reason="needs two CPUs")


@needs_affinity
def test_affinity():
    one_cpu = {min(os.sched_getaffinity(0))}
    code = f"import os; os.sched_setaffinity(0, {one_cpu}); {THREADS}"
    assert run(code) == f"1 {BY_CPUS}"
    # Who asks may have more threads than the CPUs that there were from the start.
    asks = f"import os; os.sched_setaffinity(0, {one_cpu}); import fastpw; fastpw.set_num_threads(3)"
    assert run(f"{asks}; {THREADS}") == "3 set_num_threads(n)"


LOSES_CPUS = """
import os, time, numpy as np, fastpw
x, weight = np.ones((3000, 64), "f4"), np.ones((64, 64), "f4")
layer = fastpw.Conv1x1(weight)
def asked(n):
    fastpw.set_num_threads(n)
    fastpw.conv1x1(x, weight)
    layer(x)
    return fastpw.get_num_threads(), len(os.listdir("/proc/self/task")) - before
before = len(os.listdir("/proc/self/task"))
all_cpus = os.sched_getaffinity(0)
said = [asked(2)]
os.sched_setaffinity(0, {min(all_cpus)})
time.sleep(0.01)
said += [asked(4), asked(None), fastpw.show_config("dicts")["threads"]["why"]]
with fastpw.num_threads(3):
    said.append(fastpw.get_num_threads())
os.sched_setaffinity(0, all_cpus)
time.sleep(0.01)
print(*said, asked(3))
"""


@needs_affinity
@needs_cpus
def test_no_more_threads_than_cpus_that_are_left():
    assert run(LOSES_CPUS) == f"(2, 1) (1, 1) (1, 1) {BY_CPUS} 1 (3, 2)"


@needs_libgomp
@needs_affinity
@needs_cpus
def test_threads_that_openmp_binds_are_no_fewer_cpus():
    """It binds the thread that imports fastpw to one CPU, and those of its teams to others."""
    code = LOSES_CPUS.replace("os.sched_setaffinity(0, {min(all_cpus)})", "").replace("asked(None)", "''")
    assert run(code, OMP_PROC_BIND="true") == "(2, 1) (4, 3)  set_num_threads(n) 3 (3, 2)"


@needs_affinity
@needs_cpus
def test_a_thread_has_cpus_of_its_own():
    seen = []

    def call():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        seen.append((fastpw.get_num_threads(), min(2, len(os.sched_getaffinity(0)))))

    with fastpw.num_threads(2):
        pinned = threading.Thread(target=contextvars.copy_context().run, args=(call,))
        pinned.start()
        pinned.join()
        assert fastpw.get_num_threads() == 2
    (used, cpus) = seen[0]
    assert used == cpus  # LLVM's OpenMP gives it all CPUs again
    assert cpus == 1 or not LIBGOMP


# ---- CPUs that others keep busy ----------------------------------------------------------------------------

# The other thread of the team is starved, on a CPU that has something better to do.
STARVED = r"""
import os, subprocess, sys, time, numpy as np, fastpw
fastpw.set_num_threads(2)
x, before = np.ones(({pixels}, 96), "f4"), set(os.listdir("/proc/self/task"))
layer = fastpw.Conv1x1(np.ones((96, 96), "f4"))
dy, call = layer(x), {call}
call()
cpu = max(os.sched_getaffinity(0))
for worker in set(os.listdir("/proc/self/task")) - before:
    os.sched_setaffinity(int(worker), [cpu])
    os.setpriority(os.PRIO_PROCESS, int(worker), 15)
busy = "import os, sys; os.sched_setaffinity(0, [int(sys.argv[1])]); print(flush=True)\nwhile True: pass"
with subprocess.Popen([sys.executable, "-c", busy, str(cpu)], stdout=subprocess.PIPE) as loop:
    loop.stdout.readline()
    def calls(threads):
        fastpw.set_num_threads(threads)
        made, until = 0, time.monotonic() + 0.6
        while time.monotonic() < until:
            call()
            made += 1
        return made
    print(calls(2) / calls(1))
    loop.kill()
"""


@needs_affinity
@needs_cpus
@pytest.mark.parametrize(
    ("call", "pixels"),
    [
        ("lambda: layer(x)", 196),
        ("lambda: fastpw.conv1x1_backward(dy, x, layer.weight)", 196),  # in blocks
        ("lambda: fastpw.conv1x1_backward(dy, x, layer.weight)", 3000),  # in slices
    ],
)
def test_calls_do_not_wait_for_a_busy_cpu(call, pixels):
    """A thread alone makes a hundred calls in the time that a team takes for one."""
    assert float(run(STARVED.format(call=call, pixels=pixels))) > 0.2


V2, V1 = "0::{}\n", "5:memory:/\n4:cpu,cpuacct:{}\n0::/\n"
QUOTAS = {
    "v2": (V2.format("/"), {"cpu.max": "150000 100000\n"}, 1.5),
    "v2, no limit": (V2.format("/"), {"cpu.max": "max 100000\n"}, None),
    "v2, no controller": (V2.format("/"), {}, None),
    "v2, own group": (V2.format("/a/b"), {"a/b/cpu.max": "300000 100000\n"}, 3),
    "v2, tightest ancestor": (
        V2.format("/a/b"),
        {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "cpu.max": "400000 100000"},
        0.5,
    ),
    "v2, the host's path": (V2.format("/../../host/pod"), {"cpu.max": "200000 100000"}, 2),
    "v1": (V1.format("/"), {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
    "v1, no limit": (V1.format("/"), {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    "v1, the host's path": (
        V1.format("/docker/1234"),
        {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
        1,
    ),
    "nonsense": (V2.format("/"), {"cpu.max": "a lot"}, None),
    "nothing": ("", {}, None),
    "not in the form": ("0\n\n0:/\n", {}, None),
    "no period": (V2.format("/"), {"cpu.max": "100000 0\n"}, None),
    "no UTF-8": (V2.format("/a\udcff"), {"cpu.max": "50000 100000\n"}, 0.5),
}


@pytest.mark.parametrize(("membership", "files", "quota"), QUOTAS.values(), ids=QUOTAS)
def test_cpu_quota(membership, files, quota, tmp_path):
    (tmp_path / "self").write_text(membership, errors="surrogateescape")
    for name, text in files.items():
        file = tmp_path / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert runtime.cpu_quota(tmp_path / "self", tmp_path / "mount") == quota


def test_no_control_groups(tmp_path):
    assert runtime.cpu_quota(tmp_path / "absent", tmp_path) is None


def test_a_quota_caps_the_default(monkeypatch):
    monkeypatch.setattr(runtime, "_default", runtime._default_limit(0.5, by_variable=False))
    assert fastpw.get_num_threads() == 1
    if machine.openmp_threads() > 1:
        assert fastpw.show_config("dicts")["threads"]["why"] == "the container's CPU quota is 0.5"
    with fastpw.num_threads(2):
        assert fastpw.get_num_threads() == 2


# ---- which instruction set -------------------------------------------------------------------------------


def test_isa_by_environment(isa):
    code = "import fastpw; print(fastpw.show_config('dicts')['instruction sets']['chosen'])"
    for name in (isa, isa.upper(), isa.title()):
        assert run(code, FASTPW_ISA=name) == str({"float32": isa, "float64": isa})


def test_isa_that_is_not_there():
    error = run("import fastpw", FASTPW_ISA="avx1024")
    assert error.startswith("ValueError: FASTPW_ISA=avx1024: ")
    for row in machine.kernel_sets():
        assert row["isa"] in error


def test_show_config(capsys, isa, threads):
    config = fastpw.show_config("dicts")
    assert config["fastpw"]["version"] == fastpw.__version__
    assert config["instruction sets"]["chosen"] == {"float32": isa, "float64": isa}
    assert config["threads"]["number"] == threads
    assert fastpw.show_config() is None
    shown = capsys.readouterr().out
    for said in (fastpw.__version__, config["compiler"], isa, config["threads"]["why"]):
        assert str(said) in shown


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
