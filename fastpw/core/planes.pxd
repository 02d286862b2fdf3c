"""Windows over planes of pixels, as they are described: from arrays, and from what is counted once."""

from libc.stdint cimport PTRDIFF_MAX, int32_t
from libc.string cimport memcpy

from fastpw.core.binding cimport Binding
from fastpw.core.kernels cimport FASTPW_WINDOW_COLUMNS
from fastpw.core.layout cimport Layout
from fastpw.core.machine cimport kernels_for
from fastpw.core.pixels cimport A, C, OPERANDS
from fastpw.core.windows cimport Slide


cdef inline int need_planes(const Binding *b) except -1:
    """That the arrays go together was checked. It is looked at again, as what is computed reads and writes by it."""
    cdef const Layout *x = &b.layouts[A]
    cdef const Layout *y = &b.layouts[C]
    cdef const Layout *other
    cdef inline int i, axis
    for i in range(OPERANDS):
        other = &b.layouts[i]
        if other.axes < 0 and i > C:
            continue
        if other.axes != 4 or other.type != y.type or other.shape[0] != y.shape[0] or other.shape[3] != y.shape[3]:
            raise ValueError("planes of one number and type are needed, got arrays that were changed meanwhile")
        for axis in range(1, 3):
            if i > C and other.shape[axis] != y.shape[axis]:
                raise ValueError("outputs of one shape are needed, got arrays that were changed meanwhile")
        if (other.shape[3] > 1 and other.high > other.low
                and other.strides[3] != kernels_for(x.type).a_size):
            raise ValueError("adjacent channels are needed, got an array that was changed meanwhile")
    return 0


cdef inline int set_slide(Slide *s, tuple window, int axis, const Binding *b) except -1:
    taps, steps, strides, origins = window
    s.taps, s.step, s.stride, s.origin = taps[axis], steps[axis], strides[axis], origins[axis]
    s.inputs, s.outputs = b.layouts[A].shape[1 + axis], b.layouts[C].shape[1 + axis]
    if s.taps < 1 or s.step < 1 or s.stride < 1:
        raise ValueError(f"taps, steps and strides are positive, got {window}")
    # What leads nowhere may be far. A stride that kernels know stays what it is: a pixel is
    # computed in one way, whether others are beside it or not.
    if s.taps == 1:
        s.step = 1
    if s.outputs < 2:
        s.stride = min(s.stride, <Py_ssize_t>FASTPW_WINDOW_COLUMNS)
    return 0


cdef inline bint is_countable(const Slide *rows, const Slide *columns) noexcept nogil:
    """Whether the entries of a table for all outputs, and the pixels from the first to the last, can be counted."""
    cdef double entries = (<double>rows.outputs * rows.taps) * ((<double>columns.outputs + 8) * columns.taps)
    cdef double down = <double>rows.outputs * rows.stride + <double>rows.taps * rows.step
    cdef double across = (<double>columns.outputs + 8) * columns.stride + <double>columns.taps * columns.step
    return max(entries * sizeof(char *), down, across) < <double>PTRDIFF_MAX / 64


cdef inline void fill(char *to, Py_ssize_t n, Py_ssize_t element, double number) noexcept nogil:
    cdef float single = number
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(to + i * element, &single if element == 4 else <void *>&number, element)


cdef inline const int32_t *count_taps(const Slide *s, bint existing, int32_t *counts) noexcept nogil:
    """The taps of each output, all or those with a pixel."""
    cdef Py_ssize_t o, i, at
    for o in range(s.outputs):
        counts[o] = 0
        for i in range(s.taps):
            at = o * s.stride + s.origin + i * s.step
            counts[o] += not existing or 0 <= at < s.inputs
    return counts
