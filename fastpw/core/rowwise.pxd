"""What is computed row by row, or element by element: one task, some rows and columns, and the team that runs all."""

from cython.parallel cimport parallel
from libc.string cimport memset

from fastpw.core.kernels cimport (FASTPW_MOST_INPUTS, FASTPW_MOST_OPERATIONS, fastpw_elements_args,
                                  fastpw_enter_float_state, fastpw_float_state, fastpw_kernel_set,
                                  fastpw_leave_float_state, fastpw_normal_args, fastpw_operation)
from fastpw.core.machine cimport share_done, team_begins, team_joined, team_member
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL, Z, Pixels, address, run_length
from fastpw.core.shares cimport Share, next_task, share_out


cdef enum:
    MOST_MEMBERS = 8             # of a team: memory is no faster for more

    # What a task does: a program of operations, normal rows, or sums of rows.
    PROGRAM = 0
    NORMAL
    SUMS


cdef struct Rowwise:
    const fastpw_kernel_set *kernels
    int kind
    Pixels pixels                            # rows, of one plane where there are several
    Py_ssize_t n                             # columns
    Py_ssize_t planes, plane                 # that are summed each by itself; bytes from one to the next
    Py_ssize_t block_rows, block_columns     # of a task, at most
    bint brief                               # it takes no longer than to let go of the GIL and take it again
    int operations
    fastpw_operation program[FASTPW_MOST_OPERATIONS]
    const char *weights                      # of normal rows; NULL: their softmax
    const char *bias
    double epsilon


cdef inline Py_ssize_t row_blocks(const Rowwise *r) noexcept nogil:
    return (r.pixels.m + r.block_rows - 1) // r.block_rows


cdef inline Py_ssize_t column_blocks(const Rowwise *r) noexcept nogil:
    return (r.n + r.block_columns - 1) // r.block_columns


cdef inline Py_ssize_t tasks_of(const Rowwise *r) noexcept nogil:
    return r.planes * row_blocks(r) * column_blocks(r)


cdef inline char *columns_of(const Rowwise *r, char *const *places, int operand, Py_ssize_t row,
                             Py_ssize_t offset) noexcept nogil:
    cdef char *place = address(&r.pixels, places, operand, row)
    return NULL if place == NULL else place + offset


cdef inline void operate(const Rowwise *r, char *const *places, Py_ssize_t row, Py_ssize_t count, Py_ssize_t first,
                         Py_ssize_t columns) noexcept nogil:
    """A program on some rows of one distance, from column `first` on."""
    cdef fastpw_elements_args args
    cdef int[3] operands = [A, RESIDUAL, Z]
    cdef int i
    args.m, args.n, args.operations, args.program = count, columns, r.operations, r.program
    for i in range(FASTPW_MOST_INPUTS):
        args.inputs[i] = columns_of(r, places, operands[i], row, first * r.kernels.a_size)
        args.ld[i] = r.pixels.stride[operands[i]][2]
    args.c, args.ldc = columns_of(r, places, C, row, first * r.kernels.c_size), r.pixels.stride[C][2]
    r.kernels.elements(&args)


cdef inline void normalize(const Rowwise *r, char *const *places, Py_ssize_t row, Py_ssize_t count) noexcept nogil:
    cdef fastpw_normal_args args
    args.m, args.n, args.weights, args.bias, args.epsilon = count, r.n, r.weights, r.bias, r.epsilon
    args.a, args.lda = address(&r.pixels, places, A, row), r.pixels.stride[A][2]
    args.c, args.ldc = address(&r.pixels, places, C, row), r.pixels.stride[C][2]
    r.kernels.normal(&args)


cdef inline void run_task(const Rowwise *r, char *const *places, Py_ssize_t number, char *sums) noexcept nogil:
    """`sums` has a row of n numbers for each task that sums."""
    cdef Py_ssize_t first = number % column_blocks(r) * r.block_columns, block = number // column_blocks(r)
    cdef Py_ssize_t row = block % row_blocks(r) * r.block_rows, stop = min(row + r.block_rows, r.pixels.m), count
    cdef char *to = sums + block * r.n * r.kernels.c_size
    if r.kind == SUMS:
        memset(to, 0, r.n * r.kernels.c_size)
    while row < stop:
        count = run_length(&r.pixels, row, stop)
        if r.kind == PROGRAM:
            operate(r, places, row, count, first, min(r.block_columns, r.n - first))
        elif r.kind == NORMAL:
            normalize(r, places, row, count)
        else:
            r.kernels.row_sums(count, r.n, address(&r.pixels, places, A, row) + block // row_blocks(r) * r.plane,
                               r.pixels.stride[A][2], 1, to)
        row += count


cdef inline void run_share(const Rowwise *r, char *const *places, char *sums, Share *shares, int member,
                           int members) noexcept nogil:
    cdef fastpw_float_state state = fastpw_enter_float_state()
    cdef Py_ssize_t number = next_task(shares, member, members)
    while number >= 0:
        run_task(r, places, number, sums)
        number = next_task(shares, member, members)
    fastpw_leave_float_state(state)


cdef inline void run_rowwise(const Rowwise *r, char *const *places, char *sums, int threads) noexcept:
    cdef Share shares[MOST_MEMBERS]
    share_out(shares, tasks_of(r), threads)
    if threads == 1 and r.brief:
        run_share(r, places, sums, shares, 0, 1)
        return
    with nogil:
        if threads == 1:
            run_share(r, places, sums, shares, 0, 1)
            return
        with parallel(num_threads=team_begins(threads)):
            run_share(r, places, sums, shares, team_member(), threads)
            share_done()
        team_joined(threads)


cdef inline void put_means(const Rowwise *r, char *to, const char *sums) noexcept:
    """The means, from the sums of all tasks."""
    cdef Py_ssize_t row = r.n * r.kernels.c_size, blocks = tasks_of(r) // r.planes, plane
    for plane in range(r.planes):
        memset(to, 0, row)
        r.kernels.row_sums(blocks, r.n, sums + plane * blocks * row, row, <double>r.pixels.m, to)
        to += row
