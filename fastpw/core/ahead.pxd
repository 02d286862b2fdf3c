"""Memory that is read next, fetched into the second-level cache by the tiles that are computed meanwhile.

What a walk reads of a block of pixels comes from memory once, and faster than it can be read only if it was
asked for before (32 -> 64 at 112 x 112, gradients: 1.09 of the speed without).
"""

from fastpw.core.kernels cimport fastpw_block


cdef enum:
    RUNS = 3


cdef struct Ahead:
    const char *runs[RUNS]       # what is left of each, one after the other
    Py_ssize_t bytes[RUNS]
    int run


cdef inline void fetch_meanwhile(Ahead *ahead, Py_ssize_t height, fastpw_block *b) noexcept nogil:
    """The next rows of `b`: as much of what is left as its tiles, of that height, can fetch."""
    cdef Py_ssize_t capacity = (b.m + height - 1) // height * max(0, b.k // 2 - height)
    while ahead.run < RUNS - 1 and ahead.bytes[ahead.run] < b.ldn:
        ahead.run += 1
    b.next = ahead.runs[ahead.run]
    b.next_rows = min(capacity, ahead.bytes[ahead.run] // b.ldn)
    ahead.runs[ahead.run] += b.next_rows * b.ldn
    ahead.bytes[ahead.run] -= b.next_rows * b.ldn
