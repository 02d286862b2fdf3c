"""A walk with the memory that it works in."""

from libc.string cimport memset

from fastpw.core.finish cimport adds_up_beside, fetch_sums, finish_bias, finish_weights
from fastpw.core.gradients cimport FROM_Z, BoundWalk, Team, Walk
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.panels cimport copy_numbers, whole_lines
from fastpw.core.shares cimport Share
from fastpw.core.walk cimport STEPS, run_walk


cdef inline char *carve(char **memory, Py_ssize_t size) noexcept nogil:
    """The next `size` bytes."""
    cdef char *start = memory[0]
    memory[0] += size
    return start


cdef inline void set_ones(char *numbers, Py_ssize_t n, Py_ssize_t element) noexcept nogil:
    """Zeros, then as many ones: what changes nothing where rows are multiplied by one weight per channel."""
    cdef Py_ssize_t j
    memset(numbers, 0, n * element)
    for j in range(n, 2 * n):
        if element == 4:
            (<float *>numbers)[j] = 1
        else:
            (<double *>numbers)[j] = 1


cdef inline void set_scale(const BoundWalk *r) noexcept nogil:
    """Zeros, then the one weight of each channel."""
    cdef const Walk *w = r.walk
    cdef Py_ssize_t size = w.outputs * w.kernels.c_size
    memset(r.scale, 0, size)
    copy_numbers(r.scale + size, r.weight, w.data.stride_n, w.outputs, w.kernels.c_size)


# Bytes of what one piece of memory holds before the buffers.
cdef struct Pieces:
    Py_ssize_t ones, scale, shares, arrived, sums


cdef inline Pieces pieces_of(const Walk *w, const Team *t) noexcept nogil:
    cdef Py_ssize_t channel_bytes = whole_lines(2 * w.outputs * w.kernels.c_size)
    cdef Pieces p
    p.ones = channel_bytes if w.source == FROM_Z or w.wants_residual else 0
    p.scale = channel_bytes if w.wants_data and w.data.b.diagonal else 0
    p.shares, p.arrived = STEPS * t.threads * sizeof(Share), whole_lines(2 * sizeof(int))
    p.sums = w.cut.slices * w.sums.slice_bytes
    return p


cdef inline Py_ssize_t workspace_bytes(const Walk *w, const Team *t) noexcept nogil:
    """What a walk needs: buffers for the blocks and the sums."""
    cdef Pieces p = pieces_of(w, t)
    return (p.ones + p.scale + p.shares + p.arrived + p.sums + (w.block.size if t.copies == 1 else 0)
            + t.threads * t.member_bytes)


cdef inline void walk(BoundWalk *r, char *memory) noexcept nogil:
    """Walk, in memory of that size."""
    cdef const Walk *w = r.walk
    cdef Pieces p = pieces_of(w, r.team)
    cdef fastpw_float_state state
    r.ones, r.scale, r.shares = carve(&memory, p.ones), carve(&memory, p.scale), <Share *>carve(&memory, p.shares)
    r.arrived, r.bias, r.buffers = <int *>carve(&memory, p.arrived), carve(&memory, p.sums), memory
    r.weights = r.bias + w.sums.bias_bytes if w.sums.weights_bytes else r.dweight
    memset(r.arrived, 0, p.arrived)
    if p.ones:
        set_ones(r.ones, w.outputs, w.kernels.c_size)
    if p.scale:
        set_scale(r)
    if adds_up_beside(w):
        fetch_sums(r)
    state = fastpw_enter_float_state()
    run_walk(r)
    if w.sums.weights_bytes:
        finish_weights(r)
    if w.wants_bias:
        finish_bias(r)
    fastpw_leave_float_state(state)
