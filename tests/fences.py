"""Memory between pages that nobody may touch, for arrays; calls on it are made in a child process."""

import ctypes
import faulthandler
import mmap
import os
import sys
import traceback
from itertools import product

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

if sys.platform != "linux":
    pytest.skip("mprotect and fork as on Linux", allow_module_level=True)

PAGE = mmap.PAGESIZE
UNTOUCHED = 0x5A
libc = ctypes.CDLL(None, use_errno=True)


class Fence:
    """Memory between two pages that may not be touched."""

    def __init__(self, size=1 << 18):
        self.map = mmap.mmap(-1, size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (start, start + size + PAGE):
            assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
        self.bytes = np.frombuffer(self.map, np.uint8, size, PAGE)
        self.bytes[:] = UNTOUCHED

    def array(self, contents, gap, behind, reverse):
        """A copy of the contents; `gap` elements between its rows, `reverse`d in memory, at either end."""
        self.view = None
        shape, item = contents.shape, contents.itemsize
        strides, reach = [], 1
        for axis, size in enumerate(reversed(shape)):
            strides.append(reach * item)
            reach = reach * size + (gap if axis == 0 and len(shape) > 1 else 0)
        strides = strides[::-1]
        span = sum(stride * (size - 1) for stride, size in zip(strides, shape, strict=True)) + item
        assert span <= self.bytes.size
        start = self.bytes.size - span if behind else 0
        space = self.bytes[start : start + span].view(contents.dtype)
        view = as_strided(space, shape, strides)
        if reverse and len(shape) > 1:
            view = view[::-1]
        view[...] = contents
        self.view = view
        return view

    def close(self):
        """Checks that nothing but the array was written."""
        self.view[...] = np.frombuffer(bytes([UNTOUCHED] * self.view.itemsize), self.view.dtype)[0]
        assert np.all(self.bytes == UNTOUCHED)


FENCES = {}
PLACES = [*product((0, 3), (False, True), (False, True))]  # gap, behind, reverse


def fenced(place, **contents):
    """The arrays (None stays None), each at this place in a memory of its own."""
    for name, array in contents.items():
        if array is None:
            yield None
        else:
            if name not in FENCES:
                FENCES[name] = Fence()
            yield FENCES[name].array(array, *place)


def fences_hold():
    for fence in FENCES.values():
        if fence.view is not None:
            fence.close()
            fence.view = None


def survives(cases):
    """Runs an iterable of cases in a child process; says which one ended it."""
    reached = mmap.mmap(-1, PAGE)  # shared with the child
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            for case in cases:
                reached[:200] = repr(case).encode().ljust(200)[:200]
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"status {status} after {reached[:200].decode().strip()}"


def around(sizes):
    return sorted({size for s in sizes for size in (s - 1, s, s + 1) if size > 0})


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def act(z, activation):
    return np.maximum(z, 0) if activation == "relu" else np.clip(z, -2, 9) if activation else z


ACTIVATIONS = [None, "relu", ("clip", -2, 9)]
