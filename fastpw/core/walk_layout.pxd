"""How a walk's sums and buffers are laid out, from what it computes and how it is cut."""

from fastpw.core.finish cimport adds_up_beside
from fastpw.core.gradients cimport (DY, FROM_Z, GIVEN, NOT_NEEDED, RECOMPUTED, S, XS, Walk, columns_of_weights,
                                    copies_x, panels_of_weights, rows_of_weights)
from fastpw.core.outer cimport DEPTHS_BYTES, PANELS_BYTES, depth_of_sums, panels_are_lines
from fastpw.core.panels cimport CACHE_LINE, PackedB, bytes_of_panel, bytes_of_panels, splits_depth, whole_lines
from fastpw.core.pixels cimport at_one_distance
from fastpw.core.staged cimport staging_bytes
from fastpw.core.steps cimport (DATA_APART, DATA_DEEP, DATA_FAR_APART, DATA_MANY_ROWS, DATA_ROWS,
                                DATA_SHALLOW)


cdef inline bint may_form(const Walk *w) noexcept nogil:
    """Whether dz can be formed by the tiles that sum the weights."""
    return (w.kernels.outer_forms >> w.epilogue.activation & 1 and w.source == GIVEN
            and at_one_distance(&w.pixels, DY) and at_one_distance(&w.pixels, S))


cdef inline Py_ssize_t row_bytes(const Walk *w) noexcept nogil:
    """What is read and written of a pixel."""
    return (w.outputs * (1 + (w.source != NOT_NEEDED)) + w.inputs * (1 + w.wants_weights)) * w.kernels.a_size


cdef inline void lay_out_sums(Walk *w) noexcept nogil:
    """Whether dW is summed right where it belongs, and which way; and the sums of a slice."""
    cdef Py_ssize_t element = w.kernels.c_size
    w.sums.bias_bytes = whole_lines(w.outputs * element) if w.wants_bias else 0
    if not w.wants_weights or w.diagonal:
        w.sums.across = False
    else:
        w.sums.x_in_place = at_one_distance(&w.pixels, XS)
        w.sums.direct = w.cut.slices == 1 and (w.dweight.stride == element or w.dweight.ld == element)
        if w.sums.direct:
            w.sums.across = w.dweight.stride != element
        w.sums.adds = w.sums.direct and w.accumulates or adds_up_beside(w)
        w.sums.forms = w.cut.slices > 1 and w.sums.across and may_form(w)
        w.sums.ld = columns_of_weights(w) * element
        if w.sums.direct:
            w.sums.ld = w.dweight.stride if w.sums.across else w.dweight.ld
    if w.wants_weights and not w.sums.direct:
        w.sums.weights_bytes = whole_lines(rows_of_weights(w) * columns_of_weights(w) * element)
    w.sums.slice_bytes = w.sums.bias_bytes + w.sums.weights_bytes


cdef inline Py_ssize_t odd_lines(Py_ssize_t size) noexcept nogil:
    """An odd number of cache lines from row to row: rows a power of two apart would share a few sets."""
    return whole_lines(size) | CACHE_LINE


cdef inline void lay_out_block(Walk *w) noexcept nogil:
    """Where the buffers of a block begin, and their sizes."""
    cdef Py_ssize_t rows = w.cut.block_rows
    w.block.s_at = rows * w.block.dz_ld
    w.block.x_at = w.block.s_at + (rows * w.block.dz_ld if w.source in (FROM_Z, RECOMPUTED) else 0)
    w.block.size = w.block.x_at + (rows * w.block.x_ld if copies_x(w) else 0)


cdef inline Py_ssize_t bytes_packed(const Walk *w) noexcept nogil:
    """What is packed of W at a time: all of it, or a panel of some depths, of all depths if its tile splits them."""
    cdef const PackedB *b = &w.data.b
    cdef Py_ssize_t last_depth
    if not w.wants_data or b.diagonal:
        return 0
    if w.packs_first:
        return bytes_of_panels(b)
    last_depth = b.k if splits_depth(b, b.count - 1) else w.data_depth
    return max(max(w.data_panels, 1) * bytes_of_panel(&b.kernels.tiles[0], w.data_depth, b.kernels.b_size),
               bytes_of_panel(&b.kernels.tiles[b.last_tile], last_depth, b.kernels.b_size))


cdef inline bint packs_panels(const Walk *w) noexcept nogil:
    """Whether panels of W are packed together before rows meet them. A panel that is one cache line wide takes from
    each row of W a line of its own, and from rows that lie far apart lines that push each other out of all caches."""
    if w.kernels.tiles[0].nr * w.kernels.b_size > CACHE_LINE:
        return False
    if w.pixels.m >= DATA_MANY_ROWS:
        return w.data.stride_k >= DATA_APART and w.data_depth >= DATA_SHALLOW
    return w.pixels.m >= DATA_ROWS and w.data.stride_k >= DATA_FAR_APART and w.data_depth >= DATA_DEEP


cdef inline void lay_out_panels(Walk *w) noexcept nogil:
    """How many panels of x are packed together, and how they lie: a power of two apart, those that are packed together
    would share a few sets."""
    cdef Py_ssize_t panels = max(panels_of_weights(w), 1), most = PANELS_BYTES, size, together
    w.sums.pixels = max(w.cut.block_rows, 1)
    if panels_are_lines(w):
        w.sums.pixels, most = min(w.sums.pixels, depth_of_sums(w)), DEPTHS_BYTES
    size = whole_lines(w.sums.pixels * w.kernels.tiles[0].nr * w.kernels.a_size)
    w.own.panel_bytes, together = odd_lines(size), max(1, most // size)
    together = (panels + together - 1) // together
    w.own.some_panels = (panels + together - 1) // together


cdef inline void lay_out_own(Walk *w) noexcept nogil:
    """Where each thread's own buffers begin, and their sizes."""
    cdef Py_ssize_t rows = w.cut.block_rows
    lay_out_panels(w)
    w.own.w_at = w.own.some_panels * w.own.panel_bytes if w.wants_weights and not w.diagonal else 0
    w.own.staging_at = w.own.w_at + bytes_packed(w)
    w.own.size = w.own.staging_at
    if w.source == RECOMPUTED:
        w.own.size += whole_lines(staging_bytes(&w.recompute, rows, w.recompute.b.count))
    if w.wants_data:
        w.own.size = max(w.own.size, w.own.staging_at + whole_lines(staging_bytes(&w.data, rows, w.data.b.count)))
