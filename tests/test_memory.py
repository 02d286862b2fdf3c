"""Memory: a call takes its output and a bounded workspace, and counts past 32 bits."""

import sys

import numpy as np
import pytest
from fastpw.core.forward import empty

import fastpw

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20


def read(file, field):
    with open(file) as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def resident(field):
    """Bytes of this process in memory: VmRSS now, VmHWM at the highest."""
    return read("/proc/self/status", field)


def peak_of(call):
    """How much more memory the process needed during a call than before."""
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


# ---- large results -----------------------------------------------------------------------------------------


def large_result(value):
    """Of 40 MiB."""
    return fastpw.conv1x1(np.full((10 * MIB, 1), value, "f4"), np.ones((1, 1), "f4"))


def test_a_large_result_takes_the_memory_of_one_that_is_gone():
    first = empty((10 * MIB,), np.dtype("f4"))
    first.fill(7)
    del first
    assert (empty((9 * MIB,), np.dtype("f4")) == 7).all()  # new pages would be clear


def test_a_view_holds_the_memory_of_its_result():
    view = large_result(1)[5:]
    others = [large_result(value) for value in (2, 3)]
    assert (view == 1).all()
    assert not any(np.may_share_memory(view, other) for other in others)
    assert not np.may_share_memory(*others)


@linux
def test_little_is_kept_of_large_results():
    results = [large_result(1) for _ in range(5)]
    held = resident("VmRSS")
    del results
    assert held - resident("VmRSS") >= 4 * 40 * MIB - MIB


# ---- the workspace -----------------------------------------------------------------------------------------
# What the interpreter and the allocator round up to, or happen to do meanwhile.
NOISE = MIB // 2


def crop(*shape, dtype):
    """Short rows, and no two at one distance: nothing that a tile could use in place."""
    n, h, w, c = shape
    return np.ones((n, h + 1, w + 3, c), dtype)[:, :h, :w]


def in_place(dtype):
    return np.ones((40_000, 64), dtype), np.ones((256, 64), dtype), np.ones((40_000, 256), dtype)


def staged(dtype):
    return crop(10, 20, 5, 16, dtype=dtype), np.ones((6000, 16), dtype), crop(10, 20, 5, 6000, dtype=dtype)


def staged_deep(dtype):
    return crop(5, 9, 3, 20_000, dtype=dtype), np.ones((40, 20_000), dtype), crop(5, 9, 3, 40, dtype=dtype)


@linux
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("problem", [in_place, staged, staged_deep])
def test_the_workspace_is_bounded(problem, threads):
    """1 MiB per thread, or twelve pixels' inputs if those are more: as the README says."""
    x, weight, out = problem(np.float32)
    layer = fastpw.Conv1x1(weight)
    layer(x[:1], out=out[:1])  # whatever a first call sets up
    bound = threads * max(MIB, 12 * x.shape[-1] * x.itemsize + MIB)
    assert peak_of(lambda: layer(x, out=out)) < bound + NOISE
    assert out[-1, -1].flat[-1] == x.shape[-1]


@linux
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("problem", [in_place, staged, staged_deep])
def test_the_workspace_of_gradients_is_bounded(problem, threads):
    """8 MiB, and 8 MiB per thread, besides the packed weights."""
    x, weight, dy = problem(np.float32)
    out = fastpw.Gradients(np.empty_like(x), np.empty_like(weight), np.empty(len(weight), x.dtype), None)
    for _ in range(2):
        needed = peak_of(lambda: fastpw.conv1x1_backward(dy, x, weight, activation="gelu", out=out))
    assert needed < (1 + threads) * 8 * MIB + 3 * weight.nbytes + NOISE
    assert np.isfinite(out.dweight).all()


@linux
@pytest.mark.usefixtures("isa", "threads")
def test_the_output_is_all_that_is_allocated_for_it():
    x, weight = np.ones((80_000, 64), "f4"), np.ones((256, 64), "f4")  # a result too large to be kept
    layer = fastpw.Conv1x1(weight, activation="gelu")
    layer(x[:1])
    expected = 80_000 * 256 * 4
    assert expected - NOISE < peak_of(lambda: layer(x)) < expected + 2 * MIB + NOISE


@linux
@pytest.mark.usefixtures("isa", "threads")
def test_no_memory_stays_behind():
    x, weight, out = staged(np.float32)
    layer = fastpw.Conv1x1(weight)
    layer(x, out=out)
    before = resident("VmRSS")
    for _ in range(5):
        layer(x, out=out)
        fastpw.conv1x1(x, weight, out=out)
    assert resident("VmRSS") - before < NOISE


@linux
@pytest.mark.usefixtures("isa", "threads")
def test_no_memory_of_chains_stays_behind():
    """Of a shape that comes again, and of more shapes than programs are kept for."""
    layers = fastpw.Conv1x1(np.ones((300, 64), "f4")), fastpw.Conv1x1(np.ones((64, 300), "f4"))
    chain, x = fastpw.Chain(layers, add_input=True), np.ones((1000, 64), "f4")

    def calls():
        for rows in range(980, 1000):
            chain(x[:rows])

    calls()
    before = resident("VmRSS")
    for _ in range(5):
        calls()
    assert resident("VmRSS") - before < NOISE


# ---- past 32 bits ------------------------------------------------------------------------------------------


@pytest.fixture
def ten_gigabytes():
    if sys.platform != "linux" or read("/proc/meminfo", "MemAvailable") < 10 << 30:
        pytest.skip("needs 10 GB of free memory")


@pytest.mark.big
@pytest.mark.usefixtures("ten_gigabytes", "threads")
def test_more_than_2_to_the_31_elements_in():
    """9 GB in; rows at both ends, and around where 32 bits would wrap."""
    pixels, channels = (1 << 31) // 64 + 2_500_000, 64
    x = np.zeros((pixels, channels), np.float32)
    assert x.size > 1 << 31
    assert x.nbytes > 1 << 33
    told = [0, 1, (1 << 30) // 256, (1 << 31) // 256 - 1, (1 << 32) // 256, (1 << 33) // 256, pixels - 1]
    x[told] = np.arange(1, len(told) + 1)[:, None]
    y = fastpw.conv1x1(x, np.ones((1, channels), np.float32))
    assert np.array_equal(np.flatnonzero(y), sorted(set(told)))
    assert np.array_equal(y[told, 0], channels * np.arange(1, len(told) + 1))
    back = fastpw.conv1x1(x[::-1], np.ones((1, channels), np.float32))
    assert np.array_equal(back, y[::-1])


@pytest.mark.big
@pytest.mark.usefixtures("ten_gigabytes", "threads")
def test_more_than_2_to_the_31_elements_out():
    pixels, filters = (1 << 31) // 1000 + 10, 1000
    x = np.zeros((pixels, 1), np.float32)
    x[[0, -1]] = 3
    y = fastpw.conv1x1(x, np.arange(filters, dtype=np.float32)[:, None])
    assert y.size > 1 << 31
    assert np.array_equal(y[[0, -1]], 3 * np.arange(filters)[None].repeat(2, axis=0))
    assert not y[1:-1:9973].any()
    assert not y[-2].any()


def test_strides_past_32_bits():
    """Three pixels in 9 GB of memory, of which the system gives three pages."""
    memory = np.zeros((3, 1200, 1000, 1000), np.float32)
    x = memory[:, 1, 1, :8]
    assert x.strides[0] > 1 << 32
    x[...] = [[1], [2], [3]]
    y = fastpw.conv1x1(x, np.ones((4, 8), np.float32), out=memory[:, -1, -1, -4:])
    assert np.array_equal(y, np.repeat([[8], [16], [24]], 4, axis=1))
    assert fastpw.conv1x1(x[::-1], np.ones((1, 8), np.float32))[0] == 24
