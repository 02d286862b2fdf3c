"""One walk over the pixels that serves every gradient.

    dz = dy * act'(z)             formed block by block, never as a tensor
    dx = dz . W                   a GEMM whose A is the block of dz
    dW = dz^T . x                 sums of outer products over the pixels
    db = sums of dz

Two ways to share it out, chosen by the shape alone:

slices   Many pixels.  The pixels are cut into a fixed number of slices; each
         walks its own blocks and sums its own dW and db, and at the end the
         slices are added in order.
blocks   Few pixels or large weights.  Block after block, all threads form dz
         together, then share the GEMM for dx by rows and panels, then dW by
         its rows and columns: nothing needs adding up but the blocks.

Either way a sum over the pixels is made of sums over blocks, which is more
accurate than one long sum and the same for any number of threads.
"""

from cython.parallel cimport prange

from fastpw.core.kernels cimport (FASTPW_FROM_C, FASTPW_FROM_ZERO, fastpw_block, fastpw_enter_float_state,
                                  fastpw_epilogue, fastpw_float_state, fastpw_gradient, fastpw_kernel_set,
                                  fastpw_leave_float_state)
from fastpw.core.loops cimport A, C, Gemm, run_block
from fastpw.core.pixels cimport Pixels, address, contiguous, gather, run_length
from fastpw.core.shares cimport Share, next_task, share_out
from fastpw.core.team cimport MOST_THREADS


# The operands of the walk that have rows.
cdef enum:
    DY
    S                            # what the derivative is read from, y or z, or what leads to it
    XS                           # x
    DRESIDUAL

# Depths that are summed at a time: that much of a panel, and of the columns of
# dz that one tile reads, stays in the first-level cache.
cdef enum:
    OUTER_DEPTH = 128

# Where S comes from.
cdef enum:
    NOT_NEEDED                   # the derivative is one
    GIVEN
    FROM_Z                       # y is needed, z was given
    RECOMPUTED                   # from x


cdef struct Walk:
    const fastpw_kernel_set *kernels
    Pixels pixels
    Py_ssize_t outputs, inputs   # columns of dz, of x
    fastpw_epilogue epilogue     # whose derivative is wanted
    int source
    Gemm recompute               # S from x, when it is RECOMPUTED
    Gemm data                    # dx from dz
    bint diagonal                # one weight per channel
    bint wants_data, wants_weights, wants_bias, adds_to_residual
    # dW: the outputs are its rows and the inputs its columns, or, if that
    # fills vectors better, the other way about.
    bint across
    char *weights                # where it is summed: one after the other for all slices
    Py_ssize_t weights_ld, weights_bytes
    bint adds_to_weights         # the first block adds to what is there
    char *bias                   # likewise, outputs sums for each slice
    Py_ssize_t bias_bytes
    char *ones                   # outputs zeros, then outputs ones
    Py_ssize_t slices, slice_rows, block_rows
    # The buffers of a block, dz first, and how their rows lie; behind them, what its GEMMs need for staging.
    char *workspace
    Py_ssize_t s_at, x_at, panels_at, staging_at, staging_bytes
    Py_ssize_t dz_ld, x_ld, panel_bytes


cdef inline Py_ssize_t rows_of_weights(const Walk *w) noexcept nogil:
    if w.diagonal:
        return 1
    return w.inputs if w.across else w.outputs


cdef inline Py_ssize_t columns_of_weights(const Walk *w) noexcept nogil:
    return w.outputs if w.across else w.inputs


cdef inline Py_ssize_t weight_panels(const Walk *w) noexcept nogil:
    cdef Py_ssize_t width = w.kernels.tiles[0].nr
    return (columns_of_weights(w) + width - 1) // width


# ---- a block, in its steps -----------------------------------------------------------------------------------
# `origin` is the first row of the block whose buffers lie at `space`; the steps take rows start..stop-1 of it.

cdef inline void recompute(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, char *space,
                           char *staging) noexcept nogil:
    """S from x: the forward pass of these rows."""
    cdef Gemm g = w.recompute
    g.pixels.rows[C] = contiguous(&g.pixels, space + w.s_at, origin, w.dz_ld)
    run_block(&g, start, stop, 0, g.b.count, staging)


cdef inline void add_rows(const Walk *w, const fastpw_epilogue *epilogue, Py_ssize_t m, const char *a,
                          Py_ssize_t lda, const char *b, Py_ssize_t ldb, char *c, Py_ssize_t ldc) noexcept nogil:
    """c = act(a + b), where either may be NULL: the kernel for one weight per channel, with weights of one."""
    cdef fastpw_block block
    block.m, block.n, block.k = m, w.outputs, a != NULL
    block.a, block.lda, block.residual, block.ldr = a, lda, b, ldb
    block.c, block.ldc, block.z, block.ldz = c, ldc, NULL, 0
    block.panel, block.epilogue = w.ones, epilogue
    w.kernels.scale(&block)


cdef inline void put_residual(const Walk *w, Py_ssize_t row, Py_ssize_t m, const char *dz) noexcept nogil:
    cdef char *to = address(&w.pixels, DRESIDUAL, row)
    cdef Py_ssize_t ld = w.pixels.rows[DRESIDUAL].stride[2]
    add_rows(w, &w.data.epilogue, m, dz, w.dz_ld, to if w.adds_to_residual else NULL, ld, to, ld)


cdef inline void form_dz(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, char *space,
                         char *staging) noexcept nogil:
    cdef fastpw_gradient g
    cdef Py_ssize_t row = start, m
    g.n, g.epilogue, g.lddz = w.outputs, &w.epilogue, w.dz_ld
    g.lddy, g.lds = w.pixels.rows[DY].stride[2], w.dz_ld
    if w.source == RECOMPUTED:
        recompute(w, origin, start, stop, space, staging)
    while row < stop:
        m = g.m = run_length(&w.pixels, row, stop)
        g.dy, g.dz = address(&w.pixels, DY, row), space + (row - origin) * w.dz_ld
        g.s = space + w.s_at + (row - origin) * w.dz_ld
        if w.source == GIVEN:
            g.s, g.lds = address(&w.pixels, S, row), w.pixels.rows[S].stride[2]
        elif w.source == FROM_Z:
            add_rows(w, &w.epilogue, m, NULL, 0, address(&w.pixels, S, row), w.pixels.rows[S].stride[2],
                     <char *>g.s, w.dz_ld)
        w.kernels.gradient(&g)
        if w.pixels.rows[DRESIDUAL].base != NULL:
            put_residual(w, row, m, g.dz)
        row += m


cdef inline void pack_columns(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop,
                              char *space) noexcept nogil:
    """Bring these rows into the order in which the weights' sums read them."""
    cdef char *panels = space + w.panels_at + (start - origin) * w.kernels.tiles[0].nr * w.kernels.b_size
    cdef Py_ssize_t row = start, m
    if w.across or w.diagonal:
        gather(&w.pixels, XS, start, stop, 0, w.inputs * w.kernels.a_size,
               space + w.x_at + (start - origin) * w.x_ld, w.x_ld)
    if w.across:
        w.kernels.split(stop - start, w.outputs, space + (start - origin) * w.dz_ld, w.dz_ld, panels, w.panel_bytes)
    if w.across or w.diagonal:
        return
    while row < stop:
        m = run_length(&w.pixels, row, stop)
        w.kernels.split(m, w.inputs, address(&w.pixels, XS, row), w.pixels.rows[XS].stride[2],
                        panels + (row - start) * w.kernels.tiles[0].nr * w.kernels.b_size, w.panel_bytes)
        row += m


cdef inline void find_dx(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first,
                         Py_ssize_t last, char *space, char *staging) noexcept nogil:
    cdef Gemm g = w.data
    g.pixels.rows[A] = contiguous(&g.pixels, space, origin, w.dz_ld)
    run_block(&g, start, stop, first, last, staging)


cdef inline void sum_weights(const Walk *w, Py_ssize_t m, Py_ssize_t first_row, Py_ssize_t last_row,
                             Py_ssize_t first, Py_ssize_t last, bint adds, char *to, const char *space) noexcept nogil:
    """Rows and panels of dW over the m rows of a block."""
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, element = w.kernels.a_size, j, at, chunk, depth
    cdef const char *a = space + (w.x_at if w.across else 0) + first_row * element
    cdef fastpw_block b
    b.m, b.lda = last_row - first_row, w.x_ld if w.across else w.dz_ld
    b.ldc, b.residual, b.z, b.epilogue = w.weights_ld, NULL, NULL, NULL
    for j in range(first, last):
        at = j * width * element
        b.n = min(width, columns_of_weights(w) - j * width)
        b.c = to + first_row * w.weights_ld + at
        if w.diagonal:
            w.kernels.column_sums(m, b.n, space + at, w.dz_ld, space + w.x_at + at, w.x_ld, b.c)
            continue
        for chunk in range((m + OUTER_DEPTH - 1) // OUTER_DEPTH):
            depth = chunk * OUTER_DEPTH
            b.k = min(<Py_ssize_t>OUTER_DEPTH, m - depth)
            b.a = a + depth * b.lda
            b.panel = space + w.panels_at + j * w.panel_bytes + depth * width * element
            b.entry = FASTPW_FROM_C if adds or depth > 0 else FASTPW_FROM_ZERO
            w.kernels.outer(&b)


cdef inline void sum_bias(const Walk *w, Py_ssize_t m, char *to, const char *space) noexcept nogil:
    w.kernels.column_sums(m, w.outputs, space, w.dz_ld, NULL, 0, to)


# ---- slices --------------------------------------------------------------------------------------------------

cdef inline void walk_slice(const Walk *w, Py_ssize_t index, char *space) noexcept nogil:
    cdef char *staging = space + w.staging_at
    cdef Py_ssize_t start = index * w.slice_rows
    cdef Py_ssize_t end = min(start + w.slice_rows, w.pixels.m)
    cdef Py_ssize_t row = start, stop
    while row < end:
        stop = min(row + w.block_rows, end)
        form_dz(w, row, row, stop, space, staging)
        if w.wants_data:
            find_dx(w, row, row, stop, 0, w.data.b.count, space, staging)
        if w.wants_weights:
            pack_columns(w, row, row, stop, space)
            sum_weights(w, stop - row, 0, rows_of_weights(w), 0, weight_panels(w), row > start,
                        w.weights + index * w.weights_bytes, space)
        if w.wants_bias:
            sum_bias(w, stop - row, w.bias + index * w.bias_bytes, space)
        row = stop


cdef inline void walk_slices(const Walk *w, Share *slices, int member, int members) noexcept nogil:
    cdef char *space = w.workspace + member * (w.staging_at + w.staging_bytes)
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t index = next_task(slices, member, members)
    while index >= 0:
        walk_slice(w, index, space)
        index = next_task(slices, member, members)
    fastpw_leave_float_state(state)


# ---- blocks --------------------------------------------------------------------------------------------------

cdef enum:
    FORM_DZ
    FIND_DX
    SUM_WEIGHTS
    STEPS


# A block of all the threads, and how each step of it is cut into tasks.
cdef struct Block:
    Py_ssize_t start, stop
    Py_ssize_t piece_rows        # FORM_DZ: rows of a task
    Py_ssize_t weight_rows       # SUM_WEIGHTS: a task is so many rows of one panel
    Py_ssize_t weight_pieces
    Py_ssize_t tasks[STEPS]


cdef inline Block block_of(const Walk *w, Py_ssize_t start, int threads) noexcept nogil:
    cdef Block b
    cdef Py_ssize_t height = w.kernels.tiles[0].mr
    cdef Py_ssize_t rows = rows_of_weights(w)
    b.start, b.stop = start, min(start + w.block_rows, w.pixels.m)
    # Pieces of whole tiles, several for each thread.
    b.piece_rows = (b.stop - b.start + 4 * threads * height - 1) // (4 * threads * height) * height
    b.weight_rows = (rows + threads * height - 1) // (threads * height) * height
    b.weight_pieces = (rows + b.weight_rows - 1) // b.weight_rows
    b.tasks[FORM_DZ] = (b.stop - b.start + b.piece_rows - 1) // b.piece_rows
    b.tasks[FIND_DX] = w.data.b.count if w.wants_data else 0
    b.tasks[SUM_WEIGHTS] = weight_panels(w) * b.weight_pieces if w.wants_weights else 0
    return b


cdef inline void run_step(const Walk *w, const Block *b, int step, Py_ssize_t task, char *staging) noexcept nogil:
    cdef Py_ssize_t first, last
    if step == FORM_DZ:
        first = b.start + task * b.piece_rows
        last = min(first + b.piece_rows, b.stop)
        form_dz(w, b.start, first, last, w.workspace, staging)
        if w.wants_weights:
            pack_columns(w, b.start, first, last, w.workspace)
    elif step == FIND_DX:
        # By panels: the whole block meets each while it is in the cache.
        find_dx(w, b.start, b.start, b.stop, task, task + 1, w.workspace, staging)
    else:
        first = task % b.weight_pieces * b.weight_rows
        last = min(first + b.weight_rows, rows_of_weights(w))
        task = task // b.weight_pieces
        sum_weights(w, b.stop - b.start, first, last, task, task + 1, w.adds_to_weights or b.start > 0,
                    w.weights, w.workspace)


cdef inline void share_step(const Walk *w, const Block *b, int step, Share *tasks, int member,
                            int members) noexcept nogil:
    cdef char *staging = w.workspace + w.staging_at + member * w.staging_bytes
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t task = next_task(tasks, member, members)
    while task >= 0:
        run_step(w, b, step, task, staging)
        task = next_task(tasks, member, members)
    fastpw_leave_float_state(state)


cdef inline void walk_block(const Walk *w, Py_ssize_t start, int threads) noexcept nogil:
    """One block, shared by the team step by step."""
    cdef Block b = block_of(w, start, threads)
    cdef Share tasks[MOST_THREADS]
    cdef int step, member
    for step in range(STEPS):
        share_out(tasks, b.tasks[step], threads)
        if threads == 1:
            share_step(w, &b, step, tasks, 0, 1)
        else:
            for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                share_step(w, &b, step, tasks, member, threads)
    if w.wants_bias:
        sum_bias(w, b.stop - b.start, w.bias, w.workspace)


# ---- all -----------------------------------------------------------------------------------------------------

cdef inline void run_walk(const Walk *w, int threads) noexcept nogil:
    cdef Share slices[MOST_THREADS]
    cdef Py_ssize_t block
    cdef int member
    if w.slices == 1:
        for block in range((w.pixels.m + w.block_rows - 1) // w.block_rows):
            walk_block(w, block * w.block_rows, threads)
        return
    share_out(slices, w.slices, threads)
    if threads == 1:
        walk_slices(w, slices, 0, 1)
        return
    for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        walk_slices(w, slices, member, threads)
