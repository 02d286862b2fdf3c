"""How one GEMM is cut: its columns into panels, its rows and panels into tasks.

Everything here follows from the shape and the kernel set.  What decides the
order of the additions (the panels) never sees the number of threads, so that
the result is the same to the bit for any team; what the team shares out (the
blocks) may.

bench/constants.md has what was measured of the constants, and how to measure
them again.
"""

from functools import lru_cache
from typing import NamedTuple

from . import caches

CACHES = caches.read()


class Blocks(NamedTuple):
    """The tasks of one GEMM: rows x panels that a thread takes at a time.

    They are numbered, and shared out, by rows first or by panels first.
    """

    rows: int
    panels: int
    by_panels: bool
    threads: int


# To fetch B from beyond the caches takes as long as to multiply so many rows with it.
FETCHED_ROWS = 4

# Below this many multiply-adds a team costs more than it saves: waking it and meeting again takes as long as
# one core takes for a third of them or more.
SMALL_WORK = 1 << 18

# Where nothing or little is multiplied, storing an element takes as long as so many multiply-adds.
LEAST_DEPTH = 8

# As SMALL_WORK, for letting other Python threads run meanwhile: to let go of the GIL and take it again takes
# as long as so much work.
BRIEF_WORK = 1 << 10

# As SMALL_WORK, for packing: elements of B.
SMALL_PACKING = 1 << 16

# As SMALL_WORK, for adding the sums that another core has written.
SMALL_SUMS_BYTES = 32 << 10

# As SMALL_WORK, for writing zeros.
SMALL_CLEARING_BYTES = 256 << 10

# What is computed element by element: bytes of a task, which stay in the first-level cache with what else it
# reads; of a call that is worth a second thread; and of one that keeps the GIL.
ROWWISE_TASK_BYTES = 32 << 10
ROWWISE_SMALL_BYTES = 128 << 10
ROWWISE_BRIEF_BYTES = 16 << 10

# A block's rows of A stay in the second-level cache while the panels pass by.
A_BLOCK_BYTES = CACHES.second // 2

# Enough rows to read a panel from the first-level cache more often than from the second, and so few that
# lines of C that two panels share are still in it when the second stores to them.
MOST_ROWS = 96

# B that every thread may have in its second-level cache: the threads share out the rows, and each row of A
# and of C is one thread's. Of a larger B, and where rows are few, they share out the panels.
SMALL_B_BYTES = CACHES.second // 2

# A block's rows of A there: as many as meet a panel of a large B while it is at hand.
SHARED_A_BYTES = CACHES.second
MOST_SHARED_ROWS = 256

# Tasks per thread, so that a thread that is held up leaves work to the others; each of so many multiply-adds
# at least, a few microseconds, since blocks are cut for them.
TASKS_PER_THREAD = 4
TASK_WORK = 1 << 18


@lru_cache(maxsize=1024)
def column_panels(n: int, k: int, tiles: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Cut `n` columns into panels as wide as possible and one for the rest.

    Parameters
    ----------
    n, k : int
        Columns and depth of the GEMM.
    tiles : tuple of (int, int)
        Columns and least depth of each tile of the kernel set, widest first.

    Returns
    -------
    count : int
        Panels: all but the last belong to the widest tile.
    last : int
        Index of the tile of the last panel: the narrowest that holds what
        is left for it and is worth it.
    """
    count = -(-n // tiles[0][0])
    rest = n - (count - 1) * tiles[0][0]
    return count, max(i for i, (width, least_depth) in enumerate(tiles) if width >= rest and k >= least_depth)


# A window's taps are left where they are, which takes the widest tile or half of it. To copy them, so that
# the last panel has a tile of its own, costs as much as so many vectors of multiply-adds: for a tap, and
# for each of its channels. In more panels it does not show.
COPY_OF_TAP = 16
COPY_OF_CHANNEL = 1 / 2
COPIED_PANELS = 2


def by_taps(n: int, k: int, taps: int, tiles: tuple[tuple[int, int], ...], lanes: int) -> bool:
    """Whether tiles find a window's rows by a table, tap by tap, or all taps of a row are copied together.

    Arguments as for `column_panels`; the depth k has so many `taps`, and a
    vector so many `lanes`.
    """
    count, last = column_panels(n, k, tiles)
    wide, narrow = tiles[0][0], tiles[last][0]
    spared = ((lanes if narrow <= lanes else wide) - narrow) / lanes
    copied = count <= COPIED_PANELS and (spared - COPY_OF_CHANNEL) * k >= COPY_OF_TAP * taps
    return k > 0 and not copied


# Channels of a window whose rows leave out taps beyond an edge: with fewer, the products with zeros take no
# longer than more tiles.
SPARED_CHANNELS = 16


def spares_zeros(k: int, taps: int) -> bool:
    """Whether a window of such depth, of so many taps, leaves some out."""
    return 1 < taps and k >= SPARED_CHANNELS * taps


@lru_cache(maxsize=1024)
def blocks(
    m: int, panels: int, k: int, height: int, width: int, element: int, threads: int, shared: float = 1
) -> Blocks:
    """Share m rows x `panels` panels of depth k out to a team.

    Parameters
    ----------
    m, panels, k : int
        Rows, panels and depth of the GEMM.
    height, width : int
        Rows and columns of the widest tile.
    element : int
        Bytes of an element of A.
    threads : int
        The most threads that may be used.
    shared : float
        How many rows read the same element of A: those of a window overlap.
    """
    work = m * panels * width * max(k, LEAST_DEPTH)
    if max(m, FETCHED_ROWS) * panels * width * max(k, LEAST_DEPTH) < SMALL_WORK or m <= height and panels == 1:
        threads = 1
    columns, bytes_of_row = panels * width, max(1, int(k * element / shared))
    small_b = columns * max(1, k * element) <= SMALL_B_BYTES
    by_rows = m >= 2 * height * threads and (m > columns or small_b)
    if by_rows:
        rows = max(height, min(MOST_ROWS, A_BLOCK_BYTES // bytes_of_row))
    else:
        rows = max(height, min(MOST_SHARED_ROWS, SHARED_A_BYTES // bytes_of_row))
    if threads == 1:
        return Blocks(even(m, rows, height), panels, False, 1)
    tasks = max(1, min(TASKS_PER_THREAD, work // (threads * TASK_WORK)))
    if by_rows:
        return Blocks(_rows_of_team(m, rows, height, threads, tasks), panels, False, threads)
    return _by_panels(m, panels, rows, height, threads, tasks)


def _rows_of_team(m: int, most: int, height: int, threads: int, tasks: int) -> int:
    """Rows per block such that every thread has as many blocks, `tasks` or more, all of nearly full tiles."""
    tiles = -(-m // (threads * height))
    tiles_of_block = min(most // height, -(-tiles // tasks))
    return -(-m // (threads * -(-tiles // tiles_of_block)))


def _by_panels(m: int, panels: int, most: int, height: int, threads: int, tasks: int) -> Blocks:
    """Blocks such that the thread with most to compute has the least, and the largest of these.

    `tasks` or more for each thread.
    """

    def busiest(blocks):
        row_blocks = -(-m // blocks.rows)
        tasks = row_blocks * -(-panels // blocks.panels)
        tiles = -(-blocks.rows // height)
        return -(-tasks // threads) * (blocks.rows + tiles) * blocks.panels

    least = -(-m // most)
    return min(
        (
            Blocks(-(-m // row_blocks), panels_of_block, True, threads)
            for row_blocks in (least, least * threads)
            for panels_of_block in range(-(-panels // (tasks * threads)), 0, -1)
        ),
        key=busiest,
    )


# A result is written past the caches, which spares reading the lines that it is written to, if its first line
# would have left them before the last is written: if so much is read and written. A result that is a small
# part of that is not, as it spares little.
STREAMED_BYTES = CACHES.last // 8 * 7
STREAMED_PART = 1 / 4


def leaves_caches(result: int, touched: int) -> bool:
    """Whether a result is to go past the caches, of `touched` bytes that are read and written in all."""
    return touched >= STREAMED_BYTES and result >= STREAMED_PART * touched


# What a task stages of C, the residual and Z: with its rows of A, no thread needs more than 1 MiB of
# workspace, unless twelve rows of A alone are more.
STAGED_BYTES = 512 << 10


def is_brief(m: int, n: int, k: int) -> bool:
    """Whether a GEMM is over before the GIL is let go of and taken again."""
    return m * n * max(k, LEAST_DEPTH) < BRIEF_WORK


def staged_panels(rows: int, width: int, element: int) -> int:
    """Panels that tasks of so many rows may have, where rows are gathered before they are computed."""
    return max(1, STAGED_BYTES // (3 * rows * width * element))


def even(m: int, rows: int, height: int) -> int:
    """Rows (or depths) per block such that the blocks are about equal and made of whole tiles (or steps)."""
    count = -(-m // rows)
    return min(m, -(-m // (count * height)) * height)


class Slices(NamedTuple):
    """The walk of the backward pass over its rows: slices of `rows`, each in blocks of `block`."""

    slices: int
    rows: int
    block: int


# Slices as many as a small machine has cores, so that all of them work, and few enough to add up; an even
# number, for two threads.
MOST_SLICES = 8
LEAST_SLICES = 4

# Rows of a slice, so that its sums are worth adding up.
LEAST_SLICE_ROWS = 192

# Sums of all slices: beyond this, adding them up costs more than sharing out the weights. More is worth it
# where the sums form dz, which each thread forms whole if weights are shared.
SLICE_BYTES = 512 << 10
FORMING_SLICE_BYTES = 1280 << 10

# A block's dz, x and panels, where one thread walks: they stay in the second-level cache.
BLOCK_BYTES = 512 << 10
MOST_BLOCK_ROWS = 256

# The same where the team shares a block: larger, since all weights are read and written for each.
SHARED_BLOCK_BYTES = 3 << 20
MOST_SHARED_BLOCK_ROWS = 1024

# Threads that each form all of dz of a shared block. More of them form it once and read what other cores have
# written.
MOST_COPIES = 4


@lru_cache(maxsize=1024)
def slices(m: int, outputs: int, inputs: int, height: int, element: int, forms: bool) -> Slices:
    """Cut m rows for the backward walk, by the shape alone.

    Parameters
    ----------
    m : int
        Rows: pixels.
    outputs, inputs : int
        Columns of dz and of x.
    height : int
        Rows of the widest tile.
    element : int
        Bytes of an element.
    forms : bool
        Whether the sums of the weights may form dz.
    """
    most = FORMING_SLICE_BYTES if forms else SLICE_BYTES
    count = min(MOST_SLICES, m // LEAST_SLICE_ROWS, most // (outputs * inputs * element))
    row_bytes = 2 * (outputs + inputs) * element
    if count < LEAST_SLICES:
        block = max(height, min(MOST_SHARED_BLOCK_ROWS, SHARED_BLOCK_BYTES // row_bytes))
        return Slices(1, m, even(m, block, height))
    count -= count % 2
    rows = -(-m // count)
    block = max(height, min(MOST_BLOCK_ROWS, BLOCK_BYTES // row_bytes))
    return Slices(count, rows, even(rows, block, height))


# How much more of the tile vectors along the outputs may waste where it forms dz, which it reads as vectors
# then: the pass over dy and y that this spares takes about as long.
FORMING_WASTE = 1.25


def weights_across(outputs: int, inputs: int, width: int, forms: bool) -> bool:
    """Whether vectors along the outputs waste less of the tile than vectors along the inputs."""
    along_outputs, along_inputs = _waste(outputs, width), _waste(inputs, width)
    return along_outputs < along_inputs or (forms and along_outputs <= FORMING_WASTE * along_inputs)


def _waste(columns: int, width: int) -> float:
    """Vectors computed per vector needed: a last half panel costs half, and somewhat more for its loads."""
    panels, rest = divmod(columns, width)
    return (panels + (0 if not rest else 0.6 if 2 * rest <= width else 1)) * width / columns
