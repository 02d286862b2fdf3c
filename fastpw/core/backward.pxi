# The backward pass: what a walk needs, and its end.

cdef int source_of(reads, y, z) except -1:
    if reads is None:
        return NOT_NEEDED
    if (z if reads == "z" else y) is not None:
        return GIVEN
    return FROM_Z if z is not None else RECOMPUTED


cdef Py_ssize_t lay_out(Walk *w) noexcept:
    """Where the buffers of a block begin; the bytes of all of them."""
    cdef Py_ssize_t element = w.kernels.a_size, width = w.kernels.tiles[0].nr
    cdef Py_ssize_t columns = w.outputs if w.across else w.inputs
    # An odd number of cache lines from row to row: rows a power of two apart would share a few sets.
    w.dz_ld = odd_lines(w.outputs * element)
    w.x_ld = odd_lines(w.inputs * element)
    w.panel_bytes = whole_lines(w.block_rows * width * element)
    w.s_at = w.block_rows * w.dz_ld
    w.x_at = w.s_at + (w.block_rows * w.dz_ld if w.source in (FROM_Z, RECOMPUTED) else 0)
    w.panels_at = w.x_at + (w.block_rows * w.x_ld if w.wants_weights and (w.across or w.diagonal) else 0)
    w.staging_at = w.panels_at
    if w.wants_weights and not w.diagonal:
        w.staging_at += (columns + width - 1) // width * w.panel_bytes
    w.staging_bytes = 0
    if w.source == RECOMPUTED:
        w.staging_bytes = staging_for(&w.recompute, w.block_rows)
    if w.wants_data:
        w.staging_bytes = max(w.staging_bytes, staging_for(&w.data, w.block_rows))
    return w.staging_at


cdef Py_ssize_t odd_lines(Py_ssize_t size) noexcept nogil:
    return whole_lines(size) | CACHE_LINE


cdef Py_ssize_t staging_for(Gemm *g, Py_ssize_t rows) noexcept:
    g.block_rows, g.block_panels = rows, g.b.count
    return whole_lines(staging_bytes(g))


cdef void add_slices(real[:, :] out, const real *sums, Py_ssize_t slices, Py_ssize_t distance, bint adds) noexcept:
    """out (+)= the sums of all slices, in order; read and written as bytes, since it may be unaligned."""
    cdef Py_ssize_t i, j, s
    cdef real total, before
    cdef const real *part
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            part = sums + i * out.shape[1] + j
            total = part[0]
            for s in range(1, slices):
                total = total + part[s * distance]
            if adds:
                memcpy(&before, &out[i, j], sizeof(real))
                total = before + total
            memcpy(&out[i, j], &total, sizeof(real))


cdef int finish(const Walk *w, out, char *sums, Py_ssize_t bytes_of_slice, bint adds) except -1:
    cdef Py_ssize_t distance = bytes_of_slice // w.kernels.c_size
    if w.kernels.c_size == 4:
        add_slices[float](out, <const float *>sums, w.slices, distance, adds)
    else:
        add_slices[double](out, <const double *>sums, w.slices, distance, adds)
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
    """Walk, with buffers for the blocks and the sums."""
    w.across = w.adds_to_weights = False
    w.weights_ld = 0             # one weight per channel: one row
    cdef bint direct = w.wants_weights and choose_weights(w, dweight, accumulate)
    cdef Py_ssize_t block = lay_out(w)
    cdef char *sums = NULL
    cdef fastpw_float_state state = fastpw_enter_float_state()
    w.ones = w.bias = w.workspace = NULL
    try:
        w.ones = zeros_and_ones(w)
        if direct:
            w.weights = rows_of(dweight).base
        elif w.wants_weights:
            w.weights_bytes = rows_of_weights(w) * columns_of_weights(w) * w.kernels.c_size
            w.weights = sums = zeros(w.slices * w.weights_bytes, "the weights' sums")
        w.bias_bytes = w.outputs * w.kernels.c_size
        w.bias = zeros(w.slices * w.bias_bytes, "the bias's sums")
        w.workspace = new_memory(block + threads * (w.staging_bytes + (block if w.slices > 1 else 0)), "the workspace")
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
        free(sums)
    return 0


LINEAR = (FASTPW_LINEAR, 0.0, 0.0)


def backward(dy, x, Panels panels, Panels forward_panels, y, z, residual, dx, dweight, dbias, dresidual,
             bint accumulate, str reads, tuple activation, int threads):
    """Every gradient that is wanted, in one walk.

    Parameters
    ----------
    dy : ([[n0,] n1,] n2, outputs) array
    x : ([[n0,] n1,] n2, inputs) array or None
        None: pixels in the padding, which have neither dx nor dweight.
    panels : Panels or None
        W transposed, without bias (or packed by `pack_scale`), for dx.
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
    w.kernels = chosen[0] if element == 4 else chosen[1]
    for packed in (forward_panels, panels):
        if packed is not None:
            w.kernels = (<Panels>packed).b.kernels
    w.epilogue = epilogue_of(activation)
    w.outputs, w.inputs = dy.shape[dy.ndim - 1], 0 if x is None else x.shape[dy.ndim - 1]
    w.wants_data, w.wants_weights, w.wants_bias = dx is not None, dweight is not None, dbias is not None
    w.diagonal = w.wants_weights and dweight.ndim == 1
    w.adds_to_residual = accumulate
    w.source = source_of(reads, y, z)
    describe_pixels(&w, dy, z if reads == "z" or y is None else y, x if w.wants_weights else None, dresidual)
    if w.source == RECOMPUTED:
        describe(&w.recompute, x, forward_panels, dy, residual, None, LINEAR if reads == "z" else activation)
    w.data.epilogue = epilogue_of(LINEAR)
    if w.wants_data:
        describe(&w.data, dx, panels, dx, dx if accumulate and panels.b.diagonal else None, None, LINEAR)
        w.data.entry = FASTPW_FROM_C if accumulate else FASTPW_FROM_BIAS
    inputs = max(w.inputs, 1)
    w.slices, w.slice_rows, w.block_rows = partition.slices(w.pixels.m, w.outputs, inputs, w.kernels.tiles[0].mr,
                                                            element)
    if w.pixels.m * w.outputs * inputs < partition.SMALL_WORK:
        threads = 1
    walk(&w, dweight, dbias, accumulate, team(threads))


cdef int describe_pixels(Walk *w, dy, s, x, dresidual) except -1:
    cdef Pixels *pixels = &w.pixels
    count_rows(pixels, dy.shape)
    pixels.rows[DY], pixels.rows[S] = rows_of(dy), rows_of(s)
    pixels.rows[XS], pixels.rows[DRESIDUAL] = rows_of(x), rows_of(dresidual)
    join_all_axes(pixels)
    return 0
