"""The blocked, parallel loops of a GEMM whose rows are pixels.

    C[m x n] = act(A[m x k] . B[k x n] + bias + residual)

The m rows are numbered over three axes; each operand has its own distances
along them.  B is packed.  A task is a block of rows x a run of panels; within
it each panel meets all the rows while it is in the cache.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

from fastpw.core.kernels cimport FASTPW_FROM_BIAS, fastpw_block, fastpw_epilogue, fastpw_kernel_set, fastpw_tile
from fastpw.core.team cimport omp_get_thread_num


# The operands that have rows.
cdef enum:
    A
    C
    RESIDUAL
    Z
    OPERANDS


cdef struct Rows:
    char *base                   # NULL: there is no such operand
    Py_ssize_t stride[3]         # bytes


cdef struct PackedB:
    const fastpw_kernel_set *kernels
    char *panels
    Py_ssize_t n, k
    bint diagonal                # one weight per channel: bias and weights in one row
    Py_ssize_t count             # panels; all but the last are of the widest tile
    Py_ssize_t panel_bytes       # of the widest tile
    int last_tile                # the tile of the last panel


cdef struct Gemm:
    Py_ssize_t m
    Py_ssize_t size[3]           # along each axis; m in all
    Rows rows[4]
    PackedB b
    fastpw_epilogue epilogue
    Py_ssize_t block_rows, block_panels
    char *workspace              # for staged rows
    Py_ssize_t workspace_bytes   # for each thread; 0: every block is used in place


# ---- where the rows are --------------------------------------------------------------------------------------

cdef inline bint join_axes(Gemm *g, int outer) noexcept nogil:
    """Make one axis of `outer` and the next, if every operand's rows go on at one distance."""
    cdef int inner = outer + 1, i
    cdef Rows *rows
    for i in range(OPERANDS):
        rows = &g.rows[i]
        if (rows.base != NULL and g.size[outer] > 1 and g.size[inner] > 1
                and rows.stride[outer] != g.size[inner] * rows.stride[inner]):
            return False
    for i in range(OPERANDS):
        if g.size[inner] == 1:
            g.rows[i].stride[inner] = g.rows[i].stride[outer]
    g.size[inner] *= g.size[outer]
    g.size[outer] = 1
    return True


cdef inline void join_all_axes(Gemm *g) noexcept nogil:
    """Make the last axis as long as can be: rows along it lie at one distance."""
    join_axes(g, 1)
    join_axes(g, 0)
    join_axes(g, 1)


cdef inline char *address(const Gemm *g, int operand, Py_ssize_t row) noexcept nogil:
    cdef const Rows *rows = &g.rows[operand]
    if rows.base == NULL:
        return NULL
    if row < g.size[2]:
        return rows.base + row * rows.stride[2]
    cdef Py_ssize_t run = row // g.size[2]
    return (rows.base + (run // g.size[1]) * rows.stride[0] + (run % g.size[1]) * rows.stride[1]
            + (row % g.size[2]) * rows.stride[2])


cdef inline Py_ssize_t tallest(const Gemm *g) noexcept nogil:
    return g.b.kernels.tiles[0].mr


cdef inline bint in_place(const Gemm *g) noexcept nogil:
    """Whether the rows come in runs long enough to fill tiles, or there are no tiles to fill."""
    return g.size[2] == g.m or g.size[2] >= tallest(g) or g.b.diagonal


# ---- one task ------------------------------------------------------------------------------------------------

cdef inline void run_panels(const Gemm *g, const fastpw_block *rows, Py_ssize_t first, Py_ssize_t last,
                            Py_ssize_t origin) noexcept nogil:
    """The rows of a block against panels first..last-1; column 0 of its C is the first of panel `origin`."""
    cdef fastpw_block b = rows[0]
    cdef const fastpw_tile *widest = &g.b.kernels.tiles[0]
    cdef const fastpw_tile *tile
    cdef Py_ssize_t j, column
    for j in range(first, last):
        tile = widest if j < g.b.count - 1 else &g.b.kernels.tiles[g.b.last_tile]
        column = (j - origin) * widest.nr * g.b.kernels.c_size
        b.n = min(<Py_ssize_t>tile.nr, g.b.n - j * widest.nr)
        b.panel = g.b.panels + j * g.b.panel_bytes
        b.c = rows.c + column
        b.residual = rows.residual + column if rows.residual != NULL else NULL
        b.z = rows.z + column if rows.z != NULL else NULL
        tile.block(&b)


cdef inline void block_in_place(const Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first,
                                Py_ssize_t last) noexcept nogil:
    cdef fastpw_block b
    cdef Py_ssize_t row, j
    b.k, b.entry, b.epilogue = g.b.k, FASTPW_FROM_BIAS, &g.epilogue
    b.lda, b.ldc = g.rows[A].stride[2], g.rows[C].stride[2]
    b.ldr, b.ldz = g.rows[RESIDUAL].stride[2], g.rows[Z].stride[2]
    for j in range(first, last):
        row = start
        while row < stop:
            b.m = min(stop - row, g.size[2] - row % g.size[2])
            b.a, b.c = address(g, A, row), address(g, C, row)
            b.residual, b.z = address(g, RESIDUAL, row), address(g, Z, row)
            if g.b.diagonal:
                b.n, b.panel = g.b.n, g.b.panels
                g.b.kernels.scale(&b)
            else:
                run_panels(g, &b, j, j + 1, 0)
            row += b.m


cdef inline char *gather(const Gemm *g, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                         Py_ssize_t size, char *to) noexcept nogil:
    """Copy `size` bytes from `offset` on of every row side by side; NULL where there is no operand."""
    cdef Py_ssize_t row
    if g.rows[operand].base == NULL:
        return NULL
    for row in range(start, stop):
        memcpy(to + (row - start) * size, address(g, operand, row) + offset, size)
    return to


cdef inline void scatter(const Gemm *g, int operand, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t offset,
                         Py_ssize_t size, const char *staged) noexcept nogil:
    cdef Py_ssize_t row
    if g.rows[operand].base == NULL:
        return
    for row in range(start, stop):
        memcpy(address(g, operand, row) + offset, staged + (row - start) * size, size)


cdef inline void block_staged(const Gemm *g, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t last,
                              char *workspace) noexcept nogil:
    """Rows in runs shorter than a tile: gathered for this block, computed, and put where they belong."""
    cdef Py_ssize_t width = g.b.kernels.tiles[0].nr
    cdef Py_ssize_t offset = first * width * g.b.kernels.c_size
    cdef Py_ssize_t size = (min(last * width, g.b.n) - first * width) * g.b.kernels.c_size
    cdef Py_ssize_t depth = g.b.k * g.b.kernels.a_size
    cdef Py_ssize_t m = stop - start
    cdef char *z = workspace + m * (depth + 2 * size)
    cdef fastpw_block b
    b.m, b.k, b.entry, b.epilogue = m, g.b.k, FASTPW_FROM_BIAS, &g.epilogue
    b.lda, b.ldc, b.ldr, b.ldz = depth, size, size, size
    b.a = gather(g, A, start, stop, 0, depth, workspace)
    b.c = workspace + m * depth
    b.residual = gather(g, RESIDUAL, start, stop, offset, size, workspace + m * (depth + size))
    b.z = z if g.rows[Z].base != NULL else NULL
    run_panels(g, &b, first, last, first)
    scatter(g, C, start, stop, offset, size, b.c)
    scatter(g, Z, start, stop, offset, size, z)


cdef inline Py_ssize_t staging_bytes(const Gemm *g) noexcept nogil:
    """What block_staged needs."""
    cdef Py_ssize_t columns = min(g.b.n, g.block_panels * g.b.kernels.tiles[0].nr)
    return g.block_rows * (g.b.k * g.b.kernels.a_size + 3 * columns * g.b.kernels.c_size)


cdef inline void run_task(const Gemm *g, Py_ssize_t task, Py_ssize_t panel_blocks) noexcept nogil:
    cdef Py_ssize_t start = task // panel_blocks * g.block_rows
    cdef Py_ssize_t first = task % panel_blocks * g.block_panels
    cdef Py_ssize_t stop = min(start + g.block_rows, g.m)
    cdef Py_ssize_t last = min(first + g.block_panels, g.b.count)
    if g.workspace_bytes == 0:
        block_in_place(g, start, stop, first, last)
    else:
        block_staged(g, start, stop, first, last, g.workspace + omp_get_thread_num() * g.workspace_bytes)


# ---- all tasks -----------------------------------------------------------------------------------------------

cdef inline void run_gemm(const Gemm *g, int threads) noexcept nogil:
    cdef Py_ssize_t panel_blocks = (g.b.count + g.block_panels - 1) // g.block_panels
    cdef Py_ssize_t tasks = (g.m + g.block_rows - 1) // g.block_rows * panel_blocks
    cdef Py_ssize_t task
    if threads == 1:
        for task in range(tasks):
            run_task(g, task, panel_blocks)
        return
    # Dynamic: a thread that shares its core with another process takes fewer.
    for task in prange(tasks, num_threads=threads, schedule="dynamic", chunksize=1):
        run_task(g, task, panel_blocks)
