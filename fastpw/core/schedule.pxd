"""The tasks of one GEMM, and the team that runs them."""

from cython.parallel cimport parallel

from fastpw.core.gemm cimport Bound, Gemm, Task, fills_lines, in_place
from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.shares cimport Share, all_stored, next_task, share_out
from fastpw.core.staged cimport run_task


# A task is a block of rows x a run of panels; blocks are as nearly equal as their unit allows.
cdef struct Schedule:
    int threads
    Py_ssize_t block_rows, block_panels          # at most
    Py_ssize_t row_unit          # blocks are made of so many rows
    bint by_panels               # the order of the tasks: by panels first, or by rows first
    bint large                   # C is larger than the caches
    bint brief                   # it takes no longer than to let go of the GIL and take it again
    Py_ssize_t workspace_bytes   # of each thread, for staged rows


cdef inline Py_ssize_t row_blocks(const Gemm *g, const Schedule *s) noexcept nogil:
    return (g.pixels.m + s.block_rows - 1) // s.block_rows


cdef inline Py_ssize_t panel_blocks(const Gemm *g, const Schedule *s) noexcept nogil:
    return (g.b.count + s.block_panels - 1) // s.block_panels


cdef inline Py_ssize_t first_row(const Gemm *g, const Schedule *s, Py_ssize_t row_block) noexcept nogil:
    cdef Py_ssize_t units = (g.pixels.m + s.row_unit - 1) // s.row_unit
    return min(g.pixels.m, row_block * units // row_blocks(g, s) * s.row_unit)


cdef inline Py_ssize_t task_of(const Gemm *g, const Schedule *s, Py_ssize_t number, Task *task) noexcept nogil:
    """A task by its number; returns its block of rows."""
    cdef Py_ssize_t panel_block, row_block
    if s.by_panels:
        panel_block, row_block = number // row_blocks(g, s), number % row_blocks(g, s)
    else:
        row_block, panel_block = number // panel_blocks(g, s), number % panel_blocks(g, s)
    task.start, task.stop = first_row(g, s, row_block), first_row(g, s, row_block + 1)
    task.first = panel_block * s.block_panels
    task.last = min(task.first + s.block_panels, g.b.count)
    task.next_stop = min(task.stop + s.block_rows, g.pixels.m) if in_place(g) else task.stop
    return row_block


# A GEMM with its memory, as a team runs it.
cdef struct BoundGemm:
    const Gemm *gemm
    const Bound *at
    const Schedule *schedule
    Share *shares
    char *workspace


cdef inline void run_share(const BoundGemm *r, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number = next_task(r.shares, member, members), row_block, gathered = -1
    cdef char *workspace = r.workspace + member * r.schedule.workspace_bytes
    cdef Task task
    while number >= 0:
        row_block = task_of(r.gemm, r.schedule, number, &task)
        run_task(r.gemm, r.at, &task, workspace, row_block == gathered)
        gathered = row_block
        number = next_task(r.shares, member, members)
    fastpw_leave_float_state(state)
    if r.at.streams:
        all_stored()


cdef inline void run_alone(const BoundGemm *r) noexcept nogil:
    """All tasks, one after the other."""
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number, row_block, gathered = -1
    cdef Task task
    for number in range(row_blocks(r.gemm, r.schedule) * panel_blocks(r.gemm, r.schedule)):
        row_block = task_of(r.gemm, r.schedule, number, &task)
        run_task(r.gemm, r.at, &task, r.workspace, row_block == gathered)
        gathered = row_block
    fastpw_leave_float_state(state)
    if r.at.streams:
        all_stored()


cdef inline void run_team(const BoundGemm *r, int threads) noexcept nogil:
    share_out(r.shares, row_blocks(r.gemm, r.schedule) * panel_blocks(r.gemm, r.schedule), threads)
    with parallel(num_threads=team_begins(threads)):
        run_share(r, team_member(), threads)
        share_done()
    team_joined(threads)


# GEMMs of one size that a team shares out: each is computed by one thread, and all are in one region.
cdef inline void run_some(const BoundGemm *gemms, Share *shares, char *workspace, int member,
                          int members) noexcept nogil:
    cdef Py_ssize_t number = next_task(shares, member, members)
    cdef BoundGemm own
    while number >= 0:
        own = gemms[number]
        own.workspace = workspace + member * own.schedule.workspace_bytes
        run_alone(&own)
        number = next_task(shares, member, members)


cdef inline void run_gemms(const BoundGemm *gemms, int count, int threads, char *memory) noexcept nogil:
    """The memory has room for the team's shares and workspaces."""
    cdef Share *shares = <Share *>memory
    share_out(shares, count, threads)
    with parallel(num_threads=team_begins(threads)):
        run_some(gemms, shares, memory + threads * sizeof(Share), team_member(), threads)
        share_done()
    team_joined(threads)


# Threads whose shares need no memory of their own.
cdef enum:
    FEW_THREADS = 8


cdef inline Py_ssize_t gemm_bytes(const Schedule *s, int threads) noexcept nogil:
    """The memory that run_gemm needs."""
    if threads <= FEW_THREADS and not s.workspace_bytes:
        return 0
    return threads * (sizeof(Share) + s.workspace_bytes)


cdef inline void run_gemm(const Gemm *g, Bound *at, const Schedule *s, int threads, char *memory) noexcept:
    """With a team of so many threads, at most those of the schedule."""
    cdef Share few[FEW_THREADS]
    cdef BoundGemm r
    r.gemm, r.at, r.schedule, r.shares, r.workspace = g, at, s, few, NULL
    at.streams = s.large and fills_lines(g, at)
    if gemm_bytes(s, threads):
        r.shares, r.workspace = <Share *>memory, memory + threads * sizeof(Share)
    if threads > 1:
        with nogil:
            run_team(&r, threads)
    elif s.brief:
        run_alone(&r)
    else:
        with nogil:
            run_alone(&r)
