"""What the backward pass uses of the forward pass."""

from fastpw.core.panels cimport Matrix, PackedB
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
