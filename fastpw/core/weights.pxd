"""The weights of a convolution: as the caller has them, and packed."""

from fastpw.core.panels cimport Matrix, PackedB, Unpacked, pack
from fastpw.core.tap_panels cimport TapPlaces, pack_taps


# Packed group by group.
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


cdef inline bint pack_weights(const Weights *w, const char *weight, const char *bias, char *to,
                              int threads) noexcept nogil:
    """All groups, one behind the other. The same of them as of a panel."""
    cdef Py_ssize_t group
    cdef bint infinite = False
    cdef Unpacked b
    b.stride_n, b.stride_k, b.stride_bias = w.matrix.ld, w.matrix.stride, w.stride_bias
    for group in range(w.groups if w.b.n else 0):
        b.base = weight + group * w.from_group
        b.bias = NULL
        if bias != NULL:
            b.bias = bias + group * w.b.n * w.stride_bias
        if w.places.lines:
            infinite |= pack_taps(&w.b, &b, &w.places, to + group * w.packed_bytes, threads)
        else:
            infinite |= pack(&w.b, &b, to + group * w.packed_bytes, threads)
    return infinite
