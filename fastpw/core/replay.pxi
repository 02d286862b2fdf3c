# A call that was made before, made again.
#
# A layer of a small network takes a few microseconds, of which two typed
# memoryviews would take one and the checks another.  A call whose arrays are
# laid out as those of the call before needs neither: all that was found out
# then still holds.


cdef struct Layout:
    int ndim, type
    Py_ssize_t shape[4]
    Py_ssize_t strides[4]
    Py_ssize_t low, high         # the bytes in use, from the first element's


cdef Layout layout_of(ndarray array) noexcept:
    cdef Layout layout
    cdef int axis
    cdef Bytes place = bytes_of(array)
    layout.ndim, layout.type = axes(array), type_of(array)
    layout.low, layout.high = place.low - first_byte(array), place.high - first_byte(array)
    for axis in range(layout.ndim):
        layout.shape[axis], layout.strides[axis] = shape_of(array)[axis], strides_of(array)[axis]
    return layout


cdef bint fits(const Layout *layout, array) noexcept:
    """Whether `array` is an ndarray laid out so, of native, aligned numbers."""
    cdef int axis
    if type(array) is not ndarray or axes(<ndarray>array) != layout.ndim or not holds(<ndarray>array, layout.type):
        return False
    for axis in range(layout.ndim):
        if (shape_of(<ndarray>array)[axis] != layout.shape[axis]
                or strides_of(<ndarray>array)[axis] != layout.strides[axis]):
            return False
    return True


cdef extern from *:
    bint test_and_set "__atomic_test_and_set"(void *flag, int order) nogil
    void clear "__atomic_clear"(char *flag, int order) nogil
    enum:
        ACQUIRE "__ATOMIC_ACQUIRE"
        RELEASE "__ATOMIC_RELEASE"


cdef void move(Gemm *g, char *x, char *y) noexcept:
    """To other arrays."""
    point(&g.pixels.rows[A].base, x)
    point(&g.pixels.rows[C].base, y)


cdef class Replay:
    """``replay(x, out)``: y of a call like the one recorded; None if it is another and has to be checked.

    Parameters
    ----------
    x, y : ndarray
        What came and what it gave: at most four axes, no residual, no z.
    pixels : ndarray
        The part of x that `forward` was called with, which begins where x does.
    panels, activation
        As for `forward`.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Gemm gemm
    cdef char busy               # whether a call is using it
    cdef Panels panels
    cdef Layout x, y
    cdef object threads, shape, dtype
    cdef bint follows            # whether the call would use more than one thread
    cdef int asked, team         # how many it may use, and does

    def __init__(self, x, pixels, Panels panels, y, tuple activation, threads):
        self.panels, self.threads, self.shape, self.dtype = panels, threads, y.shape, y.dtype
        self.x, self.y = layout_of(x), layout_of(y)
        describe(&self.gemm, pixels, &panels.b, y, None, None, activation)
        self.team = 2
        set_blocks(&self.gemm, panels.b.kernels, &self.team)
        self.follows = self.team > 1
        self.asked = self.team = threads()
        set_blocks(&self.gemm, panels.b.kernels, &self.team)

    def __call__(self, x, out):
        if not fits(&self.x, x) or self.follows and self.threads() != self.asked:
            return None
        y = empty(self.shape, self.dtype) if out is None else out
        if not fits(&self.y, y) or not may_be_written(<ndarray>y):
            return None
        if not self.apart(first_byte(<ndarray>x), first_byte(<ndarray>y)):
            return None
        self.run(first_byte(<ndarray>x), first_byte(<ndarray>y))
        return y

    cdef bint apart(self, const char *x, const char *y) noexcept:
        return x + self.x.high <= y + self.y.low or y + self.y.high <= x + self.x.low

    cdef int run(self, char *x, char *y) except -1:
        """What was recorded, in its place: other cores have it in their caches, while a copy, or what is written to,
        they would have to fetch anew. (Two calls at a time are rare; one of them takes a copy.)"""
        cdef Gemm copy
        cdef bint busy = test_and_set(&self.busy, ACQUIRE)
        if busy:
            copy = self.gemm
            move(&copy, x, y)
            run(&copy, self.team)
            return 0
        try:
            move(&self.gemm, x, y)
            run(&self.gemm, self.team)
        finally:
            clear(&self.busy, RELEASE)
        return 0
