"""All tasks of a window over planes, and the team that runs them."""

from cython.parallel cimport parallel

from fastpw.core.kernels cimport fastpw_enter_float_state, fastpw_float_state, fastpw_leave_float_state
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.shares cimport Share, next_task, share_out
from fastpw.core.windows cimport Windows, bands, begin_tasks, blocks, run_task


# A window with its memory, as a team runs it.
cdef struct BoundWindows:
    const Windows *windows
    char *const *places
    Share *shares
    char *workspace              # of all threads


cdef inline Py_ssize_t tasks(const Windows *w) noexcept nogil:
    return w.planes * bands(w) * blocks(w)


cdef inline void run_share(const BoundWindows *r, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef char *workspace = r.workspace + member * r.windows.workspace_bytes
    cdef Py_ssize_t number = next_task(r.shares, member, members), band = -1
    begin_tasks(r.windows, workspace)
    while number >= 0:
        band = run_task(r.windows, r.places, number, workspace, band)
        number = next_task(r.shares, member, members)
    fastpw_leave_float_state(state)


cdef inline void run_alone(const BoundWindows *r) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number, band = -1
    begin_tasks(r.windows, r.workspace)
    for number in range(tasks(r.windows)):
        band = run_task(r.windows, r.places, number, r.workspace, band)
    fastpw_leave_float_state(state)


cdef inline void run_team(const BoundWindows *r, int threads) noexcept nogil:
    share_out(r.shares, tasks(r.windows), threads)
    with parallel(num_threads=team_begins(threads)):
        run_share(r, team_member(), threads)
        share_done()
    team_joined(threads)


cdef inline Py_ssize_t sweep_bytes(const Windows *w, int threads) noexcept nogil:
    """The memory that run_windows needs."""
    return threads * (sizeof(Share) + w.workspace_bytes)


cdef inline void run_windows(const Windows *w, char *const *places, int threads, bint brief, char *memory) noexcept:
    cdef BoundWindows r
    r.windows, r.places, r.shares, r.workspace = w, places, <Share *>memory, memory + threads * sizeof(Share)
    if threads > 1:
        with nogil:
            run_team(&r, threads)
    elif brief:
        run_alone(&r)
    else:
        with nogil:
            run_alone(&r)
