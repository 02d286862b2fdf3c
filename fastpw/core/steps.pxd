"""What the backward walk does with a block of pixels: dz and dx, and S where it has to be recomputed.

The steps take rows start..stop-1 of the worker's block.
"""

from fastpw.core.gemm cimport Bound, Gemm, Task, in_place, run_few
from fastpw.core.gradients cimport (DRESIDUAL, DY, FROM_Z, GIVEN, NOT_NEEDED, RECOMPUTED, S, XS, Walk, Worker, copies_x)
from fastpw.core.kernels cimport (FASTPW_FROM_C, fastpw_epilogue, fastpw_gradient_args, fastpw_scale_args)
from fastpw.core.panels cimport PackedB, Unpacked, bytes_of_panel, pack_panel, splits_depth
from fastpw.core.pixels cimport A, C, RESIDUAL, Z, Columns, address, gather, run_length
from fastpw.core.staged cimport run_task


# Where few rows meet W, so many depths of it at a time stay in the second-level cache while the rows pass by. It is
# read in place, or some panels are packed together, which reads its rows in runs.
cdef enum:
    DATA_DEPTH = 512
    DATA_STEP = 8                # whole steps of every tile
    DATA_PANELS = 8
    # Of panels that are packed for fewer than DATA_MANY_ROWS: with dz they leave room there for what is read ahead.
    # More rows would read and write dx too often.
    DATA_PACKED_DEPTH = 256
    # Packing costs less than what it saves from so many rows on, where so many rows of W lie so many bytes apart: a
    # panel's lines no longer stay in the first-level cache, nor their pages among those that are known.
    DATA_ROWS = 12
    DATA_DEEP = 256
    DATA_FAR_APART = 2048
    # So many rows pay for packing where it is less deep, and its rows lie less far apart.
    DATA_MANY_ROWS = 128
    DATA_SHALLOW = 128
    DATA_APART = 512
    # So many rows at a time meet the panels that are packed together: theirs of dz stay in the second-level cache, too.
    DATA_SOME_ROWS = 96
    # So few rows meet W row by row: to read W takes longer than to compute.
    FEW_ROWS = 4

# Rows that are summed at a time, for db and dW: that much of a panel, and of the columns that one tile reads, stays in
# the first-level cache.
cdef enum:
    OUTER_DEPTH = 128


cdef inline char *buffer_row(const Worker *t, Py_ssize_t at, Py_ssize_t row, Py_ssize_t ld) noexcept nogil:
    """A row of one of the block's buffers."""
    return t.space + at + (row - t.origin) * ld


# ---- dz ------------------------------------------------------------------------------------------------------

cdef inline void recompute(const Worker *t, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """S from x: the forward pass of these rows."""
    cdef const Walk *w = t.walk
    cdef const Gemm *g = &w.recompute
    cdef Bound at
    cdef Task task
    at.rows[A], at.rows[RESIDUAL], at.rows[Z] = t.r.x, t.r.residual, NULL
    at.rows[C] = t.space + w.block.s_at - t.origin * w.block.dz_ld
    at.panels, at.b, at.b_ahead, at.ahead, at.streams = t.r.packed, NULL, NULL, NULL, False
    task.start, task.stop, task.first, task.last = start, stop, 0, g.b.count
    task.next_stop = min(stop + w.cut.block_rows, g.pixels.m) if in_place(g) else stop
    run_task(g, &at, &task, t.own + w.own.staging_at, False)


cdef inline void scale_args(const Worker *t, fastpw_scale_args *args,
                            const fastpw_epilogue *epilogue) noexcept nogil:
    """For c = act(a + residual), where either may be missing: the kernel of one weight per channel, with ones."""
    args.n, args.bias, args.weights = t.walk.outputs, t.r.ones, t.r.ones + t.walk.outputs * t.walk.kernels.c_size
    args.a, args.lda, args.out.residual, args.out.ldr, args.out.z, args.out.ldz = NULL, 0, NULL, 0, NULL, 0
    args.out.epilogue = epilogue


cdef inline void y_from_z(const Worker *t, Py_ssize_t row, Py_ssize_t m, char *y) noexcept nogil:
    cdef fastpw_scale_args args
    scale_args(t, &args, &t.walk.epilogue)
    args.m = m
    args.out.residual, args.out.ldr = address(&t.walk.pixels, t.r.rows, S, row), t.walk.pixels.stride[S][2]
    args.out.c, args.out.ldc = y, t.walk.block.dz_ld
    t.walk.kernels.scale(&args)


cdef inline void form_rows(const Worker *t, fastpw_gradient_args *args, Py_ssize_t start,
                           Py_ssize_t stop) noexcept nogil:
    cdef const Walk *w = t.walk
    cdef Py_ssize_t row = start, m
    while row < stop:
        m = args.m = run_length(&w.pixels, row, stop)
        args.dy, args.dz = address(&w.pixels, t.r.rows, DY, row), buffer_row(t, 0, row, w.block.dz_ld)
        args.s, args.lds = buffer_row(t, w.block.s_at, row, w.block.dz_ld), w.block.dz_ld
        if w.source == NOT_NEEDED:
            args.s, args.lds = NULL, 0
        elif w.source == GIVEN:
            args.s, args.lds = address(&w.pixels, t.r.rows, S, row), w.pixels.stride[S][2]
        elif w.source == FROM_Z:
            y_from_z(t, row, m, <char *>args.s)
        w.kernels.gradient(args)
        row += m


cdef inline void copy_x(const Worker *t, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef const Walk *w = t.walk
    cdef Columns part
    if copies_x(w):
        part.start, part.stop, part.offset, part.size = start, stop, 0, w.inputs * w.kernels.a_size
        gather(&w.pixels, t.r.rows, XS, &part, buffer_row(t, w.block.x_at, start, w.block.x_ld), w.block.x_ld)


cdef inline void form_dz(const Worker *t, Py_ssize_t start, Py_ssize_t stop, char *bias) noexcept nogil:
    """dz, whose sums are added to `bias`, if that is not NULL; and x, if it is copied."""
    cdef const Walk *w = t.walk
    cdef fastpw_gradient_args args
    cdef Py_ssize_t row = start, end
    args.n, args.epilogue, args.lddz = w.outputs, &w.epilogue, w.block.dz_ld
    args.lddy = w.pixels.stride[DY][2]
    if w.source == RECOMPUTED:
        recompute(t, start, stop)
    while row < stop:
        end = min(row + OUTER_DEPTH, stop)
        # Rows that lie in pieces are added up when all are there, in the same order.
        args.sums = bias if run_length(&w.pixels, row, end) == end - row else NULL
        form_rows(t, &args, row, end)
        if bias != args.sums:
            w.kernels.column_sums(end - row, w.outputs, buffer_row(t, 0, row, w.block.dz_ld), w.block.dz_ld, NULL, 0,
                                  bias)
        row = end
    copy_x(t, start, stop)


cdef inline void put_residual(const Worker *t, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """dresidual (+)= dz."""
    cdef const Walk *w = t.walk
    cdef fastpw_scale_args args
    cdef Py_ssize_t row = start
    scale_args(t, &args, &w.linear)
    args.lda, args.out.ldc = w.block.dz_ld, w.pixels.stride[DRESIDUAL][2]
    while row < stop:
        args.m = run_length(&w.pixels, row, stop)
        args.a = buffer_row(t, 0, row, w.block.dz_ld)
        args.out.c = address(&w.pixels, t.r.rows, DRESIDUAL, row)
        if w.accumulates:
            args.out.residual, args.out.ldr = args.out.c, args.out.ldc
        w.kernels.scale(&args)
        row += args.m


# ---- dx ------------------------------------------------------------------------------------------------------

cdef inline Unpacked weights_in_place(const Worker *t, const char *base) noexcept nogil:
    """W, or some depths of it, as B of dx = dz . W."""
    cdef Unpacked b
    b.base, b.stride_n, b.stride_k = base, t.walk.data.stride_n, t.walk.data.stride_k
    b.bias, b.stride_bias = NULL, 0
    return b


cdef inline void pack_all_weights(const Worker *t) noexcept nogil:
    """All of W, where find_dx expects it: whole panels together, row by row, if its columns are adjacent."""
    cdef const PackedB *b = &t.walk.data.b
    cdef Unpacked from_ = weights_in_place(t, t.r.weight)
    cdef Py_ssize_t width = b.kernels.tiles[0].nr, whole = 0, panel
    cdef char *to = t.own + t.walk.own.w_at
    if from_.stride_n == b.kernels.b_size:
        whole = b.n // width
        b.kernels.split(b.k, whole * width, from_.base, from_.stride_k, to + b.kernels.tiles[0].head_bytes,
                        b.panel_bytes)
    for panel in range(whole, b.count):
        pack_panel(b, &from_, panel, to + panel * b.panel_bytes)


# Some panels and depths of W at a time.
cdef struct Piece:
    Gemm gemm
    Unpacked b                   # the depths of W that are next
    char *packed


cdef inline void pack_piece(const Piece *piece, const Task *task) noexcept nogil:
    """The panels of a task, for the depths of the piece."""
    cdef const PackedB *b = &piece.gemm.b
    cdef Py_ssize_t columns = b.kernels.tiles[0].nr * (task.last - task.first)
    if splits_depth(b, task.first) or task.last - task.first == 1:
        pack_panel(b, &piece.b, task.first, piece.packed)
        return
    b.kernels.split(b.k, columns, piece.b.base + task.first * b.kernels.tiles[0].nr * piece.b.stride_n,
                    piece.b.stride_k, piece.packed + b.kernels.tiles[0].head_bytes, b.panel_bytes)


cdef inline void run_packed(const Gemm *g, const Bound *at, const Task *task, char *workspace) noexcept nogil:
    """Some rows at a time against panels that are packed together."""
    cdef Py_ssize_t count = (task.stop - task.start + DATA_SOME_ROWS - 1) // DATA_SOME_ROWS, tiles, part
    cdef Py_ssize_t height = g.b.kernels.tiles[0].mr
    cdef Task some = task[0]
    tiles = (task.stop - task.start + height - 1) // height
    for part in range(count):
        some.stop = min(task.start + (part + 1) * tiles // count * height, task.stop)
        some.next_stop = min(task.start + (part + 2) * tiles // count * height, task.stop)
        if not in_place(g):
            some.next_stop = some.stop
        run_task(g, at, &some, workspace, False)
        some.start = some.stop


cdef inline void run_piece(Piece *piece, Bound *at, const Task *task, char *workspace) noexcept nogil:
    """Its product, packed first if it is not read in place; then on to the next depths."""
    cdef Gemm *g = &piece.gemm
    at.b = piece.b.base if task.first < g.unpacked else NULL
    if at.b == NULL:
        pack_piece(piece, task)
    if at.b != NULL and task.stop - task.start <= FEW_ROWS:
        run_few(g, at, task)
    elif at.b == NULL and task.last - task.first > 1:
        run_packed(g, at, task, workspace)
    else:
        run_task(g, at, task, workspace, False)
    g.entry = FASTPW_FROM_C
    piece.b.base += g.b.k * g.stride_k
    at.rows[A] += g.b.k * g.b.kernels.a_size


cdef inline const char *panels_after(const Worker *t, const Task *task, const char *base) noexcept nogil:
    """What lies of W where these panels would, one task of so many later, if it is read then; else NULL."""
    cdef const Gemm *g = &t.walk.data
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, count = task.last - task.first
    if task.last < g.unpacked or t.walk.data_panels and task.last + count <= g.b.n // width:
        return base + count * width * g.stride_n
    return NULL


cdef inline void multiply(const Worker *t, Bound *at, const Task *task) noexcept nogil:
    """Panels of W some depths at a time: all of them where the tile sums parts of the depth apart, since that order of
    the additions must not depend on the number of rows."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t step = w.outputs if splits_depth(&w.data.b, task.first) else w.data_depth, depth = 0
    cdef const char *next_panels
    cdef Piece piece
    piece.gemm, piece.b, piece.packed = w.data, weights_in_place(t, t.r.weight), t.own + w.own.w_at
    cdef Gemm *g = &piece.gemm
    g.b.panel_bytes = bytes_of_panel(&g.b.kernels.tiles[0], w.data_depth, g.b.kernels.b_size)
    at.panels = piece.packed - task.first * g.b.panel_bytes
    next_panels = panels_after(t, task, piece.b.base)
    while depth < w.outputs:
        g.b.k = min(step, w.outputs - depth)
        depth += g.b.k
        at.b_ahead = piece.b.base + g.b.k * g.stride_k if depth < w.outputs else next_panels
        if task.first >= g.unpacked and task.stop - task.start > DATA_SOME_ROWS:
            at.b_ahead = NULL        # (too early: others of these rows meet the panels that are packed)
        run_piece(&piece, at, task, t.own + w.own.staging_at)


cdef inline Py_ssize_t panels_together(const Walk *w, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """The end of the panels, from this one on, that are computed together."""
    cdef Py_ssize_t whole = w.data.b.n // w.kernels.tiles[0].nr
    if first < w.data.unpacked:
        return min(last, w.data.unpacked)
    if w.data_panels and first < whole:
        return min(min(last, whole), first + w.data_panels)
    return first + 1


cdef inline Bound bound_dx(const Worker *t) noexcept nogil:
    cdef Bound at
    at.rows[A] = t.space - t.origin * t.walk.block.dz_ld
    at.rows[C] = t.r.dx
    at.rows[RESIDUAL] = t.r.dx if t.walk.data.b.diagonal and t.walk.accumulates else NULL
    at.rows[Z] = NULL
    at.panels, at.b, at.b_ahead, at.ahead, at.streams = NULL, NULL, NULL, NULL, t.r.streams
    return at


cdef inline void find_dx(const Worker *t, const Task *all_) noexcept nogil:
    """The rows and panels of a task."""
    cdef const Walk *w = t.walk
    cdef Bound whole = bound_dx(t), at
    cdef Task task = all_[0]
    if w.data.b.diagonal or w.packs_first:
        whole.ahead = t.ahead
        whole.panels = t.r.scale if w.data.b.diagonal else t.own + w.own.w_at
        run_task(&w.data, &whole, &task, t.own + w.own.staging_at, False)
        return
    while task.first < all_.last:
        at = whole
        task.last = panels_together(w, task.first, all_.last)
        multiply(t, &at, &task)
        task.first = task.last
