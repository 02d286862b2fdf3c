"""What the backward walk does with a block of pixels (dW and db: outer.pxd).

    dz = dy * act'(z)             formed block by block, never as a tensor
    dx = dz . W                   a GEMM whose A is the block of dz
"""

from fastpw.core.ahead cimport Ahead
from fastpw.core.kernels cimport (FASTPW_FROM_C, fastpw_epilogue, fastpw_gradient_args, fastpw_kernel_set,
                                  fastpw_scale_args)
from fastpw.core.loops cimport A, C, Gemm, PackedB, pack_panel, run_block, splits_depth
from fastpw.core.pixels cimport Pixels, address, contiguous, gather, run_length


# The operands of the walk that have rows.
cdef enum:
    DY
    S                            # what the derivative is read from, y or z, or what leads to it
    XS                           # x
    DRESIDUAL

# W where few rows meet it, so that packing it would cost more than it saves (7 x 7, 1024 -> 1024: 0.95 of the speed of
# both gradients): it is read in place, so many depths at a time that their rows stay in the second-level cache.
cdef enum:
    DATA_DEPTH = 512
    DATA_STEP = 8                # whole steps of every tile

# Rows that are summed at a time, for db and dW: that much of a panel, and of the columns that one tile reads, stays in
# the first-level cache.
cdef enum:
    OUTER_DEPTH = 128

# Where S comes from.
cdef enum:
    NOT_NEEDED                   # the derivative is one
    GIVEN
    FROM_Z                       # y is needed, z was given
    RECOMPUTED                   # from x


cdef struct Matrix:              # of numbers, any bytes apart
    char *base
    Py_ssize_t rows, columns, ld, stride


cdef struct Walk:
    const fastpw_kernel_set *kernels
    Pixels pixels
    Py_ssize_t outputs, inputs   # columns of dz, of x
    fastpw_epilogue epilogue     # whose derivative is wanted
    int source
    Gemm recompute               # S from x, when it is RECOMPUTED
    Gemm data                    # dx from dz
    bint packs_first             # all of W, each thread for itself, before its first slice
    int adding_threads
    Matrix dweight, dbias
    bint diagonal                # one weight per channel
    bint wants_data, wants_weights, wants_bias
    bint accumulates             # the gradients' arrays are added to
    bint apart                   # they are known to lie apart from what is read
    # dW: the outputs are its rows and the inputs its columns, or, if that
    # fills vectors better, the other way about.
    bint across
    bint direct                  # in dweight itself
    bint x_in_place              # x lies at one distance
    bint forms                   # dz is formed by who sums the weights
    char *weights                # where it is summed: for the first slice
    Py_ssize_t weights_ld, weights_bytes
    bint adds_to_weights         # the first block adds to what is there
    char *bias                   # likewise, before the weights' sums
    Py_ssize_t bias_bytes
    Py_ssize_t sums_bytes        # of both, for each slice
    char *arrived                # two int: of each half of the slices, how many sums are there
    char *ones                   # outputs zeros, then outputs ones, where something is added to dz or read from z
    Py_ssize_t ones_bytes
    Py_ssize_t slices, slice_rows, block_rows
    # The buffers of a block, dz first, and how their rows lie: for all threads, or for each before its own.
    char *workspace
    Py_ssize_t copies, block_bytes
    Py_ssize_t s_at, x_at
    Py_ssize_t dz_ld, x_ld
    # Each thread's own: some panels of x (or of dz), W or some depths of a panel, and what staging takes.
    Py_ssize_t own_bytes, w_at, staging_at
    Py_ssize_t member_bytes      # from one thread's to the next one's
    Py_ssize_t some_panels, panel_bytes
    char *shares                 # as many Share as there are threads, for each step
    Py_ssize_t groups            # of panels, for each member of a team that shares a step


cdef inline char *block_of(const Walk *w, int member) noexcept nogil:
    return w.workspace + (member * w.member_bytes if w.copies > 1 else 0)


cdef inline char *own_of(const Walk *w, int member) noexcept nogil:
    return w.workspace + w.block_bytes + member * w.member_bytes


cdef inline Py_ssize_t rows_of_weights(const Walk *w) noexcept nogil:
    if w.diagonal:
        return 1
    return w.inputs if w.across else w.outputs


cdef inline Py_ssize_t columns_of_weights(const Walk *w) noexcept nogil:
    return w.outputs if w.across else w.inputs


cdef inline bint copies_x(const Walk *w) noexcept nogil:
    """Whether the rows of x come to lie behind dz."""
    return w.wants_weights and (w.diagonal or w.across and not w.x_in_place)


# ---- a block, in its steps -----------------------------------------------------------------------------------
# `origin` is the first row of the block whose buffers lie at `space`; the steps take rows start..stop-1 of it,
# and what they need besides is at `own`.

cdef inline void recompute(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, char *space,
                           char *own) noexcept nogil:
    """S from x: the forward pass of these rows."""
    cdef Gemm g = w.recompute
    g.pixels.rows[C] = contiguous(&g.pixels, space + w.s_at, origin, w.dz_ld)
    run_block(&g, start, stop, 0, g.b.count, own + w.staging_at, False)


cdef inline void add_rows(const Walk *w, const fastpw_epilogue *epilogue, Py_ssize_t m, const char *a,
                          Py_ssize_t lda, const char *b, Py_ssize_t ldb, char *c, Py_ssize_t ldc) noexcept nogil:
    """c = act(a + b), where either may be NULL: the kernel for one weight per channel, with weights of one."""
    cdef fastpw_scale_args s
    s.m, s.n, s.a, s.lda = m, w.outputs, a, lda
    s.bias, s.weights = w.ones, w.ones + w.outputs * w.kernels.b_size
    s.out.residual, s.out.ldr, s.out.z, s.out.ldz = b, ldb, NULL, 0
    s.out.c, s.out.ldc, s.out.epilogue = c, ldc, epilogue
    w.kernels.scale(&s)


cdef inline void form_dz(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, char *space,
                         char *own, char *bias) noexcept nogil:
    """dz, whose sums are added to `bias`, if that is not NULL; and x, if it is copied."""
    cdef fastpw_gradient_args g
    cdef Py_ssize_t row = start, end
    g.n, g.epilogue, g.lddz = w.outputs, &w.epilogue, w.dz_ld
    g.lddy = w.pixels.rows[DY].stride[2]
    if w.source == RECOMPUTED:
        recompute(w, origin, start, stop, space, own)
    while row < stop:
        end = min(row + OUTER_DEPTH, stop)
        # Rows that lie in pieces are added up when all are there, in the same order.
        g.sums = bias if run_length(&w.pixels, row, end) == end - row else NULL
        form_rows(w, &g, origin, row, end, space)
        if bias != g.sums:
            w.kernels.column_sums(end - row, w.outputs, space + (row - origin) * w.dz_ld, w.dz_ld, NULL, 0, bias)
        row = end
    copy_x(w, origin, start, stop, space)


cdef inline void copy_x(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop,
                        char *space) noexcept nogil:
    if copies_x(w):
        gather(&w.pixels, XS, start, stop, 0, w.inputs * w.kernels.a_size, space + w.x_at + (start - origin) * w.x_ld,
               w.x_ld)


cdef inline void form_rows(const Walk *w, fastpw_gradient_args *g, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop,
                           char *space) noexcept nogil:
    cdef Py_ssize_t row = start, m
    while row < stop:
        m = g.m = run_length(&w.pixels, row, stop)
        g.dy, g.dz = address(&w.pixels, DY, row), space + (row - origin) * w.dz_ld
        g.s, g.lds = space + w.s_at + (row - origin) * w.dz_ld, w.dz_ld
        if w.source == NOT_NEEDED:
            g.s, g.lds = NULL, 0
        elif w.source == GIVEN:
            g.s, g.lds = address(&w.pixels, S, row), w.pixels.rows[S].stride[2]
        elif w.source == FROM_Z:
            add_rows(w, &w.epilogue, m, NULL, 0, address(&w.pixels, S, row), w.pixels.rows[S].stride[2],
                     <char *>g.s, w.dz_ld)
        w.kernels.gradient(g)
        row += m


cdef inline void put_residual(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop,
                              const char *space) noexcept nogil:
    cdef Py_ssize_t row = start, m, ld = w.pixels.rows[DRESIDUAL].stride[2]
    cdef char *to
    while row < stop:
        m = run_length(&w.pixels, row, stop)
        to = address(&w.pixels, DRESIDUAL, row)
        add_rows(w, &w.data.epilogue, m, space + (row - origin) * w.dz_ld, w.dz_ld,
                 to if w.accumulates else NULL, ld, to, ld)
        row += m


cdef inline void pack_weights(const Walk *w, char *own) noexcept nogil:
    """All of W, where find_dx expects it: whole panels together, row by row, if its columns are adjacent."""
    cdef PackedB b = w.data.b
    cdef Py_ssize_t width = b.kernels.tiles[0].nr, whole = 0, j
    b.panels = own + w.w_at
    if b.stride_n == b.kernels.b_size:
        whole = b.n // width
        b.kernels.split(b.k, whole * width, b.base, b.stride_k, b.panels + b.kernels.tiles[0].head_bytes, b.panel_bytes)
    for j in range(whole, b.count):
        pack_panel(&b, j, b.panels + j * b.panel_bytes, NULL, 0)


cdef inline void multiply(const Walk *w, Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first,
                          Py_ssize_t last, char *own) noexcept nogil:
    """Panels that are read in place, or one that is not, some depths at a time: all of them where the tile sums parts
    of the depth apart, since that order of the additions must not depend on the number of rows."""
    cdef const char *next_panels = NULL
    cdef Py_ssize_t depth = 0, step = w.outputs if splits_depth(&g.b, first) else w.data.b.k
    if last < g.b.unpacked:
        next_panels = g.b.base + (last - first) * g.b.kernels.tiles[0].nr * g.b.stride_n
    g.b.panels = own + w.w_at - first * g.b.panel_bytes
    while depth < w.outputs:
        g.b.k = min(step, w.outputs - depth)
        depth += g.b.k
        g.b.ahead = g.b.base + g.b.k * g.b.stride_k if depth < w.outputs else next_panels
        if first >= g.b.unpacked:
            pack_panel(&g.b, first, own + w.w_at, NULL, 0)
        run_block(g, start, stop, first, last, own + w.staging_at, False)
        g.entry = FASTPW_FROM_C
        g.b.base += g.b.k * g.b.stride_k
        g.pixels.rows[A].base += g.b.k * g.b.kernels.a_size


cdef inline void find_dx(const Walk *w, Py_ssize_t origin, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first,
                         Py_ssize_t last, const char *space, char *own, Ahead *ahead) noexcept nogil:
    cdef Gemm whole = w.data, g
    cdef Py_ssize_t end
    whole.pixels.rows[A] = contiguous(&whole.pixels, <char *>space, origin, w.dz_ld)
    if whole.b.base == NULL or w.packs_first:
        whole.ahead = ahead
        if w.packs_first:
            whole.b.panels = own + w.w_at
        run_block(&whole, start, stop, first, last, own + w.staging_at, False)
        return
    while first < last:
        g = whole
        end = min(last, max(whole.b.unpacked, first + 1))
        multiply(w, &g, start, stop, first, end, own)
        first = end
