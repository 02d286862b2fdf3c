# distutils: language = c
"""The passes, each named as one GEMM (m rows, n columns, depth k).

=================  ===  ===  ===  ===============  ===================
pass               m    n    k    A                B
=================  ===  ===  ===  ===============  ===================
forward            P    K    C    x, in place      W, packed
backward, data     P    C    K    dz               W transposed, packed
backward, weights  K    C    P    dz transposed    x, in place or packed
=================  ===  ===  ===  ===============  ===================

Arrays come checked: float32 or float64 in native byte order and all of one
dtype, channels adjacent, nothing empty.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int64_t, PTRDIFF_MAX
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from fastpw.core.kernels cimport (FASTPW_F32, FASTPW_F64, FASTPW_FROM_BIAS, FASTPW_FROM_C, FASTPW_FROM_ZERO,
                                  FASTPW_LINEAR, FASTPW_N_ACTIVATIONS, FASTPW_READS_Y, FASTPW_READS_Z,
                                  fastpw_activations, fastpw_cpu_runs, fastpw_enter_float_state, fastpw_epilogue,
                                  fastpw_float_state, fastpw_kernel_set, fastpw_kernel_sets,
                                  fastpw_leave_float_state, fastpw_tile, fastpw_type_names)
from fastpw.core.loops cimport (CACHE_LINE, A, C, RESIDUAL, Z, Gemm, PackedB, fills_lines, in_place, pack_panel,
                                run_gemm, splits_depth, staging_bytes)
from fastpw.core.ndarray cimport (FLOAT32, axes, bytes_of_number, first_byte, holds, may_be_written, ndarray,
                                  shape_of, strides_of, type_of)
from fastpw.core.outer cimport PANELS_BYTES
from fastpw.core.pixels cimport Pixels, Rows, address, at_one_distance, join_all_axes
from fastpw.core.shares cimport Share
from fastpw.core.steps cimport (DATA_DEPTH, DATA_STEP, DRESIDUAL, DY, FROM_Z, GIVEN, NOT_NEEDED,
                                RECOMPUTED, S, XS, Matrix, Walk, columns_of_weights, copies_x, rows_of_weights)
from fastpw.core.team cimport omp_get_max_threads, omp_get_num_threads, pool_is_lost, team, watch_forks
from fastpw.core.walk cimport STEPS, run_walk

from numpy import empty as numpy_empty

from fastpw.core import partition
from fastpw.core.kept import new_bytes

ctypedef fused real:
    float
    double

watch_forks()

include "kernel_sets.pxi"
include "panels.pxi"
include "memory.pxi"
include "new_arrays.pxi"


cdef fastpw_epilogue epilogue_of(tuple activation) except *:
    cdef fastpw_epilogue e
    e.activation, e.alpha, e.beta = activation
    return e


# ---- forward -------------------------------------------------------------------------------------------------

cdef void set_blocks(Gemm *g, const fastpw_kernel_set *kernels, int *threads) except *:
    cdef const fastpw_tile *widest = &kernels.tiles[0]
    g.block_rows, g.block_panels, g.by_panels, threads[0] = partition.blocks(
        g.pixels.m, g.b.count, g.b.k, widest.mr, widest.nr, kernels.a_size, threads[0])
    g.row_unit = widest.mr if threads[0] == 1 else 1
    g.large = partition.leaves_caches(g.pixels.m * g.b.n * kernels.c_size,
                                      g.pixels.m * (g.b.k * kernels.a_size + g.b.n * kernels.c_size))
    if not in_place(g):
        g.block_panels = min(g.block_panels, <Py_ssize_t>partition.staged_panels(g.block_rows, widest.nr,
                                                                                 kernels.c_size))
    g.workspace_bytes = whole_lines(staging_bytes(g))


# Threads whose shares need no memory of their own.
cdef enum:
    FEW_THREADS = 8


cdef void run(Gemm *g, int threads) except *:
    """Run a GEMM, with the workspace that it needs."""
    cdef Share few[FEW_THREADS]
    cdef Share *shares = few
    cdef char *memory = NULL
    cdef char *workspace = NULL
    cdef bint streams = g.large and fills_lines(g)
    threads = team(threads)
    if g.streams != streams:
        g.streams = streams
    if threads > FEW_THREADS or g.workspace_bytes:
        memory = new_memory(threads * (sizeof(Share) + g.workspace_bytes), "the workspace")
        shares, workspace = <Share *>memory, memory + threads * sizeof(Share)
    run_gemm(g, shares, workspace, threads)
    free(memory)


cdef int describe(Gemm *g, x, const PackedB *b, y, residual, z, tuple activation) except -1:
    g.b = b[0]
    if x is None:
        g.b.k = 0
    g.ahead, g.entry, g.large, g.streams = NULL, FASTPW_FROM_BIAS, False, False
    count_rows(&g.pixels, y.shape)
    g.pixels.rows[A], g.pixels.rows[C] = rows_of(x), rows_of(y)
    g.pixels.rows[RESIDUAL], g.pixels.rows[Z] = rows_of(residual), rows_of(z)
    g.epilogue = epilogue_of(activation)
    join_all_axes(&g.pixels)
    return 0


def forward(x, Panels panels, y, residual, z, tuple activation, int threads):
    """y = act(x . B + bias + residual), z what goes into act.

    Parameters
    ----------
    x : ([[n0,] n1,] n2, k) array or None
        None: rows without depth, y = act(bias + residual).
    panels : Panels
        B and the bias.
    y : ([[n0,] n1,] n2, n) array
    residual, z : like `y`, or None
    activation : tuple
        Code, alpha, beta (kernel_set.h).
    threads : int
        The most threads to use.
    """
    cdef Gemm g
    describe(&g, x, &panels.b, y, residual, z, activation)
    set_blocks(&g, panels.b.kernels, &threads)
    run(&g, threads)


include "sums.pxi"
include "skipped.pxi"
include "backward.pxi"
include "replay.pxi"
include "replay_gradients.pxi"
