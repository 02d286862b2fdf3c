"""The arrays of a program: what it was described for, whether others fit it, and whether they may be written."""

from fastpw.core.layout cimport Layout, coincide, drop_layout, fits, lie_apart, place_of, set_layout
from fastpw.core.ndarray cimport may_be_written, ndarray
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z


# Of (x, y, residual, z), of which the last two may not be there.
cdef struct Binding:
    Layout layouts[OPERANDS]
    bint new_fits                # whether a new array is laid out as y
    bint follows                 # whether the call would use more than one thread
    int asked                    # how many it may use


cdef inline int describe_arrays(Binding *b, tuple arrays, int asked) except -1:
    cdef int operand
    for operand in range(OPERANDS):
        set_layout(&b.layouts[operand], arrays[operand])
    b.new_fits, b.asked = arrays[C].flags.c_contiguous, asked
    return 0


cdef inline void drop_arrays(Binding *b) noexcept:
    cdef int operand
    for operand in range(OPERANDS):
        drop_layout(&b.layouts[operand])


cdef inline bint find(const Binding *b, threads, x, residual, z, char **places) except -1:
    """Where arrays lie, if they are laid out as they should be and the team is the one described for."""
    if b.follows and threads() != b.asked:
        return False
    if not (fits(&b.layouts[A], x) and fits(&b.layouts[RESIDUAL], residual) and fits(&b.layouts[Z], z)):
        return False
    places[A], places[RESIDUAL], places[Z] = place_of(x), place_of(residual), place_of(z)
    return True


cdef inline bint find_output(const Binding *b, y, char **places) noexcept:
    places[C] = place_of(y)
    return y is not None and fits(&b.layouts[C], y)


cdef inline bint may_write(const Binding *b, y, z, char *const *places) noexcept:
    """Whether y and z are writable, and apart from each other and from what is read; y may be the residual."""
    cdef const Layout *of = b.layouts
    if not may_be_written(<ndarray>y) or z is not None and not may_be_written(<ndarray>z):
        return False
    if not lie_apart(&of[C], places[C], &of[A], places[A]):
        return False
    if not (lie_apart(&of[C], places[C], &of[RESIDUAL], places[RESIDUAL])
            or coincide(&of[C], places[C], &of[RESIDUAL], places[RESIDUAL])):
        return False
    return z is None or (lie_apart(&of[Z], places[Z], &of[A], places[A])
                         and lie_apart(&of[Z], places[Z], &of[C], places[C])
                         and lie_apart(&of[Z], places[Z], &of[RESIDUAL], places[RESIDUAL]))
