"""The contract of ../kernels/integer_set.h, as Cython reads it."""

from libc.stdint cimport int32_t

from fastpw.core.kernels cimport fastpw_epilogue

cdef extern from "integer_set.h" nogil:
    enum:
        FASTPW_HEAD_PADDING
        FASTPW_HEAD_I8
        FASTPW_HEAD_U8
        FASTPW_HEAD_COLUMN_SUMS
        FASTPW_HEAD_SCALES
        FASTPW_HEAD_BIASES
        FASTPW_HEAD_ROWS

    ctypedef struct fastpw_row_scale:
        int32_t zero
        float scale

    ctypedef struct fastpw_stage_args:
        Py_ssize_t m, k
        const char *x
        Py_ssize_t ldx
        int32_t x_type
        char *to
        Py_ssize_t ldto

    ctypedef struct fastpw_quantize_args:
        Py_ssize_t m, k, groups
        const char *x
        Py_ssize_t ldx
        char *to
        Py_ssize_t ldto, from_group
        fastpw_row_scale *rows

    ctypedef struct fastpw_requantize:
        int32_t c_type, by_activation
        fastpw_epilogue epilogue
        float low, high, y_scale
        int32_t zero_point

    ctypedef struct fastpw_integer_args:
        Py_ssize_t m, n, k
        const char *x
        Py_ssize_t ldx
        const char *panel
        int32_t start, shifts
        const fastpw_row_scale *rows
        char *c
        Py_ssize_t ldc
        const fastpw_requantize *how

    ctypedef struct fastpw_integer_set:
        const char *isa
        const char *floats
        int32_t nr, mr, depth_step, x_size, shift_of_i8, shift_of_u8, shifts
        void (*pack)(char *weights, Py_ssize_t n, Py_ssize_t k, const char *w, Py_ssize_t stride_n,
                     Py_ssize_t stride_k) noexcept nogil
        void (*stage)(const fastpw_stage_args *) noexcept nogil
        void (*quantize)(const fastpw_quantize_args *) noexcept nogil
        void (*product)(const fastpw_integer_args *) noexcept nogil
        void (*scale)(const fastpw_integer_args *) noexcept nogil

    const fastpw_integer_set *fastpw_integer_sets[]
    int fastpw_cpu_runs_integers(const fastpw_integer_set *) noexcept nogil
