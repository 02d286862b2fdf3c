"""The most memory that a block takes besides its weights: its arrays and the scratch of the calls.

NumPy's arrays could be counted one by one, but not what compiled code allocates for itself. So a process of
its own counts pages: its heap is set to grow and never to shrink, so that after one call its growth is the
most that was used at a time. Weights are packed before, code and threads are warmed up on a small image, and
huge pages, which would round up, are switched off. What Python allocates for a call counts too: some 20 KiB.
It takes Linux with its C library glibc.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

import fastpw
from fastpw.bench.blocks import own
from fastpw.bench.blocks.graph import Graph
from fastpw.bench.blocks.parts import Block
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.setting import Setting
from fastpw.core.forward import empty

# glibc's: one heap for all threads, no maps of their own for large arrays, nothing is given back.
NEVER_SHRINKS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": "0",
}
PR_SET_THP_DISABLE = 41  # <linux/prctl.h>
SMALL = 8  # rows and columns of the image that warms up
PATIENCE = 120  # seconds


def measurable() -> bool:
    """Whether this system tells."""
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def peak(block: Block, setting: Setting, way: str) -> int | None:
    """The bytes of one call, from its input to its result.

    Parameters
    ----------
    block : Block
    setting : Setting
    way : str
        A row of own.TABLE.

    Returns
    -------
    int or None
        None: the system does not tell.

    Raises
    ------
    RuntimeError
        The process failed.
    """
    if not measurable():
        return None
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, block, setting, way), daemon=True)
    with _environment(NEVER_SHRINKS):
        process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(PATIENCE) else None
    except EOFError:
        answer = None
    process.terminate()
    process.join()
    if answer is None:
        raise RuntimeError(f"{block.name}: the process that measures the memory of {way} failed")
    return answer


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """For processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(connection: Connection, block: Block, setting: Setting, way: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    with fastpw.num_threads(setting.threads):
        problem = BlockProblem(block, setting)
        small = Graph(replace(block, shape=(1, SMALL, SMALL, block.shape[-1])))
        warm, run = _ways(way, problem, small)
        warm(np.zeros(small.block.shape, np.float32), out=np.empty(small.shape, np.float32))
        _private_bytes()  # (reading it takes memory, too)
        gc.collect()
        libc.malloc_trim(0)  # what was used so far and is free counts when it is used again
        before = _private_bytes()
        x, y = problem.copy(problem.x), empty(problem.output_shape, problem.x.dtype)
        run(x, out=y)
        # (arrays of less than a page may lie in pages that were in use before)
        connection.send(max(_private_bytes() - before, x.nbytes + y.nbytes))


def _ways(way, problem, small):
    """What computes a small image, and what computes the block's, with the same packed weights."""
    layers = own.layers(problem)
    if way == "fastpw layers":
        return own.LayerByLayer(small, layers), own.LayerByLayer(problem.graph, layers)
    module = own.module(problem.graph, layers)
    return module, module


def _private_bytes() -> int:
    """The pages of this process that belong to no file."""
    text = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: *(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10
