"""Rows over three axes: where the pixels of each operand lie."""

from libc.string cimport memcpy


cdef enum:
    OPERANDS = 4                 # at most, over the same pixels


cdef struct Rows:
    char *base                   # NULL: there is no such operand
    Py_ssize_t stride[3]         # bytes


cdef struct Pixels:
    Py_ssize_t m
    Py_ssize_t size[3]           # along each axis; m in all
    Rows rows[OPERANDS]


cdef inline bint join_axes(Pixels *pixels, int outer) noexcept nogil:
    """Make one axis of `outer` and the next, if every operand's rows go on at one distance."""
    cdef int inner = outer + 1, i
    cdef Rows *rows
    for i in range(OPERANDS):
        rows = &pixels.rows[i]
        if (rows.base != NULL and pixels.size[outer] > 1 and pixels.size[inner] > 1
                and rows.stride[outer] != pixels.size[inner] * rows.stride[inner]):
            return False
    for i in range(OPERANDS):
        if pixels.size[inner] == 1:
            pixels.rows[i].stride[inner] = pixels.rows[i].stride[outer]
    pixels.size[inner] *= pixels.size[outer]
    pixels.size[outer] = 1
    return True


cdef inline void join_all_axes(Pixels *pixels) noexcept nogil:
    """Make the last axis as long as can be: rows along it lie at one distance."""
    join_axes(pixels, 1)
    join_axes(pixels, 0)
    join_axes(pixels, 1)


cdef inline char *address(const Pixels *pixels, int operand, Py_ssize_t row) noexcept nogil:
    cdef const Rows *rows = &pixels.rows[operand]
    if rows.base == NULL:
        return NULL
    if row < pixels.size[2]:
        return rows.base + row * rows.stride[2]
    cdef Py_ssize_t run = row // pixels.size[2]
    return (rows.base + (run // pixels.size[1]) * rows.stride[0] + (run % pixels.size[1]) * rows.stride[1]
            + (row % pixels.size[2]) * rows.stride[2])


cdef inline Py_ssize_t run_length(const Pixels *pixels, Py_ssize_t row, Py_ssize_t stop) noexcept nogil:
    """How many rows from this one on, and before `stop`, lie at one distance."""
    return min(stop - row, pixels.size[2] - row % pixels.size[2])


cdef inline bint at_one_distance(const Pixels *pixels, int operand) noexcept nogil:
    """Whether all the rows of an operand do."""
    cdef const Rows *rows = &pixels.rows[operand]
    return ((pixels.size[1] == 1 or rows.stride[1] == pixels.size[2] * rows.stride[2])
            and (pixels.size[0] == 1 or rows.stride[0] == pixels.size[1] * rows.stride[1]
                 or (pixels.size[1] == 1 and rows.stride[0] == pixels.size[2] * rows.stride[2])))


cdef inline Rows contiguous(const Pixels *pixels, char *buffer, Py_ssize_t start, Py_ssize_t ld) noexcept nogil:
    """A buffer that holds the rows from `start` on, `ld` bytes apart, as an operand of these pixels."""
    cdef Rows rows
    rows.stride[2] = ld
    rows.stride[1] = pixels.size[2] * ld
    rows.stride[0] = pixels.size[1] * rows.stride[1]
    rows.base = buffer - start * ld
    return rows


cdef inline void gather(const Pixels *pixels, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                        Py_ssize_t size, char *to, Py_ssize_t ld) noexcept nogil:
    """Copy `size` bytes from `offset` on of every row to rows `ld` bytes apart."""
    cdef Py_ssize_t row
    for row in range(start, stop):
        memcpy(to + (row - start) * ld, address(pixels, operand, row) + offset, size)


cdef inline void scatter(const Pixels *pixels, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                         Py_ssize_t size, const char *staged) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(start, stop):
        memcpy(address(pixels, operand, row) + offset, staged + (row - start) * size, size)
