"""dz = dy * act'(s) of whole arrays, rows that lie one behind the other, and the sums of their columns.

A task is a band of blocks of rows: a block is summed while its dz is in the first-level cache.
"""

from cython.parallel cimport parallel
from libc.string cimport memcpy, memset

from fastpw.core.kernels cimport (fastpw_enter_float_state, fastpw_epilogue, fastpw_float_state, fastpw_gradient_args,
                                  fastpw_kernel_set, fastpw_leave_float_state)
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.panels cimport CACHE_LINE, whole_lines
from fastpw.core.shares cimport Share, next_task, share_out


cdef struct Forming:
    const fastpw_kernel_set *kernels
    Py_ssize_t m, n, rows, bands     # rows of a block
    fastpw_epilogue epilogue
    const char *dy
    const char *s                # NULL: dz is dy
    char *dz
    char *sums                   # NULL: not wanted
    Share *shares
    char *memory                 # the sums of the bands


cdef inline Py_ssize_t bytes_of_band(const Forming *f) noexcept nogil:
    return whole_lines(f.n * f.kernels.c_size)


cdef inline Py_ssize_t forming_bytes(const Forming *f, int threads) noexcept nogil:
    """The memory that form_all needs."""
    return threads * sizeof(Share) + f.bands * bytes_of_band(f)


cdef inline void form_numbers(const Forming *f, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Whatever the rows. The kernel writes whole vectors: what is left over is formed elsewhere."""
    cdef fastpw_gradient_args args
    cdef char last[CACHE_LINE]
    cdef Py_ssize_t size = f.kernels.c_size, left = count % f.kernels.lanes, at = first * size
    memset(&args, 0, sizeof(args))
    args.m, args.n, args.epilogue = 1, count - left, &f.epilogue
    args.dy, args.s, args.dz = f.dy + at, f.s + at, f.dz + at
    f.kernels.gradient(&args)
    if left:
        at += args.n * size
        args.n, args.dy, args.s, args.dz = left, f.dy + at, f.s + at, last
        f.kernels.gradient(&args)
        memcpy(f.dz + at, last, left * size)


cdef inline void form_band(const Forming *f, Py_ssize_t band) noexcept nogil:
    cdef Py_ssize_t blocks = (f.m + f.rows - 1) // f.rows, block, row, rows, ld = f.n * f.kernels.c_size
    cdef char *sums = f.memory + band * bytes_of_band(f)
    memset(sums, 0, bytes_of_band(f))
    for block in range(blocks * band // f.bands, blocks * (band + 1) // f.bands):
        row = block * f.rows
        rows = min(f.rows, f.m - row)
        if f.s != NULL:
            form_numbers(f, row * f.n, rows * f.n)
        if f.sums != NULL:
            f.kernels.column_sums(rows, f.n, (f.dy if f.s == NULL else f.dz) + row * ld, ld, NULL, 0, sums)


cdef inline void form_share(const Forming *f, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t band = next_task(f.shares, member, members)
    while band >= 0:
        form_band(f, band)
        band = next_task(f.shares, member, members)
    fastpw_leave_float_state(state)


cdef inline void form_all(const Forming *f, int threads) noexcept nogil:
    cdef fastpw_float_state state
    share_out(f.shares, f.bands, threads)
    if threads == 1:
        form_share(f, 0, 1)
    else:
        with parallel(num_threads=team_begins(threads)):
            form_share(f, team_member(), threads)
            share_done()
        team_joined(threads)
    if f.sums == NULL:
        return
    memset(f.sums, 0, f.n * f.kernels.c_size)
    state = fastpw_enter_float_state()
    f.kernels.column_sums(f.bands, f.n, f.memory, bytes_of_band(f), NULL, 0, f.sums)
    fastpw_leave_float_state(state)
