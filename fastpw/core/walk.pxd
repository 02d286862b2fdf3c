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
from openmp cimport omp_get_num_threads

from fastpw.core.ahead cimport Ahead, fetch_pixels, nothing_ahead
from fastpw.core.gemm cimport Task
from fastpw.core.gradients cimport (DRESIDUAL, XS, BoundWalk, Walk, Worker, block_of, own_of, panels_of_weights,
                                    rows_of_weights)
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.outer cimport Region, sum_bias, sum_weights
from fastpw.core.shares cimport Share, all_stored, arrive, next_task, share_out
from fastpw.core.steps cimport copy_x, find_dx, form_dz, pack_all_weights, put_residual


cdef inline Share *shares_of(const BoundWalk *r, Py_ssize_t step) noexcept nogil:
    """Of the slices, for which there is one step, or of a step of a block."""
    return r.shares + step * r.team.threads


cdef inline Worker worker_of(const BoundWalk *r, int member) noexcept nogil:
    cdef Worker t
    t.r, t.walk, t.origin = r, r.walk, 0
    t.space, t.own, t.ahead = block_of(r, member), own_of(r, member), NULL
    return t


cdef inline void look_beyond(const BoundWalk *r, Py_ssize_t stop, Ahead *ahead) noexcept nogil:
    """What is read of the rows of the block after this one: DY, S and XS."""
    cdef const Walk *w = r.walk
    cdef int operand
    nothing_ahead(ahead)
    for operand in range(DRESIDUAL):
        fetch_pixels(ahead, &w.pixels, r.rows, operand,
                     (w.inputs if operand == XS else w.outputs) * w.kernels.a_size, stop,
                     min(stop + w.cut.block_rows, w.pixels.m), w.kernels)


# ---- slices --------------------------------------------------------------------------------------------------

cdef inline void sum_slice(const Worker *t, Py_ssize_t m, char *weights, bint adds, char *bias) noexcept nogil:
    """All of dW over the block."""
    cdef Region region
    region.first, region.last = 0, rows_of_weights(t.walk)
    region.panel, region.last_panel = 0, panels_of_weights(t.walk)
    region.m, region.adds, region.to, region.bias = m, adds, weights, bias
    sum_weights(t, &region)


cdef inline void find_block_dx(const Worker *t, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Task task
    task.start, task.stop, task.next_stop, task.first, task.last = start, stop, stop, 0, t.walk.data.b.count
    find_dx(t, &task)


cdef inline void walk_slice(Worker *t, Py_ssize_t index) noexcept nogil:
    cdef const BoundWalk *r = t.r
    cdef const Walk *w = t.walk
    cdef Py_ssize_t start = index * w.cut.slice_rows, row = start, stop
    cdef Py_ssize_t end = min(start + w.cut.slice_rows, w.pixels.m)
    cdef char *bias = r.bias + index * w.sums.slice_bytes if w.wants_bias else NULL
    if w.wants_bias:
        memset(bias, 0, w.sums.bias_bytes)
    while row < end:
        stop = min(row + w.cut.block_rows, end)
        t.origin = row
        look_beyond(r, stop, t.ahead)
        if w.sums.forms:
            copy_x(t, row, stop)
        else:
            form_dz(t, row, stop, bias)
        if w.wants_weights:
            sum_slice(t, stop - row, r.weights + index * w.sums.slice_bytes, row > start, bias)
        if r.rows[DRESIDUAL] != NULL:
            put_residual(t, row, stop)
        if w.wants_data:
            find_block_dx(t, row, stop)
        row = stop


cdef inline void add_half(const BoundWalk *r, Py_ssize_t index) noexcept nogil:
    """If this slice is the last of its half, add up their sums, in the first of them: on two threads, they are in this
    core's caches."""
    cdef const Walk *w = r.walk
    cdef Py_ssize_t slices = w.cut.slices // 2, half = index // slices, size = w.sums.slice_bytes
    cdef char *sums = r.bias + half * slices * size
    if arrive(r.arrived + half) == slices - 1:
        w.kernels.column_sums(slices - 1, size // w.kernels.c_size, sums + size, size, NULL, 0, sums)


cdef inline void walk_slices(const BoundWalk *r, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Worker t = worker_of(r, member)
    cdef Ahead ahead
    cdef Py_ssize_t index = next_task(r.shares, member, members)
    t.ahead = &ahead
    if index >= 0 and r.walk.packs_first:
        pack_all_weights(&t)
    while index >= 0:
        walk_slice(&t, index)
        add_half(r, index)
        index = next_task(r.shares, member, members)
    fastpw_leave_float_state(state)
    if r.streams:
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


# What a task computes: rows and panels.
cdef struct Piece:
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


cdef inline Piece piece_of(const Step *step, Py_ssize_t task, int threads) noexcept nogil:
    cdef Piece piece
    cdef Py_ssize_t member = task // step.turns, turn = task % step.turns, number, rest = step.panels - step.whole
    if turn < step.groups:
        number = member * step.groups + turn
        piece.first, piece.last = 0, step.rows
        piece.panel = number * step.whole // (step.groups * threads)
        piece.last_panel = (number + 1) * step.whole // (step.groups * threads)
        return piece
    number = member + (turn - step.groups) * threads
    piece.first = piece.last = 0
    if number < step.pieces * step.parts:
        piece.first, piece.last = edge(step, number % step.pieces), edge(step, number % step.pieces + 1)
        number //= step.pieces
        piece.panel = step.whole + number * rest // step.parts
        piece.last_panel = step.whole + (number + 1) * rest // step.parts
    return piece


cdef inline Block block_from(const BoundWalk *r, Py_ssize_t start) noexcept nogil:
    cdef const Walk *w = r.walk
    cdef Py_ssize_t height = w.kernels.tiles[0].mr, width = w.kernels.tiles[0].nr, groups = r.team.groups, m, panels
    cdef int threads = r.team.threads
    cdef Block b
    b.start, b.stop = start, min(start + w.cut.block_rows, w.pixels.m)
    m = b.stop - b.start
    b.steps[FORM_DZ] = cut(m, height, 1, 1, threads)
    b.steps[PUT_RESIDUAL] = cut(m, height, r.rows[DRESIDUAL] != NULL, 1, threads)
    # Neighbouring panels together, for long runs of W and of dW.
    panels = w.data.b.count if w.wants_data else 0
    b.steps[FIND_DX] = cut(m, height, panels, groups, threads)
    panels = panels_of_weights(w) if w.wants_weights else 0
    b.steps[SUM_WEIGHTS] = cut(rows_of_weights(w), height, panels, groups, threads)
    b.steps[SUM_BIAS] = cut(w.outputs, width, w.wants_bias, 1, threads)
    return b


cdef inline void sum_piece(const Worker *t, const Block *b, int step, const Piece *piece) noexcept nogil:
    """Of dW or of db."""
    cdef Region region
    region.first, region.last, region.panel, region.last_panel = piece.first, piece.last, piece.panel, piece.last_panel
    region.m, region.bias = b.stop - b.start, NULL
    if step == SUM_WEIGHTS:
        region.adds, region.to = t.walk.sums.adds or b.start > 0, t.r.weights
        sum_weights(t, &region)
    else:
        region.adds, region.to = b.start > 0, t.r.bias
        sum_bias(t, &region)


cdef inline void run_step(const Worker *t, const Block *b, int step, const Piece *piece) noexcept nogil:
    cdef Task task
    if piece.first >= piece.last:
        return
    if step == FORM_DZ:
        form_dz(t, b.start + piece.first, b.start + piece.last, NULL)
    elif step == PUT_RESIDUAL:
        put_residual(t, b.start + piece.first, b.start + piece.last)
    elif step == FIND_DX:
        task.start, task.stop, task.next_stop = b.start + piece.first, b.start + piece.last, b.start + piece.last
        task.first, task.last = piece.panel, piece.last_panel
        find_dx(t, &task)
    else:
        sum_piece(t, b, step, piece)


cdef inline void share_steps(const BoundWalk *r, const Block *b, int first, int last, int member) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef int members = r.team.threads, step
    cdef Worker t = worker_of(r, member)
    cdef Ahead ahead
    cdef Py_ssize_t task
    cdef Piece piece
    t.origin, t.ahead = b.start, &ahead
    look_beyond(r, b.stop, &ahead)
    for step in range(first, last):
        task = next_task(shares_of(r, step), member, members)
        while task >= 0:
            piece = piece_of(&b.steps[step], task, members)
            run_step(&t, b, step, &piece)
            task = next_task(shares_of(r, step), member, members)
    fastpw_leave_float_state(state)


cdef inline void form_dz_of_block(const BoundWalk *r, const Block *b, int member) noexcept nogil:
    cdef fastpw_float_state state
    cdef Worker t
    if r.team.copies == 1:
        share_steps(r, b, FORM_DZ, FORM_DZ + 1, member)
        return
    state = fastpw_enter_float_state()
    t = worker_of(r, member)
    t.origin = b.start
    form_dz(&t, b.start, b.stop, NULL)
    fastpw_leave_float_state(state)


cdef inline void form_dz_for_all(const BoundWalk *r, const Block *b, int member, int present) noexcept nogil:
    """Where each member has a dz of its own, in the region before the one that reads it: OpenMP may let fewer threads
    into this region than into the next."""
    cdef int other = member
    if r.team.copies == 1:
        form_dz_of_block(r, b, member)
        return
    while other < r.team.threads:
        form_dz_of_block(r, b, other)
        other += present


cdef inline void walk_block(const BoundWalk *r, Py_ssize_t start) noexcept nogil:
    """One block, shared by the team step by step."""
    cdef Block b = block_from(r, start)
    cdef int step, threads = r.team.threads
    for step in range(STEPS):
        share_out(shares_of(r, step), b.steps[step].turns * threads, threads)
    if threads == 1:
        share_steps(r, &b, FORM_DZ, STEPS, 0)
        return
    if r.apart and r.team.copies > 1:
        with parallel(num_threads=team_begins(threads)):
            form_dz_of_block(r, &b, team_member())
            share_steps(r, &b, FORM_DZ + 1, STEPS, threadid())
            share_done()
        team_joined(threads)
        return
    # Nothing is written to the caller's arrays before all of dz is there: they may be those that it is made of.
    with parallel(num_threads=team_begins(threads)):
        form_dz_for_all(r, &b, team_member(), omp_get_num_threads())
        share_done()
    team_joined(threads)
    with parallel(num_threads=team_begins(threads)):
        share_steps(r, &b, FORM_DZ + 1, STEPS, team_member())
        share_done()
    team_joined(threads)


# ---- all -----------------------------------------------------------------------------------------------------

cdef inline void run_walk(const BoundWalk *r) noexcept nogil:
    cdef const Walk *w = r.walk
    cdef Py_ssize_t block
    cdef int threads = r.team.threads
    if w.cut.slices == 1:
        for block in range((w.pixels.m + w.cut.block_rows - 1) // w.cut.block_rows):
            walk_block(r, block * w.cut.block_rows)
        return
    share_out(r.shares, w.cut.slices, threads)
    if threads == 1:
        walk_slices(r, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        walk_slices(r, team_member(), threads)
        share_done()
    team_joined(threads)
