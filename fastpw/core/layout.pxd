"""How an array is laid out, and whether another is laid out so: what it takes to bind arrays to a program."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fastpw.core.ndarray cimport axes, bytes_of_number, first_byte, holds, ndarray, shape_of, strides_of, type_of


cdef struct Layout:
    int axes                     # -1: there is no array
    int type
    Py_ssize_t low, high         # the bytes in use, from the first element's
    Py_ssize_t *shape            # owned
    Py_ssize_t *strides          # behind the shape


cdef inline void find_bytes(Layout *layout, Py_ssize_t element) noexcept nogil:
    cdef Py_ssize_t reach
    cdef int axis
    layout.low, layout.high = 0, element
    for axis in range(layout.axes):
        if layout.shape[axis] == 0:
            layout.low = layout.high = 0
            return
        reach = (layout.shape[axis] - 1) * layout.strides[axis]
        layout.low += min(reach, 0)
        layout.high += max(reach, 0)


cdef inline int set_layout(Layout *layout, ndarray array) except -1:
    """Of an array, or of None."""
    cdef Py_ssize_t bytes_of_axes
    layout.axes, layout.type, layout.low, layout.high = -1, 0, 0, 0
    layout.shape = layout.strides = NULL
    if array is None:
        return 0
    bytes_of_axes = axes(array) * sizeof(Py_ssize_t)
    layout.shape = <Py_ssize_t *>malloc(2 * bytes_of_axes + 1)
    if layout.shape == NULL:
        raise MemoryError("no memory for a layout")
    layout.axes, layout.type = axes(array), type_of(array)
    layout.strides = layout.shape + layout.axes
    memcpy(layout.shape, shape_of(array), bytes_of_axes)
    memcpy(layout.strides, strides_of(array), bytes_of_axes)
    find_bytes(layout, bytes_of_number(array))
    return 0


cdef inline void drop_layout(Layout *layout) noexcept:
    free(layout.shape)


cdef inline bint fits(const Layout *layout, array) noexcept:
    """Whether `array` is a plain ndarray laid out so, of native numbers; None where there is none."""
    cdef int axis
    if array is None or layout.axes < 0:
        return array is None and layout.axes < 0
    if (type(array) is not ndarray or axes(<ndarray>array) != layout.axes
            or not holds(<ndarray>array, layout.type)):
        return False
    for axis in range(layout.axes):
        if (shape_of(<ndarray>array)[axis] != layout.shape[axis]
                or strides_of(<ndarray>array)[axis] != layout.strides[axis]):
            return False
    return True


cdef inline char *place_of(array) noexcept:
    """Where the first element lies; NULL for None."""
    return NULL if array is None else first_byte(<ndarray>array)


cdef inline bint lie_apart(const Layout *one, const char *a, const Layout *other, const char *b) noexcept nogil:
    """Whether no byte of an array at `a` can be one of an array at `b`; NULL is no array.

    Only where each begins and ends is compared: True is certain, False is not.
    """
    return a == NULL or b == NULL or a + one.high <= b + other.low or b + other.high <= a + one.low


cdef inline bint coincide(const Layout *one, const char *a, const Layout *other, const char *b) noexcept nogil:
    """Whether each element of one lies exactly where the other has it."""
    return (a == b and one.axes == other.axes
            and memcmp(one.shape, other.shape, one.axes * sizeof(Py_ssize_t)) == 0
            and memcmp(one.strides, other.strides, one.axes * sizeof(Py_ssize_t)) == 0)
