"""Pixels as rows: where each operand's rows lie, over at most three axes.

A GEMM numbers its rows over the leading axes of its operands. Neighbouring axes become one wherever every operand's
rows go on at one distance, so that most arrays, whatever their number of axes, are rows along a single axis.
"""

from libc.string cimport memcpy, memset

from fastpw.core.ndarray cimport axes, ndarray, shape_of, strides_of


cdef enum:
    OPERANDS = 4                 # at most, over the same pixels
    AXES = 3                     # of the pixels, after joining
    MOST_AXES = 64               # of a NumPy array


# The operands of a product that have rows.
cdef enum:
    A
    C
    RESIDUAL
    Z


cdef struct Pixels:
    Py_ssize_t m
    Py_ssize_t size[AXES]                    # along each axis; m in all
    Py_ssize_t stride[OPERANDS][AXES]        # bytes


# The leading axes of all operands, some of them joined; the innermost comes first.
cdef struct Lead:
    int count
    Py_ssize_t size[MOST_AXES]
    Py_ssize_t stride[OPERANDS][MOST_AXES]


cdef inline bint goes_on(const Lead *lead, const Py_ssize_t *stride) noexcept nogil:
    """Whether an axis with these strides continues the last one, for every operand."""
    cdef int last = lead.count - 1, i
    if last < 0:
        return False
    for i in range(OPERANDS):
        if stride[i] != lead.size[last] * lead.stride[i][last]:
            return False
    return True


cdef inline int join_axes(Lead *lead, tuple operands) except -1:
    """The leading axes of arrays of one leading shape; None is no operand. Axes of one pixel are left out.

    That the shapes agree was checked. It is looked at again, since what is computed reads and writes by it, and a shape
    may have been changed meanwhile.
    """
    cdef int axis, i
    cdef Py_ssize_t size
    cdef Py_ssize_t stride[OPERANDS]
    cdef ndarray array, first = None
    for item in operands:
        if item is None:
            continue
        array = item
        if first is None:
            first = array
        if axes(array) != axes(first):
            raise ValueError("arrays of one leading shape are needed, got some that were changed meanwhile")
        for axis in range(axes(first) - 1):
            if shape_of(array)[axis] != shape_of(first)[axis]:
                raise ValueError("arrays of one leading shape are needed, got some that were changed meanwhile")
    lead.count = 0
    for axis in range(axes(first) - 2, -1, -1):
        size = shape_of(first)[axis]
        if size == 1:
            continue
        memset(stride, 0, sizeof(stride))
        for i in range(<int>len(operands)):
            if operands[i] is not None:
                array = operands[i]
                stride[i] = strides_of(array)[axis]
        if goes_on(lead, stride):
            lead.size[lead.count - 1] *= size
            continue
        lead.size[lead.count] = size
        for i in range(OPERANDS):
            lead.stride[i][lead.count] = stride[i]
        lead.count += 1
    return 0


cdef inline void take_inner_axes(const Lead *lead, Pixels *pixels) noexcept nogil:
    """The three innermost axes; those beyond are the caller's to walk."""
    cdef int axis, i
    memset(pixels, 0, sizeof(pixels[0]))
    pixels.m = 1
    for axis in range(AXES):
        pixels.size[AXES - 1 - axis] = lead.size[axis] if axis < lead.count else 1
        pixels.m *= pixels.size[AXES - 1 - axis]
        for i in range(OPERANDS):
            if axis < lead.count:
                pixels.stride[i][AXES - 1 - axis] = lead.stride[i][axis]


cdef inline Py_ssize_t outer_places(const Lead *lead) noexcept nogil:
    """How often the three innermost axes are walked: once for each place along those beyond."""
    cdef Py_ssize_t count = 1
    cdef int axis
    for axis in range(AXES, lead.count):
        count *= lead.size[axis]
    return count


cdef inline Py_ssize_t outer_offset(const Lead *lead, int operand, Py_ssize_t number) noexcept nogil:
    """Bytes from an operand's first pixel to its first at one of these places."""
    cdef Py_ssize_t offset = 0, rest = number
    cdef int axis
    for axis in range(AXES, lead.count):
        offset += rest % lead.size[axis] * lead.stride[operand][axis]
        rest //= lead.size[axis]
    return offset


cdef inline void lay_out_rows(Pixels *pixels, int operand, Py_ssize_t ld) noexcept nogil:
    """Let an operand's rows lie `ld` bytes apart, one after the other."""
    pixels.stride[operand][2] = ld
    pixels.stride[operand][1] = pixels.size[2] * ld
    pixels.stride[operand][0] = pixels.size[1] * pixels.stride[operand][1]


cdef inline char *address(const Pixels *pixels, char *const *bases, int operand, Py_ssize_t row) noexcept nogil:
    """Where a row of an operand lies, of which `bases` holds the first; NULL if there is no such operand."""
    cdef char *base = bases[operand]
    cdef const Py_ssize_t *stride = pixels.stride[operand]
    if base == NULL:
        return NULL
    if row < pixels.size[2]:
        return base + row * stride[2]
    cdef Py_ssize_t run = row // pixels.size[2]
    return (base + (run // pixels.size[1]) * stride[0] + (run % pixels.size[1]) * stride[1]
            + (row % pixels.size[2]) * stride[2])


cdef inline Py_ssize_t run_length(const Pixels *pixels, Py_ssize_t row, Py_ssize_t stop) noexcept nogil:
    """How many rows from this one on, and before `stop`, lie at one distance."""
    return min(stop - row, pixels.size[2] - row % pixels.size[2])


cdef inline bint at_one_distance(const Pixels *pixels, int operand) noexcept nogil:
    """Whether all the rows of an operand do."""
    cdef const Py_ssize_t *stride = pixels.stride[operand]
    return ((pixels.size[1] == 1 or stride[1] == pixels.size[2] * stride[2])
            and (pixels.size[0] == 1 or stride[0] == pixels.size[1] * stride[1]
                 or (pixels.size[1] == 1 and stride[0] == pixels.size[2] * stride[2])))


# Some bytes of each of some rows.
cdef struct Columns:
    Py_ssize_t start, stop       # rows
    Py_ssize_t offset, size      # bytes of each


cdef inline void gather(const Pixels *pixels, char *const *bases, int operand, const Columns *part, char *to,
                        Py_ssize_t ld) noexcept nogil:
    """Copy a part of an operand to rows `ld` bytes apart."""
    cdef Py_ssize_t row
    for row in range(part.start, part.stop):
        memcpy(to + (row - part.start) * ld, address(pixels, bases, operand, row) + part.offset, part.size)


cdef inline void scatter(const Pixels *pixels, char *const *bases, int operand, const Columns *part,
                         const char *staged) noexcept nogil:
    """Copy rows that lie one after the other to a part of an operand."""
    cdef Py_ssize_t row
    for row in range(part.start, part.stop):
        memcpy(address(pixels, bases, operand, row) + part.offset, staged + (row - part.start) * part.size, part.size)
