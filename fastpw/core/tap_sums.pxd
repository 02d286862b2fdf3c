"""Sums over the outputs of a window: dweight[tap][c] (+)= sum over p of dz[p][c] * x[pixel under the tap of p][c].

A task is a block of channels and a band of the rows of outputs, whose sums it makes by itself, some rows at a time. Who
is the last to arrive at a block adds its bands up in order, and puts the sums where they belong.
"""

from cython.parallel cimport parallel
from libc.string cimport memcpy, memset

from fastpw.core.kernels cimport (fastpw_enter_float_state, fastpw_float_state, fastpw_kernel_set,
                                  fastpw_leave_float_state, fastpw_stencil_gradient_args)
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.panels cimport whole_lines
from fastpw.core.shares cimport Share, arrive, next_task, share_out
from fastpw.core.windows cimport Distances, Slide

ctypedef fused real:
    float
    double


cdef struct TapSums:
    const fastpw_kernel_set *kernels
    Slide rows, columns
    Py_ssize_t planes, n         # n channels
    Distances of_x, of_dz
    Py_ssize_t line, place, channel  # of dweight: bytes from line to line of taps, from tap to tap in one, to a channel
    bint adds                    # to what lies in dweight
    Py_ssize_t step, bands, block


# With its memory.
cdef struct BoundSums:
    const TapSums *sums
    const char *x
    const char *dz
    char *dweight
    Share *shares
    int *arrived                 # at each block
    char *memory                 # the sums of each block, band by band


cdef inline Py_ssize_t sum_blocks(const TapSums *s) noexcept nogil:
    return (s.n + s.block - 1) // s.block


cdef inline Py_ssize_t bytes_of_sums(const TapSums *s) noexcept nogil:
    """Of a block, in one band."""
    return whole_lines(s.rows.taps * s.columns.taps * s.block * s.kernels.c_size)


cdef inline Py_ssize_t tap_sums_bytes(const TapSums *s, int threads) noexcept nogil:
    """The memory that run_tap_sums needs."""
    return (threads * sizeof(Share) + whole_lines(sum_blocks(s) * sizeof(int))
            + sum_blocks(s) * s.bands * bytes_of_sums(s))


# ---- a task --------------------------------------------------------------------------------------------------

cdef inline void set_slides(const TapSums *s, fastpw_stencil_gradient_args *args) noexcept nogil:
    args.down.taps, args.down.step, args.down.stride = s.rows.taps, s.rows.step, s.rows.stride
    args.across.taps, args.across.step, args.across.stride = s.columns.taps, s.columns.step, s.columns.stride
    args.across.origin, args.across.inputs, args.down.inputs = s.columns.origin, s.columns.inputs, s.rows.inputs
    args.columns = s.columns.outputs
    args.lddz, args.row_lddz, args.ldx, args.row_ldx = s.of_dz.pixel, s.of_dz.row, s.of_x.pixel, s.of_x.row


cdef inline void sum_band(const BoundSums *r, Py_ssize_t block, Py_ssize_t band, char *sums) noexcept nogil:
    cdef const TapSums *s = r.sums
    cdef fastpw_stencil_gradient_args args
    cdef Py_ssize_t steps = (s.rows.outputs + s.step - 1) // s.step, all = s.planes * steps, number, plane, row
    cdef Py_ssize_t first = block * s.block
    set_slides(s, &args)
    args.n = min(s.block, s.n - first)
    args.sums, args.ldsums = sums, s.block * s.kernels.c_size
    for number in range(all * band // s.bands, all * (band + 1) // s.bands):
        plane, row = number // steps, number % steps * s.step
        args.rows = min(s.step, s.rows.outputs - row)
        args.down.origin = s.rows.origin + row * s.rows.stride
        args.x = r.x + plane * s.of_x.plane + first * s.kernels.a_size
        args.dz = r.dz + plane * s.of_dz.plane + row * s.of_dz.row + first * s.kernels.a_size
        s.kernels.stencil_gradient(&args)


cdef inline void put_numbers(char *to, Py_ssize_t stride, const real *sums, Py_ssize_t n, bint adds) noexcept nogil:
    """Written as bytes, since what lies there may be unaligned."""
    cdef Py_ssize_t i
    cdef real total, before
    if not adds and stride == sizeof(real):
        memcpy(to, sums, n * sizeof(real))
        return
    for i in range(n):
        total = sums[i]
        if adds:
            memcpy(&before, to + i * stride, sizeof(real))
            total = before + total
        memcpy(to + i * stride, &total, sizeof(real))


cdef inline void put_block(const BoundSums *r, Py_ssize_t block, char *sums) noexcept nogil:
    """The bands added up, and put where they belong."""
    cdef const TapSums *s = r.sums
    cdef Py_ssize_t first = block * s.block, n = min(s.block, s.n - first), ld = bytes_of_sums(s), i, j
    cdef char *to
    if s.bands > 1:
        s.kernels.column_sums(s.bands - 1, s.rows.taps * s.columns.taps * s.block, sums + ld, ld, NULL, 0, sums)
    for i in range(s.rows.taps):
        for j in range(s.columns.taps):
            to = r.dweight + i * s.line + j * s.place + first * s.channel
            if s.kernels.c_size == 4:
                put_numbers[float](to, s.channel, <float *>sums, n, s.adds)
            else:
                put_numbers[double](to, s.channel, <double *>sums, n, s.adds)
            sums += s.block * s.kernels.c_size


cdef inline void run_sums(const BoundSums *r, Py_ssize_t number) noexcept nogil:
    cdef const TapSums *s = r.sums
    cdef Py_ssize_t block = number // s.bands, size = bytes_of_sums(s)
    cdef char *sums = r.memory + number * size
    memset(sums, 0, size)
    sum_band(r, block, number % s.bands, sums)
    if arrive(&r.arrived[block]) == s.bands - 1:
        put_block(r, block, r.memory + block * s.bands * size)


# ---- all of them ---------------------------------------------------------------------------------------------

cdef inline void run_sums_of_member(const BoundSums *r, int member, int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number = next_task(r.shares, member, members)
    while number >= 0:
        run_sums(r, number)
        number = next_task(r.shares, member, members)
    fastpw_leave_float_state(state)


cdef inline void run_all_sums(const BoundSums *r, int threads) noexcept nogil:
    share_out(r.shares, sum_blocks(r.sums) * r.sums.bands, threads)
    if threads == 1:
        run_sums_of_member(r, 0, 1)
        return
    with parallel(num_threads=team_begins(threads)):
        run_sums_of_member(r, team_member(), threads)
        share_done()
    team_joined(threads)


cdef inline void run_tap_sums(BoundSums *r, int threads, bint brief, char *memory) noexcept:
    """With the memory that tap_sums_bytes asks for."""
    cdef Py_ssize_t bytes_of_arrivals = whole_lines(sum_blocks(r.sums) * sizeof(int))
    r.shares, r.arrived = <Share *>memory, <int *>(memory + threads * sizeof(Share))
    r.memory = memory + threads * sizeof(Share) + bytes_of_arrivals
    memset(r.arrived, 0, bytes_of_arrivals)
    if brief:
        run_all_sums(r, threads)
    else:
        with nogil:
            run_all_sums(r, threads)
