"""Promise 3, the state: rounding, flush-to-zero, exception flags stay as they were and change no result."""

import ctypes
import platform
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

import fastpw

MACHINE = platform.machine()
FIELDS = {
    # The x87's words, then MXCSR: flags below, control above.
    "x86_64": [("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32)],
    "aarch64": [("fpcr", ctypes.c_uint32), ("fpsr", ctypes.c_uint32)],
}
if sys.platform != "linux" or MACHINE not in FIELDS:
    pytest.skip("fenv_t is known of glibc on x86-64 and 64-bit ARM", allow_module_level=True)

libm = ctypes.CDLL("libm.so.6")


class State(ctypes.Structure):
    """fenv_t of glibc."""

    _fields_ = FIELDS[MACHINE]

    def copy(self):
        return State.from_buffer_copy(self)


# What goes into the control word.
if MACHINE == "x86_64":
    CONTROL, UPWARD, DOWNWARD, TOWARD_ZERO, FLUSH = "mxcsr", 2 << 13, 1 << 13, 3 << 13, 1 << 15 | 1 << 6
    DEFAULT, TRAP_ALL = 0x1F80, -0x1F80
else:
    CONTROL, UPWARD, DOWNWARD, TOWARD_ZERO, FLUSH = "fpcr", 1 << 22, 2 << 22, 3 << 22, 1 << 24
    DEFAULT, TRAP_ALL = 0, 0x1F00

STATES = {
    "upward": UPWARD,
    "downward": DOWNWARD,
    "toward zero": TOWARD_ZERO,
    "subnormals flushed": FLUSH,
    "flushed and upward": FLUSH | UPWARD,
    "every exception traps": TRAP_ALL,
}


def get():
    state = State()
    assert libm.fegetenv(ctypes.byref(state)) == 0
    return state


def control_of(state):
    """Without the flags, beside it on x86-64: the interpreter's own arithmetic may have raised some."""
    return getattr(state, CONTROL) & ~0x3F


def set_to(state):
    assert libm.fesetenv(ctypes.byref(state)) == 0


@contextmanager
def in_state(control):
    before = get()
    state = before.copy()
    setattr(state, CONTROL, DEFAULT + control)
    set_to(state)
    try:
        yield
    finally:
        set_to(before)


def stays(control):
    with in_state(control):
        return control_of(get()) == DEFAULT + control


# Few ARM CPUs have traps: elsewhere these bits do not stay.
STATES = {name: control for name, control in STATES.items() if stays(control)}


@pytest.fixture
def state():
    """The state with no flag raised, which comes back after the test."""
    before = get()
    libm.feclearexcept(0x3F)
    yield get()
    set_to(before)


def arrays(dtype, rng, filters=64):
    """Large enough for a team; with numbers so small that flushing shows."""
    x = rng.standard_normal((600, 48)).astype(dtype)
    x[::3] *= np.finfo(dtype).tiny
    return x, rng.standard_normal((filters, 48)).astype(dtype), rng.standard_normal(filters).astype(dtype)


def calls(dtype, rng):
    """A team, one thread, one weight per channel, padding, few columns: everything that computes."""
    x, weight, bias = arrays(dtype, rng)
    layer = fastpw.Conv1x1(weight, bias, activation="gelu")
    narrow = fastpw.Conv1x1(weight[:5])
    image = x[:180].reshape(15, 12, 48)
    spatial = fastpw.DepthwiseConv2d(np.ones((3, 3, 64), dtype), padding=1, activation="hard_swish")
    chain = fastpw.Chain([layer, spatial, fastpw.Conv1x1(weight.T)], add_input=True)
    return {
        "function": lambda: fastpw.conv1x1(x, weight, activation="silu"),
        "layer": lambda: layer(x),
        "layer again": lambda: layer(x),
        "small": lambda: layer(x[:3]),
        "narrow": lambda: narrow(x),
        "per channel": lambda: fastpw.conv1x1(x, weight[:48, :1], groups=48, activation="tanh"),
        "groups": lambda: fastpw.conv1x1(x, weight[:, :12], bias, groups=4),
        "padding": lambda: fastpw.conv1x1(image, weight, bias, stride=2, padding=1, activation="sigmoid"),
        "chain": lambda: chain(image),
    }


CALLS = [*calls(np.float32, np.random.default_rng(0))]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("isa", "threads")
def test_a_call_leaves_the_state_alone(name, state, dtype, rng):
    call = calls(dtype, rng)[name]
    for _ in range(3):  # a flag that the interpreter itself raised meanwhile is not there again
        libm.feclearexcept(0x3F)
        before = bytes(get())
        call()
        after = bytes(get())
        if after == before:
            break
    assert after == before


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("isa", "threads")
def test_a_call_computes_the_same_in_any_state(name, state, dtype, rng):
    call = calls(dtype, rng)[name]
    y = call()
    for control in STATES.values():
        with in_state(control):
            result = call()
            after = get()
        assert control_of(after) == DEFAULT + control
        assert result.tobytes() == y.tobytes()


@pytest.mark.usefixtures("isa")
def test_a_team_born_in_another_state(state, dtype, rng):
    """OpenMP's threads keep the state of the thread that first led them."""
    call = calls(dtype, rng)["function"]
    y, results = call(), []

    def lead():
        with fastpw.num_threads(2):
            with in_state(FLUSH | UPWARD):
                results.append(call())
            results.extend(call() for _ in range(20))

    leader = threading.Thread(target=lead)
    leader.start()
    leader.join()
    assert len(results) == 21
    assert all(result.tobytes() == y.tobytes() for result in results)


def test_import_leaves_the_state_alone():
    code = (
        "import ctypes, numpy\n"
        "libm = ctypes.CDLL('libm.so.6')\n"
        "def state():\n"
        "    space = ctypes.create_string_buffer(64)\n"
        "    assert libm.feclearexcept(0x3f) == 0 and libm.fegetenv(space) == 0\n"
        "    return space.raw[:12] + space.raw[28:]  # x87's last instruction (or, on ARM, nothing) aside\n"
        "before = state()\n"
        "import fastpw\n"
        "assert state() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
