# The sums of a walk's slices, added up and put where they belong.

cdef Matrix matrix_of(array) except *:
    """Where an array of one axis (a row) or two lies; nowhere for None."""
    cdef Matrix matrix
    cdef Py_buffer buffer
    memset(&matrix, 0, sizeof(matrix))
    if array is not None:
        PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES)
        matrix.base, matrix.rows, matrix.ld = <char *>buffer.buf, 1, 0
        if buffer.ndim == 2:
            matrix.rows, matrix.ld = buffer.shape[0], buffer.strides[0]
        matrix.columns, matrix.stride = buffer.shape[buffer.ndim - 1], buffer.strides[buffer.ndim - 1]
        PyBuffer_Release(&buffer)
    return matrix


cdef Matrix transposed(const Matrix *matrix) noexcept nogil:
    cdef Matrix other = matrix[0]
    other.rows, other.columns, other.ld, other.stride = matrix.columns, matrix.rows, matrix.stride, matrix.ld
    return other


cdef void add_slices(real *sums, Py_ssize_t n, Py_ssize_t slices, Py_ssize_t distance) noexcept nogil:
    """sums[0..n-1] += those of the other slices, in order."""
    cdef Py_ssize_t s, i
    cdef const real *part
    for s in range(1, slices):
        part = sums + s * distance
        for i in range(n):
            sums[i] = sums[i] + part[i]


cdef void put_sums(char *to, Py_ssize_t stride, const real *sums, Py_ssize_t n, bint adds) noexcept nogil:
    """What lies at `to`, `stride` bytes apart, (+)= sums; written as bytes, since it may be unaligned."""
    cdef Py_ssize_t i
    cdef real total, before
    if not adds and stride == sizeof(real):
        memcpy(to, sums, n * sizeof(real))
        return
    for i in range(n):
        total = sums[i]
        if adds:
            memcpy(&before, to + i * stride, sizeof(real))
            total = before + total
        memcpy(to + i * stride, &total, sizeof(real))


cdef void finish_real(const Matrix *out, real *sums, Py_ssize_t slices, Py_ssize_t distance, bint adds) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(out.rows):    # row by row: they stay in the first-level cache
        add_slices(sums + row * out.columns, out.columns, slices, distance)
        put_sums(out.base + row * out.ld, out.stride, sums + row * out.columns, out.columns, adds)


cdef void finish(const Walk *w, Matrix out, char *sums, Py_ssize_t bytes_of_slice, bint adds) noexcept nogil:
    """out (+)= the sums of all slices."""
    cdef Py_ssize_t distance = bytes_of_slice // w.kernels.c_size
    if w.kernels.c_size == 4:
        finish_real[float](&out, <float *>sums, w.slices, distance, adds)
    else:
        finish_real[double](&out, <double *>sums, w.slices, distance, adds)
