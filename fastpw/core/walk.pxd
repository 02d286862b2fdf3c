"""One walk over the pixels that serves every gradient (steps.pxd).

Two ways to share it out, chosen by the shape alone:

slices   Many pixels.  The pixels are cut into a fixed number of slices; each
         walks its own blocks and sums its own dW and db, and at the end the
         slices are added in order.
blocks   Few pixels or large weights.  Block after block, all threads share
         the GEMM for dx and the sums of dW by their panels: nothing needs
         adding up but the blocks.  dz comes first: a few threads each form
         all of it, since what another core has written is slow to read;
         many share that too.
"""

from cython.parallel cimport prange

from fastpw.core.ahead cimport Ahead, fetch_pixels, nothing_ahead
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.shares cimport Share, all_stored, next_task, share_out
from fastpw.core.steps cimport (DRESIDUAL, XS, Walk, block_of, find_dx, form_dz, own_of, put_residual, rows_of_weights,
                                sum_bias, sum_weights, weight_panels)


# ---- slices --------------------------------------------------------------------------------------------------

cdef inline void look_ahead(const Walk *w, Py_ssize_t start, Py_ssize_t stop, Ahead *ahead) noexcept nogil:
    """What is read of rows start..stop-1: DY, S and XS."""
    cdef int operand
    nothing_ahead(ahead)
    for operand in range(DRESIDUAL):
        fetch_pixels(ahead, &w.pixels, operand, (w.inputs if operand == XS else w.outputs) * w.kernels.a_size, start,
                     stop, w.kernels)


cdef inline void walk_slice(const Walk *w, Py_ssize_t index, char *space, char *own) noexcept nogil:
    cdef Py_ssize_t start = index * w.slice_rows
    cdef Py_ssize_t end = min(start + w.slice_rows, w.pixels.m)
    cdef Py_ssize_t row = start, stop
    cdef Ahead ahead
    while row < end:
        stop = min(row + w.block_rows, end)
        look_ahead(w, stop, min(stop + w.block_rows, end), &ahead)
        form_dz(w, row, row, stop, space, own, w.bias + index * w.bias_bytes if w.wants_bias else NULL)
        if w.pixels.rows[DRESIDUAL].base != NULL:
            put_residual(w, row, row, stop, space)
        if w.wants_data:
            find_dx(w, row, row, stop, 0, w.data.b.count, space, own, &ahead)
        if w.wants_weights:
            sum_weights(w, row, stop - row, 0, rows_of_weights(w), 0, weight_panels(w), row > start,
                        w.weights + index * w.weights_bytes, space, own, &ahead)
        row = stop


cdef inline void walk_slices(const Walk *w, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t index = next_task(w.shares, member, members)
    while index >= 0:
        walk_slice(w, index, block_of(w, member), own_of(w, member))
        index = next_task(w.shares, member, members)
    fastpw_leave_float_state(state)
    if w.data.streams:
        all_stored()


# ---- blocks --------------------------------------------------------------------------------------------------

cdef enum:
    FORM_DZ
    PUT_RESIDUAL                 # this and the next in any order, when dz is there
    FIND_DX
    SUM_WEIGHTS
    SUM_BIAS
    STEPS


# How a step is cut into tasks: pieces of so many rows (or columns) x groups of so many panels.
cdef struct Step:
    Py_ssize_t rows, pieces, panels, groups


cdef struct Block:
    Py_ssize_t start, stop
    Step steps[STEPS]


cdef inline Step cut(Py_ssize_t rows, Py_ssize_t whole, Py_ssize_t pieces, Py_ssize_t panels,
                     Py_ssize_t groups) noexcept nogil:
    """At most so many pieces, made of `whole` rows, and so many groups; no panels, no tasks."""
    cdef Step step
    step.rows = max(whole, (rows + pieces * whole - 1) // (pieces * whole) * whole)
    step.pieces = (rows + step.rows - 1) // step.rows
    step.panels = max(1, (panels + groups - 1) // groups)
    step.groups = (panels + step.panels - 1) // step.panels
    return step


cdef inline Py_ssize_t pieces_for(Py_ssize_t panels, Py_ssize_t tasks, int threads) noexcept nogil:
    """Of each panel, so that all threads have about as much to do."""
    return 1 if panels >= tasks or panels % threads == 0 else threads


cdef inline Block block_from(const Walk *w, Py_ssize_t start, int threads) noexcept nogil:
    cdef Block b
    cdef Py_ssize_t height = w.kernels.tiles[0].mr, width = w.kernels.tiles[0].nr, m, panels
    b.start, b.stop = start, min(start + w.block_rows, w.pixels.m)
    m = b.stop - b.start
    b.steps[FORM_DZ] = cut(m, height, w.tasks, 1, 1)
    b.steps[PUT_RESIDUAL] = cut(m, height, w.tasks, w.pixels.rows[DRESIDUAL].base != NULL, 1)
    # Neighbouring panels together, for long runs of W and of dW. Rows of their own for the threads if these are few.
    panels = w.data.b.count if w.wants_data else 0
    b.steps[FIND_DX] = cut(m, height, pieces_for(panels, w.tasks, threads), panels, w.tasks)
    panels = weight_panels(w) if w.wants_weights else 0
    b.steps[SUM_WEIGHTS] = cut(rows_of_weights(w), height, pieces_for(panels, w.tasks, threads), panels, w.tasks)
    b.steps[SUM_BIAS] = cut(w.outputs, width, threads, w.wants_bias, 1)
    return b


cdef inline void run_step(const Walk *w, const Block *b, int step, Py_ssize_t task, char *space, char *own,
                          Ahead *ahead) noexcept nogil:
    cdef const Step *cut = &b.steps[step]
    cdef Py_ssize_t first = task // cut.groups * cut.rows, panel = task % cut.groups * cut.panels
    cdef Py_ssize_t last = first + cut.rows, last_panel = panel + cut.panels, m = b.stop - b.start
    if step == FORM_DZ:
        form_dz(w, b.start, b.start + first, min(b.start + last, b.stop), space, own, NULL)
    elif step == PUT_RESIDUAL:
        put_residual(w, b.start, b.start + first, min(b.start + last, b.stop), space)
    elif step == FIND_DX:
        find_dx(w, b.start, b.start + first, min(b.start + last, b.stop), panel, min(last_panel, w.data.b.count),
                space, own, ahead)
    elif step == SUM_WEIGHTS:
        sum_weights(w, b.start, m, first, min(last, rows_of_weights(w)), panel, min(last_panel, weight_panels(w)),
                    w.adds_to_weights or b.start > 0, w.weights, space, own, ahead)
    else:
        sum_bias(w, m, first, min(last, w.outputs), w.bias, space)


cdef inline void share_steps(const Walk *w, const Block *b, int first, int last, int member,
                             int members) noexcept nogil:
    cdef char *space = block_of(w, member)
    cdef char *own = own_of(w, member)
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Ahead ahead
    cdef Py_ssize_t task
    cdef int step
    look_ahead(w, b.stop, min(b.stop + w.block_rows, w.pixels.m), &ahead)
    for step in range(first, last):
        task = next_task(w.shares + step * members, member, members)
        while task >= 0:
            run_step(w, b, step, task, space, own, &ahead)
            task = next_task(w.shares + step * members, member, members)
    fastpw_leave_float_state(state)


cdef inline void form_dz_of_block(const Walk *w, const Block *b, int member, int members) noexcept nogil:
    cdef fastpw_float_state state
    if w.copies == 1:
        share_steps(w, b, FORM_DZ, FORM_DZ + 1, member, members)
        return
    state = fastpw_enter_float_state()
    form_dz(w, b.start, b.start, b.stop, block_of(w, member), own_of(w, member), NULL)
    fastpw_leave_float_state(state)


cdef inline void walk_block(const Walk *w, Py_ssize_t start, int threads) noexcept nogil:
    """One block, shared by the team step by step."""
    cdef Block b = block_from(w, start, threads)
    cdef int step, member
    for step in range(STEPS):
        share_out(w.shares + step * threads, b.steps[step].pieces * b.steps[step].groups, threads)
    if threads == 1:
        share_steps(w, &b, FORM_DZ, STEPS, 0, 1)
        return
    if w.apart and w.copies > 1:
        for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            form_dz_of_block(w, &b, member, threads)
            share_steps(w, &b, FORM_DZ + 1, STEPS, member, threads)
        return
    # Nothing is written to the caller's arrays before all of dz is there: they may be those that it is made of.
    for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        form_dz_of_block(w, &b, member, threads)
    for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        share_steps(w, &b, FORM_DZ + 1, STEPS, member, threads)


# ---- all -----------------------------------------------------------------------------------------------------

cdef inline void run_walk(const Walk *w, int threads) noexcept nogil:
    cdef Py_ssize_t block
    cdef int member
    if w.slices == 1:
        for block in range((w.pixels.m + w.block_rows - 1) // w.block_rows):
            walk_block(w, block * w.block_rows, threads)
        return
    share_out(w.shares, w.slices, threads)
    if threads == 1:
        walk_slices(w, 0, 1)
        return
    for member in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        walk_slices(w, member, threads)
