"""Threads and the CPUs of a process: those that come and go, those that others keep busy, quotas."""

import contextvars
import os
import threading

import pytest
from fresh import BY_CPUS, LIBGOMP, THREADS, needs_libgomp, run

import fastpw
from fastpw import runtime
from fastpw.core import machine

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
