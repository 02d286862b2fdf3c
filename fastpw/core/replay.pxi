# A call that was made before, made again.
#
# A layer of a small network takes a few microseconds, of which two typed
# memoryviews would take one and the checks another.  A call whose arrays are
# laid out as those of the call before needs neither: all that was found out
# then still holds.


cdef struct Layout:
    int ndim
    Py_ssize_t shape[4]
    Py_ssize_t strides[4]
    Py_ssize_t low, high         # the bytes in use, from the first element's


cdef Layout layout_of(const Py_buffer *buffer) noexcept:
    cdef Layout layout
    cdef int axis
    cdef Bytes place = bytes_of(buffer)
    layout.ndim, layout.low, layout.high = buffer.ndim, place.low - <char *>buffer.buf, place.high - <char *>buffer.buf
    for axis in range(buffer.ndim):
        layout.shape[axis], layout.strides[axis] = buffer.shape[axis], buffer.strides[axis]
    return layout


cdef bint fits(const Layout *layout, const Py_buffer *buffer) noexcept:
    cdef int axis
    if buffer.ndim != layout.ndim:
        return False
    for axis in range(buffer.ndim):
        if buffer.shape[axis] != layout.shape[axis] or buffer.strides[axis] != layout.strides[axis]:
            return False
    return True


cdef bint open_buffer(object array, Py_buffer *buffer, int flags, char code) except -1:
    """Whether `array` is an ndarray of native, aligned numbers of this type code and lets us in."""
    if type(array) is not ndarray:
        return False
    try:
        PyObject_GetBuffer(array, buffer, flags)
    except (BufferError, ValueError):
        return False
    if buffer.format[0] == code and buffer.format[1] == 0:
        return True
    PyBuffer_Release(buffer)
    return False


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
    cdef Panels panels
    cdef Layout x, y
    cdef object threads, shape, dtype
    cdef int team, asked
    cdef char code

    def __init__(self, x, pixels, Panels panels, y, tuple activation, threads):
        cdef Py_buffer buffer
        self.panels, self.threads, self.shape, self.dtype = panels, threads, y.shape, y.dtype
        self.code = b"f" if panels.b.kernels.a_size == 4 else b"d"
        PyObject_GetBuffer(x, &buffer, PyBUF_STRIDES)
        self.x = layout_of(&buffer)
        PyBuffer_Release(&buffer)
        PyObject_GetBuffer(y, &buffer, PyBUF_STRIDES)
        self.y = layout_of(&buffer)
        PyBuffer_Release(&buffer)
        describe(&self.gemm, pixels, &panels.b, y, None, None, activation)
        self.asked = self.team = threads()
        set_blocks(&self.gemm, panels.b.kernels, &self.team)

    def __call__(self, x, out):
        cdef Py_buffer from_, to
        if not open_buffer(x, &from_, PyBUF_STRIDES | PyBUF_FORMAT, self.code):
            return None
        y = None
        if fits(&self.x, &from_) and (self.team == 1 or self.threads() == self.asked):
            y = empty(self.shape, self.dtype) if out is None else out
            if open_buffer(y, &to, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE, self.code):
                if fits(&self.y, &to) and self.apart(<char *>from_.buf, <char *>to.buf):
                    self.run(<char *>from_.buf, <char *>to.buf)
                else:
                    y = None
                PyBuffer_Release(&to)
            else:
                y = None
        PyBuffer_Release(&from_)
        return y

    cdef bint apart(self, const char *x, const char *y) noexcept:
        return x + self.x.high <= y + self.y.low or y + self.y.high <= x + self.x.low

    cdef int run(self, char *x, char *y) except -1:
        cdef Gemm g = self.gemm
        g.pixels.rows[A].base, g.pixels.rows[C].base = x, y
        run(&g, self.team)
        return 0
