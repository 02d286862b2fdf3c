"""One walk over the pixels that serves every gradient (steps.pxd, outer.pxd).

Two ways to share it out, chosen by the shape alone:

slices   Many pixels.  The pixels are cut into a fixed number of slices; each
         walks its own blocks and sums its own dW and db.  Half of the slices
         are added up when all of them are there, the two halves at the end.
         Where the kernels can, dz is formed as the weights are summed.
blocks   Few pixels or large weights.  Block after block, all threads share
         the GEMM for dx and the sums of dW by their panels: nothing needs
         adding up but the blocks.  dz comes first: a few threads each form
         all of it, since what another core has written is slow to read;
         many share that too.
"""

from cython.parallel cimport parallel, threadid
from libc.string cimport memset

from fastpw.core.ahead cimport Ahead, fetch_pixels, nothing_ahead
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.outer cimport sum_bias, sum_weights, weight_panels
from fastpw.core.shares cimport Share, all_stored, arrive, next_task, share_out
from fastpw.core.steps cimport (DRESIDUAL, XS, Walk, block_of, copy_x, find_dx, form_dz, own_of, pack_weights,
                                put_residual, rows_of_weights)
from fastpw.core.team cimport share_done, team_joined


cdef inline Share *shares_of(const Walk *w, Py_ssize_t step, int members) noexcept nogil:
    """Of the slices, for which there is one step, or of a step of a block."""
    return <Share *>w.shares + step * members


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
    cdef char *bias = w.bias + index * w.sums_bytes if w.wants_bias else NULL
    cdef Ahead ahead
    if w.wants_bias:
        memset(bias, 0, w.bias_bytes)
    while row < end:
        stop = min(row + w.block_rows, end)
        look_ahead(w, stop, min(stop + w.block_rows, w.pixels.m), &ahead)
        if w.forms:
            copy_x(w, row, row, stop, space)
        else:
            form_dz(w, row, row, stop, space, own, bias)
        if w.wants_weights:
            sum_weights(w, row, stop - row, 0, rows_of_weights(w), 0, weight_panels(w), row > start,
                        w.weights + index * w.sums_bytes, space, own, bias, &ahead)
        if w.pixels.rows[DRESIDUAL].base != NULL:
            put_residual(w, row, row, stop, space)
        if w.wants_data:
            find_dx(w, row, row, stop, 0, w.data.b.count, space, own, &ahead)
        row = stop


cdef inline void add_half(const Walk *w, Py_ssize_t index) noexcept nogil:
    """If this slice is the last of its half, add up their sums, in the first of them: on two threads, they are in this
    core's caches."""
    cdef Py_ssize_t slices = w.slices // 2, half = index // slices
    cdef char *sums = w.bias + half * slices * w.sums_bytes
    if arrive(<int *>w.arrived + half) == slices - 1:
        w.kernels.column_sums(slices - 1, w.sums_bytes // w.kernels.c_size, sums + w.sums_bytes, w.sums_bytes, NULL, 0,
                              sums)


cdef inline void walk_slices(const Walk *w, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t index = next_task(shares_of(w, 0, members), member, members)
    if index >= 0 and w.packs_first:
        pack_weights(w, own_of(w, member))
    while index >= 0:
        walk_slice(w, index, block_of(w, member), own_of(w, member))
        add_half(w, index)
        index = next_task(shares_of(w, 0, members), member, members)
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


# A step's tasks: for each member of the team as many groups of whole panels, and what panels are left over cut by
# their rows (or columns), so that all have as much to do.
cdef struct Step:
    Py_ssize_t rows, unit        # pieces are made of so many rows
    Py_ssize_t panels, whole     # the last panels - whole are left over
    Py_ssize_t groups            # of whole panels, for each member
    Py_ssize_t pieces, parts     # of the rows, and of the panels left over
    Py_ssize_t turns             # tasks for each member; the last may be none


cdef struct Block:
    Py_ssize_t start, stop
    Step steps[STEPS]


# What a task computes.
cdef struct Part:
    Py_ssize_t first, last, panel, last_panel


cdef inline Step cut(Py_ssize_t rows, Py_ssize_t unit, Py_ssize_t panels, Py_ssize_t groups,
                     int threads) noexcept nogil:
    """At most so many groups for each member; no panels, no tasks."""
    cdef Step step
    cdef Py_ssize_t each = panels // threads, panels_of_group = max(1, (each + groups - 1) // groups)
    step.rows, step.unit, step.panels = rows, unit, panels
    step.whole = each * threads
    step.groups = (each + panels_of_group - 1) // panels_of_group
    step.pieces = min(<Py_ssize_t>threads, (rows + unit - 1) // unit)
    step.parts = min(panels - step.whole, (threads + step.pieces - 1) // step.pieces)
    step.turns = step.groups + (step.pieces * step.parts + threads - 1) // threads
    return step


cdef inline Py_ssize_t edge(const Step *step, Py_ssize_t piece) noexcept nogil:
    """Where a piece of the rows begins."""
    if piece == step.pieces:
        return step.rows
    return (piece * step.rows // step.pieces + step.unit // 2) // step.unit * step.unit


cdef inline Part part_of(const Step *step, Py_ssize_t task, int threads) noexcept nogil:
    cdef Part part
    cdef Py_ssize_t member = task // step.turns, turn = task % step.turns, number, rest = step.panels - step.whole
    if turn < step.groups:
        number = member * step.groups + turn
        part.first, part.last = 0, step.rows
        part.panel = number * step.whole // (step.groups * threads)
        part.last_panel = (number + 1) * step.whole // (step.groups * threads)
        return part
    number = member + (turn - step.groups) * threads
    part.first = part.last = 0
    if number < step.pieces * step.parts:
        part.first, part.last = edge(step, number % step.pieces), edge(step, number % step.pieces + 1)
        number //= step.pieces
        part.panel = step.whole + number * rest // step.parts
        part.last_panel = step.whole + (number + 1) * rest // step.parts
    return part


cdef inline Block block_from(const Walk *w, Py_ssize_t start, int threads) noexcept nogil:
    cdef Block b
    cdef Py_ssize_t height = w.kernels.tiles[0].mr, width = w.kernels.tiles[0].nr, m, panels
    b.start, b.stop = start, min(start + w.block_rows, w.pixels.m)
    m = b.stop - b.start
    b.steps[FORM_DZ] = cut(m, height, 1, 1, threads)
    b.steps[PUT_RESIDUAL] = cut(m, height, w.pixels.rows[DRESIDUAL].base != NULL, 1, threads)
    # Neighbouring panels together, for long runs of W and of dW.
    panels = w.data.b.count if w.wants_data else 0
    b.steps[FIND_DX] = cut(m, height, panels, w.groups, threads)
    panels = weight_panels(w) if w.wants_weights else 0
    b.steps[SUM_WEIGHTS] = cut(rows_of_weights(w), height, panels, w.groups, threads)
    b.steps[SUM_BIAS] = cut(w.outputs, width, w.wants_bias, 1, threads)
    return b


cdef inline void run_step(const Walk *w, const Block *b, int step, const Part *part, char *space, char *own,
                          Ahead *ahead) noexcept nogil:
    cdef Py_ssize_t first = part.first, last = part.last, m = b.stop - b.start
    if first >= last:
        return
    if step == FORM_DZ:
        form_dz(w, b.start, b.start + first, b.start + last, space, own, NULL)
    elif step == PUT_RESIDUAL:
        put_residual(w, b.start, b.start + first, b.start + last, space)
    elif step == FIND_DX:
        find_dx(w, b.start, b.start + first, b.start + last, part.panel, part.last_panel, space, own, ahead)
    elif step == SUM_WEIGHTS:
        sum_weights(w, b.start, m, first, last, part.panel, part.last_panel, w.adds_to_weights or b.start > 0,
                    w.weights, space, own, NULL, ahead)
    else:
        sum_bias(w, m, first, last, b.start > 0, w.bias, space)


cdef inline void share_steps(const Walk *w, const Block *b, int first, int last, int member,
                             int members) noexcept nogil:
    cdef char *space = block_of(w, member)
    cdef char *own = own_of(w, member)
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Ahead ahead
    cdef Py_ssize_t task
    cdef Part part
    cdef int step
    look_ahead(w, b.stop, min(b.stop + w.block_rows, w.pixels.m), &ahead)
    for step in range(first, last):
        task = next_task(shares_of(w, step, members), member, members)
        while task >= 0:
            part = part_of(&b.steps[step], task, members)
            run_step(w, b, step, &part, space, own, &ahead)
            task = next_task(shares_of(w, step, members), member, members)
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
    cdef int step
    for step in range(STEPS):
        share_out(shares_of(w, step, threads), b.steps[step].turns * threads, threads)
    if threads == 1:
        share_steps(w, &b, FORM_DZ, STEPS, 0, 1)
        return
    if w.apart and w.copies > 1:
        with parallel(num_threads=threads):
            form_dz_of_block(w, &b, threadid(), threads)
            share_steps(w, &b, FORM_DZ + 1, STEPS, threadid(), threads)
            share_done()
        team_joined(threads)
        return
    # Nothing is written to the caller's arrays before all of dz is there: they may be those that it is made of.
    with parallel(num_threads=threads):
        form_dz_of_block(w, &b, threadid(), threads)
        share_done()
    team_joined(threads)
    with parallel(num_threads=threads):
        share_steps(w, &b, FORM_DZ + 1, STEPS, threadid(), threads)
        share_done()
    team_joined(threads)


# ---- all -----------------------------------------------------------------------------------------------------

cdef inline void run_walk(const Walk *w, int threads) noexcept nogil:
    cdef Py_ssize_t block
    if w.slices == 1:
        for block in range((w.pixels.m + w.block_rows - 1) // w.block_rows):
            walk_block(w, block * w.block_rows, threads)
        return
    share_out(shares_of(w, 0, threads), w.slices, threads)
    if threads == 1:
        walk_slices(w, 0, 1)
        return
    with parallel(num_threads=threads):
        walk_slices(w, threadid(), threads)
        share_done()
    team_joined(threads)
