"""A stage of a chain: some rows of a plane, made from rows that the stage before has made.

Between two stages lie a few rows only, in the memory of one thread. They are a ring, as rows are done with in the order
in which they are made.
"""

from fastpw.core.gemm cimport Bound, Task as GemmTask
from fastpw.core.kernels cimport fastpw_kernel_set
from fastpw.core.parts cimport Part
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z, Pixels, address
from fastpw.core.staged cimport run_task
from fastpw.core.windows cimport (Rows, Slide, Task as WindowTask, Windows, run_rows, run_staged, set_stage_table,
                                  set_table)


# The rows of a plane that one stage makes and the next reads.
cdef struct Lines:
    char *base                   # the first
    Py_ssize_t row               # bytes from row to row
    Py_ssize_t room              # so many rows, round and round; 0: all rows of the plane are there


# What a stage computes, and where it finds room in the memory of a thread.
cdef struct Stage:
    const fastpw_kernel_set *kernels
    Slide rows                   # which rows of its input a row of outputs reads
    Py_ssize_t columns           # outputs in a row
    Part *parts                  # GEMMs, one for each group of channels; NULL: a window
    int count
    Py_ssize_t block_rows, block_panels      # of a GEMM's tasks, at most
    const char *packed           # its weights
    Windows windows
    Py_ssize_t lines_at          # its results: where they begin, bytes of a row, and rows
    Py_ssize_t row, room
    Py_ssize_t workspace_at


# Where a stage reads and writes: rows of A, C and the residual.
cdef struct Ends:
    Lines lines[OPERANDS]


cdef inline char *line(const Lines *lines, Py_ssize_t row) noexcept nogil:
    return lines.base + (row % lines.room if lines.room else row) * lines.row


cdef inline Py_ssize_t end_of_run(const Lines *lines, Py_ssize_t row, Py_ssize_t stop) noexcept nogil:
    """Rows from this one on, up to which they lie one after the other."""
    return min(stop, row + lines.room - row % lines.room) if lines.room else stop


# ---- products ------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t bytes_to(const Pixels *pixels, int operand, Py_ssize_t row) noexcept nogil:
    """From an operand's first row to another."""
    cdef char *bases[OPERANDS]
    bases[operand] = <char *>pixels          # any address
    return address(pixels, bases, operand, row) - bases[operand]


cdef inline Py_ssize_t rows_at_once(const Stage *s, const Ends *e, Py_ssize_t row, Py_ssize_t stop) noexcept nogil:
    """The end of the rows that a GEMM may compute as if all rows of its arrays were there."""
    stop = end_of_run(&e.lines[C], row, stop)
    if s.parts.gemm.window.count or not e.lines[A].room:
        return stop
    return end_of_run(&e.lines[A], row, stop) if s.rows.stride == 1 else row + 1


cdef inline Bound bind_part(const Stage *s, const Part *part, const Ends *e, Py_ssize_t row) noexcept nogil:
    """Each operand's first row, where it would lie if this row and the next lay in an array of all rows."""
    cdef const Pixels *pixels = &part.gemm.pixels
    cdef Py_ssize_t pixel = row * s.columns
    cdef Bound at
    at.rows[A] = e.lines[A].base + part.offsets[A]
    if not part.gemm.window.count:
        at.rows[A] = line(&e.lines[A], row * s.rows.stride) + part.offsets[A] - bytes_to(pixels, A, pixel)
    at.rows[C] = line(&e.lines[C], row) + part.offsets[C] - bytes_to(pixels, C, pixel)
    at.rows[RESIDUAL] = at.rows[Z] = NULL
    if part.used[RESIDUAL]:
        at.rows[RESIDUAL] = line(&e.lines[RESIDUAL], row) + part.offsets[RESIDUAL] - bytes_to(pixels, RESIDUAL, pixel)
    at.panels = s.packed + part.packed_offset
    at.b, at.b_ahead, at.ahead, at.streams = NULL, NULL, NULL, False
    return at


cdef inline void run_pixels(const Stage *s, const Part *part, const Bound *at, GemmTask *task, Py_ssize_t last,
                            char *workspace) noexcept nogil:
    """Some pixels against panels up to the last."""
    cdef bint gathered = False
    task.next_stop = task.stop
    while task.first < last:
        task.last = min(last, task.first + s.block_panels)
        run_task(&part.gemm, at, task, workspace, gathered)
        gathered = True
        task.first = task.last


cdef inline void run_part(const Stage *s, const Part *part, const Ends *e, const GemmTask *rows,
                          char *workspace) noexcept nogil:
    """Rows of pixels that may be computed at once, against some panels: a block of pixels at a time."""
    cdef Bound at = bind_part(s, part, e, rows.start)
    cdef Py_ssize_t start = rows.start * s.columns, pixels = (rows.stop - rows.start) * s.columns
    cdef Py_ssize_t blocks = (pixels + s.block_rows - 1) // s.block_rows, i
    cdef GemmTask task
    for i in range(blocks):
        task.start, task.stop = start + i * pixels // blocks, start + (i + 1) * pixels // blocks
        task.first = rows.first
        run_pixels(s, part, &at, &task, rows.last, workspace)


cdef inline void run_products(const Stage *s, const Ends *e, Py_ssize_t start, Py_ssize_t stop,
                              char *workspace) noexcept nogil:
    """Some rows of a stage of GEMMs."""
    cdef GemmTask task
    cdef int i
    task.start = start
    while task.start < stop:
        task.stop = rows_at_once(s, e, task.start, stop)
        for i in range(s.count):
            task.first, task.last = 0, s.parts[i].gemm.b.count
            run_part(s, &s.parts[i], e, &task, workspace + s.workspace_at)
        task.start = task.stop


# ---- windows -------------------------------------------------------------------------------------------------

cdef inline void place_outputs(const Windows *w, const Ends *e, Py_ssize_t row, char **places) noexcept nogil:
    """The first row of each operand, where it would lie if this row and the next lay in an array of all rows."""
    places[A] = e.lines[A].base
    places[C] = line(&e.lines[C], row) - row * w.between[C].row
    places[RESIDUAL] = places[Z] = NULL
    if e.lines[RESIDUAL].base != NULL:
        places[RESIDUAL] = line(&e.lines[RESIDUAL], row) - row * w.between[RESIDUAL].row


cdef inline void run_blocks(const Windows *w, char *const *places, WindowTask *task, char *workspace) noexcept nogil:
    """Some rows of a window, a block of channels at a time."""
    cdef Rows rows
    rows.table = <const char **>workspace
    task.first, task.channels = 0, w.n
    if w.staged:
        set_stage_table(w, workspace + w.table_bytes, rows.table)
    else:
        set_table(w, places[A], task, rows.table)
    while task.first < w.n:
        task.channels = min(w.block, w.n - task.first)
        rows.task, rows.at = task[0], task.first * w.kernels.a_size
        if w.staged:
            run_staged(w, places, task, workspace)
        else:
            run_rows(w, places, &rows)
        task.first += w.block


cdef inline void run_window(const Stage *s, const Ends *e, Py_ssize_t start, Py_ssize_t stop,
                            char *workspace) noexcept nogil:
    """Some rows of a stage that is a window."""
    cdef char *places[OPERANDS]
    cdef WindowTask task
    task.plane, task.start = 0, start
    while task.start < stop:
        task.stop = end_of_run(&e.lines[C], task.start, stop)
        place_outputs(&s.windows, e, task.start, places)
        run_blocks(&s.windows, places, &task, workspace + s.workspace_at)
        task.start = task.stop
