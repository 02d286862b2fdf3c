"""What others use of the forward pass."""

from fastpw.core.binding cimport Binding
from fastpw.core.gemm cimport Bound, Gemm
from fastpw.core.layout cimport Layout
from fastpw.core.panels cimport Matrix, PackedB
from fastpw.core.pixels cimport OPERANDS
from fastpw.core.schedule cimport Schedule
from fastpw.core.tap_panels cimport TapPlaces


# The weights of a convolution, as the caller has them and as they are packed, group by group.
cdef struct Weights:
    PackedB b                    # of one group
    Py_ssize_t groups
    Matrix matrix                # (n, k) of one group, or of one tap in it
    TapPlaces places             # where the taps lie, if not at one distance
    Py_ssize_t from_group        # bytes to the next
    Py_ssize_t stride_bias
    Py_ssize_t taps              # of a window, whose rows of x meet a part of the depth each; 0: there is none
    Py_ssize_t packed_bytes      # of one group
    int threads                  # that pack it, at most


cdef Weights weights_of(weight, bias, Py_ssize_t groups, int threads,
                        Py_ssize_t taps=*) except *
cdef void pack_weights(const Weights *w, const char *weight, const char *bias, char *to, int threads) noexcept nogil
cpdef object empty(tuple shape, dtype)


cdef class PackedWeights:
    cdef Weights how
    cdef char *memory


# A GEMM of a program, over some channels and pixels of its arrays.
cdef struct Part:
    Gemm gemm
    Schedule schedule
    Py_ssize_t offsets[OPERANDS]     # of the first row, from the array's first element
    bint used[OPERANDS]
    Py_ssize_t packed_offset


cdef class Forward:
    cdef Binding binding
    cdef Layout weight, bias         # of the arrays that each call brings
    cdef Weights weights
    cdef PackedWeights packed        # None: each call packs what it brings
    cdef Part *parts
    cdef int count
    cdef object shape, dtype, threads
    cdef int most_threads            # how many its GEMMs use at most
    cdef bint together               # each GEMM is computed by one thread

    cdef int take_weights(self, weights, Py_ssize_t taps) except -1
    cdef int add(self, tuple views, tuple arrays, Py_ssize_t group, tuple activation, tuple window) except -1
    cdef Py_ssize_t depth_of_row(self) except -1
    cdef int keep(self, const Part *part) except -1
    cdef bint find_weights(self, weight, bias, char **places) noexcept
    cdef bint takes_gates(self, gates) noexcept
    cdef int pack_and_run(self, char *const *places) except -1
    cdef Py_ssize_t workspace(self, int members) noexcept
    cdef int share_parts(self) except -1
    cdef void bind_part(self, int number, char *const *places, const char *packed, Bound *at) noexcept
    cdef int run_together(self, char *const *places, const char *packed, int members) except -1
    cdef int run_parts(self, char *const *places, const char *packed) except -1
