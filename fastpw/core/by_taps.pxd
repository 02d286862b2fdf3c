"""One task of a GEMM whose rows are windows, which are left where they are and found by a table.

The table is made once for all panels. Each panel meets all rows of the task while it is in the cache, segment by
segment.
"""

from fastpw.core.ahead cimport Ahead
from fastpw.core.gemm cimport Bound, Gemm, Task, ahead_of
from fastpw.core.gemm_window cimport Window, bytes_of_copies, bytes_of_table, find_runs
from fastpw.core.kernels cimport fastpw_taps_args
from fastpw.core.panels cimport CACHE_LINE
from fastpw.core.pixels cimport A, C, RESIDUAL, Z, address, run_length
from fastpw.core.segments cimport Segment, whole_window


# A GEMM's segments, or the one that stands for all of its rows.
cdef struct Segments:
    const Segment *first
    int count


cdef inline Segments segments_of(const Gemm *g, Segment *whole) noexcept nogil:
    cdef Segments all_
    all_.first, all_.count = g.segments, g.segment_count
    if all_.count == 0:
        whole_window(&g.window, &g.pixels, whole)
        all_.first, all_.count = whole, 1
    return all_


cdef inline Py_ssize_t bytes_of_tables(const Gemm *g, Py_ssize_t rows) noexcept nogil:
    """What a task of so many rows needs, whatever segments they belong to."""
    cdef Py_ssize_t of_row = 0, size = 0
    cdef Segment whole
    cdef Segments all_ = segments_of(g, &whole)
    cdef const Window *w
    cdef int i
    for i in range(all_.count):
        w = &all_.first[i].window
        of_row = max(of_row, w.runs * <Py_ssize_t>sizeof(char *) + bytes_of_copies(w))
        size += bytes_of_table(w, 0) + 2 * CACHE_LINE
    return size + rows * of_row


# The rows of a task that belong to one segment, by their numbers in it, and their table.
cdef struct Piece:
    const Segment *segment
    Py_ssize_t start, stop
    char *table


cdef inline Py_ssize_t find_piece(const Segment *s, const Task *task, char *table, Piece *piece) noexcept nogil:
    """The bytes of its table."""
    piece.segment, piece.table = s, table
    piece.start, piece.stop = max(task.start - s.first, 0), min(task.stop - s.first, s.pixels.m)
    if piece.start >= piece.stop:
        return 0
    return bytes_of_table(&s.window, piece.stop - piece.start)


cdef inline char *result(const Bound *at, const Segment *s, int operand, Py_ssize_t row,
                         Py_ssize_t offset) noexcept nogil:
    """Where a row of a segment has its columns from this byte on; NULL if there is no such operand."""
    if at.rows[operand] == NULL:
        return NULL
    return address(&s.pixels, at.rows, operand, row) + s.offsets[operand] + offset


cdef inline void run_piece(const Gemm *g, const Bound *at, const Piece *piece, Py_ssize_t panel,
                           Ahead *ahead) noexcept nogil:
    """Its rows against one panel, as many at once as lie at one distance."""
    cdef const Segment *s = piece.segment
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr, depth = width * g.b.kernels.b_size, row = piece.start
    cdef Py_ssize_t offset = panel * width * g.b.kernels.c_size
    cdef fastpw_taps_args args
    args.n, args.k = min(width, g.b.n - panel * width), s.window.run // g.b.kernels.a_size
    args.taps, args.taps_of_line = s.window.runs, s.window.runs // s.window.taps[0]
    args.panel, args.from_, args.skip = at.panels + panel * g.b.panel_bytes, s.depth * depth, s.left_out * depth
    args.ldrows = piece.stop - piece.start
    args.clears_sign, args.ahead = g.b.spares_zeros, &ahead.runs[0]
    args.out.ldc, args.out.ldr, args.out.ldz = (
        s.pixels.stride[C][2], s.pixels.stride[RESIDUAL][2], s.pixels.stride[Z][2])
    args.out.epilogue = &g.epilogue
    while row < piece.stop:
        args.m = run_length(&s.pixels, row, piece.stop)
        args.rows = <const char *const *>piece.table + row - piece.start
        args.out.c = result(at, s, C, row, offset)
        args.out.residual, args.out.z = result(at, s, RESIDUAL, row, offset), result(at, s, Z, row, offset)
        g.b.kernels.taps(&args)
        row += args.m


cdef inline void run_by_taps(const Gemm *g, const Bound *at, const Task *task, char *workspace,
                             bint gathered) noexcept nogil:
    """`gathered`: the workspace still holds the tables of these rows."""
    cdef Segment whole
    cdef Segments all_ = segments_of(g, &whole)
    cdef Ahead own
    cdef Ahead *ahead
    cdef Piece piece
    cdef Py_ssize_t panel
    cdef char *table = workspace
    cdef int i
    for i in range(0 if gathered else all_.count):
        table += find_piece(&all_.first[i], task, table, &piece)
        if piece.start < piece.stop:
            find_runs(&piece.segment.window, at.rows[A], piece.start, piece.stop, piece.table)
    for panel in range(task.first, task.last):
        ahead = ahead_of(g, at, task, panel, &own)
        table = workspace
        for i in range(all_.count):
            table += find_piece(&all_.first[i], task, table, &piece)
            if piece.start < piece.stop:
                run_piece(g, at, &piece, panel, ahead)
