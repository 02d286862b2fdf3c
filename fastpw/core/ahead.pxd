"""Memory that is read next, fetched into the second-level cache by the tiles that are computed meanwhile.

What a walk reads of a block of pixels comes from memory once, and faster than it can be read only if it was
asked for before (32 -> 64 at 112 x 112, gradients: 1.09 of the speed without).
"""

from fastpw.core.kernels cimport fastpw_ahead


cdef enum:
    RUNS = 3


cdef struct Ahead:
    fastpw_ahead runs[RUNS]      # one after the other
    int run


cdef inline fastpw_ahead *run_to_fetch(Ahead *ahead) noexcept nogil:
    """The first of which something is left, or the last."""
    while ahead.run < RUNS - 1 and ahead.runs[ahead.run].rows == 0:
        ahead.run += 1
    return &ahead.runs[ahead.run]
