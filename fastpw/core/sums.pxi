# The sums of a walk's two halves, or of its one slice, put where they belong.

cdef Matrix matrix_of(ndarray array) except *:
    """Where an array of one axis (a row) or two lies; nowhere for None."""
    cdef Matrix matrix
    cdef int last
    memset(&matrix, 0, sizeof(matrix))
    if array is not None:
        last = axes(array) - 1
        matrix.base, matrix.rows, matrix.ld = first_byte(array), 1, 0
        if last == 1:
            matrix.rows, matrix.ld = shape_of(array)[0], strides_of(array)[0]
        matrix.columns, matrix.stride = shape_of(array)[last], strides_of(array)[last]
    return matrix


cdef Matrix transposed(const Matrix *matrix) noexcept nogil:
    cdef Matrix other = matrix[0]
    other.rows, other.columns, other.ld, other.stride = matrix.columns, matrix.rows, matrix.stride, matrix.ld
    return other


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


cdef void put_rows(const Walk *w, const Matrix *out, char *sums, bint adds, Py_ssize_t first,
                   Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t row, ld = out.columns * w.kernels.c_size
    if out.ld == w.kernels.c_size and not adds:
        w.kernels.transpose(last - first, out.columns, sums + first * ld, ld, out.base + first * out.ld, out.stride)
        return
    for row in range(first, last):
        if w.kernels.c_size == 4:
            put_sums[float](out.base + row * out.ld, out.stride, <float *>(sums + row * ld), out.columns, adds)
        else:
            put_sums[double](out.base + row * out.ld, out.stride, <double *>(sums + row * ld), out.columns, adds)


# Rows that are added up and put before the next, while they are in the first-level cache: a line where they are put
# as columns.
cdef enum:
    SOME_ROWS = 16


cdef void finish_rows(const Walk *w, const Matrix *out, char *sums, bint adds, Py_ssize_t first,
                      Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t stop, ld = out.columns * w.kernels.c_size
    cdef Py_ssize_t half = w.slices // 2 * w.sums_bytes          # to the sums of the second half; 0: there is none
    while first < last:
        stop = min(first + SOME_ROWS, last)
        w.kernels.column_sums(half != 0, (stop - first) * out.columns, sums + first * ld + half, 0, NULL, 0,
                              sums + first * ld)
        put_rows(w, out, sums, adds, first, stop)
        first = stop


cdef void finish_share(const Walk *w, const Matrix *out, char *sums, bint adds, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    finish_rows(w, out, sums, adds, out.rows * member // members, out.rows * (member + 1) // members)
    fastpw_leave_float_state(state)


cdef void finish(const Walk *w, const Matrix *out, char *sums, bint adds, int threads) noexcept nogil:
    """out (+)= the sums of all slices."""
    if threads == 1:
        finish_share(w, out, sums, adds, 0, 1)
        return
    with parallel(num_threads=threads):
        finish_share(w, out, sums, adds, threadid(), omp_get_num_threads())
        share_done()
    team_joined(threads)
