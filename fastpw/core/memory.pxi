# Where arrays lie.

cdef struct Bytes:
    const char *low
    const char *high


cdef Bytes bytes_of(ndarray array) noexcept:
    """From the first byte in use to the one past the last; nowhere if there are no elements."""
    cdef Bytes found
    cdef Py_ssize_t reach
    cdef int axis
    found.low = first_byte(array)
    found.high = found.low + bytes_of_number(array)
    for axis in range(axes(array)):
        if shape_of(array)[axis] == 0:
            found.low = found.high = NULL
            break
        reach = (shape_of(array)[axis] - 1) * strides_of(array)[axis]
        found.low += min(reach, 0)
        found.high += max(reach, 0)
    return found


cdef enum:
    MOST_ARRAYS = 16


def apart(written, read=()):
    """Whether the arrays written lie apart from each other and from those read, None among them aside.

    Only where each begins and ends is compared: True is certain, False is not.
    """
    cdef Bytes places[MOST_ARRAYS]
    cdef int count = 0, count_written = 0, one, other
    for arrays in (written, read):
        for array in arrays:
            if array is None:
                continue
            if count == MOST_ARRAYS:
                return False
            places[count] = bytes_of(array)
            count += 1
        if arrays is written:
            count_written = count
    for one in range(count_written):
        for other in range(one + 1, count):
            if places[one].low < places[other].high and places[other].low < places[one].high:
                return False
    return True


cdef inline void point(char **pointer, char *place) noexcept nogil:
    """Let a pointer point there. It is not written if it does: what is written, other cores have to fetch anew."""
    if pointer[0] != place:
        pointer[0] = place


def begins_with(whole, part):
    """Whether the first elements of two arrays, or of None and None, are one."""
    return whole is part or rows_of(whole).base == rows_of(part).base


cdef Rows rows_of(ndarray array) except *:
    """The rows of an array of one to four axes, or of None."""
    cdef Rows rows
    cdef int axis, missing
    rows.base = NULL
    rows.stride[0] = rows.stride[1] = rows.stride[2] = 0
    if array is not None:
        rows.base = first_byte(array)
        missing = 4 - axes(array)
        for axis in range(missing, 3):
            rows.stride[axis] = strides_of(array)[axis - missing]
    return rows


cdef int count_rows(Pixels *pixels, tuple shape) except -1:
    """Sizes of the axes but the channels', four in all."""
    cdef Py_ssize_t missing = 4 - len(shape), axis
    pixels.m = 1
    for axis in range(3):
        pixels.size[axis] = 1 if axis < missing else shape[axis - missing]
        pixels.m *= pixels.size[axis]
    return 0
