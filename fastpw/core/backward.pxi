# The backward pass: what a walk needs.

cdef int source_of(reads, y, z) except -1:
    if reads is None:
        return NOT_NEEDED
    if (z if reads == "z" else y) is not None:
        return GIVEN
    return FROM_Z if z is not None else RECOMPUTED


cdef void lay_out_block(Walk *w) noexcept:
    """Where the buffers of a block begin, and their sizes."""
    cdef Py_ssize_t element = w.kernels.a_size, width = w.kernels.tiles[0].nr
    # An odd number of cache lines from row to row: rows a power of two apart would share a few sets.
    w.dz_ld = odd_lines(w.outputs * element)
    w.x_ld = odd_lines(w.inputs * element)
    w.s_at = w.block_rows * w.dz_ld
    w.x_at = w.s_at + (w.block_rows * w.dz_ld if w.source in (FROM_Z, RECOMPUTED) else 0)
    w.block_bytes = w.x_at + (w.block_rows * w.x_ld if copies_x(w) else 0)
    w.panel_bytes = whole_lines(w.block_rows * width * element)
    w.some_panels = max(1, PANELS_BYTES // w.panel_bytes)
    w.w_at = w.some_panels * w.panel_bytes if w.wants_weights and not w.diagonal else 0
    w.staging_at = w.w_at
    if w.wants_data and w.data.b.base != NULL:
        w.staging_at += bytes_of_packed(w)
    w.own_bytes = w.staging_at
    if w.source == RECOMPUTED:
        w.own_bytes = max(w.own_bytes, w.staging_at + staging_for(&w.recompute, w.block_rows))
    if w.wants_data:
        w.own_bytes = max(w.own_bytes, w.staging_at + staging_for(&w.data, w.block_rows))


cdef Py_ssize_t bytes_of_packed(const Walk *w) noexcept:
    """What is packed of W at a time: all of it, or a panel of some depths, of all depths if its tile splits them."""
    cdef PackedB b = w.data.b
    if w.packs_first:
        return bytes_of_panels(&b, b.count)
    if splits_depth(&b, b.count - 1):
        b.k = w.outputs
    return max(b.panel_bytes, panel_bytes(&b.kernels.tiles[b.last_tile], b.k, b.kernels.b_size))


cdef Py_ssize_t odd_lines(Py_ssize_t size) noexcept nogil:
    return whole_lines(size) | CACHE_LINE


cdef Py_ssize_t staging_for(Gemm *g, Py_ssize_t rows) noexcept:
    g.block_rows, g.block_panels = rows, g.b.count
    return whole_lines(staging_bytes(g))


cdef bint may_form(const Walk *w) noexcept:
    """Whether dz can be formed by the tiles that sum the weights."""
    return (w.kernels.outer_forms >> w.epilogue.activation & 1 and w.source == GIVEN
            and at_one_distance(&w.pixels, DY) and at_one_distance(&w.pixels, S))


cdef int cut_into_slices(Walk *w) except -1:
    """By the shape alone, which decides the order of the additions; and which way the weights are summed, which does
    not."""
    cdef Py_ssize_t inputs = max(w.inputs, 1)
    cdef int width = w.kernels.tiles[0].nr
    cdef bint forms = w.kernels.outer_forms != 0 and partition.weights_across(w.outputs, inputs, width, True)
    w.slices, w.slice_rows, w.block_rows = partition.slices(w.pixels.m, w.outputs, inputs, w.kernels.tiles[0].mr,
                                                            w.kernels.c_size, forms)
    w.across = partition.weights_across(w.outputs, inputs, width, w.slices > 1 and may_form(w))
    return 0


cdef void choose_weights(Walk *w) noexcept:
    """Whether the weights are summed right where they belong, where one team shares them, and then which way."""
    cdef Py_ssize_t element = w.kernels.c_size
    if not w.wants_weights or w.diagonal:
        w.across = False
        return
    w.x_in_place = at_one_distance(&w.pixels, XS)
    w.direct = w.slices == 1 and (w.dweight.stride == element or w.dweight.ld == element)
    if w.direct:
        w.across = w.dweight.stride != element
        w.weights_ld = w.dweight.stride if w.across else w.dweight.ld
        w.adds_to_weights = w.accumulates
    else:
        w.weights_ld = columns_of_weights(w) * element
    w.forms = w.slices > 1 and w.across and may_form(w)


# A core fetches ahead of rows that it reads one after the other. What a thread writes and reads so often lies in one
# piece, with a gap behind it, or it would take from other cores what they write (two threads, 1024 -> 256 at 14 x 14:
# 1.02 to 1.04 of the speed; 1.14, 32 -> 16 at 112 x 112 1.2, while a line of another core takes four times as long).
cdef enum:
    GAP_ROWS = 32
    MOST_GAP_BYTES = 256 << 10


cdef int lay_out_walk(Walk *w, int threads) except -1:
    """Sizes of all that a walk of so many threads needs."""
    w.groups = partition.TASKS_PER_THREAD
    w.copies = threads if w.slices > 1 or threads <= partition.MOST_COPIES else 1
    w.member_bytes = w.own_bytes
    if threads > 1:
        w.member_bytes += min(<Py_ssize_t>GAP_ROWS * w.dz_ld, <Py_ssize_t>MOST_GAP_BYTES)
    if w.copies > 1:
        w.member_bytes += w.block_bytes
    w.bias_bytes = whole_lines(w.outputs * w.kernels.c_size) if w.wants_bias else 0
    w.weights_bytes = 0
    if w.wants_weights and not w.direct:
        w.weights_bytes = whole_lines(rows_of_weights(w) * columns_of_weights(w) * w.kernels.c_size)
    w.sums_bytes = w.bias_bytes + w.weights_bytes
    w.adding_threads = 1 if w.weights_bytes < partition.SMALL_SUMS_BYTES else threads
    w.ones_bytes = 0
    if w.source == FROM_Z or w.pixels.rows[DRESIDUAL].base != NULL:
        w.ones_bytes = whole_lines(2 * w.outputs * w.kernels.c_size)
    return 0


cdef void set_ones(const Walk *w, char *panel) noexcept nogil:
    """A panel for the kernel of one weight per channel that changes nothing."""
    cdef Py_ssize_t j
    memset(panel, 0, w.outputs * w.kernels.c_size)
    for j in range(w.outputs, 2 * w.outputs):
        if w.kernels.c_size == 4:
            (<float *>panel)[j] = 1
        else:
            (<double *>panel)[j] = 1


cdef inline char *carve(char **memory, Py_ssize_t size) noexcept nogil:
    """The next `size` bytes."""
    cdef char *start = memory[0]
    memory[0] += size
    return start


cdef int walk(Walk *w, int threads) except -1:
    """Walk, with buffers for the blocks and the sums, in one piece of memory."""
    cdef Py_ssize_t shares_bytes = STEPS * threads * sizeof(Share)
    cdef Py_ssize_t arrived_bytes = whole_lines(2 * sizeof(int))
    cdef Py_ssize_t size = (w.ones_bytes + shares_bytes + arrived_bytes + w.slices * w.sums_bytes
                            + (w.block_bytes if w.copies == 1 else 0) + threads * w.member_bytes)
    cdef char *memory = new_memory(size, "the workspace")
    cdef char *rest = memory
    cdef fastpw_float_state state
    cdef Matrix sums
    if w.ones_bytes:
        point(&w.ones, carve(&rest, w.ones_bytes))
        set_ones(w, w.ones)
    point(&w.shares, carve(&rest, shares_bytes))
    point(&w.arrived, carve(&rest, arrived_bytes))
    memset(w.arrived, 0, arrived_bytes)
    point(&w.bias, carve(&rest, w.slices * w.sums_bytes))
    point(&w.weights, w.bias + w.bias_bytes if w.weights_bytes else w.dweight.base)
    point(&w.workspace, rest)
    with nogil:
        state = fastpw_enter_float_state()
        run_walk(w, threads)
        if w.weights_bytes:
            sums = transposed(&w.dweight) if w.across else w.dweight
            finish(w, &sums, w.weights, w.accumulates, w.adding_threads)
        if w.wants_bias:
            finish(w, &w.dbias, w.bias, w.accumulates, 1)
        fastpw_leave_float_state(state)
    free(memory)
    return 0


LINEAR = (FASTPW_LINEAR, 0.0, 0.0)


cdef Py_ssize_t row_bytes(const Walk *w) noexcept:
    """What is read and written of a pixel."""
    return (w.outputs * (1 + (w.source != NOT_NEEDED)) + w.inputs * (1 + w.wants_weights)) * w.kernels.a_size


cdef int describe_data(Walk *w, weight, Panels scale, dx) except -1:
    """dx = dz . W. W is packed first if each panel is needed often, else read in place if its columns are adjacent."""
    cdef Matrix matrix
    cdef PackedB b
    if scale is not None:
        b = scale.b
    else:
        matrix = matrix_of(weight)
        w.packs_first = w.slices > 1
        b = panels_of(w.kernels, matrix.columns, matrix.rows if w.packs_first
                      else <Py_ssize_t>partition.even(matrix.rows, DATA_DEPTH, DATA_STEP))
        b.base, b.stride_k, b.stride_n = matrix.base, matrix.ld, matrix.stride
        if not w.packs_first and b.stride_n == b.kernels.b_size:
            b.unpacked = b.n // b.kernels.tiles[0].nr
    describe(&w.data, dx, &b, dx, dx if w.accumulates and scale is not None else None, None, LINEAR)
    w.data.entry = FASTPW_FROM_C if w.accumulates else FASTPW_FROM_ZERO
    if w.slices > 1 and not w.accumulates:      # else it is read, too
        w.data.large = partition.leaves_caches(dx.nbytes, w.pixels.m * row_bytes(w))
        w.data.streams = w.data.large and fills_lines(&w.data)
    return 0


cdef int describe_walk(Walk *w, dy, x, weight, Panels forward_panels, Panels scale, y, z, residual, dx, dweight, dbias,
                       dresidual, bint accumulate, reads, tuple activation) except -1:
    cdef Py_ssize_t element = dy.itemsize
    memset(w, 0, sizeof(w[0]))
    w.kernels = chosen[0] if element == 4 else chosen[1]
    w.epilogue = epilogue_of(activation)
    w.outputs, w.inputs = dy.shape[dy.ndim - 1], 0 if x is None else x.shape[dy.ndim - 1]
    w.wants_data, w.wants_weights, w.wants_bias = dx is not None, dweight is not None, dbias is not None
    w.diagonal = w.wants_weights and dweight.ndim == 1
    w.accumulates = accumulate
    w.source = source_of(reads, y, z)
    describe_pixels(w, dy, z if reads == "z" or y is None else y, x if w.wants_weights else None, dresidual)
    if w.source == RECOMPUTED:
        w.kernels = forward_panels.b.kernels
        describe(&w.recompute, x, &forward_panels.b, dy, residual, None, LINEAR if reads == "z" else activation)
    cut_into_slices(w)
    w.data.epilogue = epilogue_of(LINEAR)
    if w.wants_data:
        describe_data(w, weight, scale, dx)
    w.dweight, w.dbias = matrix_of(dweight), matrix_of(dbias)
    choose_weights(w)
    lay_out_block(w)
    return 0


cdef int team_of(const Walk *w, int threads) except -1:
    """So many threads at most."""
    cdef Py_ssize_t work = w.pixels.m * w.outputs * max(w.inputs, 1) * max(w.wants_data + w.wants_weights, 1)
    return 1 if work < partition.SMALL_WORK else threads


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
    cdef Panels scale = pack_scale(weight, None) if dx is not None and weight.ndim == 1 else None
    describe_walk(&w, dy, x, weight, forward_panels, scale, y, z, residual, dx, dweight, dbias, dresidual, accumulate,
                  reads, activation)
    threads = team(team_of(&w, threads))
    lay_out_walk(&w, threads)
    walk(&w, threads)


cdef int describe_pixels(Walk *w, dy, s, x, dresidual) except -1:
    cdef Pixels *pixels = &w.pixels
    count_rows(pixels, dy.shape)
    pixels.rows[DY], pixels.rows[S] = rows_of(dy), rows_of(s)
    pixels.rows[XS], pixels.rows[DRESIDUAL] = rows_of(x), rows_of(dresidual)
    join_all_axes(pixels)
    return 0
