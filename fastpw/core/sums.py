"""How sums over the outputs of a window, and over rows, are cut.

What decides the order of the additions follows from the shape alone.
"""

from functools import lru_cache
from typing import NamedTuple

from .bands import FIRST_LEVEL_BYTES, LEAST_BLOCK_BYTES
from .partition import BRIEF_WORK, LEAST_DEPTH, SMALL_WORK, TASK_WORK

# Outputs whose products are added up in registers, before they are added to the sums in memory: rounding
# stays small, and few rows have to be in the first-level cache at a time.
STEP_OUTPUTS = 64

# Where the channels are not enough tasks, steps are shared out in bands, each with sums of its own.
MOST_TASKS = 8

# Rows whose dz is formed before they are summed, while they are in the first-level cache.
FORMED_BYTES = 8 << 10


class Outputs(NamedTuple):
    """What is summed: outputs, the taps of each, and the pixels under a row of outputs."""

    planes: int
    rows: int
    columns: int
    channels: int
    tap_rows: int
    tap_columns: int
    inputs: int  # of a row, those that are not there included
    row_stride: int


class Cut(NamedTuple):
    """Rows of outputs of a step, bands of steps, channels of a task. And who runs the tasks."""

    step: int
    bands: int
    channels: int
    threads: int
    brief: bool


@lru_cache(maxsize=1024)
def cut(window: Outputs, lanes: int, element: int, threads: int) -> Cut:
    """Share the sums of a window out to a team; the arguments are as for bands.cut."""
    work = window.planes * window.rows * window.columns * window.channels
    work *= window.tap_rows * window.tap_columns
    step = max(1, min(window.rows, STEP_OUTPUTS // window.columns))
    steps = window.planes * -(-window.rows // step)
    fewest = -(-window.channels * element // LEAST_BLOCK_BYTES)  # of the blocks
    bands = max(1, min(MOST_TASKS // fewest, steps, work // TASK_WORK))
    if work < SMALL_WORK:
        threads = 1
    return Cut(step, bands, _channels(window, step, lanes, element), threads, work < BRIEF_WORK)


def _channels(window: Outputs, step: int, lanes: int, element: int) -> int:
    """Of a block: whole vectors, and about as many in each."""
    rows = (step - 1) * window.row_stride + window.tap_rows
    taps = window.tap_rows * window.tap_columns
    bytes_of_channel = (rows * window.inputs + step * window.columns + taps) * element
    most = max(LEAST_BLOCK_BYTES // element, FIRST_LEVEL_BYTES // bytes_of_channel // lanes * lanes)
    blocks = -(-window.channels // most)
    return -(-window.channels // (blocks * lanes)) * lanes


class Formed(NamedTuple):
    """Rows of a block; bands of blocks, each with sums of its own. And who runs them."""

    rows: int
    bands: int
    threads: int


@lru_cache(maxsize=1024)
def formed(rows: int, columns: int, element: int, threads: int) -> Formed:
    """Share rows out whose dz is formed, and summed by columns."""
    block = max(1, FORMED_BYTES // (columns * element))
    blocks = -(-rows // block)
    work = rows * columns * LEAST_DEPTH
    if work < SMALL_WORK:
        threads = 1
    return Formed(block, max(1, min(MOST_TASKS, blocks, work // SMALL_WORK)), threads)
