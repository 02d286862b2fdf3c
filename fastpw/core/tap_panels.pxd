"""Weights of a window packed from where they lie, tap by tap: the depths of one tap follow those of the one before."""

from cython.parallel cimport prange
from libc.string cimport memcpy

from fastpw.core.kernels cimport fastpw_tile
from fastpw.core.panels cimport PackedB, Unpacked, has_infinite, tile_of

# Some depths of some panels at a time, all taps of them: what is read in short pieces, each in a page of its own, is
# read again while these are known, and so is what lies between the taps.
cdef enum:
    PACKED_DEPTHS = 64
    PACKED_PANELS = 4
    MOST_HEAD_BYTES = 512


# Where the taps lie, line by line; lines 0: all depths are at one distance.
cdef struct TapPlaces:
    Py_ssize_t lines, places
    Py_ssize_t line, place       # bytes from one to the next


cdef inline bint pack_piece(const PackedB *b, const Unpacked *from_, Py_ssize_t panel, Py_ssize_t depth,
                            Py_ssize_t count, char *to) noexcept nogil:
    """`count` depths from number `depth` on, which `from_` begins with; returns what pack_panel does. A tile packs a
    head in front of them: where that is not the panel's, it has the place of other depths."""
    cdef const fastpw_tile *tile = tile_of(b, panel)
    cdef char others[MOST_HEAD_BYTES]
    cdef Py_ssize_t column = panel * b.kernels.tiles[0].nr, n = min(<Py_ssize_t>tile.nr, b.n - column)
    cdef const char *base = from_.base + column * from_.stride_n
    cdef const char *bias = NULL
    if from_.bias != NULL and depth == 0:
        bias = from_.bias + column * from_.stride_bias
    to += depth * tile.nr * b.kernels.b_size
    if depth > 0:
        memcpy(others, to, tile.head_bytes)
    tile.pack(to, n, count, base, from_.stride_n, from_.stride_k, bias, from_.stride_bias)
    if depth > 0:
        memcpy(to, others, tile.head_bytes)
    return b.by_taps and has_infinite(b, to + tile.head_bytes, count * tile.nr)


cdef inline bint pack_some_panels(const PackedB *b, const Unpacked *all, const TapPlaces *taps, Py_ssize_t first,
                                  char *to) noexcept nogil:
    cdef Py_ssize_t k = b.k // (taps.lines * taps.places), chunk, start, tap, panel
    cdef Unpacked piece = all[0]
    cdef bint infinite = False
    for chunk in range((k + PACKED_DEPTHS - 1) // PACKED_DEPTHS):
        start = chunk * PACKED_DEPTHS
        for tap in range(taps.lines * taps.places):
            piece.base = (all.base + tap // taps.places * taps.line + tap % taps.places * taps.place
                          + start * all.stride_k)
            for panel in range(first, min(first + PACKED_PANELS, b.count)):
                infinite |= pack_piece(b, &piece, panel, tap * k + start, min(<Py_ssize_t>PACKED_DEPTHS, k - start),
                                       to + panel * b.panel_bytes)
    return infinite


cdef inline bint pack_taps(const PackedB *b, const Unpacked *from_, const TapPlaces *taps, char *to,
                           int threads) noexcept nogil:
    """All of B; no tile of it splits the depth."""
    cdef Py_ssize_t i, some = (b.count + PACKED_PANELS - 1) // PACKED_PANELS
    cdef int infinite = 0
    if threads == 1:
        for i in range(some):
            infinite += pack_some_panels(b, from_, taps, i * PACKED_PANELS, to)
        return infinite > 0
    for i in prange(some, num_threads=threads, schedule="static"):
        infinite += pack_some_panels(b, from_, taps, i * PACKED_PANELS, to)
    return infinite > 0
