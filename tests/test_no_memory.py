"""Where there is no memory, a call raises MemoryError, and nothing is written."""

import subprocess
import sys

import numpy as np
import pytest

from fastpw._operation import HeldBack

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STARVED = """
import resource, numpy as np, fastpw
layer = fastpw.Conv1x1(np.ones((64, 64), "f4"))
x, out = np.ones((4000, 64), "f4"), np.empty((4000, 64), "f4")
crop, wide = np.ones((50, 40, 5, 5000), "f4")[:, ::2, :3], np.empty((50, 20, 3, 1), "f4")
deep = fastpw.Conv1x1(np.ones((1, 5000), "f4"))
expand, project = (fastpw.Conv1x1(np.ones(shape, "f4")) for shape in ((1024, 64), (1, 1024)))
between = fastpw.Chain([expand, fastpw.MaxPool2d(3, stride=1, padding=1), project])
image, narrow = np.broadcast_to(x[:1], (100, 200, 64)), np.full((100, 200, 1), -7, "f4")
kernels = np.ones((3, 3, 64, 8), "f4")  # their input, repeated, takes 40 MB
several = fastpw.DepthwiseConv2d(kernels, padding=1, weight_layout="HWIO")
joined = fastpw.Concat([fastpw.Conv1x1(np.ones((1, 64), "f4")), fastpw.MaxPool2d(1), several])
side_by_side, dy = np.full((100, 200, 577), -7, "f4"), np.ones((100, 200, 512), "f4")
grads = [np.full(shape, -7, "f4") for shape in (image.shape, kernels.shape, (512,))] + [None]
layer(x[:9], out=out[:9])
fastpw.set_num_threads(2)
with open("/proc/self/statm") as statm:
    size = int(statm.read().split()[0]) * resource.getpagesize()
limits = (size + {spare}, resource.RLIM_INFINITY)
resource.setrlimit(resource.RLIMIT_AS, limits)
if resource.getrlimit(resource.RLIMIT_AS) != limits:
    raise SystemExit("no limit holds")

def untouched(a):
    return a.min() == a.max() == -7

def refused(call):
    try:
        call()
    except MemoryError:
        return True
    return False
"""


def starved(code, spare=1 << 20):
    """Runs code in a process that may have hardly any more memory than its arrays."""
    command = [sys.executable, "-c", STARVED.format(spare=spare) + code]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    if done.stderr == "no limit holds\n":
        pytest.skip("qemu's user emulation ignores limits of memory")
    assert (done.returncode, done.stdout.split()) == (0, ["well"]), done.stderr


@linux
@pytest.mark.parametrize(
    "call",
    [
        "fastpw.conv1x1(np.broadcast_to(x[:1], (100_000, 64)), np.ones((64, 64), 'f4'))",
        "layer(np.broadcast_to(x[:1], (100_000, 64)))",
        "fastpw.conv1x1(x, np.broadcast_to(np.ones(64, 'f4'), (100_000, 64)))",
        "fastpw.Conv1x1(np.broadcast_to(np.ones(64, 'f4'), (100_000, 64)))",
        "fastpw.conv1x1(np.broadcast_to(x[0, 0], (1, 1 << 20)), np.broadcast_to(x[0, 0], (1 << 20,) * 2))",
        "fastpw.conv1x1(np.broadcast_to(x[:1, :1], (1, 1 << 60)), np.broadcast_to(x[:1, :1], (1, 1 << 60)))",
        "fastpw.conv1x1(x.T, np.ones((1, 4000), 'f4'))",
        "fastpw.conv1x1(out, layer.weight, out=out)",
        "fastpw.Chain([layer, layer])(np.broadcast_to(x[:1], (100_000, 64)))",
    ],
)
def test_memory_error(call):
    """Of the output, the packed weights, a copy: and the next call works."""
    well = f"refused(lambda: {call}) and layer(x[:9], out=out[:9])[8, 63] == 64"
    starved(f"print('well' if {well} else 'not refused')", spare=1 << 18)


@linux
def test_no_memory_for_what_lies_between_the_layers_of_a_chain():
    """80 MB, where it is not kept in rows: then nothing of the result is written."""
    refused = "refused(lambda: between(image, out=narrow)) and untouched(narrow)"
    well = f"({refused} or (narrow == 65536).all()) and layer(x[:9], out=out[:9])[8, 63] == 64"
    starved(f"print('well' if {well} else 'written')")


@linux
def test_no_memory_for_a_branch():
    """Then nothing of the branches before it is written."""
    well = "refused(lambda: joined(image, out=side_by_side)) and untouched(side_by_side)"
    starved(f"print('well' if {well} else 'written')")


@linux
@pytest.mark.parametrize("wrt", ["('weight', 'bias')", "('x', 'bias')", "('x', 'weight', 'bias')"])
def test_no_memory_for_one_of_the_gradients_of_a_window(wrt):
    out = f"[a if name in {wrt} else None for name, a in zip(('x', 'weight', 'bias', ''), grads)]"
    call = f"several.backward(dy, image, wrt={wrt}, out={out})"
    well = f"refused(lambda: {call}) and all(map(untouched, grads[:3]))"
    starved(f"print('well' if {well} else 'written')")


def test_memory_that_is_held_back_is_for_who_is_refused_some():
    held, calls = HeldBack(1 << 10), []

    def refused_once(at):
        calls.append(at)
        if len(calls) == 1:
            raise MemoryError
        return at

    assert held.run(refused_once, 3) == 3
    assert calls == [3, 3]
    with pytest.raises(MemoryError):  # there is no more
        held.run(lambda: np.empty(1 << 62, np.uint8))


@linux
def test_no_memory_for_threads():
    """libgomp would end the process."""
    starved("print('well' if layer(x, out=out)[-1, -1] == 64 else 'wrong')")


@pytest.mark.parametrize("shape", [(1, 1 << 60), (1 << 60, 1), (1 << 22, 1 << 22)])
def test_more_than_can_be_counted(shape, conv):
    weight = np.broadcast_to(np.float32(1), shape)
    with pytest.raises(MemoryError):
        conv(np.broadcast_to(np.float32(1), (1, shape[1])), weight)
