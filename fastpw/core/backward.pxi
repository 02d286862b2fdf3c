# The backward pass: what a walk needs, and its end.

cdef int source_of(reads, y, z) except -1:
    if reads is None:
        return NOT_NEEDED
    if (z if reads == "z" else y) is not None:
        return GIVEN
    return FROM_Z if z is not None else RECOMPUTED


cdef void lay_out(Walk *w) noexcept:
    """Where the buffers begin, and their sizes."""
    cdef Py_ssize_t element = w.kernels.a_size, width = w.kernels.tiles[0].nr
    # An odd number of cache lines from row to row: rows a power of two apart would share a few sets.
    w.dz_ld = odd_lines(w.outputs * element)
    w.x_ld = odd_lines(w.inputs * element)
    w.s_at = w.block_rows * w.dz_ld
    w.x_at = w.s_at + (w.block_rows * w.dz_ld if w.source in (FROM_Z, RECOMPUTED) else 0)
    w.block_bytes = w.x_at + (w.block_rows * w.x_ld if w.wants_weights and (w.across or w.diagonal) else 0)
    w.panel_bytes = whole_lines(w.block_rows * width * element)
    w.some_panels = max(1, PANELS_BYTES // w.panel_bytes)
    w.w_at = w.some_panels * w.panel_bytes if w.wants_weights and not w.diagonal else 0
    w.staging_at = w.w_at
    if w.wants_data and w.data.b.base != NULL:
        w.data_depth = w.data.b.k
        w.data_panels = 1 if w.outputs <= w.data_depth else min(w.data.b.count, <Py_ssize_t>DATA_PANELS)
        w.staging_at += bytes_of_panels(&w.data.b, w.data_panels)
    w.own_bytes = w.staging_at
    if w.source == RECOMPUTED:
        w.own_bytes = max(w.own_bytes, w.staging_at + staging_for(&w.recompute, w.block_rows))
    if w.wants_data:
        w.own_bytes = max(w.own_bytes, w.staging_at + staging_for(&w.data, w.block_rows))


cdef Py_ssize_t odd_lines(Py_ssize_t size) noexcept nogil:
    return whole_lines(size) | CACHE_LINE


cdef Py_ssize_t staging_for(Gemm *g, Py_ssize_t rows) noexcept:
    g.block_rows, g.block_panels = rows, g.b.count
    return whole_lines(staging_bytes(g))


cdef void add_slices(real *sums, Py_ssize_t n, Py_ssize_t slices, Py_ssize_t distance) noexcept nogil:
    """sums[0..n-1] += those of the other slices, in order."""
    cdef Py_ssize_t s, i
    cdef const real *part
    for s in range(1, slices):
        part = sums + s * distance
        for i in range(n):
            sums[i] = sums[i] + part[i]


cdef void put_sums(real *out, Py_ssize_t stride, const real *sums, Py_ssize_t n, bint adds) noexcept nogil:
    """out (+)= sums, `stride` bytes apart; written as bytes, since it may be unaligned."""
    cdef char *to = <char *>out
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


cdef void finish_real(real[:, :] out, real *sums, Py_ssize_t slices, Py_ssize_t distance, bint adds) noexcept nogil:
    cdef Py_ssize_t row, columns = out.shape[1]
    for row in range(out.shape[0]):    # row by row: they stay in the first-level cache
        add_slices(sums + row * columns, columns, slices, distance)
        put_sums(&out[row, 0], out.strides[1], sums + row * columns, columns, adds)


cdef int finish(const Walk *w, out, char *sums, Py_ssize_t bytes_of_slice, bint adds) except -1:
    cdef Py_ssize_t distance = bytes_of_slice // w.kernels.c_size
    if w.kernels.c_size == 4:
        finish_real[float](out, <float *>sums, w.slices, distance, adds)
    else:
        finish_real[double](out, <double *>sums, w.slices, distance, adds)
    return 0


cdef bint choose_weights(Walk *w, dweight, bint accumulate) except -1:
    """Which way the weights are summed, and whether right in `dweight`, where one team shares them."""
    cdef const fastpw_tile *widest = &w.kernels.tiles[0]
    if w.diagonal:
        return False
    if w.slices == 1 and w.kernels.c_size in dweight.strides:
        w.across = dweight.strides[1] != w.kernels.c_size
        w.weights_ld = dweight.strides[1 if w.across else 0]
        w.adds_to_weights = accumulate
        return True
    w.across = partition.weights_across(w.outputs, w.inputs, widest.nr)
    w.weights_ld = columns_of_weights(w) * w.kernels.c_size
    return False


cdef char *zeros(Py_ssize_t size, what) except NULL:
    cdef char *memory = new_memory(size, what)
    memset(memory, 0, size)
    return memory


cdef char *zeros_and_ones(const Walk *w) except NULL:
    """A panel for the kernel of one weight per channel that changes nothing."""
    cdef char *panel = zeros(2 * w.outputs * w.kernels.c_size, "a panel of ones")
    cdef Py_ssize_t j
    for j in range(w.outputs, 2 * w.outputs):
        if w.kernels.c_size == 4:
            (<float *>panel)[j] = 1
        else:
            (<double *>panel)[j] = 1
    return panel


cdef int walk(Walk *w, dweight, dbias, bint accumulate, int threads) except -1:
    """Walk, with buffers for the blocks and the sums; what is not set yet is zero."""
    cdef bint direct = w.wants_weights and choose_weights(w, dweight, accumulate)
    cdef char *sums = NULL
    cdef fastpw_float_state state = fastpw_enter_float_state()
    lay_out(w)
    w.tasks = partition.TASKS_PER_THREAD * threads
    w.copies = threads if w.slices > 1 or threads <= partition.MOST_COPIES else 1
    try:
        w.ones = zeros_and_ones(w)
        if direct:
            w.weights = rows_of(dweight).base
        elif w.wants_weights:
            w.weights_bytes = rows_of_weights(w) * columns_of_weights(w) * w.kernels.c_size
            w.weights = sums = new_memory(w.slices * w.weights_bytes, "the weights' sums")
            if w.diagonal:       # to which all blocks are added; else the first is what the sums begin with
                memset(sums, 0, w.slices * w.weights_bytes)
        w.bias_bytes = w.outputs * w.kernels.c_size
        w.bias = zeros(w.slices * w.bias_bytes, "the bias's sums")
        w.workspace = new_memory(w.copies * w.block_bytes + threads * w.own_bytes, "the workspace")
        w.shares = <Share *>new_memory(STEPS * threads * sizeof(Share), "the workspace")
        with nogil:
            run_walk(w, threads)
        if sums != NULL:
            finish(w, dweight[None] if w.diagonal else dweight.T if w.across else dweight, sums, w.weights_bytes,
                   accumulate)
        if w.wants_bias:
            finish(w, dbias[None], w.bias, w.bias_bytes, accumulate)
    finally:
        fastpw_leave_float_state(state)
        free(w.ones)
        free(w.bias)
        free(w.workspace)
        free(w.shares)
        free(sums)
    return 0


LINEAR = (FASTPW_LINEAR, 0.0, 0.0)


def backward(dy, x, weight, Panels forward_panels, y, z, residual, dx, dweight, dbias, dresidual,
             bint accumulate, str reads, tuple activation, int threads):
    """Every gradient that is wanted, in one walk.

    Parameters
    ----------
    dy : ([[n0,] n1,] n2, outputs) array
    x : ([[n0,] n1,] n2, inputs) array or None
        None: pixels in the padding, which have neither dx nor dweight.
    weight : (outputs, inputs) array of any strides, or (outputs,): one weight per channel
        For dx.
    forward_panels : Panels or None
        W with its bias, to recompute what is missing of y and z.
    y, z, residual : like `dy`, or None
    dx : like `x`, or None
    dweight : (outputs, inputs) array of any strides, (outputs,) where there is one weight per channel, or None
    dbias : (outputs,) array or None
    dresidual : like `dy`, or None
    accumulate : bool
        Add to the gradients' arrays.
    reads : "y", "z" or None
        What the derivative of the activation is read from.
    activation : tuple
        Code, alpha, beta (kernel_set.h).
    threads : int
        The most threads to use.
    """
    cdef Walk w
    cdef Py_ssize_t element = dy.itemsize, inputs
    cdef Panels panels           # as long as the walk
    memset(&w, 0, sizeof(w))
    w.kernels = chosen[0] if element == 4 else chosen[1]
    w.epilogue = epilogue_of(activation)
    w.outputs, w.inputs = dy.shape[dy.ndim - 1], 0 if x is None else x.shape[dy.ndim - 1]
    w.wants_data, w.wants_weights, w.wants_bias = dx is not None, dweight is not None, dbias is not None
    w.diagonal = w.wants_weights and dweight.ndim == 1
    w.adds_to_residual = accumulate
    w.source = source_of(reads, y, z)
    describe_pixels(&w, dy, z if reads == "z" or y is None else y, x if w.wants_weights else None, dresidual)
    if w.source == RECOMPUTED:
        w.kernels = forward_panels.b.kernels
        describe(&w.recompute, x, &forward_panels.b, dy, residual, None, LINEAR if reads == "z" else activation)
    inputs = max(w.inputs, 1)
    w.slices, w.slice_rows, w.block_rows = partition.slices(w.pixels.m, w.outputs, inputs, w.kernels.tiles[0].mr,
                                                            element)
    if w.pixels.m * w.outputs * inputs < partition.SMALL_WORK:
        threads = 1
    threads = team(threads)
    w.data.epilogue = epilogue_of(LINEAR)
    if w.wants_data:
        panels = panels_for_dx(weight, w.slices > 1, w.kernels, threads)
        describe(&w.data, dx, &panels.b, dx, dx if accumulate and panels.b.diagonal else None, None, LINEAR)
        w.data.entry = FASTPW_FROM_C if accumulate else FASTPW_FROM_BIAS
        if w.slices > 1 and not accumulate:      # else it is read, too
            w.data.streams = partition.leaves_caches(dx.nbytes) and fills_lines(&w.data)
    walk(&w, dweight, dbias, accumulate, threads)


cdef Panels panels_for_dx(weight, bint often, const fastpw_kernel_set *kernels, int threads):
    """W transposed: packed if each panel is needed `often`, else by who needs it."""
    cdef Panels panels
    if weight.ndim == 1:
        return pack_scale(weight, None)
    if often:
        return pack(weight.T, None, threads)
    panels = Panels.__new__(Panels)
    panels.b = panels_of(kernels, weight.shape[1], partition.even(weight.shape[0], DATA_DEPTH, DATA_STEP))
    panels.b.base = rows_of(weight).base
    panels.b.stride_k, panels.b.stride_n = weight.strides
    return panels


cdef int describe_pixels(Walk *w, dy, s, x, dresidual) except -1:
    cdef Pixels *pixels = &w.pixels
    count_rows(pixels, dy.shape)
    pixels.rows[DY], pixels.rows[S] = rows_of(dy), rows_of(s)
    pixels.rows[XS], pixels.rows[DRESIDUAL] = rows_of(x), rows_of(dresidual)
    join_all_axes(pixels)
    return 0
