"""A product of integers whose rows are pixels: its tasks, and the team that runs them.

    C[m x n] = requantize(X[m x k] . W[k x n])

A task stages its rows of X, or quantizes them, and lets each of its panels meet them.
"""

from cython.parallel cimport parallel
from libc.stdint cimport int32_t

from fastpw.core.integers cimport (FASTPW_HEAD_ROWS, fastpw_integer_args, fastpw_integer_set, fastpw_quantize_args,
                                   fastpw_requantize, fastpw_row_scale, fastpw_stage_args)
from fastpw.core.kernels cimport (FASTPW_F32, FASTPW_U8, fastpw_enter_float_state, fastpw_float_state,
                                  fastpw_leave_float_state)
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.panels cimport CACHE_LINE, whole_lines
from fastpw.core.pixels cimport A, C, OPERANDS, Pixels, address, at_one_distance, run_length
from fastpw.core.shares cimport Share, next_task, share_out


# Weights of all groups, packed: a head of integer_set.h before each panel.
cdef struct IntegerPanels:
    const fastpw_integer_set *kernels
    Py_ssize_t n, k              # columns and depth of one group
    Py_ssize_t groups
    bint diagonal                # one weight per channel: one group of n channels, and k is 1
    Py_ssize_t count             # panels of one group
    Py_ssize_t panel_bytes


cdef inline Py_ssize_t head_bytes(const fastpw_integer_set *kernels) noexcept nogil:
    return FASTPW_HEAD_ROWS * kernels.nr * sizeof(int32_t)


cdef inline Py_ssize_t whole_steps(const fastpw_integer_set *kernels, Py_ssize_t k) noexcept nogil:
    return (k + kernels.depth_step - 1) // kernels.depth_step * kernels.depth_step


cdef inline void lay_out_panels(IntegerPanels *b) noexcept nogil:
    """From the kernels and the shape."""
    cdef Py_ssize_t depth = 1 if b.diagonal else whole_steps(b.kernels, b.k)
    b.count = (b.n + b.kernels.nr - 1) // b.kernels.nr
    b.panel_bytes = whole_lines(head_bytes(b.kernels) + depth * b.kernels.nr)


# What is computed, how its operands are laid out, and how it is cut: blocks of rows x runs of panels.
cdef struct IntegerGemm:
    Pixels pixels
    IntegerPanels b
    fastpw_requantize how
    int x_type                   # FASTPW_I8, FASTPW_U8; FASTPW_F32: rows are quantized
    int start                    # row of the head from which sums start
    bint has_x                   # or all rows lie in the padding
    int threads
    Py_ssize_t block_rows, block_panels
    Py_ssize_t row_unit          # blocks are made of so many rows
    bint by_panels               # the order of the tasks
    bint brief                   # over before the GIL is let go of and taken again
    Py_ssize_t c_size
    bint c_in_line               # the rows of C lie at one distance
    # The memory of a thread: rows as they are staged, and what quantized ones stand for.
    Py_ssize_t row_bytes, from_group, scales_at, workspace_bytes
    bint in_place                # rows are read where they are, at these distances, and not staged
    bint shifts                  # and products add what staging does


cdef struct IntegerTask:
    Py_ssize_t start, stop       # rows
    Py_ssize_t first, last       # panels, of all groups


# With which memory.
cdef struct BoundIntegers:
    char *rows[OPERANDS]
    const char *panels
    Share *shares
    char *workspace


cdef inline bint needs_no_staging(const IntegerGemm *g) noexcept nogil:
    """Rows that meet one panel only are read in place, if they are as products take them, but for what these add.

    Of rows that meet several the shift is added once for all, and they lie so as not to share few sets of the cache.
    """
    cdef const fastpw_integer_set *kernels = g.b.kernels
    return (g.has_x and g.x_type != FASTPW_F32 and kernels.x_size == 1 and not g.b.diagonal and g.b.count == 1
            and g.b.k % kernels.depth_step == 0 and at_one_distance(&g.pixels, A) and (not g.shifts or kernels.shifts))


cdef inline void lay_out_workspace(IntegerGemm *g) noexcept nogil:
    cdef const fastpw_integer_set *kernels = g.b.kernels
    cdef Py_ssize_t numbers = g.b.count * kernels.nr if g.b.diagonal else whole_steps(kernels, g.b.k)
    g.c_in_line = at_one_distance(&g.pixels, C)
    g.shifts = (kernels.shift_of_u8 if g.x_type == FASTPW_U8 else kernels.shift_of_i8) != 0
    g.in_place = needs_no_staging(g)
    if g.in_place:
        g.row_bytes, g.from_group = g.pixels.stride[A][2], g.b.k
        g.scales_at = g.workspace_bytes = 0
        return
    g.shifts = False
    g.from_group = numbers * kernels.x_size
    # Behind a row a vector may be written. And rows at a power of two would share few sets of the cache.
    g.row_bytes = whole_lines(g.b.groups * g.from_group + CACHE_LINE)
    if g.row_bytes // CACHE_LINE % 2 == 0:
        g.row_bytes += CACHE_LINE
    g.scales_at = whole_lines(g.block_rows * g.row_bytes if g.has_x else 0)
    g.workspace_bytes = g.scales_at + whole_lines(g.block_rows * <Py_ssize_t>sizeof(fastpw_row_scale))


# ---- one task ------------------------------------------------------------------------------------------------

cdef inline void quantize_rows(const IntegerGemm *g, const BoundIntegers *at, const IntegerTask *task,
                               char *workspace) noexcept nogil:
    cdef fastpw_quantize_args args
    cdef fastpw_row_scale *scales = <fastpw_row_scale *>(workspace + g.scales_at)
    cdef Py_ssize_t row = task.start
    if not g.has_x:
        for row in range(task.stop - task.start):
            scales[row].zero, scales[row].scale = 0, 1
        return
    args.k, args.groups, args.ldx = g.b.n if g.b.diagonal else g.b.k, g.b.groups, g.pixels.stride[A][2]
    args.ldto, args.from_group = g.row_bytes, g.from_group
    while row < task.stop:
        args.m, args.x = run_length(&g.pixels, row, task.stop), address(&g.pixels, at.rows, A, row)
        args.to, args.rows = workspace + (row - task.start) * g.row_bytes, scales + (row - task.start)
        g.b.kernels.quantize(&args)
        row += args.m


cdef inline void stage_rows(const IntegerGemm *g, const BoundIntegers *at, const IntegerTask *task,
                            char *workspace) noexcept nogil:
    cdef fastpw_stage_args args
    cdef const char *x
    cdef char *to
    cdef Py_ssize_t row = task.start, group
    args.k, args.ldx = g.b.n if g.b.diagonal else g.b.k, g.pixels.stride[A][2]
    args.x_type, args.ldto = g.x_type, g.row_bytes
    while row < task.stop and g.has_x:
        args.m, x = run_length(&g.pixels, row, task.stop), address(&g.pixels, at.rows, A, row)
        to = workspace + (row - task.start) * g.row_bytes
        for group in range(g.b.groups):
            args.x, args.to = x + group * args.k, to + group * g.from_group
            g.b.kernels.stage(&args)
        row += args.m


cdef inline void meet_panel(const IntegerGemm *g, const BoundIntegers *at, const IntegerTask *task,
                            fastpw_integer_args *args, Py_ssize_t column) noexcept nogil:
    """The task's rows against a panel, whose columns are those from this one on."""
    cdef Py_ssize_t row = task.start
    cdef const char *x = args.x
    cdef const fastpw_row_scale *scales = args.rows
    while row < task.stop:
        args.m = task.stop - row if g.c_in_line else run_length(&g.pixels, row, task.stop)
        args.x = x + (row - task.start) * g.row_bytes
        args.rows = NULL if scales == NULL else scales + (row - task.start)
        args.c = address(&g.pixels, at.rows, C, row) + column * g.c_size
        if g.b.diagonal:
            g.b.kernels.scale(args)
        else:
            g.b.kernels.product(args)
        row += args.m


cdef inline void run_integer_task(const IntegerGemm *g, const BoundIntegers *at, const IntegerTask *task,
                                  char *workspace, bint staged) noexcept nogil:
    """`staged`: the workspace holds the rows already."""
    cdef Py_ssize_t panel, group, local, nr = g.b.kernels.nr
    cdef const fastpw_row_scale *scales = NULL
    cdef fastpw_integer_args args
    if g.x_type == FASTPW_F32:
        scales = <fastpw_row_scale *>(workspace + g.scales_at)
        if not staged:
            quantize_rows(g, at, task, workspace)
    elif g.in_place:
        workspace = address(&g.pixels, at.rows, A, task.start)
    elif not staged:
        stage_rows(g, at, task, workspace)
    args.k, args.ldx, args.start, args.shifts = g.b.k if g.has_x else 0, g.row_bytes, g.start, g.shifts
    args.ldc, args.how = g.pixels.stride[C][2], &g.how
    for panel in range(task.first, task.last):
        group, local = panel // g.b.count, panel % g.b.count
        args.panel, args.rows = at.panels + panel * g.b.panel_bytes, scales
        args.n = min(nr, g.b.n - local * nr)
        args.x = workspace + (local * nr * g.b.kernels.x_size if g.b.diagonal else group * g.from_group)
        meet_panel(g, at, task, &args, group * g.b.n + local * nr)


# ---- the team ------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t row_blocks(const IntegerGemm *g) noexcept nogil:
    return (g.pixels.m + g.block_rows - 1) // g.block_rows


cdef inline Py_ssize_t panel_blocks(const IntegerGemm *g) noexcept nogil:
    return (g.b.groups * g.b.count + g.block_panels - 1) // g.block_panels


cdef inline Py_ssize_t first_row(const IntegerGemm *g, Py_ssize_t row_block) noexcept nogil:
    cdef Py_ssize_t units = (g.pixels.m + g.row_unit - 1) // g.row_unit
    return min(g.pixels.m, row_block * units // row_blocks(g) * g.row_unit)


cdef inline Py_ssize_t task_of(const IntegerGemm *g, Py_ssize_t number, IntegerTask *task) noexcept nogil:
    """A task by its number; returns its block of rows."""
    cdef Py_ssize_t panel_block, row_block
    if g.by_panels:
        panel_block, row_block = number // row_blocks(g), number % row_blocks(g)
    else:
        row_block, panel_block = number // panel_blocks(g), number % panel_blocks(g)
    task.start, task.stop = first_row(g, row_block), first_row(g, row_block + 1)
    task.first = panel_block * g.block_panels
    task.last = min(task.first + g.block_panels, g.b.groups * g.b.count)
    return row_block


cdef inline void run_share(const IntegerGemm *g, const BoundIntegers *at, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number = next_task(at.shares, member, members), row_block, staged = -1
    cdef char *workspace = at.workspace + member * g.workspace_bytes
    cdef IntegerTask task
    while number >= 0:
        row_block = task_of(g, number, &task)
        run_integer_task(g, at, &task, workspace, row_block == staged)
        staged = row_block
        number = next_task(at.shares, member, members)
    fastpw_leave_float_state(state)


cdef inline void run_integer_team(const IntegerGemm *g, const BoundIntegers *at, int threads) noexcept nogil:
    share_out(at.shares, row_blocks(g) * panel_blocks(g), threads)
    if threads == 1:
        run_share(g, at, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        run_share(g, at, team_member(), threads)
        share_done()
    team_joined(threads)


cdef inline Py_ssize_t integer_gemm_bytes(const IntegerGemm *g, int threads) noexcept nogil:
    """The memory that run_integer_gemm needs."""
    return threads * (<Py_ssize_t>sizeof(Share) + g.workspace_bytes)


cdef inline void run_integer_gemm(const IntegerGemm *g, BoundIntegers *at, int threads, char *memory) noexcept:
    """With a team of so many threads."""
    at.shares, at.workspace = <Share *>memory, memory + threads * sizeof(Share)
    if threads == 1 and g.brief:
        run_integer_team(g, at, 1)
    else:
        with nogil:
            run_integer_team(g, at, threads)
