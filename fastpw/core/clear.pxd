"""Zeros for pixels that no output meets."""

from cython.parallel cimport parallel
from libc.string cimport memset

from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.pixels cimport Pixels, address, run_length
from openmp cimport omp_get_num_threads


cdef struct Cleared:
    Pixels pixels                # of one operand
    Py_ssize_t offset            # of the first, from the array's first element
    Py_ssize_t bytes_of_pixel


cdef inline void clear_pixels(const Cleared *c, char *array, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t row = start, count, i, stride = c.pixels.stride[0][2]
    cdef char *base = array + c.offset
    cdef char *first
    while row < stop:
        count = run_length(&c.pixels, row, stop)
        first = address(&c.pixels, &base, 0, row)
        if stride == c.bytes_of_pixel:
            memset(first, 0, count * c.bytes_of_pixel)
        else:
            for i in range(count):
                memset(first + i * stride, 0, c.bytes_of_pixel)
        row += count


cdef inline void clear_share(const Cleared *boxes, int count, char *array, int member, int members) noexcept nogil:
    cdef Py_ssize_t m
    cdef int i
    for i in range(count):
        m = boxes[i].pixels.m
        clear_pixels(&boxes[i], array, m * member // members, m * (member + 1) // members)


cdef inline void clear(const Cleared *boxes, int count, char *array, int threads) noexcept nogil:
    """All boxes, each shared out."""
    if threads == 1:
        clear_share(boxes, count, array, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        clear_share(boxes, count, array, team_member(), omp_get_num_threads())
        share_done()
    team_joined(threads)
