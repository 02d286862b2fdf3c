"""Memory that is read next, fetched into the second-level cache by the tiles that are computed meanwhile.

What is read of a block of pixels comes from memory once, and in time only if it was asked for before
(bench/constants.md).
"""

from fastpw.core.kernels cimport fastpw_ahead, fastpw_kernel_set
from fastpw.core.pixels cimport Pixels, address, run_length


cdef enum:
    MOST_RUNS = 6


cdef struct Ahead:
    fastpw_ahead runs[MOST_RUNS + 1]     # and the end of the list
    int count


cdef inline void nothing_ahead(Ahead *ahead) noexcept nogil:
    """Begin a list. (In place: a copy of what was just written waits until all stores before it are done.)"""
    ahead.count = 0
    ahead.runs[0].ld = ahead.runs[0].rows = 0


cdef inline void fetch(Ahead *ahead, const char *start, Py_ssize_t ld, Py_ssize_t rows) noexcept nogil:
    """Add a run, if there is anything in it and a place for it."""
    if rows > 0 and ahead.count < MOST_RUNS:
        ahead.runs[ahead.count].next, ahead.runs[ahead.count].ld, ahead.runs[ahead.count].rows = start, ld, rows
        ahead.count += 1
    ahead.runs[ahead.count].ld = ahead.runs[ahead.count].rows = 0


cdef inline void fetch_pixels(Ahead *ahead, const Pixels *pixels, char *const *bases, int operand, Py_ssize_t row_bytes,
                              Py_ssize_t start, Py_ssize_t stop, const fastpw_kernel_set *kernels) noexcept nogil:
    """Add rows start..stop-1 of an operand: in one run, if they lie in one piece."""
    cdef Py_ssize_t piece = kernels.tiles[0].nr * kernels.b_size, row
    if start >= stop or bases[operand] == NULL:
        return
    if pixels.stride[operand][2] == row_bytes and run_length(pixels, start, stop) == stop - start:
        fetch(ahead, address(pixels, bases, operand, start), piece, (stop - start) * row_bytes // piece)
        return
    for row in range(start, min(stop, start + MOST_RUNS)):
        fetch(ahead, address(pixels, bases, operand, row), piece, row_bytes // piece)
