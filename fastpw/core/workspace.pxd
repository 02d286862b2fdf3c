"""A walk with the memory that it works in."""

from libc.stdlib cimport free
from libc.string cimport memset

from fastpw.core.finish cimport adds_up_beside, fetch_sums, finish_bias, finish_weights
from fastpw.core.gradients cimport DRESIDUAL, FROM_Z, BoundWalk, Team, Walk
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.panels cimport copy_numbers, new_memory, whole_lines
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


cdef inline int walk(BoundWalk *r) except -1:
    """Walk, with buffers for the blocks and the sums, in one piece of memory."""
    cdef const Walk *w = r.walk
    cdef const Team *t = r.team
    cdef Py_ssize_t channel_bytes = whole_lines(2 * w.outputs * w.kernels.c_size)
    cdef Py_ssize_t ones_bytes = channel_bytes if w.source == FROM_Z or r.rows[DRESIDUAL] != NULL else 0
    cdef Py_ssize_t scale_bytes = channel_bytes if w.wants_data and w.data.b.diagonal else 0
    cdef Py_ssize_t shares_bytes = STEPS * t.threads * sizeof(Share), arrived_bytes = whole_lines(2 * sizeof(int))
    cdef Py_ssize_t size = (ones_bytes + scale_bytes + shares_bytes + arrived_bytes + w.cut.slices * w.sums.slice_bytes
                            + (w.block.size if t.copies == 1 else 0) + t.threads * t.member_bytes)
    cdef char *memory = new_memory(size, "the workspace")
    cdef char *rest = memory
    cdef fastpw_float_state state
    r.ones, r.scale, r.shares = carve(&rest, ones_bytes), carve(&rest, scale_bytes), <Share *>carve(&rest, shares_bytes)
    r.arrived = <int *>carve(&rest, arrived_bytes)
    r.bias = carve(&rest, w.cut.slices * w.sums.slice_bytes)
    r.weights = r.bias + w.sums.bias_bytes if w.sums.weights_bytes else r.dweight
    r.buffers = rest
    with nogil:
        memset(r.arrived, 0, arrived_bytes)
        if ones_bytes:
            set_ones(r.ones, w.outputs, w.kernels.c_size)
        if scale_bytes:
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
    free(memory)
    return 0
