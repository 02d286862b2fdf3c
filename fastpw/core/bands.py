"""How a window over planes of pixels is cut: its rows of outputs into bands, its channels into blocks.

Nothing here decides the order of any additions: a result is the same however the work is cut.

bench/constants.md has what was measured of the constants.
"""

from functools import lru_cache
from math import gcd
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
    column_stride: int
    pixel: int  # bytes from one pixel to the next
    group: int  # so many channels go into each of theirs


class Bands(NamedTuple):
    """The tasks: so many rows of outputs, so many channels. And who runs them."""

    rows: int
    channels: int
    staged: int  # rows whose pixels are staged at a time; 0: none are
    threads: int
    brief: bool


# What a row of outputs reads stays in the first-level cache until the next reads it again: the pixels under
# it and the weights of a block of channels.
FIRST_LEVEL_BYTES = 24 << 10

# Channels of a block: with fewer, too little is read at a place for the processor to foresee what comes.
LEAST_BLOCK_BYTES = 256

# So few rows of pixels under a window are read again from the second-level cache faster than a block at a
# time of each pixel is read from beyond it.
FEW_ROWS = 3

# The first-level cache of most processors: lines that lie a multiple of SETS lines apart go to one set.
LINE_BYTES = 64
SETS = 64
WAYS = 8

# Outputs in a tile; windows as narrow as this are computed half a tile at a time.
TILE_COLUMNS = 8
NARROW_TAPS = 3

# Where a tile's pixels want so many times the lines that there are, copying them together first pays.
CROWDED = 1.5

# Where a window reaches over so many times the rows that it reads, others are not copied along.
SPARSE = 3

# A multiply-add here takes so many times that of a GEMM, for which SMALL_WORK is.
SLOWER = 4

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
    taps = window.tap_rows * window.tap_columns * window.group
    work = window.planes * window.rows * window.columns * window.channels * max(taps, LEAST_DEPTH)
    if work < SMALL_WORK // SLOWER:
        threads = 1
    channels = _channels(window, lanes, element)
    blocks = window.planes * -(-window.channels // channels)
    rows = _rows(window, blocks, min(TASKS_PER_THREAD * threads, work // TASK_WORK), threads)
    staged = _staged(window, rows, channels * element)
    return Bands(rows, channels, staged, threads, work < BRIEF_WORK)


def _collides(window: Window) -> bool:
    """Whether a tile's pixels, so many bytes apart, do not fit the sets of the cache that they share.

    Pixels that are less than a line apart share lines, and want few.
    """
    if window.tap_columns <= NARROW_TAPS and window.column_stride > 1:
        return False  # each pixel is read so seldom that a copy does not pay
    step = abs(window.pixel) // LINE_BYTES
    if step == 0:
        return False
    lines = WAYS * SETS // gcd(step, SETS)
    columns = TILE_COLUMNS if window.tap_columns > NARROW_TAPS else TILE_COLUMNS // 2
    pixels_of_row = columns * window.column_stride + window.tap_columns - 1
    under_tile = window.tap_rows * pixels_of_row + TILE_COLUMNS
    return under_tile > CROWDED * lines


def _staged(window: Window, rows: int, bytes_of_block: int) -> int:
    """Rows of outputs whose pixels are copied together first: as many as stay at hand."""
    if not _collides(window) or window.overlap + window.row_stride > SPARSE * window.tap_rows:
        return 0
    rows_at_hand = FIRST_LEVEL_BYTES // (window.inputs * bytes_of_block)
    return max(1, min(rows, (rows_at_hand - window.overlap) // window.row_stride))


def _channels(window: Window, lanes: int, element: int) -> int:
    """Of a block: whole vectors, and about as many in each."""
    if window.tap_rows <= FEW_ROWS and not _collides(window):
        return -(-window.channels // lanes) * lanes
    bytes_of_channel = (
        window.tap_rows * window.inputs + window.tap_rows * window.tap_columns * window.group + 1
    ) * element
    most = max(LEAST_BLOCK_BYTES // element, FIRST_LEVEL_BYTES // bytes_of_channel // lanes * lanes)
    blocks = -(-window.channels // most)
    return -(-window.channels // (blocks * lanes)) * lanes


def _rows(window: Window, blocks: int, tasks: int, threads: int) -> int:
    """Of a band: such that the busiest thread has the fewest, and as many as possible then."""
    rows_of_table = TABLE_BYTES // (window.inputs * POINTER_BYTES)
    most = max(1, (rows_of_table - window.overlap) // window.row_stride, rows_of_table // window.tap_rows)
    least = max(-(-window.rows // most), -(-tasks // blocks))

    def busiest(bands):
        return -(-bands * blocks // threads) * -(-window.rows // bands)

    bands = min(range(least, least + threads), key=busiest)
    return -(-window.rows // bands)
