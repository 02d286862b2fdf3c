"""A window that slides over planes of pixels: what it computes, and one task of it.

A plane has rows of pixels, a pixel has channels; every plane is met alike. A task is a band of rows of outputs and a
block of channels of one plane. Its kernel finds the pixels in a table, in which one that is not there is a pixel of
fillers: so an output is computed in one way wherever it lies.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from fastpw.core.kernels cimport (FASTPW_WINDOW_COLUMNS, fastpw_epilogue, fastpw_kernel_set, fastpw_pool_args,
                                  fastpw_stencil_args, fastpw_window)
from fastpw.core.panels cimport whole_lines
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z


# Fetching costs a tenth where pixels and outputs are fewer (bench/constants.md).
cdef enum:
    FAR_BYTES = 3584 << 10


# Along one axis, output o finds under its tap i the pixel o * stride + origin + i * step, if there is one.
cdef struct Slide:
    Py_ssize_t taps, step, stride, origin
    Py_ssize_t inputs, outputs


# How the table holds an axis: pixel after pixel, from the first that outputs have under them to behind the last. Or tap
# by tap, and for each what the outputs find under it, where that takes less room: few of the pixels between are met.
cdef struct Axis:
    Py_ssize_t outputs           # that there is room for
    Py_ssize_t step, stride      # in entries: from tap to tap, from output to output
    Py_ssize_t length            # in entries
    bint by_taps


# Bytes from one to the next.
cdef struct Distances:
    Py_ssize_t plane, row, pixel


cdef struct Windows:
    const fastpw_kernel_set *kernels
    Slide rows, columns
    Py_ssize_t planes, n         # n channels
    Distances between[OPERANDS]
    Py_ssize_t ring              # x has room for so many rows, and row after row goes round; 0: all rows are there
    const char *weights          # of a stencil, by vectors of channels; NULL: a pool
    int group                    # so many channels go into each of theirs; 1: only itself
    bint whole                   # a pool takes the mean of whole planes, row by row of pixels
    Py_ssize_t bytes_of_weights  # of one channel
    const int32_t *row_taps      # of a pool that takes means: how many taps count, by rows
    const int32_t *column_taps   # and by columns; NULL: it takes the largest
    const char *filler           # n numbers
    fastpw_epilogue epilogue
    Py_ssize_t band, block       # rows and channels of a task, at most
    Py_ssize_t staged            # rows of outputs whose pixels are staged at a time; 0: pixels are read where they lie
    int far                      # where its pixels come from, if they are read where they lie (kernel_set.h)
    Axis down, across            # of the table
    Py_ssize_t table_bytes
    Py_ssize_t workspace_bytes   # of each thread: the table, and the stage behind it


cdef struct Task:
    Py_ssize_t plane, start, stop    # rows of outputs
    Py_ssize_t first, channels


cdef inline Py_ssize_t reach(const Slide *s, Py_ssize_t outputs) noexcept nogil:
    """From the first pixel that so many outputs have under them to behind the last."""
    return (outputs - 1) * s.stride + (s.taps - 1) * s.step + 1


cdef inline Axis axis_of(const Slide *s, Py_ssize_t outputs) noexcept nogil:
    """Of a table for so many outputs."""
    cdef Axis axis
    axis.outputs, axis.step, axis.stride, axis.length = outputs, s.step, s.stride, reach(s, outputs)
    axis.by_taps = axis.length > s.taps * outputs
    if axis.by_taps:
        axis.step, axis.stride, axis.length = outputs, 1, s.taps * outputs
    return axis


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

# Every `step`-th place of an axis.
cdef struct Places:
    Py_ssize_t first, step, inputs


cdef inline void set_pixels(const Places *at, const char *row, Py_ssize_t pixel, Py_ssize_t count, const char *filler,
                            const char **table) noexcept nogil:
    """Pointers to so many pixels of a row, which are so many bytes apart; NULL: the row is not there."""
    cdef Py_ssize_t start = count, stop = count, i
    if row != NULL:
        start = min((max(-at.first, 0) + at.step - 1) // at.step, count)
        stop = max(min((max(at.inputs - at.first, 0) + at.step - 1) // at.step, count), start)
    for i in range(start):
        table[i] = filler
    for i in range(start, stop):
        table[i] = row + (at.first + i * at.step) * pixel
    for i in range(stop, count):
        table[i] = filler


cdef inline void set_row(const Windows *w, const char *row, Py_ssize_t pixel, const char **table) noexcept nogil:
    """Pointers to what a row of outputs has under it of a row of pixels, where that is (NULL: it is not there)."""
    cdef Places at
    cdef Py_ssize_t tap
    at.first, at.step, at.inputs = w.columns.origin, 1, w.columns.inputs
    if not w.across.by_taps:
        set_pixels(&at, row, pixel, w.across.length, w.filler, table)
        return
    at.step = w.columns.stride
    for tap in range(w.columns.taps):
        set_pixels(&at, row, pixel, w.across.outputs, w.filler, table + tap * w.across.outputs)
        at.first += w.columns.step


cdef inline const char *input_row(const Windows *w, const char *x, const Task *task, Py_ssize_t i) noexcept nogil:
    """Where the i-th row begins that a task's first outputs have under them; NULL: it is not there."""
    cdef Py_ssize_t row = task.start * w.rows.stride + w.rows.origin + i
    if row < 0 or row >= w.rows.inputs:
        return NULL
    if w.ring:
        row %= w.ring
    return x + task.plane * w.between[A].plane + row * w.between[A].row


cdef inline void set_table(const Windows *w, const char *x, const Task *task, const char **table) noexcept nogil:
    """Pointers to the pixels that a task's outputs have under them."""
    cdef Py_ssize_t outputs = task.stop - task.start, i, tap
    if not w.down.by_taps:
        for i in range(reach(&w.rows, outputs)):
            set_row(w, input_row(w, x, task, i), w.between[A].pixel, table + i * w.across.length)
        return
    for tap in range(w.rows.taps):
        for i in range(outputs):
            set_row(w, input_row(w, x, task, tap * w.rows.step + i * w.rows.stride), w.between[A].pixel,
                    table + (tap * w.down.step + i) * w.across.length)


# ---- the stage -----------------------------------------------------------------------------------------------
#
# A ring of rows, each as long as the pixels of a row, a block of channels of them. Its table goes round twice, so that
# a window over it may begin anywhere.

cdef inline Py_ssize_t stage_rows(const Windows *w) noexcept nogil:
    return reach(&w.rows, w.staged)


cdef inline Py_ssize_t stage_ld(const Windows *w) noexcept nogil:
    return w.columns.inputs * w.block * w.kernels.a_size


cdef inline Py_ssize_t lay_out_table(Windows *w) noexcept nogil:
    """By the band and the columns; returns the bytes of it and of the stage."""
    w.down = axis_of(&w.rows, w.band)
    if w.staged:
        w.down.step, w.down.stride, w.down.length, w.down.by_taps = w.rows.step, w.rows.stride, 2 * stage_rows(w), False
    w.table_bytes = whole_lines(w.down.length * w.across.length * sizeof(char *))
    return w.table_bytes + (whole_lines(stage_rows(w) * stage_ld(w)) if w.staged else 0)


cdef inline void set_stage_table(const Windows *w, const char *stage, const char **table) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(2 * stage_rows(w)):
        set_row(w, stage + i % stage_rows(w) * stage_ld(w), w.block * w.kernels.a_size, table + i * w.across.length)


cdef inline void stage_row(const Windows *w, const char *row, const Task *task, char *to) noexcept nogil:
    """A block of channels of the pixels of a row."""
    cdef Py_ssize_t size = task.channels * w.kernels.a_size, ld = w.block * w.kernels.a_size, i
    cdef Py_ssize_t from_ld = w.between[A].pixel
    if row == NULL:
        row, from_ld = w.filler, 0
    else:
        row += task.first * w.kernels.a_size
    if size == ld == from_ld:
        memcpy(to, row, w.columns.inputs * size)
        return
    for i in range(w.columns.inputs):
        memcpy(to + i * ld, row + i * from_ld, size)


# ---- a task --------------------------------------------------------------------------------------------------

cdef inline fastpw_window window_of(const Windows *w, const char **table) noexcept nogil:
    cdef fastpw_window window
    window.pixels, window.ld = table, w.across.length
    window.tap_rows, window.row_step, window.row_stride = w.rows.taps, w.down.step, w.down.stride
    window.tap_columns, window.column_step, window.column_stride = w.columns.taps, w.across.step, w.across.stride
    return window


cdef inline char *place_in(const Windows *w, char *const *places, int operand, const Task *task) noexcept nogil:
    """Where a task's part of an operand begins that has outputs; NULL: there is no such operand."""
    if places[operand] == NULL:
        return NULL
    return (places[operand] + task.plane * w.between[operand].plane + task.start * w.between[operand].row
            + task.first * w.kernels.c_size)


# Some rows of a task, and the pixels under them.
cdef struct Rows:
    Task task
    const char **table
    Py_ssize_t at                # the byte of a pixel in the table that the block begins with


cdef inline int distance(const Windows *w, Py_ssize_t last) noexcept nogil:
    """Whether planes stay in a second-level cache from call to call, in the last one, of so many bytes, or in none."""
    cdef double pixels = <double>w.rows.inputs * w.columns.inputs + <double>w.rows.outputs * w.columns.outputs
    cdef double size = w.planes * pixels * w.n * w.kernels.a_size
    return 0 if size <= FAR_BYTES else 1 if size <= last / 2 else 2


cdef inline void run_stencil(const Windows *w, char *const *places, const Rows *rows) noexcept nogil:
    cdef fastpw_stencil_args args
    cdef const Task *task = &rows.task
    args.rows, args.columns, args.n = task.stop - task.start, w.columns.outputs, task.channels
    args.window, args.at = window_of(w, rows.table), rows.at
    args.far = 0 if w.staged or w.ring else w.far
    args.group = w.group
    args.weights = w.weights + task.first * w.bytes_of_weights
    args.out.residual, args.out.ldr = place_in(w, places, RESIDUAL, task), w.between[RESIDUAL].pixel
    args.out.z, args.out.ldz = place_in(w, places, Z, task), w.between[Z].pixel
    args.out.c, args.out.ldc = place_in(w, places, C, task), w.between[C].pixel
    args.out.epilogue = &w.epilogue
    args.row_ldr, args.row_ldz, args.row_ldc = w.between[RESIDUAL].row, w.between[Z].row, w.between[C].row
    w.kernels.stencil(&args)


cdef inline void run_pool(const Windows *w, char *const *places, const Rows *rows) noexcept nogil:
    cdef fastpw_pool_args args
    cdef const Task *task = &rows.task
    args.rows, args.columns, args.n = task.stop - task.start, w.columns.outputs, task.channels
    args.window, args.at = window_of(w, rows.table), rows.at
    args.row_taps = args.column_taps = NULL
    if w.row_taps != NULL:
        args.row_taps, args.column_taps = w.row_taps + task.start, w.column_taps
    args.c, args.ldc, args.row_ldc = place_in(w, places, C, task), w.between[C].pixel, w.between[C].row
    w.kernels.pool(&args)


cdef inline void take_mean(const Windows *w, char *const *places, Py_ssize_t plane) noexcept nogil:
    """That of a whole plane, as the sums of its rows are added up."""
    cdef const char *x = places[A] + plane * w.between[A].plane
    cdef char *y = places[C] + plane * w.between[C].plane
    cdef Py_ssize_t row, last = w.rows.inputs - 1
    memset(y, 0, w.n * w.kernels.c_size)
    for row in range(last + 1):
        w.kernels.row_sums(w.columns.inputs, w.n, x + row * w.between[A].row, w.between[A].pixel,
                           <double>w.rows.inputs * w.columns.inputs if row == last else 1, y)


cdef inline void run_rows(const Windows *w, char *const *places, const Rows *rows) noexcept nogil:
    if w.weights != NULL:
        run_stencil(w, places, rows)
    else:
        run_pool(w, places, rows)


cdef inline void run_staged(const Windows *w, char *const *places, const Task *task, char *workspace) noexcept nogil:
    """Some rows of outputs at a time, whose new pixels are put in the place of those that are done with."""
    cdef Rows rows
    cdef Py_ssize_t start = task.start, there = 0, first, last, row, ring = stage_rows(w)
    rows.task, rows.at = task[0], 0
    while start < task.stop:
        rows.task.start, rows.task.stop = start, min(start + w.staged, task.stop)
        first = (start - task.start) * w.rows.stride
        last = first + reach(&w.rows, rows.task.stop - start)
        for row in range(max(there, first), last):
            stage_row(w, input_row(w, places[A], task, row), task,
                      workspace + w.table_bytes + row % ring * stage_ld(w))
        there = last
        rows.table = <const char **>workspace + first % ring * w.across.length
        run_rows(w, places, &rows)
        start += w.staged


cdef inline void begin_tasks(const Windows *w, char *workspace) noexcept nogil:
    """What a thread does before its first task."""
    if w.staged:
        set_stage_table(w, workspace + w.table_bytes, <const char **>workspace)


cdef inline Py_ssize_t run_task(const Windows *w, char *const *places, Py_ssize_t number, char *workspace,
                                Py_ssize_t set_for) noexcept nogil:
    """One task, with the table of band number `set_for`, or another that is set for it; returns which."""
    cdef Rows rows
    cdef Py_ssize_t band = task_of(w, number, &rows.task)
    if w.whole:
        take_mean(w, places, rows.task.plane)
        return band
    if w.staged:
        run_staged(w, places, &rows.task, workspace)
        return band
    rows.table, rows.at = <const char **>workspace, rows.task.first * w.kernels.a_size
    if band != set_for:
        set_table(w, places[A], &rows.task, rows.table)
    run_rows(w, places, &rows)
    return band
