"""One task of a GEMM whose rows lie in runs shorter than a tile, or are windows: staged.

Rows are copied together, computed, and put where they belong. Windows are copied as the rows that they stand for.
"""

from fastpw.core.ahead cimport Ahead
from fastpw.core.by_taps cimport bytes_of_tables, run_by_taps
from fastpw.core.gemm cimport (Bound, Gemm, Task, ahead_of, begin, in_place, results_at_one_distance, run_in_place,
                               run_panel)
from fastpw.core.kernels cimport FASTPW_FROM_C, fastpw_gemm_args, fastpw_output
from fastpw.core.pixels cimport (A, C, RESIDUAL, Z, Columns, address, at_one_distance, gather, scatter)
from fastpw.core.gemm_window cimport gather_taps


cdef inline bint stages_results(const Gemm *g) noexcept nogil:
    """Whether results are put where they belong when a task's panels are done."""
    return not (in_place(g) or g.b.by_taps or results_at_one_distance(g))


cdef inline Py_ssize_t staging_bytes(const Gemm *g, Py_ssize_t rows, Py_ssize_t panels) noexcept nogil:
    """What a task of so many rows and panels needs."""
    cdef Py_ssize_t columns = min(g.b.n, panels * g.b.kernels.tiles[0].nr) if stages_results(g) else 0
    if in_place(g):
        return 0
    if g.b.by_taps:
        return bytes_of_tables(g, rows)
    return rows * g.b.k * g.b.kernels.a_size + 3 * rows * columns * g.b.kernels.c_size


cdef inline char *stage(const Gemm *g, const Bound *at, int operand, const Columns *part, bint read, char *buffer,
                        Py_ssize_t *ld) noexcept nogil:
    """A part of an operand with its rows at one distance: in place, or in the buffer."""
    ld[0] = 0
    if at.rows[operand] == NULL:
        return NULL
    if at_one_distance(&g.pixels, operand):
        ld[0] = g.pixels.stride[operand][2]
        return address(&g.pixels, at.rows, operand, part.start) + part.offset
    ld[0] = part.size
    if read:
        gather(&g.pixels, at.rows, operand, part, buffer, part.size)
    return buffer


cdef inline void unstage(const Gemm *g, const Bound *at, int operand, const Columns *part,
                         const char *staged) noexcept nogil:
    if at.rows[operand] != NULL and not at_one_distance(&g.pixels, operand):
        scatter(&g.pixels, at.rows, operand, part, staged)


cdef inline void next_columns(fastpw_output *out, Py_ssize_t step) noexcept nogil:
    out.c += step
    if out.residual != NULL:
        out.residual += step
    if out.z != NULL:
        out.z += step


cdef inline void stage_a(const Gemm *g, const Bound *at, const Task *task, char *workspace, bint gathered,
                         fastpw_gemm_args *args) noexcept nogil:
    """Rows of A, or where they are found; `gathered`: the workspace still holds those."""
    cdef Columns depths
    depths.start, depths.stop, depths.offset, depths.size = task.start, task.stop, 0, g.b.k * g.b.kernels.a_size
    if depths.size == 0:  # nor is there memory for them
        args.a, args.lda = workspace, 0
        return
    if not g.window.count:
        args.a = stage(g, at, A, &depths, not gathered, workspace, &args.lda)
        return
    args.a, args.lda = workspace, depths.size
    if not gathered:
        gather_taps(&g.window, at.rows[A], task.start, task.stop, workspace)


cdef inline void run_staged(const Gemm *g, const Bound *at, const Task *task, char *workspace,
                            bint gathered) noexcept nogil:
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr * g.b.kernels.c_size, panel
    cdef Columns columns
    cdef fastpw_gemm_args args
    cdef Ahead own
    cdef Ahead *ahead
    columns.start, columns.stop, columns.offset = task.start, task.stop, task.first * width
    columns.size = min(task.last * width, g.b.n * g.b.kernels.c_size) - columns.offset
    args.m = task.stop - task.start
    begin(g, &args, at.streams)
    cdef char *c = workspace + args.m * g.b.k * g.b.kernels.a_size
    cdef Py_ssize_t size = args.m * columns.size
    stage_a(g, at, task, workspace, gathered, &args)
    args.out.c = stage(g, at, C, &columns, g.entry == FASTPW_FROM_C, c, &args.out.ldc)
    args.out.residual = stage(g, at, RESIDUAL, &columns, True, c + size, &args.out.ldr)
    args.out.z = stage(g, at, Z, &columns, False, c + 2 * size, &args.out.ldz)
    cdef char *staged_c = args.out.c
    cdef char *staged_z = args.out.z
    for panel in range(task.first, task.last):
        ahead = ahead_of(g, at, task, panel, &own)
        run_panel(g, at, &args, panel, ahead)
        next_columns(&args.out, width)
    unstage(g, at, C, &columns, staged_c)
    unstage(g, at, Z, &columns, staged_z)


cdef inline void run_task(const Gemm *g, const Bound *at, const Task *task, char *workspace,
                          bint gathered) noexcept nogil:
    if in_place(g):
        run_in_place(g, at, task)
    elif g.b.by_taps:
        run_by_taps(g, at, task, workspace, gathered)
    else:
        run_staged(g, at, task, workspace, gathered)
