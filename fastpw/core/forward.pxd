"""What others use of the forward pass."""

from fastpw.core.binding cimport Binding
from fastpw.core.layout cimport Layout
from fastpw.core.gemm cimport Gemm
from fastpw.core.parts cimport Part
from fastpw.core.segments cimport Segment
from fastpw.core.weights cimport Weights


cdef Weights weights_of(weight, bias, Py_ssize_t groups, int threads,
                        Py_ssize_t taps=*) except *
cpdef object empty(tuple shape, dtype)


cdef class PackedWeights:
    cdef Weights how
    cdef char *memory


cdef class Forward:
    cdef Binding binding
    cdef Layout weight, bias         # of the arrays that each call brings
    cdef Weights weights
    cdef PackedWeights packed        # None: each call packs what it brings
    cdef Part *parts
    cdef int count
    cdef Segment *segments           # of the window of all parts, if it has any
    cdef int segment_count
    cdef object shape, dtype, threads
    cdef int most_threads            # how many its GEMMs use at most
    cdef bint together               # each GEMM is computed by one thread

    cdef int take_weights(self, weights, Py_ssize_t taps) except -1
    cdef int add(self, tuple views, tuple arrays, Py_ssize_t group, tuple activation, tuple window) except -1
    cdef int find_segments(self, Gemm *g, tuple window, tuple views) except -1
    cdef Py_ssize_t depth_of_row(self) except -1
    cdef int keep(self, const Part *part) except -1
    cdef bint find_weights(self, weight, bias, char **places) noexcept
    cdef bint takes_gates(self, gates) noexcept
    cdef int pack_and_run(self, char *const *places) except -1
    cdef Py_ssize_t workspace(self, int members) noexcept
    cdef int share_parts(self) except -1
    cdef int run_parts(self, char *const *places, const char *packed) except -1
    cdef int run_in(self, char *const *places, const char *packed, int members, char *memory) except -1
