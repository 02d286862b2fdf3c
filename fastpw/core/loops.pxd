"""The blocked, parallel loops of a GEMM whose rows are pixels.

    C[m x n] = act(A[m x k] . B[k x n] + bias + residual)

The m rows are numbered over three axes; each operand has its own distances
along them.  B is packed.  A task is a block of rows x a run of panels; within
it each panel meets all the rows while it is in the cache.
"""

from cython.parallel cimport parallel, threadid

from fastpw.core.ahead cimport Ahead, fetch, fetch_pixels, nothing_ahead
from fastpw.core.kernels cimport (FASTPW_FROM_C, fastpw_enter_float_state, fastpw_epilogue, fastpw_float_state,
                                  fastpw_gemm_args, fastpw_kernel_set, fastpw_leave_float_state, fastpw_row_args,
                                  fastpw_scale_args, fastpw_tile, fastpw_unpacked_args)
from fastpw.core.pixels cimport Pixels, Rows, address, at_one_distance, gather, run_length, scatter
from fastpw.core.shares cimport Share, all_stored, next_task, share_out


# The operands of a GEMM that have rows.
cdef enum:
    A
    C
    RESIDUAL
    Z


cdef enum:
    CACHE_LINE = 64
    # Rows of A that are fetched ahead of their use (100 -> 32 from memory: 1.75 of the speed): shorter ones the
    # processor foresees better (48 -> 16: 0.8).
    LONG_ROW = 256
    # Panels that meet so few rows pass by in one long stream, which it foresees, too (2 rows, 1024 -> 1000: 1.15).
    FORESEEN_ROWS = 3


cdef struct PackedB:
    const fastpw_kernel_set *kernels
    char *panels
    Py_ssize_t n, k
    bint diagonal                # one weight per channel: bias and weights in one row
    Py_ssize_t count             # panels; all but the last are of the widest tile
    Py_ssize_t panel_bytes       # of the widest tile
    int last_tile                # the tile of the last panel
    # B itself, some depths of it; NULL: all panels are there. So many of the first are read where they lie, and the
    # others packed by who needs them.
    const char *base
    Py_ssize_t stride_n, stride_k
    Py_ssize_t unpacked
    const char *ahead            # the depths, or the panels, that come then


cdef struct Gemm:
    Pixels pixels
    PackedB b
    Ahead *ahead                 # what tiles fetch; NULL: the panels and the rows to come
    int entry                    # FASTPW_FROM_BIAS, or FASTPW_FROM_C to add to what is there
    fastpw_epilogue epilogue
    bint large                   # C is larger than the caches
    bint streams                 # and goes past them
    Py_ssize_t block_rows, block_panels          # at most
    Py_ssize_t row_unit          # blocks are made of so many rows, and as nearly equal as that allows
    bint by_panels               # the order of the tasks: by panels first, or by rows first
    Py_ssize_t workspace_bytes   # of each thread, for staged rows


cdef inline const fastpw_tile *tile_of(const PackedB *b, Py_ssize_t panel) noexcept nogil:
    return &b.kernels.tiles[b.last_tile if panel == b.count - 1 else 0]


cdef inline bint splits_depth(const PackedB *b, Py_ssize_t panel) noexcept nogil:
    """Whether a panel's tile sums parts of the depth apart."""
    return tile_of(b, panel).depth_step > 1


cdef inline void pack_panel(const PackedB *b, Py_ssize_t j, char *panel, const char *bias,
                            Py_ssize_t stride_bias) noexcept nogil:
    cdef const fastpw_tile *tile = tile_of(b, j)
    cdef Py_ssize_t column = j * b.kernels.tiles[0].nr
    tile.pack(panel, min(<Py_ssize_t>tile.nr, b.n - column), b.k, b.base + column * b.stride_n, b.stride_n, b.stride_k,
              bias + column * stride_bias if bias != NULL else NULL, stride_bias)


# ---- one task ------------------------------------------------------------------------------------------------

cdef inline bint in_place(const Gemm *g) noexcept nogil:
    """Whether the rows come in runs long enough to fill tiles, or there are no tiles to fill."""
    return g.pixels.size[2] == g.pixels.m or g.pixels.size[2] >= g.b.kernels.tiles[0].mr or g.b.diagonal


cdef inline void look_ahead(const Gemm *g, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t last, Py_ssize_t panel,
                            Ahead *ahead) noexcept nogil:
    """What is read after this panel: the next, and its share of the rows of A from `stop` on."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, rows = min(g.block_rows, g.pixels.m - stop)
    nothing_ahead(ahead)
    if g.b.base != NULL:
        if panel + 1 < min(last, g.b.unpacked):
            fetch(ahead, g.b.base + (panel + 1) * width * g.b.stride_n, g.b.stride_k, g.b.k)
        elif panel < g.b.unpacked and g.b.ahead != NULL:
            fetch(ahead, g.b.ahead + first * width * g.b.stride_n, g.b.stride_k, g.b.k)
        return
    if g.pixels.m <= FORESEEN_ROWS:
        return
    if panel + 1 < g.b.count:
        fetch(ahead, g.b.panels + (panel + 1) * g.b.panel_bytes, width * g.b.kernels.b_size, g.b.k)
    if g.b.k * g.b.kernels.a_size >= LONG_ROW:
        fetch_pixels(ahead, &g.pixels, A, g.b.k * g.b.kernels.a_size,
                     stop + rows * (panel - first) // (last - first),
                     stop + rows * (panel - first + 1) // (last - first), g.b.kernels)


cdef inline void run_unpacked(const Gemm *g, const fastpw_gemm_args *b, Py_ssize_t column) noexcept nogil:
    cdef fastpw_unpacked_args u
    u.m, u.k, u.a, u.lda, u.c, u.ldc, u.ahead = b.m, b.k, b.a, b.lda, b.out.c, b.out.ldc, b.ahead
    u.b, u.ldb, u.adds = g.b.base + column * g.b.stride_n, g.b.stride_k, b.entry == FASTPW_FROM_C
    g.b.kernels.unpacked(&u)


cdef inline void run_panel(const Gemm *g, fastpw_gemm_args *b, Py_ssize_t panel) noexcept nogil:
    """The rows of a block against one panel, whose columns are those of b.out."""
    cdef const fastpw_tile *tile = tile_of(&g.b, panel)
    cdef Py_ssize_t column = panel * g.b.kernels.tiles[0].nr
    if panel < g.b.unpacked:
        run_unpacked(g, b, column)
        return
    b.n = min(<Py_ssize_t>tile.nr, g.b.n - column)
    b.panel = g.b.panels + panel * g.b.panel_bytes
    tile.gemm(b)


cdef inline void next_columns(const Gemm *g, fastpw_gemm_args *b) noexcept nogil:
    """From one panel's columns to the next one's."""
    cdef Py_ssize_t step = g.b.kernels.tiles[0].nr * g.b.kernels.c_size
    b.out.c += step
    if b.out.residual != NULL:
        b.out.residual += step
    if b.out.z != NULL:
        b.out.z += step


cdef inline char *columns_from(const Pixels *pixels, int operand, Py_ssize_t row, Py_ssize_t offset) noexcept nogil:
    """Where a row's columns lie from this byte on; NULL if there is no such operand."""
    if pixels.rows[operand].base == NULL:
        return NULL
    return address(pixels, operand, row) + offset


cdef inline Py_ssize_t run_row(const Gemm *g, Py_ssize_t row, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """One row against the whole ones of panels first..last-1; the first that is left."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, whole = min(last, g.b.n // width)
    cdef Py_ssize_t at = first * width * g.b.kernels.c_size
    cdef fastpw_row_args r
    if g.b.base != NULL or whole <= first:
        return first
    r.n, r.k, r.entry, r.epilogue = (whole - first) * width, g.b.k, g.entry, &g.epilogue
    r.panels, r.panel_bytes = g.b.panels + first * g.b.panel_bytes, g.b.panel_bytes
    r.a, r.c = address(&g.pixels, A, row), columns_from(&g.pixels, C, row, at)
    r.residual, r.z = columns_from(&g.pixels, RESIDUAL, row, at), columns_from(&g.pixels, Z, row, at)
    g.b.kernels.row(&r)
    return whole


cdef inline void scale_in_place(const Gemm *g, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """These rows, where there is one weight per channel."""
    cdef const Pixels *pixels = &g.pixels
    cdef fastpw_scale_args s
    cdef Py_ssize_t row = start
    s.n, s.bias, s.weights = g.b.n, g.b.panels, g.b.panels + g.b.n * g.b.kernels.b_size
    s.lda, s.out.ldc, s.out.epilogue = pixels.rows[A].stride[2], pixels.rows[C].stride[2], &g.epilogue
    s.out.ldr, s.out.ldz = pixels.rows[RESIDUAL].stride[2], pixels.rows[Z].stride[2]
    while row < stop:
        s.m = run_length(pixels, row, stop)
        s.a, s.out.c = address(pixels, A, row), address(pixels, C, row)
        s.out.residual, s.out.z = address(pixels, RESIDUAL, row), address(pixels, Z, row)
        g.b.kernels.scale(&s)
        row += s.m


cdef inline void block_in_place(const Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first,
                                Py_ssize_t last) noexcept nogil:
    cdef const Pixels *pixels = &g.pixels
    cdef fastpw_gemm_args b
    cdef Ahead ahead
    cdef Py_ssize_t row, j, at
    if stop - start == 1:
        first = run_row(g, start, first, last)
    b.k, b.entry, b.out.epilogue, b.streams = g.b.k, g.entry, &g.epilogue, g.streams
    b.lda, b.out.ldc = pixels.rows[A].stride[2], pixels.rows[C].stride[2]
    b.out.ldr, b.out.ldz = pixels.rows[RESIDUAL].stride[2], pixels.rows[Z].stride[2]
    for j in range(first, last):
        row, at = start, j * g.b.kernels.tiles[0].nr * g.b.kernels.c_size
        b.ahead = &g.ahead.runs[0] if g.ahead != NULL else &ahead.runs[0]
        if g.ahead == NULL:
            look_ahead(g, stop, first, last, j, &ahead)
        while row < stop:
            b.m = run_length(pixels, row, stop)
            b.a, b.out.c = address(pixels, A, row), columns_from(pixels, C, row, at)
            b.out.residual, b.out.z = columns_from(pixels, RESIDUAL, row, at), columns_from(pixels, Z, row, at)
            run_panel(g, &b, j)
            row += b.m


cdef inline char *stage(const Gemm *g, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                        Py_ssize_t size, bint read, char *buffer, Py_ssize_t *ld) noexcept nogil:
    """Bytes offset..offset+size-1 of these rows at one distance: in place, or in the buffer."""
    ld[0] = 0
    if g.pixels.rows[operand].base == NULL:
        return NULL
    if at_one_distance(&g.pixels, operand):
        ld[0] = g.pixels.rows[operand].stride[2]
        return address(&g.pixels, operand, start) + offset
    ld[0] = size
    if read:
        gather(&g.pixels, operand, start, stop, offset, size, buffer, size)
    return buffer


cdef inline void unstage(const Gemm *g, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                         Py_ssize_t size, const char *staged) noexcept nogil:
    if g.pixels.rows[operand].base != NULL and not at_one_distance(&g.pixels, operand):
        scatter(&g.pixels, operand, start, stop, offset, size, staged)


cdef inline void block_staged(const Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t last,
                              char *workspace, bint gathered) noexcept nogil:
    """Rows in runs shorter than a tile: gathered, unless those of A were, computed, and put where they belong."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr
    cdef Py_ssize_t offset = first * width * g.b.kernels.c_size
    cdef Py_ssize_t size = (min(last * width, g.b.n) - first * width) * g.b.kernels.c_size
    cdef Py_ssize_t depth = g.b.k * g.b.kernels.a_size
    cdef Py_ssize_t m = stop - start
    cdef char *c = workspace + m * depth
    cdef fastpw_gemm_args b
    cdef Ahead ahead
    cdef Py_ssize_t j
    b.m, b.k, b.entry, b.out.epilogue, b.streams = m, g.b.k, g.entry, &g.epilogue, False
    b.a = stage(g, A, start, stop, 0, depth, not gathered, workspace, &b.lda)
    b.out.c = stage(g, C, start, stop, offset, size, g.entry == FASTPW_FROM_C, c, &b.out.ldc)
    b.out.residual = stage(g, RESIDUAL, start, stop, offset, size, True, c + m * size, &b.out.ldr)
    b.out.z = stage(g, Z, start, stop, offset, size, False, c + 2 * m * size, &b.out.ldz)
    cdef char *staged_c = b.out.c
    cdef char *staged_z = b.out.z
    for j in range(first, last):
        b.ahead = &g.ahead.runs[0] if g.ahead != NULL else &ahead.runs[0]
        if g.ahead == NULL:
            look_ahead(g, g.pixels.m, first, last, j, &ahead)
        run_panel(g, &b, j)
        next_columns(g, &b)
    unstage(g, C, start, stop, offset, size, staged_c)
    unstage(g, Z, start, stop, offset, size, staged_z)


cdef inline Py_ssize_t staging_bytes(const Gemm *g) noexcept nogil:
    """What run_block needs."""
    cdef Py_ssize_t columns = min(g.b.n, g.block_panels * g.b.kernels.tiles[0].nr)
    if in_place(g):
        return 0
    return g.block_rows * (g.b.k * g.b.kernels.a_size + 3 * columns * g.b.kernels.c_size)


cdef inline void run_block(const Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t last,
                           char *workspace, bint gathered) noexcept nogil:
    """Rows start..stop-1 against panels first..last-1; `gathered`: the workspace still holds them, from others."""
    if g.b.diagonal:
        scale_in_place(g, start, stop)
    elif in_place(g):
        block_in_place(g, start, stop, first, last)
    else:
        block_staged(g, start, stop, first, last, workspace, gathered)


cdef inline bint fills_lines(const Gemm *g) noexcept nogil:
    """Whether every row of a tile's C is whole cache lines, as what goes past the caches should be."""
    cdef const Rows *c = &g.pixels.rows[C]
    cdef Py_ssize_t places = <Py_ssize_t>c.base | c.stride[0] | c.stride[1] | c.stride[2]
    return (places | g.b.kernels.tiles[0].nr * g.b.kernels.c_size) % CACHE_LINE == 0 and in_place(g)


# ---- all tasks -----------------------------------------------------------------------------------------------

cdef inline Py_ssize_t row_blocks(const Gemm *g) noexcept nogil:
    return (g.pixels.m + g.block_rows - 1) // g.block_rows


cdef inline Py_ssize_t first_row(const Gemm *g, Py_ssize_t row_block) noexcept nogil:
    cdef Py_ssize_t units = (g.pixels.m + g.row_unit - 1) // g.row_unit
    return min(g.pixels.m, row_block * units // row_blocks(g) * g.row_unit)


cdef inline Py_ssize_t panel_blocks(const Gemm *g) noexcept nogil:
    return (g.b.count + g.block_panels - 1) // g.block_panels


cdef inline Py_ssize_t run_task(const Gemm *g, Py_ssize_t task, char *workspace, Py_ssize_t gathered) noexcept nogil:
    """Which block of rows it was of, and which the task before."""
    cdef Py_ssize_t row_block, panel_block, first
    if g.by_panels:
        panel_block, row_block = task // row_blocks(g), task % row_blocks(g)
    else:
        row_block, panel_block = task // panel_blocks(g), task % panel_blocks(g)
    first = panel_block * g.block_panels
    run_block(g, first_row(g, row_block), first_row(g, row_block + 1), first,
              min(first + g.block_panels, g.b.count), workspace, row_block == gathered)
    return row_block


cdef inline void run_share(const Gemm *g, Share *shares, char *workspace, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t task = next_task(shares, member, members), row_block = -1
    workspace += member * g.workspace_bytes
    while task >= 0:
        row_block = run_task(g, task, workspace, row_block)
        task = next_task(shares, member, members)
    fastpw_leave_float_state(state)
    if g.streams:
        all_stored()


cdef inline void run_gemm(const Gemm *g, Share *shares, char *workspace, int threads) noexcept:
    """With a share and g.workspace_bytes for each thread."""
    share_out(shares, row_blocks(g) * panel_blocks(g), threads)
    with nogil:
        if threads == 1:
            run_share(g, shares, workspace, 0, 1)
        else:
            with parallel(num_threads=threads):
                run_share(g, shares, workspace, threadid(), threads)
