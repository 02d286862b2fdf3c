"""Channels of several groups, one of each in turn: the pixels shared out to a team."""

from cython.parallel cimport parallel

from fastpw.core.kernels cimport fastpw_kernel_set
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.pixels cimport A, C, Pixels, address, run_length
from openmp cimport omp_get_num_threads


cdef struct Interleaved:
    const fastpw_kernel_set *kernels
    Pixels pixels                # of x and y
    Py_ssize_t groups, n         # channels of a group
    Py_ssize_t group             # bytes from one group to the next
    bint brief                   # it takes no longer than to let go of the GIL and take it again


cdef inline void interleave_pixels(const Interleaved *s, char *const *places, Py_ssize_t start,
                                   Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t row = start, count
    while row < stop:
        count = run_length(&s.pixels, row, stop)
        s.kernels.interleave(count, s.groups, s.n, address(&s.pixels, places, A, row), s.pixels.stride[A][2],
                             s.group, address(&s.pixels, places, C, row), s.pixels.stride[C][2])
        row += count


cdef inline void interleave_share(const Interleaved *s, char *const *places, int member, int members) noexcept nogil:
    cdef Py_ssize_t m = s.pixels.m
    interleave_pixels(s, places, m * member // members, m * (member + 1) // members)


cdef inline void run_interleaved(const Interleaved *s, char *const *places, int threads) noexcept:
    if threads == 1 and s.brief:
        interleave_share(s, places, 0, 1)
        return
    with nogil:
        if threads == 1:
            interleave_share(s, places, 0, 1)
            return
        with parallel(num_threads=team_begins(threads)):
            interleave_share(s, places, team_member(), omp_get_num_threads())
            share_done()
        team_joined(threads)
