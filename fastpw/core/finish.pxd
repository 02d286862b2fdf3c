"""The sums of a walk's two halves, or of its one slice, put where they belong."""

from cython.parallel cimport parallel
from libc.string cimport memcpy

from fastpw.core.gradients cimport BoundWalk, Walk
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.panels cimport Matrix, copy_numbers, transposed
from openmp cimport omp_get_num_threads

ctypedef fused real:
    float
    double


# Rows that are added up and put before the next, while they are in the first-level cache: a line where they are put
# as columns.
cdef enum:
    SOME_ROWS = 16


# Sums that lie row by row, and where they go.
cdef struct Ending:
    const Walk *walk
    char *sums
    char *to
    Matrix out
    bint adds


cdef inline void put_sums(char *to, Py_ssize_t stride, const real *sums, Py_ssize_t n, bint adds) noexcept nogil:
    """What lies at `to`, `stride` bytes apart, (+)= sums; written as bytes, since it may be unaligned."""
    cdef Py_ssize_t i
    cdef real total, before
    if not adds and stride == sizeof(real):
        memcpy(to, sums, n * sizeof(real))
        return
    for i in range(n):
        total = sums[i]
        if adds:
            memcpy(&before, to + i * stride, sizeof(real))
            total = before + total
        memcpy(to + i * stride, &total, sizeof(real))


cdef inline void put_rows(const Ending *e, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t element = e.walk.kernels.c_size, columns = e.out.columns, ld = columns * element, row
    if e.out.ld == element and not e.adds:
        e.walk.kernels.transpose(last - first, columns, e.sums + first * ld, ld, e.to + first * element, e.out.stride)
        return
    for row in range(first, last):
        if element == 4:
            put_sums[float](e.to + row * e.out.ld, e.out.stride, <float *>(e.sums + row * ld), columns, e.adds)
        else:
            put_sums[double](e.to + row * e.out.ld, e.out.stride, <double *>(e.sums + row * ld), columns, e.adds)


cdef inline void finish_rows(const Ending *e, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef const Walk *w = e.walk
    cdef Py_ssize_t ld = e.out.columns * w.kernels.c_size, stop
    cdef Py_ssize_t half = w.cut.slices // 2 * w.sums.slice_bytes    # to the second half's sums; 0: there is none
    while first < last:
        stop = min(first + SOME_ROWS, last)
        w.kernels.column_sums(half != 0, (stop - first) * e.out.columns, e.sums + first * ld + half, 0, NULL, 0,
                              e.sums + first * ld)
        put_rows(e, first, stop)
        first = stop


cdef inline void finish_share(const Ending *e, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    finish_rows(e, e.out.rows * member // members, e.out.rows * (member + 1) // members)
    fastpw_leave_float_state(state)


cdef inline void finish(const Ending *e, int threads) noexcept nogil:
    """out (+)= the sums of all slices."""
    if threads == 1:
        finish_share(e, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        finish_share(e, team_member(), omp_get_num_threads())
        share_done()
    team_joined(threads)


cdef inline Matrix weights_as_summed(const Walk *w) noexcept nogil:
    return transposed(&w.dweight) if w.sums.across else w.dweight


cdef inline bint adds_up_beside(const Walk *w) noexcept nogil:
    """Whether dW is summed, from what is there, in memory of its own, since neither of its axes is adjacent. (The order
    of the additions must not depend on that.)"""
    return w.wants_weights and w.accumulates and w.cut.slices == 1 and not w.sums.direct and not w.diagonal


cdef inline void fetch_sums(const BoundWalk *r) noexcept nogil:
    """What is there of dW, where it is summed."""
    cdef const Walk *w = r.walk
    cdef Matrix there = weights_as_summed(w)
    cdef Py_ssize_t ld = there.columns * w.kernels.c_size, row
    for row in range(there.rows):
        copy_numbers(r.weights + row * ld, r.dweight + row * there.ld, there.stride, there.columns, w.kernels.c_size)


cdef inline void finish_weights(const BoundWalk *r) noexcept nogil:
    cdef const Walk *w = r.walk
    cdef Ending e
    e.walk, e.sums, e.to, e.out = w, r.weights, r.dweight, weights_as_summed(w)
    e.adds = w.accumulates and not adds_up_beside(w)
    finish(&e, r.team.adding_threads)


cdef inline void finish_bias(const BoundWalk *r) noexcept nogil:
    cdef Ending e
    e.walk, e.sums, e.to, e.out, e.adds = r.walk, r.bias, r.dbias, r.walk.dbias, r.walk.adds_bias
    finish(&e, 1)
