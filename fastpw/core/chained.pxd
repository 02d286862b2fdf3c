"""A chain of stages over planes: what is computed, one task of it, and the team that runs them.

A task is a band of rows of the last stage's results, which a thread takes through all stages. Whoever takes the next
band of the plane goes on with the rows that are there; whoever begins elsewhere makes the rows that it needs anew.
"""

from cython.parallel cimport parallel
from libc.string cimport memset

from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z
from fastpw.core.shares cimport Share, next_task, share_out
from fastpw.core.stages cimport Ends, Stage, run_products, run_window
from fastpw.core.windows cimport Distances


cdef enum:
    MOST_STAGES = 8


cdef struct Stages:
    Stage stages[MOST_STAGES]
    int count
    Py_ssize_t planes
    Distances between[OPERANDS]  # of the caller's arrays
    Py_ssize_t bands             # of a plane
    Py_ssize_t bytes_of_thread


# Rows of a stage's results.
cdef struct Needed:
    Py_ssize_t first, stop


# Where a thread stands.
cdef struct Progress:
    char *memory
    Py_ssize_t plane, row        # the row that the last stage makes next
    Py_ssize_t done[MOST_STAGES]     # the rows that each stage has made end here


cdef inline Py_ssize_t rows_of_plane(const Stages *c) noexcept nogil:
    return c.stages[c.count - 1].rows.outputs


cdef inline Py_ssize_t tasks(const Stages *c) noexcept nogil:
    return c.planes * c.bands


cdef inline void find_needed(const Stages *c, Needed *needed) noexcept nogil:
    """The rows of every stage that some rows of the last need."""
    cdef int i
    for i in range(c.count - 1, 0, -1):
        slide = &c.stages[i].rows
        needed[i - 1].first = max(0, needed[i].first * slide.stride + slide.origin)
        needed[i - 1].stop = min(slide.inputs, (needed[i].stop - 1) * slide.stride + slide.origin
                                 + (slide.taps - 1) * slide.step + 1)
        needed[i - 1].stop = max(needed[i - 1].stop, needed[i - 1].first)


# A chain with its memory, as a team runs it.
cdef struct BoundStages:
    const Stages *stages
    char *const *places
    Share *shares
    char *memory                 # of all threads


cdef inline void find_ends(const BoundStages *r, const Progress *p, int i, Ends *ends) noexcept nogil:
    """Where stage i reads and writes."""
    cdef const Stages *c = r.stages
    cdef int operand
    memset(ends, 0, sizeof(ends[0]))
    for operand in range(OPERANDS):
        if r.places[operand] != NULL and operand != Z:
            ends.lines[operand].base = r.places[operand] + p.plane * c.between[operand].plane
            ends.lines[operand].row = c.between[operand].row
    if i > 0:
        ends.lines[A].base = p.memory + c.stages[i - 1].lines_at
        ends.lines[A].row, ends.lines[A].room = c.stages[i - 1].row, c.stages[i - 1].room
    if i < c.count - 1:
        ends.lines[RESIDUAL].base = NULL
        ends.lines[C].base = p.memory + c.stages[i].lines_at
        ends.lines[C].row, ends.lines[C].room = c.stages[i].row, c.stages[i].room


cdef inline void run_stages(const BoundStages *r, Progress *p, const Needed *needed) noexcept nogil:
    """The rows that are needed and not there yet, stage by stage."""
    cdef const Stages *c = r.stages
    cdef const Stage *s
    cdef Ends ends
    cdef Py_ssize_t start
    cdef int i
    for i in range(c.count):
        s = &c.stages[i]
        start = max(p.done[i], needed[i].first)
        find_ends(r, p, i, &ends)
        if s.parts != NULL:
            run_products(s, &ends, start, needed[i].stop, p.memory)
        else:
            run_window(s, &ends, start, needed[i].stop, p.memory)
        p.done[i] = max(p.done[i], needed[i].stop)


cdef inline void run_band(const BoundStages *r, Progress *p, Py_ssize_t number) noexcept nogil:
    """One task."""
    cdef const Stages *c = r.stages
    cdef Needed needed[MOST_STAGES]
    cdef Py_ssize_t plane = number // c.bands, band = number % c.bands
    needed[c.count - 1].first = rows_of_plane(c) * band // c.bands
    needed[c.count - 1].stop = rows_of_plane(c) * (band + 1) // c.bands
    if plane != p.plane or needed[c.count - 1].first != p.row:
        memset(p.done, 0, sizeof(p.done))
    p.plane, p.row = plane, needed[c.count - 1].stop
    find_needed(c, needed)
    run_stages(r, p, needed)


cdef inline void run_share(const BoundStages *r, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number = next_task(r.shares, member, members)
    cdef Progress progress
    progress.memory, progress.plane, progress.row = r.memory + member * r.stages.bytes_of_thread, -1, -1
    while number >= 0:
        run_band(r, &progress, number)
        number = next_task(r.shares, member, members)
    fastpw_leave_float_state(state)


cdef inline Py_ssize_t chain_bytes(const Stages *c, int threads) noexcept nogil:
    """The memory that run_chain needs."""
    return threads * (sizeof(Share) + c.bytes_of_thread)


cdef inline void run_chain(const Stages *c, char *const *places, int threads, char *memory) noexcept nogil:
    cdef BoundStages r
    r.stages, r.places, r.shares, r.memory = c, places, <Share *>memory, memory + threads * sizeof(Share)
    share_out(r.shares, tasks(c), threads)
    if threads == 1:
        run_share(&r, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        run_share(&r, team_member(), threads)
        share_done()
    team_joined(threads)
