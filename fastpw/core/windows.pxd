"""A window that slides over planes of pixels: what it computes, and one task of it.

A plane has rows of pixels, a pixel has channels; every plane is met alike. A task is a band of rows of outputs and a
block of channels of one plane. Its kernel finds the pixels in a table, in which one that is not there is a pixel of
fillers: so an output is computed in one way wherever it lies.
"""

from libc.stdint cimport int32_t

from fastpw.core.kernels cimport (FASTPW_WINDOW_COLUMNS, fastpw_epilogue, fastpw_kernel_set, fastpw_pool_args,
                                  fastpw_stencil_args, fastpw_window)
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z


# Along one axis, output o finds under its tap i the pixel o * stride + origin + i * step, if there is one.
cdef struct Slide:
    Py_ssize_t taps, step, stride, origin
    Py_ssize_t inputs, outputs


# Bytes from one to the next.
cdef struct Distances:
    Py_ssize_t plane, row, pixel


cdef struct Windows:
    const fastpw_kernel_set *kernels
    Slide rows, columns
    Py_ssize_t planes, n         # n channels
    Distances between[OPERANDS]
    const char *weights          # of a stencil, by vectors of channels; NULL: a pool
    Py_ssize_t bytes_of_weights  # of one channel
    const int32_t *row_taps      # of a pool that takes means: how many taps count, by rows
    const int32_t *column_taps   # and by columns; NULL: it takes the largest
    const char *filler           # n numbers
    fastpw_epilogue epilogue
    Py_ssize_t band, block       # rows and channels of a task, at most
    Py_ssize_t table_columns
    Py_ssize_t table_bytes


cdef struct Task:
    Py_ssize_t plane, start, stop    # rows of outputs
    Py_ssize_t first, channels


cdef inline Py_ssize_t reach(const Slide *s, Py_ssize_t outputs) noexcept nogil:
    """From the first pixel that so many outputs have under them to behind the last."""
    return (outputs - 1) * s.stride + (s.taps - 1) * s.step + 1


cdef inline Py_ssize_t whole_tiles(Py_ssize_t columns) noexcept nogil:
    return (columns + FASTPW_WINDOW_COLUMNS - 1) // FASTPW_WINDOW_COLUMNS * FASTPW_WINDOW_COLUMNS


cdef inline Py_ssize_t bands(const Windows *w) noexcept nogil:
    return (w.rows.outputs + w.band - 1) // w.band


cdef inline Py_ssize_t blocks(const Windows *w) noexcept nogil:
    return (w.n + w.block - 1) // w.block


cdef inline Py_ssize_t task_of(const Windows *w, Py_ssize_t number, Task *task) noexcept nogil:
    """A task by its number; returns the number of its band, whose pixels tasks in succession share."""
    cdef Py_ssize_t block = number % blocks(w), band = number // blocks(w)
    task.plane = band // bands(w)
    task.start = band % bands(w) * w.band
    task.stop = min(task.start + w.band, w.rows.outputs)
    task.first = block * w.block
    task.channels = min(w.block, w.n - task.first)
    return band


# ---- the table of pixels -------------------------------------------------------------------------------------

cdef inline void set_row(const Windows *w, const char *row, const char **table) noexcept nogil:
    """Pointers to the pixels of a row, from the first that the first output has under it; NULL: there is no row."""
    cdef Py_ssize_t origin = w.columns.origin, stride = w.between[A].pixel, i
    cdef Py_ssize_t start = min(max(-origin, 0), w.table_columns), stop = start
    if row != NULL:
        stop = min(max(w.columns.inputs - origin, start), w.table_columns)
    for i in range(start):
        table[i] = w.filler
    for i in range(start, stop):
        table[i] = row + (i + origin) * stride
    for i in range(stop, w.table_columns):
        table[i] = w.filler


cdef inline void set_table(const Windows *w, const char *x, const Task *task, const char **table) noexcept nogil:
    """Pointers to the pixels that a task's outputs have under them."""
    cdef Py_ssize_t first = task.start * w.rows.stride + w.rows.origin, row, i
    for i in range(reach(&w.rows, task.stop - task.start)):
        row = first + i
        if 0 <= row < w.rows.inputs:
            set_row(w, x + task.plane * w.between[A].plane + row * w.between[A].row, table + i * w.table_columns)
        else:
            set_row(w, NULL, table + i * w.table_columns)


# ---- a task --------------------------------------------------------------------------------------------------

cdef inline fastpw_window window_of(const Windows *w, const char **table) noexcept nogil:
    cdef fastpw_window window
    window.pixels, window.ld = table, w.table_columns
    window.tap_rows, window.row_step, window.row_stride = w.rows.taps, w.rows.step, w.rows.stride
    window.tap_columns, window.column_step, window.column_stride = w.columns.taps, w.columns.step, w.columns.stride
    return window


cdef inline char *place_in(const Windows *w, char *const *places, int operand, const Task *task) noexcept nogil:
    """Where a task's part of an operand begins that has outputs; NULL: there is no such operand."""
    if places[operand] == NULL:
        return NULL
    return (places[operand] + task.plane * w.between[operand].plane + task.start * w.between[operand].row
            + task.first * w.kernels.c_size)


cdef inline void run_stencil(const Windows *w, char *const *places, const Task *task,
                             const char **table) noexcept nogil:
    cdef fastpw_stencil_args args
    args.rows, args.columns, args.n = task.stop - task.start, w.columns.outputs, task.channels
    args.window, args.at = window_of(w, table), task.first * w.kernels.a_size
    args.weights = w.weights + task.first * w.bytes_of_weights
    args.out.residual, args.out.ldr = place_in(w, places, RESIDUAL, task), w.between[RESIDUAL].pixel
    args.out.z, args.out.ldz = place_in(w, places, Z, task), w.between[Z].pixel
    args.out.c, args.out.ldc = place_in(w, places, C, task), w.between[C].pixel
    args.out.epilogue = &w.epilogue
    args.row_ldr, args.row_ldz, args.row_ldc = w.between[RESIDUAL].row, w.between[Z].row, w.between[C].row
    w.kernels.stencil(&args)


cdef inline void run_pool(const Windows *w, char *const *places, const Task *task, const char **table) noexcept nogil:
    cdef fastpw_pool_args args
    args.rows, args.columns, args.n = task.stop - task.start, w.columns.outputs, task.channels
    args.window, args.at = window_of(w, table), task.first * w.kernels.a_size
    args.row_taps = args.column_taps = NULL
    if w.row_taps != NULL:
        args.row_taps, args.column_taps = w.row_taps + task.start, w.column_taps
    args.c, args.ldc, args.row_ldc = place_in(w, places, C, task), w.between[C].pixel, w.between[C].row
    w.kernels.pool(&args)


cdef inline Py_ssize_t run_task(const Windows *w, char *const *places, Py_ssize_t number, const char **table,
                                Py_ssize_t set_for) noexcept nogil:
    """One task, with the table of band number `set_for`, or another that is set for it; returns which."""
    cdef Task task
    cdef Py_ssize_t band = task_of(w, number, &task)
    if band != set_for:
        set_table(w, places[A], &task, table)
    if w.weights != NULL:
        run_stencil(w, places, &task, table)
    else:
        run_pool(w, places, &task, table)
    return band
