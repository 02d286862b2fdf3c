"""The contract of kernels/kernel_set.h."""

from libc.stdint cimport int32_t, int64_t


cdef extern from "kernel_set.h" nogil:
    enum:
        FASTPW_LINEAR
        FASTPW_RELU
        FASTPW_FROM_ZERO
        FASTPW_FROM_BIAS
        FASTPW_FROM_C
        FASTPW_MAX_TILES

    ctypedef struct fastpw_epilogue:
        int32_t activation
        double alpha, beta

    ctypedef struct fastpw_ahead:
        const char *next
        Py_ssize_t ld, rows

    ctypedef struct fastpw_forming:
        const char *dy
        Py_ssize_t lddy
        const char *s
        Py_ssize_t lds
        char *dz
        char *sums

    ctypedef struct fastpw_block:
        Py_ssize_t m, n, k
        const char *a
        Py_ssize_t lda
        const char *panel
        Py_ssize_t ldb
        const fastpw_forming *forming
        fastpw_ahead *ahead
        char *c
        Py_ssize_t ldc
        const char *residual
        Py_ssize_t ldr
        char *z
        Py_ssize_t ldz
        int32_t entry, streams
        const fastpw_epilogue *epilogue

    ctypedef struct fastpw_gradient:
        Py_ssize_t m, n
        const char *dy
        Py_ssize_t lddy
        const char *s
        Py_ssize_t lds
        char *dz
        Py_ssize_t lddz
        char *sums
        const fastpw_epilogue *epilogue

    ctypedef struct fastpw_tile:
        int32_t mr, nr, depth_step, least_depth
        void (*pack)(char *, Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, Py_ssize_t,
                     const char *, Py_ssize_t) noexcept nogil
        void (*block)(const fastpw_block *) noexcept nogil

    ctypedef struct fastpw_kernel_set:
        const char *isa
        const char *dtype
        int32_t a_size, b_size, c_size
        int32_t lanes
        int32_t n_tiles
        fastpw_tile tiles[FASTPW_MAX_TILES]
        void (*unpacked)(const fastpw_block *) noexcept nogil
        void (*row)(const fastpw_block *) noexcept nogil
        void (*scale)(const fastpw_block *) noexcept nogil
        void (*outer)(const fastpw_block *) noexcept nogil
        int32_t outer_forms
        void (*split)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, char *, Py_ssize_t) noexcept nogil
        void (*transpose)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, char *, Py_ssize_t) noexcept nogil
        void (*gradient)(const fastpw_gradient *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, const char *, Py_ssize_t,
                            char *) noexcept nogil
        double (*peak)(int64_t) noexcept nogil

    const fastpw_kernel_set **fastpw_kernel_sets
    int fastpw_cpu_runs(const fastpw_kernel_set *)

    ctypedef struct fastpw_float_state:
        pass
    fastpw_float_state fastpw_enter_float_state()
    void fastpw_leave_float_state(fastpw_float_state)
