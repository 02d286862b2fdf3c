"""A GEMM whose rows are pixels, and one task of it, where the rows lie: some rows against some panels.

    C[m x n] = act(A[m x k] . B[k x n] + bias + residual)

A task's panels each meet all its rows while they are in the cache.
"""

from fastpw.core.ahead cimport Ahead, fetch, fetch_pixels, nothing_ahead
from fastpw.core.kernels cimport (FASTPW_FROM_C, fastpw_epilogue, fastpw_few_args, fastpw_gemm_args, fastpw_kernel_set,
                                  fastpw_output, fastpw_row_args, fastpw_scale_args, fastpw_unpacked_args)
from fastpw.core.panels cimport CACHE_LINE, PackedB, tile_of
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z, Pixels, address, at_one_distance, run_length
from fastpw.core.gemm_window cimport Window
from fastpw.core.segments cimport Segment


cdef enum:
    # Rows of A that are fetched ahead of their use: shorter ones the processor foresees better.
    LONG_ROW = 256
    # Tiles of fewer rows wait for their own sums.
    FULL_ROWS = 4
    # A panel that meets a run where it lies takes a call for it. So many bytes are copied meanwhile.
    BYTES_OF_CALL = 2048
    # Panels that meet so few rows pass by in one long stream, which it foresees, too.
    FORESEEN_ROWS = 3


# What is computed, and how its operands are laid out.
cdef struct Gemm:
    Pixels pixels
    Window window                # what a row reads of A, if that is more than a row
    const Segment *segments      # of the window, in the order of rows
    int segment_count            # 0: its rows are line by line, and read all taps
    PackedB b
    int entry                    # FASTPW_FROM_BIAS, or FASTPW_FROM_C to add to what is there
    fastpw_epilogue epilogue
    # So many of the first panels of B are read where they lie, if B is not packed.
    Py_ssize_t unpacked
    Py_ssize_t stride_n, stride_k


# With which memory.
cdef struct Bound:
    char *rows[OPERANDS]         # the first row of each operand; NULL: there is none
    const char *panels
    const char *b                # B itself, if it is not packed; NULL: all panels are there
    const char *b_ahead          # the depths of B, or the panels, that are needed then
    Ahead *ahead                 # what tiles fetch; NULL: the panels and the rows to come
    bint streams                 # C goes past the caches


cdef struct Task:
    Py_ssize_t start, stop       # rows
    Py_ssize_t first, last       # panels
    Py_ssize_t next_stop         # rows up to here are read then; `stop` if none are


cdef inline bint results_at_one_distance(const Gemm *g) noexcept nogil:
    return (at_one_distance(&g.pixels, C) and at_one_distance(&g.pixels, RESIDUAL)
            and at_one_distance(&g.pixels, Z))


cdef inline bint copies_runs(const Gemm *g) noexcept nogil:
    """Whether runs of A that fill tiles are copied together all the same, because a call for each run and panel would
    take longer. That was measured where a panel is one cache line wide."""
    cdef const fastpw_kernel_set *kernels = g.b.kernels
    cdef Py_ssize_t run_bytes = g.pixels.size[2] * g.b.k * kernels.a_size
    return (kernels.tiles[0].nr * kernels.b_size <= CACHE_LINE and run_bytes < g.b.count * BYTES_OF_CALL
            and not at_one_distance(&g.pixels, A) and results_at_one_distance(g))


cdef inline bint in_place(const Gemm *g) noexcept nogil:
    """Whether the rows come in runs long enough to fill tiles, or there are no tiles to fill."""
    cdef Py_ssize_t run = g.pixels.size[2], height = g.b.kernels.tiles[0].mr
    if g.window.count:
        return False
    if run == g.pixels.m or g.b.diagonal:
        return True
    return run >= height and run // ((run + height - 1) // height) >= FULL_ROWS and not copies_runs(g)


cdef inline bint fills_lines(const Gemm *g, const Bound *at) noexcept nogil:
    """Whether every row of a tile's C is whole cache lines, as what goes past the caches should be."""
    cdef const Py_ssize_t *stride = g.pixels.stride[C]
    cdef Py_ssize_t places = <Py_ssize_t>at.rows[C] | stride[0] | stride[1] | stride[2]
    return ((places | g.b.kernels.tiles[0].nr * g.b.kernels.c_size) % CACHE_LINE == 0
            and (in_place(g) or not g.window.count and copies_runs(g)))


cdef inline void look_ahead(const Gemm *g, const Bound *at, const Task *task, Py_ssize_t panel,
                            Ahead *ahead) noexcept nogil:
    """What is read after this panel: the next, and its share of the rows of A that are read then."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, rows = task.next_stop - task.stop
    nothing_ahead(ahead)
    if at.b != NULL:
        if panel + 1 < min(task.last, g.unpacked):
            fetch(ahead, at.b + (panel + 1) * width * g.stride_n, g.stride_k, g.b.k)
        elif panel < g.unpacked and at.b_ahead != NULL:
            fetch(ahead, at.b_ahead + task.first * width * g.stride_n, g.stride_k, g.b.k)
        return
    if g.pixels.m <= FORESEEN_ROWS:
        return
    if at.b_ahead != NULL:           # what is packed then
        fetch(ahead, at.b_ahead + panel * width * g.stride_n, g.stride_k, g.b.k)
    elif panel + 1 < g.b.count:
        fetch(ahead, at.panels + (panel + 1) * g.b.panel_bytes, width * g.b.kernels.b_size, g.b.k)
    if g.b.k * g.b.kernels.a_size >= LONG_ROW:
        fetch_pixels(ahead, &g.pixels, at.rows, A, g.b.k * g.b.kernels.a_size,
                     task.stop + rows * (panel - task.first) // (task.last - task.first),
                     task.stop + rows * (panel - task.first + 1) // (task.last - task.first), g.b.kernels)


cdef inline Ahead *ahead_of(const Gemm *g, const Bound *at, const Task *task, Py_ssize_t panel,
                            Ahead *own) noexcept nogil:
    if at.ahead != NULL:
        return at.ahead
    look_ahead(g, at, task, panel, own)
    return own


# ---- rows of one distance against one panel ------------------------------------------------------------------

# Some rows of A, and where their results go.
cdef struct Rows:
    Py_ssize_t m
    const char *a
    Py_ssize_t lda
    fastpw_output out


cdef inline void run_unpacked(const Gemm *g, const Bound *at, const Rows *rows, Py_ssize_t panel,
                              Ahead *ahead) noexcept nogil:
    cdef fastpw_unpacked_args args
    args.m, args.k, args.a, args.lda = rows.m, g.b.k, rows.a, rows.lda
    args.b, args.ldb = at.b + panel * g.b.kernels.tiles[0].nr * g.stride_n, g.stride_k
    args.c, args.ldc, args.adds, args.ahead = rows.out.c, rows.out.ldc, g.entry == FASTPW_FROM_C, &ahead.runs[0]
    g.b.kernels.unpacked(&args)


cdef inline void run_panel(const Gemm *g, const Bound *at, fastpw_gemm_args *args, Py_ssize_t panel,
                           Ahead *ahead) noexcept nogil:
    """Rows against one panel, whose columns are those at args.out."""
    cdef Py_ssize_t column = panel * g.b.kernels.tiles[0].nr
    cdef Rows rows
    args.n = min(<Py_ssize_t>tile_of(&g.b, panel).nr, g.b.n - column)
    if panel < g.unpacked:
        rows.m, rows.a, rows.lda, rows.out = args.m, args.a, args.lda, args.out
        run_unpacked(g, at, &rows, panel, ahead)
        return
    args.panel, args.ahead = at.panels + panel * g.b.panel_bytes, &ahead.runs[0]
    tile_of(&g.b, panel).gemm(args)


cdef inline void begin(const Gemm *g, fastpw_gemm_args *args, bint streams) noexcept nogil:
    args.k, args.entry, args.out.epilogue, args.streams = g.b.k, g.entry, &g.epilogue, streams


# ---- in place ------------------------------------------------------------------------------------------------

cdef inline char *columns_from(const Pixels *pixels, char *const *bases, int operand, Py_ssize_t row,
                               Py_ssize_t offset) noexcept nogil:
    """Where a row's columns lie from this byte on; NULL if there is no such operand."""
    if bases[operand] == NULL:
        return NULL
    return address(pixels, bases, operand, row) + offset


cdef inline void place(const Gemm *g, const Bound *at, fastpw_output *out, Py_ssize_t row,
                       Py_ssize_t panel) noexcept nogil:
    """Results from this row and this panel's columns on."""
    cdef Py_ssize_t offset = panel * g.b.kernels.tiles[0].nr * g.b.kernels.c_size
    out.c = columns_from(&g.pixels, at.rows, C, row, offset)
    out.residual = columns_from(&g.pixels, at.rows, RESIDUAL, row, offset)
    out.z = columns_from(&g.pixels, at.rows, Z, row, offset)


cdef inline Py_ssize_t run_row(const Gemm *g, const Bound *at, const Task *task) noexcept nogil:
    """One row against the whole ones of a task's panels; the first that is left."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, whole = min(task.last, g.b.n // width)
    cdef fastpw_row_args args
    cdef fastpw_output out
    if g.b.diagonal or at.b != NULL or whole <= task.first:
        return task.first
    place(g, at, &out, task.start, task.first)
    args.n, args.k, args.a = (whole - task.first) * width, g.b.k, address(&g.pixels, at.rows, A, task.start)
    args.panels, args.panel_bytes = at.panels + task.first * g.b.panel_bytes, g.b.panel_bytes
    args.entry, args.residual, args.z, args.c, args.epilogue = g.entry, out.residual, out.z, out.c, &g.epilogue
    g.b.kernels.row(&args)
    return whole


cdef inline void scale_rows(const Gemm *g, const Bound *at, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Rows that are multiplied by one weight per channel."""
    cdef fastpw_scale_args args
    cdef Py_ssize_t row = start
    args.n, args.bias, args.weights = g.b.n, at.panels, at.panels + g.b.n * g.b.kernels.b_size
    args.lda, args.out.ldc = g.pixels.stride[A][2], g.pixels.stride[C][2]
    args.out.ldr, args.out.ldz = g.pixels.stride[RESIDUAL][2], g.pixels.stride[Z][2]
    args.out.epilogue = &g.epilogue
    while row < stop:
        args.m = run_length(&g.pixels, row, stop)
        args.a = address(&g.pixels, at.rows, A, row) if g.b.k else NULL
        place(g, at, &args.out, row, 0)
        g.b.kernels.scale(&args)
        row += args.m


cdef inline void run_few(const Gemm *g, const Bound *at, const Task *task) noexcept nogil:
    """A task of few rows against panels that are not packed."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, row = task.start
    cdef fastpw_few_args args
    cdef fastpw_output out
    args.n, args.k, args.adds = (task.last - task.first) * width, g.b.k, g.entry == FASTPW_FROM_C
    args.b, args.ldb = at.b + task.first * width * g.stride_n, g.stride_k
    args.lda, args.ldc = g.pixels.stride[A][2], g.pixels.stride[C][2]
    while row < task.stop:
        place(g, at, &out, row, task.first)
        args.m, args.a, args.c = run_length(&g.pixels, row, task.stop), address(&g.pixels, at.rows, A, row), out.c
        g.b.kernels.few(&args)
        row += args.m


cdef inline void run_in_place(const Gemm *g, const Bound *at, const Task *task) noexcept nogil:
    cdef fastpw_gemm_args args
    cdef Ahead own
    cdef Ahead *ahead
    cdef Py_ssize_t first = task.first, row, panel
    if g.b.diagonal:
        scale_rows(g, at, task.start, task.stop)
        return
    if task.stop - task.start == 1:
        first = run_row(g, at, task)
    begin(g, &args, at.streams)
    args.lda, args.out.ldc = g.pixels.stride[A][2], g.pixels.stride[C][2]
    args.out.ldr, args.out.ldz = g.pixels.stride[RESIDUAL][2], g.pixels.stride[Z][2]
    for panel in range(first, task.last):
        ahead = ahead_of(g, at, task, panel, &own)
        row = task.start
        while row < task.stop:
            args.m, args.a = run_length(&g.pixels, row, task.stop), address(&g.pixels, at.rows, A, row)
            place(g, at, &args.out, row, panel)
            run_panel(g, at, &args, panel, ahead)
            row += args.m
