# distutils: language = c
"""What there is to compute with: kernel sets, and threads."""

from cython.parallel cimport prange
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t

from fastpw.core cimport team as openmp
from fastpw.core.integers cimport fastpw_cpu_runs_integers, fastpw_integer_set, fastpw_integer_sets
from fastpw.core.kernels cimport (FASTPW_F32, FASTPW_F64, FASTPW_N_ACTIVATIONS, FASTPW_READS_Y, FASTPW_READS_Z,
                                  fastpw_activations, fastpw_cpu_runs, fastpw_kernel_set, fastpw_kernel_sets,
                                  fastpw_type_names)
from fastpw.core.ndarray cimport FLOAT32

openmp.look_around()


# ---- kernel sets ---------------------------------------------------------------------------------------------

cdef const fastpw_kernel_set *chosen[2]        # float32, float64
cdef const fastpw_integer_set *chosen_integers


cdef const fastpw_kernel_set *kernels_for(int type) noexcept:
    """The set in use for numbers of a NumPy type."""
    return chosen[0] if type == FLOAT32 else chosen[1]


cdef const fastpw_integer_set *integer_kernels() noexcept:
    """The set in use for integers."""
    return chosen_integers


cdef const fastpw_kernel_set *best(bytes isa, int type):
    """The first set for numbers of a type (a tag) that this CPU runs, of one ISA where one is named."""
    cdef int i = 0
    while fastpw_kernel_sets[i] != NULL:
        if (fastpw_kernel_sets[i].a_type == type and fastpw_cpu_runs(fastpw_kernel_sets[i])
                and (isa is None or <bytes>fastpw_kernel_sets[i].isa == isa)):
            return fastpw_kernel_sets[i]
        i += 1
    return NULL


cdef const fastpw_integer_set *best_integers(bytes isa):
    """The same for integers, which have more instruction sets."""
    cdef int i = 0
    while fastpw_integer_sets[i] != NULL:
        if (fastpw_cpu_runs_integers(fastpw_integer_sets[i])
                and (isa is None or <bytes>fastpw_integer_sets[i].isa == isa)):
            return fastpw_integer_sets[i]
        i += 1
    return NULL


def choose_isa(name=None):
    """Use the kernels of one instruction set from now on; None: the best that this CPU runs.

    Where a set is for integers alone, floats have the one that belongs to it.
    """
    global chosen_integers
    isa = None if name is None else name.encode()
    cdef const fastpw_integer_set *integers = best_integers(isa)
    if isa is not None and integers != NULL:
        isa = <bytes>integers.floats
    cdef const fastpw_kernel_set *f32 = best(isa, FASTPW_F32)
    cdef const fastpw_kernel_set *f64 = best(isa, FASTPW_F64)
    if f32 == NULL or f64 == NULL or integers == NULL:
        sets = [*kernel_sets(), *integer_sets()]
        built = list(dict.fromkeys(row["isa"] for row in sets))
        runs = list(dict.fromkeys(row["isa"] for row in sets if row["runs"]))
        raise ValueError(f"instruction set {name!r} is not available: built are {', '.join(built)}; "
                         f"this CPU runs {', '.join(runs)}")
    chosen[0], chosen[1], chosen_integers = f32, f64, integers


def kernel_sets():
    """Every kernel set built: isa, dtype, whether this CPU runs it, whether it is in use, its tiles."""
    rows = []
    cdef const fastpw_kernel_set *s
    cdef int i = 0, t
    while fastpw_kernel_sets[i] != NULL:
        s = fastpw_kernel_sets[i]
        rows.append({
            "isa": s.isa.decode(), "dtype": fastpw_type_names[s.c_type].decode(), "runs": bool(fastpw_cpu_runs(s)),
            "chosen": s == chosen[0] or s == chosen[1], "lanes": s.lanes,
            "tiles": [(s.tiles[t].mr, s.tiles[t].nr, s.tiles[t].depth_step, s.tiles[t].least_depth)
                      for t in range(s.n_tiles)],
        })
        i += 1
    return rows


def integer_sets():
    """Every kernel set for integers: isa, the isa for floats that belongs to it, whether this CPU runs it, whether it
    is in use, its tile (rows, columns, depths of a step)."""
    rows = []
    cdef const fastpw_integer_set *s
    cdef int i = 0
    while fastpw_integer_sets[i] != NULL:
        s = fastpw_integer_sets[i]
        rows.append({"isa": s.isa.decode(), "floats": s.floats.decode(), "runs": bool(fastpw_cpu_runs_integers(s)),
                     "chosen": s == chosen_integers, "tile": (s.mr, s.nr, s.depth_step)})
        i += 1
    return rows


def activations():
    """Every activation that the kernels know: name, code, and what its derivative is read from, "y", "z" or None."""
    reads = {FASTPW_READS_Y: "y", FASTPW_READS_Z: "z"}
    return [(fastpw_activations[code].name.decode().lower(), code, reads.get(fastpw_activations[code].reads))
            for code in range(FASTPW_N_ACTIVATIONS)]


choose_isa()


def peak(dtype, int64_t rounds, int threads):
    """Run multiply-adds in registers on every thread; return the floating-point operations done."""
    cdef const fastpw_kernel_set *s = chosen[0] if dtype == "float32" else chosen[1]
    cdef double flops = 0
    cdef int _
    with nogil:
        if threads == 1:
            flops = s.peak(rounds)
        else:
            threads = openmp.team(threads)
            for _ in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                flops += s.peak(rounds)
    return flops


# ---- threads -------------------------------------------------------------------------------------------------

cdef int team(int threads) noexcept nogil:
    """The threads that a call which may use `threads` of them starts with."""
    return openmp.team(threads)


cdef int team_still(int threads) noexcept nogil:
    """What is left of a team of `threads` for the next region of a call: 1 where the last one was too slow."""
    return openmp.team_still(threads)


cdef int team_begins(int threads) noexcept nogil:
    """The leader says so just before the region; returns `threads`."""
    return openmp.team_begins(threads)


cdef int team_member() noexcept nogil:
    """The number of a member, who asks for it at the beginning of its share."""
    return openmp.team_member()


cdef void share_done() noexcept nogil:
    """Every member of a team says so at the end of its share."""
    openmp.share_done()


cdef void team_joined(int threads) noexcept nogil:
    """The leader says so after the region."""
    openmp.team_joined(threads)


def openmp_threads():
    """What OpenMP would use in the calling thread: OMP_NUM_THREADS, affinity, limits set by threadpoolctl."""
    cdef int threads = openmp.omp_get_max_threads()
    return threads if threads > 0 else INT_MAX           # OMP_NUM_THREADS=4294967295 is beyond its numbers


def openmp_limits():
    """What OpenMP may use at most: the CPUs that it knows of, and OMP_THREAD_LIMIT."""
    return openmp.omp_get_num_procs(), openmp.omp_get_thread_limit()


def cpus_left():
    """That the calling thread may run on, if they have become fewer since the import; else a large number."""
    return openmp.most_threads(openmp.count_cpus())


def in_forked_child():
    """Whether the calling thread lost its OpenMP pool in a fork, and therefore works alone."""
    return bool(openmp.pool_is_lost())


# ---- the build -----------------------------------------------------------------------------------------------

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
