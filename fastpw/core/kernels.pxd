"""The contract of kernels/kernel_set.h."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef extern from "kernel_set.h" nogil:
    enum:
        FASTPW_F32
        FASTPW_F64
        FASTPW_I8
        FASTPW_U8
        FASTPW_I32
        FASTPW_LINEAR
        FASTPW_FROM_ZERO
        FASTPW_FROM_BIAS
        FASTPW_FROM_C
        FASTPW_MAX_TILES
        FASTPW_N_ACTIVATIONS
        FASTPW_READS_Y
        FASTPW_READS_Z

    const char **fastpw_type_names

    ctypedef struct fastpw_activation_row:
        const char *name
        int32_t reads

    const fastpw_activation_row *fastpw_activations

    ctypedef struct fastpw_epilogue:
        int32_t activation
        double alpha, beta

    ctypedef struct fastpw_ahead:
        const char *next
        Py_ssize_t ld, rows

    ctypedef struct fastpw_output:
        const char *residual
        Py_ssize_t ldr
        char *z
        Py_ssize_t ldz
        char *c
        Py_ssize_t ldc
        const fastpw_epilogue *epilogue

    ctypedef struct fastpw_gemm_args:
        Py_ssize_t m, n, k
        const char *a
        Py_ssize_t lda
        const char *panel
        int32_t entry, streams
        fastpw_output out
        fastpw_ahead *ahead

    ctypedef struct fastpw_row_args:
        Py_ssize_t n, k
        const char *a
        const char *panels
        Py_ssize_t panel_bytes
        int32_t entry
        const char *residual
        char *z
        char *c
        const fastpw_epilogue *epilogue

    ctypedef struct fastpw_taps_args:
        Py_ssize_t m, n, k, taps, taps_of_line
        const char *const *rows
        Py_ssize_t ldrows
        const char *panel
        Py_ssize_t from_ "from"
        Py_ssize_t skip
        int32_t clears_sign
        fastpw_output out
        fastpw_ahead *ahead

    ctypedef struct fastpw_few_args:
        Py_ssize_t m, n, k
        const char *a
        Py_ssize_t lda
        const char *b
        Py_ssize_t ldb
        char *c
        Py_ssize_t ldc
        int32_t adds

    ctypedef struct fastpw_unpacked_args:
        Py_ssize_t m, k
        const char *a
        Py_ssize_t lda
        const char *b
        Py_ssize_t ldb
        char *c
        Py_ssize_t ldc
        int32_t adds
        fastpw_ahead *ahead

    ctypedef struct fastpw_forming:
        const char *dy
        Py_ssize_t lddy
        const char *s
        Py_ssize_t lds
        char *dz
        char *sums

    ctypedef struct fastpw_outer_args:
        Py_ssize_t m, n, k
        const char *a
        Py_ssize_t lda
        const char *b
        Py_ssize_t ldb
        const fastpw_forming *forming
        char *c
        Py_ssize_t ldc
        int32_t adds
        fastpw_ahead *ahead

    ctypedef struct fastpw_scale_args:
        Py_ssize_t m, n
        const char *a
        Py_ssize_t lda
        const char *bias
        const char *weights
        fastpw_output out

    ctypedef struct fastpw_gradient_args:
        Py_ssize_t m, n
        const char *dy
        Py_ssize_t lddy
        const char *s
        Py_ssize_t lds
        char *dz
        Py_ssize_t lddz
        char *sums
        const fastpw_epilogue *epilogue

    enum:
        FASTPW_WINDOW_COLUMNS

    ctypedef struct fastpw_window:
        const char **pixels
        Py_ssize_t ld
        Py_ssize_t tap_rows, tap_columns, row_step, column_step, row_stride, column_stride

    ctypedef struct fastpw_stencil_args:
        Py_ssize_t rows, columns, n
        fastpw_window window
        Py_ssize_t at
        bint far
        int group
        const char *weights
        fastpw_output out
        Py_ssize_t row_ldr, row_ldz, row_ldc

    ctypedef struct fastpw_pool_args:
        Py_ssize_t rows, columns, n
        fastpw_window window
        Py_ssize_t at
        const int32_t *row_taps
        const int32_t *column_taps
        char *c
        Py_ssize_t ldc, row_ldc

    ctypedef struct fastpw_slide:
        Py_ssize_t taps, step, stride, origin, inputs

    ctypedef struct fastpw_stencil_gradient_args:
        Py_ssize_t rows, columns, n
        const char *dz
        Py_ssize_t lddz, row_lddz
        const char *x
        Py_ssize_t ldx, row_ldx
        fastpw_slide down, across
        char *sums
        Py_ssize_t ldsums

    enum:
        FASTPW_ACTIVATE
        FASTPW_MOST_INPUTS
        FASTPW_MOST_OPERATIONS

    ctypedef struct fastpw_operation:
        int32_t op, a, b
        double number
        fastpw_epilogue epilogue

    ctypedef struct fastpw_elements_args:
        Py_ssize_t m, n
        const char *inputs[FASTPW_MOST_INPUTS]
        Py_ssize_t ld[FASTPW_MOST_INPUTS]
        int32_t operations
        const fastpw_operation *program
        char *c
        Py_ssize_t ldc

    ctypedef struct fastpw_normal_args:
        Py_ssize_t m, n
        const char *a
        Py_ssize_t lda
        const char *weights
        const char *bias
        double epsilon
        char *c
        Py_ssize_t ldc

    ctypedef struct fastpw_tile:
        int32_t mr, nr, depth_step, least_depth, head_bytes
        void (*pack)(char *, Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, Py_ssize_t,
                     const char *, Py_ssize_t) noexcept nogil
        void (*gemm)(const fastpw_gemm_args *) noexcept nogil

    ctypedef struct fastpw_kernel_set:
        const char *isa
        int32_t a_type, b_type, c_type, sum_type
        int32_t a_size, b_size, c_size
        int32_t lanes
        int32_t n_tiles
        fastpw_tile tiles[FASTPW_MAX_TILES]
        void (*row)(const fastpw_row_args *) noexcept nogil
        void (*taps)(const fastpw_taps_args *) noexcept nogil
        void (*unpacked)(const fastpw_unpacked_args *) noexcept nogil
        void (*few)(const fastpw_few_args *) noexcept nogil
        void (*scale)(const fastpw_scale_args *) noexcept nogil
        void (*outer)(const fastpw_outer_args *) noexcept nogil
        uint32_t outer_forms
        void (*gradient)(const fastpw_gradient_args *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, const char *, Py_ssize_t,
                            char *) noexcept nogil
        void (*split)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, char *, Py_ssize_t) noexcept nogil
        void (*transpose)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, char *, Py_ssize_t) noexcept nogil
        void (*stencil)(const fastpw_stencil_args *) noexcept nogil
        void (*stencil_gradient)(const fastpw_stencil_gradient_args *) noexcept nogil
        void (*pool)(const fastpw_pool_args *) noexcept nogil
        void (*interleave)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, Py_ssize_t, char *,
                           Py_ssize_t) noexcept nogil
        void (*elements)(const fastpw_elements_args *) noexcept nogil
        void (*normal)(const fastpw_normal_args *) noexcept nogil
        void (*row_sums)(Py_ssize_t, Py_ssize_t, const char *, Py_ssize_t, double, char *) noexcept nogil
        void (*gate)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const char *, const char *, char *) noexcept nogil
        double (*peak)(int64_t) noexcept nogil

    const fastpw_kernel_set **fastpw_kernel_sets
    int fastpw_cpu_runs(const fastpw_kernel_set *)

    ctypedef struct fastpw_float_state:
        pass
    fastpw_float_state fastpw_enter_float_state()
    void fastpw_leave_float_state(fastpw_float_state)
