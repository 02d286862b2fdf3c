"""What others use of the programs of windows."""

from fastpw.core.binding cimport Binding
from fastpw.core.kernels cimport fastpw_kernel_set
from fastpw.core.panels cimport Matrix
from fastpw.core.pixels cimport OPERANDS, Lead
from fastpw.core.rowwise cimport Rowwise
from fastpw.core.shuffle cimport Interleaved
from fastpw.core.windows cimport Windows


cdef class PackedStencil:
    cdef const fastpw_kernel_set *kernels
    cdef Py_ssize_t taps, n
    cdef int type
    cdef char *memory

    cdef Py_ssize_t bytes_of(self, Py_ssize_t channels) noexcept
    cdef void pack(self, Py_ssize_t first, const char *weight, const Matrix *matrix, const char *bias,
                   Py_ssize_t stride) noexcept


cdef class Program:
    cdef Binding binding
    cdef object shape, dtype, threads
    cdef int most_threads

    cdef int bind(self, tuple arrays, threads) except -1
    cdef int run(self, char *const *places) except -1
    cdef Py_ssize_t workspace(self, int members) noexcept
    cdef int run_in(self, char *const *places, int members, char *memory) except -1


cdef class Sweep(Program):
    cdef Windows windows
    cdef bint brief
    cdef char *memory            # fillers, counts of taps

    cdef int describe(self, tuple arrays, tuple views, tuple window, threads) except -1
    cdef int take_planes(self, const Binding *planes, tuple window) except -1
    cdef int cut(self) except -1


cdef class Stencil(Sweep):
    cdef PackedStencil packed


cdef class Pool(Sweep):
    pass


cdef class Shuffle(Program):
    cdef Interleaved how
    cdef Lead lead


cdef class Rows:
    cdef Rowwise how
    cdef Lead lead
    cdef tuple arrays            # and with what they are computed: they stay where they are
    cdef object threads
    cdef int most_threads
    cdef char *places[OPERANDS]

    cdef int take_operations(self, list operations) except -1
    cdef int cut(self) except -1
