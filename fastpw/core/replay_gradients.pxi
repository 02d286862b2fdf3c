# Gradients that were found before, of other numbers: as replay.pxi, for the backward pass.

cdef enum:
    INPUTS = 7                   # dy, x, weight, bias, y, z, residual
    OUTPUTS = 4                  # dx, dweight, dbias, dresidual


cdef int open_all(arrays, const Layout *layouts, Py_buffer *buffers, int count, int flags, char code) except -1:
    """Open the buffers of arrays laid out as they were (ndim -1: None); how many, from the first, are."""
    cdef int i
    for i in range(count):
        array = arrays[i]
        if array is None or layouts[i].ndim < 0:
            if array is not None or layouts[i].ndim >= 0:
                return i
            buffers[i].buf = NULL
            continue
        if not open_buffer(array, &buffers[i], flags, code):
            return i
        if not fits(&layouts[i], &buffers[i]):
            PyBuffer_Release(&buffers[i])
            return i
    return count


cdef int release_all(Py_buffer *buffers, int count) except -1:
    cdef int i
    for i in range(count):
        if buffers[i].buf != NULL:
            PyBuffer_Release(&buffers[i])
    return 0


cdef bint lie_apart(const Layout *layouts, const Py_buffer *buffers) noexcept:
    """Whether the outputs, which come after the inputs, lie apart from each other and from all inputs."""
    cdef int one, other
    cdef char *a
    cdef char *b
    for one in range(INPUTS, INPUTS + OUTPUTS):
        for other in range(one):
            a, b = <char *>buffers[one].buf, <char *>buffers[other].buf
            if (a != NULL and b != NULL and a + layouts[one].low < b + layouts[other].high
                    and b + layouts[other].low < a + layouts[one].high):
                return False
    return True


cdef class GradientsReplay:
    """``replay(inputs, out)``: the four gradients of a call like the one recorded; None if it is another.

    Parameters
    ----------
    inputs : tuple
        dy, x, weight, bias, y, z, residual: arrays as the caller gave them, or None.
    outputs : tuple
        dx, dweight, dbias, dresidual: those that it gave, all laid out as new ones would be; None where not wanted.
    matrix, dmatrix : ndarray
        weight and dweight as (outputs, inputs), which begin where they do; dmatrix may be None.
    reads, activation
        As for `backward`, where nothing is recomputed.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Walk walk
    cdef Layout layouts[INPUTS + OUTPUTS]
    cdef tuple shapes
    cdef object dtype, threads
    cdef int asked, team         # threads that a call may use, that this one does
    cdef bint s_is_z
    cdef char code

    def __init__(self, tuple inputs, tuple outputs, matrix, dmatrix, reads, tuple activation, threads):
        cdef Py_buffer buffer
        cdef int i
        dy, x, _, _, y, z, _ = inputs
        dx, _, dbias, dresidual = outputs
        describe_walk(&self.walk, dy, x, matrix, None, None, y if reads == "y" else None, z, None, dx, dmatrix, dbias,
                      dresidual, False, reads, activation)
        self.walk.apart = True
        self.s_is_z = reads == "z" or y is None
        self.dtype, self.threads = dy.dtype, threads
        self.shapes = tuple([None if array is None else array.shape for array in outputs])
        self.code = b"f" if self.walk.kernels.a_size == 4 else b"d"
        self.asked = threads()
        self.team = team_of(&self.walk, self.asked)
        lay_out_walk(&self.walk, self.team)
        for i, array in enumerate((*inputs, *outputs)):
            self.layouts[i].ndim = -1
            if array is not None:
                PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES)
                self.layouts[i] = layout_of(&buffer)
                PyBuffer_Release(&buffer)

    def __call__(self, tuple inputs, out):
        cdef Py_buffer buffers[INPUTS + OUTPUTS]
        cdef int opened
        if self.walk.kernels != chosen[0 if self.code == b"f" else 1] or self.threads() != self.asked:
            return None
        arrays = self.outputs(out)
        if arrays is None:
            return None
        opened = open_all(inputs, self.layouts, buffers, INPUTS, PyBUF_STRIDES | PyBUF_FORMAT, self.code)
        if opened == INPUTS:
            opened += open_all(arrays, self.layouts + INPUTS, buffers + INPUTS, OUTPUTS,
                               PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE, self.code)
        try:
            if opened < INPUTS + OUTPUTS or not lie_apart(self.layouts, buffers):
                return None
            self.run(buffers)
            return arrays
        finally:
            release_all(buffers, opened)

    cdef outputs(self, out):
        """The caller's arrays, and new ones for what else is wanted; None if it is another call."""
        cdef int i
        arrays = [None] * OUTPUTS
        if out is not None:
            if not isinstance(out, tuple) or len(out) != OUTPUTS:
                return None
            arrays[:] = out
        for i in range(OUTPUTS):
            shape = self.shapes[i]
            if arrays[i] is None and shape is not None:
                arrays[i] = empty(shape, self.dtype)
        return arrays

    cdef int run(self, const Py_buffer *buffers) except -1:
        """With the arrays' places in what was recorded."""
        cdef Walk w = self.walk
        cdef const Py_buffer *outputs = buffers + INPUTS
        cdef int threads = team(self.team)
        if threads != self.team:
            lay_out_walk(&w, threads)
        w.pixels.rows[DY].base = <char *>buffers[0].buf
        if w.source != NOT_NEEDED:
            w.pixels.rows[S].base = <char *>buffers[5 if self.s_is_z else 4].buf
        if w.wants_weights:
            w.pixels.rows[XS].base = <char *>buffers[1].buf
        if w.wants_data:
            w.data.b.base = <char *>buffers[2].buf
            w.data.pixels.rows[A].base = w.data.pixels.rows[C].base = <char *>outputs[0].buf
            w.data.streams = w.data.large and fills_lines(&w.data)
        w.dweight.base, w.dbias.base = <char *>outputs[1].buf, <char *>outputs[2].buf
        w.pixels.rows[DRESIDUAL].base = <char *>outputs[3].buf
        walk(&w, threads)
        return 0
