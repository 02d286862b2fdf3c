# distutils: language = c
"""The passes, each named as one GEMM (m rows, n columns, depth k).

=================  ===  ===  ===  ===============  ===================
pass               m    n    k    A                B
=================  ===  ===  ===  ===============  ===================
forward            P    K    C    x, in place      W, packed
=================  ===  ===  ===  ===============  ===================

Arrays come checked: float32 or float64 in native byte order and all of one
dtype, channels adjacent, nothing empty.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign

from fastpw.core.kernels cimport (fastpw_cpu_runs, fastpw_epilogue, fastpw_kernel_set, fastpw_kernel_sets,
                                  fastpw_tile)
from fastpw.core.loops cimport (A, C, OPERANDS, RESIDUAL, Z, Gemm, PackedB, Rows, address, in_place, join_all_axes,
                                run_gemm, staging_bytes)
from fastpw.core.team cimport omp_get_max_threads, pool_is_lost, team, watch_forks

from fastpw.core import partition

ctypedef fused real:
    float
    double

cdef enum:
    CACHE_LINE = 64

watch_forks()


# ---- kernel sets ---------------------------------------------------------------------------------------------

cdef const fastpw_kernel_set *chosen[2]        # float32, float64


cdef const fastpw_kernel_set *best(bytes isa, Py_ssize_t size):
    """The first set for elements of `size` bytes that this CPU runs, of one ISA where one is named."""
    cdef int i = 0
    while fastpw_kernel_sets[i] != NULL:
        if (fastpw_kernel_sets[i].a_size == size and fastpw_cpu_runs(fastpw_kernel_sets[i])
                and (isa is None or <bytes>fastpw_kernel_sets[i].isa == isa)):
            return fastpw_kernel_sets[i]
        i += 1
    return NULL


def choose_isa(name=None):
    """Use the kernels of one instruction set from now on; None: the best that this CPU runs."""
    isa = None if name is None else name.encode()
    cdef const fastpw_kernel_set *f32 = best(isa, 4)
    cdef const fastpw_kernel_set *f64 = best(isa, 8)
    if f32 == NULL or f64 == NULL:
        built = list(dict.fromkeys(row["isa"] for row in kernel_sets()))
        runs = list(dict.fromkeys(row["isa"] for row in kernel_sets() if row["runs"]))
        raise ValueError(f"instruction set {name!r} is not available: built are {', '.join(built)}; "
                         f"this CPU runs {', '.join(runs)}")
    chosen[0], chosen[1] = f32, f64


def kernel_sets():
    """Every kernel set built: isa, dtype, whether this CPU runs it, whether it is in use, its tiles."""
    rows = []
    cdef const fastpw_kernel_set *s
    cdef int i = 0, t
    while fastpw_kernel_sets[i] != NULL:
        s = fastpw_kernel_sets[i]
        rows.append({
            "isa": s.isa.decode(), "dtype": s.dtype.decode(), "runs": bool(fastpw_cpu_runs(s)),
            "chosen": s == chosen[0] or s == chosen[1], "lanes": s.lanes,
            "tiles": [(s.tiles[t].mr, s.tiles[t].nr, s.tiles[t].depth_step) for t in range(s.n_tiles)],
        })
        i += 1
    return rows


choose_isa()


def peak(dtype, int64_t rounds, int threads):
    """Run multiply-adds in registers on every thread; return the floating-point operations done."""
    cdef const fastpw_kernel_set *s = chosen[0] if dtype == "float32" else chosen[1]
    cdef double flops = 0
    cdef int i
    with nogil:
        if threads == 1:
            flops = s.peak(rounds)
        else:
            threads = team(threads)
            for i in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                flops += s.peak(rounds)
    return flops


def openmp_threads():
    """What OpenMP would use in the calling thread: OMP_NUM_THREADS, affinity, limits set by threadpoolctl."""
    return omp_get_max_threads()


def in_forked_child():
    """Whether the calling thread lost its OpenMP pool in a fork, and therefore works alone."""
    return bool(pool_is_lost())


def compiler():
    """The compiler that built this module."""
    return COMPILER.decode()


cdef extern from *:
    """
    #ifdef __clang__
    #define FASTPW_COMPILER "clang " __clang_version__
    #else
    #define FASTPW_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *COMPILER "FASTPW_COMPILER"


# ---- operands ------------------------------------------------------------------------------------------------

cdef Rows rows_of(const real[:, :, :, :] view) noexcept:
    cdef Rows rows
    rows.base = <char *>&view[0, 0, 0, 0]
    rows.stride[0], rows.stride[1], rows.stride[2] = view.strides[0], view.strides[1], view.strides[2]
    return rows


cdef Rows rows_like(object array, Py_ssize_t element):
    """The rows of a 4-D array, or of None."""
    cdef Rows none
    if array is None:
        none.base = NULL
        none.stride[0] = none.stride[1] = none.stride[2] = 0
        return none
    return rows_of[float](array) if element == 4 else rows_of[double](array)


cdef fastpw_epilogue epilogue_of(tuple activation) except *:
    cdef fastpw_epilogue e
    e.activation, e.alpha, e.beta = activation
    return e


cdef char *new_memory(Py_ssize_t size, what) except NULL:
    """Memory that begins with a cache line."""
    cdef void *memory = NULL
    if posix_memalign(&memory, CACHE_LINE, max(size, 1)):
        raise MemoryError(f"no memory for {what} ({size} bytes)")
    return <char *>memory


cdef class Panels:
    """B, packed for one kernel set: weights with their biases, in the order in which tiles read them."""

    cdef PackedB b

    def __dealloc__(self):
        free(self.b.panels)

    @property
    def n(self):
        return self.b.n

    @property
    def k(self):
        return self.b.k

    @property
    def dtype(self):
        return self.b.kernels.dtype.decode()

    @property
    def isa(self):
        return self.b.kernels.isa.decode()


cdef Py_ssize_t panel_bytes(const fastpw_tile *tile, Py_ssize_t k, Py_ssize_t element) noexcept nogil:
    cdef Py_ssize_t steps = (k + tile.depth_step - 1) // tile.depth_step
    cdef Py_ssize_t size = (1 + steps * tile.depth_step) * tile.nr * element
    return (size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE


cdef Panels new_panels(const fastpw_kernel_set *kernels, Py_ssize_t n, Py_ssize_t k):
    cdef Panels panels = Panels.__new__(Panels)
    cdef PackedB *b = &panels.b
    cdef int i
    widths = tuple([kernels.tiles[i].nr for i in range(kernels.n_tiles)])
    wide, tail = partition.column_panels(n, widths)
    b.kernels, b.n, b.k, b.last_tile = kernels, n, k, tail
    b.count = wide + (wide * kernels.tiles[0].nr < n)
    b.panel_bytes = panel_bytes(&kernels.tiles[0], k, kernels.b_size)
    b.panels = new_memory((b.count - 1) * b.panel_bytes + panel_bytes(&kernels.tiles[tail], k, kernels.b_size),
                          "packed weights")
    return panels


cdef void pack_panel(const PackedB *b, Py_ssize_t j, const char *weight, Py_ssize_t stride_n, Py_ssize_t stride_k,
                     const char *bias, Py_ssize_t stride_bias) noexcept nogil:
    cdef const fastpw_tile *tile = &b.kernels.tiles[b.last_tile if j == b.count - 1 else 0]
    cdef Py_ssize_t column = j * b.kernels.tiles[0].nr
    tile.pack(b.panels + j * b.panel_bytes, min(<Py_ssize_t>tile.nr, b.n - column), b.k,
              weight + column * stride_n, stride_n, stride_k,
              bias + column * stride_bias if bias != NULL else NULL, stride_bias)


cdef Panels pack_real(const real[:, :] weight, const real[:] bias, const fastpw_kernel_set *kernels, int threads):
    cdef Panels panels = new_panels(kernels, weight.shape[0], weight.shape[1])
    cdef const PackedB *b = &panels.b
    cdef const char *heads = NULL
    cdef Py_ssize_t stride_bias = 0, j
    cdef const char *base = <const char *>&weight[0, 0] if b.k > 0 else NULL
    if bias is not None:
        heads, stride_bias = <const char *>&bias[0], bias.strides[0]
    with nogil:
        for j in range(b.count):
            pack_panel(b, j, base, weight.strides[0], weight.strides[1], heads, stride_bias)
    return panels


def pack(weight, bias):
    """Pack `weight` (n, k) and `bias` (n,) or None, of any strides, for the chosen kernels of their dtype."""
    if weight.itemsize == 4:
        return pack_real[float](weight, bias, chosen[0], 1)
    return pack_real[double](weight, bias, chosen[1], 1)


cdef Panels pack_scale_real(const real[:] scale, const real[:] bias, const fastpw_kernel_set *kernels):
    cdef Panels panels = Panels.__new__(Panels)
    cdef PackedB *b = &panels.b
    cdef Py_ssize_t n = scale.shape[0], j
    cdef real *row = <real *>new_memory(2 * n * kernels.b_size, "packed weights")
    b.panels = <char *>row
    b.kernels, b.n, b.k, b.diagonal, b.count = kernels, n, 1, True, 1
    for j in range(n):
        row[j] = bias[j] if bias is not None else 0
        row[n + j] = scale[j]
    return panels


def pack_scale(scale, bias):
    """Pack one weight per channel, `scale` (n,), with `bias` (n,) or None: `forward` multiplies rows by it."""
    if scale.itemsize == 4:
        return pack_scale_real[float](scale, bias, chosen[0])
    return pack_scale_real[double](scale, bias, chosen[1])


# ---- forward -------------------------------------------------------------------------------------------------

cdef void set_blocks(Gemm *g, const fastpw_kernel_set *kernels, int *threads) except *:
    cdef const fastpw_tile *widest = &kernels.tiles[0]
    g.block_rows, g.block_panels, threads[0] = partition.blocks(
        g.m, g.b.count, g.b.k, widest.mr, widest.nr, kernels.a_size, threads[0])


cdef void run(Gemm *g, int threads) except *:
    """Run a GEMM, with the workspace that it needs."""
    cdef char *memory = NULL
    threads = team(threads)
    g.workspace_bytes = 0
    if not in_place(g):
        g.workspace_bytes = (staging_bytes(g) + CACHE_LINE) // CACHE_LINE * CACHE_LINE
        memory = g.workspace = new_memory(threads * g.workspace_bytes, "the workspace")
    with nogil:
        run_gemm(g, threads)
    free(memory)


def forward(x, Panels panels, y, residual, z, tuple activation, int threads):
    """y = act(x . B + bias + residual), z what goes into act.

    Parameters
    ----------
    x : (n0, n1, n2, k) array or None
        None: rows without depth, y = act(bias + residual).
    panels : Panels
        B and the bias.
    y : (n0, n1, n2, n) array
    residual, z : like `y`, or None
    activation : tuple
        Code, alpha, beta (kernel_set.h).
    threads : int
        The most threads to use.
    """
    cdef Gemm g
    cdef Py_ssize_t element = panels.b.kernels.a_size
    g.b = panels.b
    g.size[0], g.size[1], g.size[2], _ = y.shape
    g.m = g.size[0] * g.size[1] * g.size[2]
    g.rows[A], g.rows[C] = rows_like(x, element), rows_like(y, element)
    g.rows[RESIDUAL], g.rows[Z] = rows_like(residual, element), rows_like(z, element)
    g.epilogue = epilogue_of(activation)
    if x is None:
        g.b.k = 0
    join_all_axes(&g)
    set_blocks(&g, g.b.kernels, &threads)
    run(&g, threads)
