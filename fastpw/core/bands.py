"""How a window over planes of pixels is cut: its rows of outputs into bands, its channels into blocks.

Nothing here decides the order of any additions: a result is the same however the work is cut.

bench/constants.md has what was measured of the constants.
"""

from functools import lru_cache
from typing import NamedTuple

from .partition import BRIEF_WORK, LEAST_DEPTH, SMALL_WORK, TASK_WORK, TASKS_PER_THREAD


class Window(NamedTuple):
    """What is computed: outputs, the taps of each, and the pixels in a row."""

    planes: int
    rows: int
    columns: int
    channels: int
    tap_rows: int
    tap_columns: int
    inputs: int  # the pixels of a row, those that are not there included
    overlap: int  # rows of pixels that a band has in common with the next
    row_stride: int


class Bands(NamedTuple):
    """The tasks: so many rows of outputs, so many channels. And who runs them."""

    rows: int
    channels: int
    threads: int
    brief: bool


# What a row of outputs reads stays in the first-level cache until the next reads it again: the pixels under
# it and the weights of a block of channels.
FIRST_LEVEL_BYTES = 24 << 10

# Channels of a block: with fewer, too little is read at a place for the processor to foresee what comes.
LEAST_BLOCK_BYTES = 256

# Pointers to a band's pixels: a small part of the second-level cache.
TABLE_BYTES = 32 << 10
POINTER_BYTES = 8


@lru_cache(maxsize=1024)
def cut(window: Window, lanes: int, element: int, threads: int) -> Bands:
    """Share the outputs of a window out to a team.

    Parameters
    ----------
    window : Window
        What is computed.
    lanes : int
        Numbers in a vector.
    element : int
        Bytes of a number.
    threads : int
        The most threads that may be used.
    """
    taps = window.tap_rows * window.tap_columns
    work = window.planes * window.rows * window.columns * window.channels * max(taps, LEAST_DEPTH)
    if work < SMALL_WORK:
        threads = 1
    channels = _channels(window, lanes, element)
    blocks = window.planes * -(-window.channels // channels)
    rows = _rows(window, blocks, min(TASKS_PER_THREAD * threads, work // TASK_WORK), threads)
    return Bands(rows, channels, threads, work < BRIEF_WORK)


def _channels(window: Window, lanes: int, element: int) -> int:
    """Of a block: whole vectors, and about as many in each."""
    bytes_of_channel = (window.tap_rows * window.inputs + window.tap_rows * window.tap_columns + 1) * element
    most = max(LEAST_BLOCK_BYTES // element, FIRST_LEVEL_BYTES // bytes_of_channel // lanes * lanes)
    blocks = -(-window.channels // most)
    return -(-window.channels // (blocks * lanes)) * lanes


def _rows(window: Window, blocks: int, tasks: int, threads: int) -> int:
    """Of a band: such that the busiest thread has the fewest, and as many as possible then."""
    most = max(1, (TABLE_BYTES // (window.inputs * POINTER_BYTES) - window.overlap) // window.row_stride)
    least = max(-(-window.rows // most), -(-tasks // blocks))

    def busiest(bands):
        return -(-bands * blocks // threads) * -(-window.rows // bands)

    bands = min(range(least, least + threads), key=busiest)
    return -(-window.rows // bands)
