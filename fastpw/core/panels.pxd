"""B, packed: weights with their biases, in the order in which tiles read them.

A product's B is cut into panels, each as wide as the widest tile but the last, which belongs to the narrowest tile that
holds what is left.
"""

from cython.parallel cimport prange
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from fastpw.core.kernels cimport fastpw_kernel_set, fastpw_tile
from fastpw.core.ndarray cimport axes, first_byte, ndarray, shape_of, strides_of


cdef enum:
    CACHE_LINE = 64


cdef inline Py_ssize_t whole_lines(Py_ssize_t size) noexcept nogil:
    return (size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE


cdef inline char *new_memory(Py_ssize_t size, what) except NULL:
    """Memory that begins with a cache line."""
    cdef void *memory = NULL
    if posix_memalign(&memory, CACHE_LINE, max(size, 1)):
        raise MemoryError(f"no memory for {what} ({size} bytes)")
    return <char *>memory


# How B is packed; where that lies, its user knows.
cdef struct PackedB:
    const fastpw_kernel_set *kernels
    Py_ssize_t n, k
    bint diagonal                # one weight per channel: n biases, then n weights
    bint by_taps                 # its rows of A are found by a table: all panels are of the widest tile
    bint spares_zeros            # these leave out taps beyond an edge: no weight makes anything but zero of a zero
    Py_ssize_t count             # panels
    Py_ssize_t panel_bytes       # of the widest tile
    int last_tile                # the tile of the last panel


# How the numbers of a matrix lie, of whatever bytes apart.
cdef struct Matrix:
    Py_ssize_t rows, columns
    Py_ssize_t ld, stride        # from row to row, from column to column


# B as the caller has it, and its biases (NULL: none).
cdef struct Unpacked:
    const char *base
    Py_ssize_t stride_n, stride_k
    const char *bias
    Py_ssize_t stride_bias


cdef inline Matrix matrix_of(ndarray array) except *:
    """An array of one axis (a row) or two; all zero for None."""
    cdef Matrix matrix
    cdef int last
    memset(&matrix, 0, sizeof(matrix))
    if array is not None:
        last = axes(array) - 1
        matrix.rows = 1
        if last == 1:
            matrix.rows, matrix.ld = shape_of(array)[0], strides_of(array)[0]
        matrix.columns, matrix.stride = shape_of(array)[last], strides_of(array)[last]
    return matrix


cdef inline Matrix transposed(const Matrix *matrix) noexcept nogil:
    cdef Matrix other
    other.rows, other.columns, other.ld, other.stride = matrix.columns, matrix.rows, matrix.stride, matrix.ld
    return other


cdef inline const fastpw_tile *tile_of(const PackedB *b, Py_ssize_t panel) noexcept nogil:
    return &b.kernels.tiles[b.last_tile if panel == b.count - 1 else 0]


cdef inline bint splits_depth(const PackedB *b, Py_ssize_t panel) noexcept nogil:
    """Whether a panel's tile sums parts of the depth apart."""
    return tile_of(b, panel).depth_step > 1


cdef inline Py_ssize_t bytes_of_panel(const fastpw_tile *tile, Py_ssize_t k, Py_ssize_t element) noexcept nogil:
    cdef Py_ssize_t steps = (k + tile.depth_step - 1) // tile.depth_step
    return whole_lines(tile.head_bytes + steps * tile.depth_step * tile.nr * element)


cdef inline Py_ssize_t bytes_of_panels(const PackedB *b) noexcept nogil:
    """All of B. Its last panel is larger than others if its tile takes more depths in a step."""
    if b.diagonal:
        return 2 * b.n * b.kernels.b_size
    cdef Py_ssize_t last = bytes_of_panel(&b.kernels.tiles[b.last_tile], b.k, b.kernels.b_size)
    return (b.count - 1) * b.panel_bytes + max(b.panel_bytes, last)


cdef inline bint has_infinite(const PackedB *b, const char *numbers, Py_ssize_t count) noexcept nogil:
    """Whether there is an infinity or a NaN among packed numbers: their exponents have all bits, and one more carries
    into the sign. Of float32, two are looked at together."""
    cdef bint single = b.kernels.b_size == sizeof(float)
    cdef uint64_t exponents = <uint64_t>0x7f8000007f800000 if single else <uint64_t>0x7ff0000000000000
    cdef uint64_t ones = exponents & (~exponents + (<uint64_t>0x100000001 if single else 1)), found = 0
    cdef const uint64_t *words = <const uint64_t *>numbers
    cdef Py_ssize_t i
    for i in range(count * b.kernels.b_size // <Py_ssize_t>sizeof(uint64_t)):
        found |= (words[i] & exponents) + ones
    return found & ~exponents != 0


cdef inline bint pack_panel(const PackedB *b, const Unpacked *from_, Py_ssize_t panel, char *to) noexcept nogil:
    """Whether the zeros of windows matter: whether there is an infinity or a NaN, where windows are found by a table."""
    cdef const fastpw_tile *tile = tile_of(b, panel)
    cdef Py_ssize_t column = panel * b.kernels.tiles[0].nr
    cdef const char *bias = NULL
    if from_.bias != NULL:
        bias = from_.bias + column * from_.stride_bias
    tile.pack(to, min(<Py_ssize_t>tile.nr, b.n - column), b.k, from_.base + column * from_.stride_n, from_.stride_n,
              from_.stride_k, bias, from_.stride_bias)
    return b.by_taps and has_infinite(b, to + tile.head_bytes, b.k * tile.nr)


cdef inline void copy_numbers(char *to, const char *from_, Py_ssize_t stride, Py_ssize_t n,
                              Py_ssize_t element) noexcept nogil:
    """Numbers to where they lie side by side; zeros if `from_` is NULL. (As bytes: the caller's may be unaligned.)"""
    cdef Py_ssize_t j
    if from_ == NULL:
        memset(to, 0, n * element)
        return
    for j in range(n):
        memcpy(to + j * element, from_ + j * stride, element)


cdef inline bint pack(const PackedB *b, const Unpacked *from_, char *to, int threads) noexcept nogil:
    """All of B. The same of it as of a panel."""
    cdef Py_ssize_t j, size = b.kernels.b_size
    cdef int infinite = 0
    if b.diagonal:
        copy_numbers(to, from_.bias, from_.stride_bias, b.n, size)
        copy_numbers(to + b.n * size, from_.base, from_.stride_n, b.n, size)
    elif threads == 1:
        for j in range(b.count):
            infinite += pack_panel(b, from_, j, to + j * b.panel_bytes)
    else:
        for j in prange(b.count, num_threads=threads, schedule="static"):
            infinite += pack_panel(b, from_, j, to + j * b.panel_bytes)
    return infinite > 0


cdef inline void gate_panel(const PackedB *b, const char *panels, const char *gates, Py_ssize_t panel,
                            char *to) noexcept nogil:
    cdef const fastpw_tile *tile = tile_of(b, panel)
    cdef Py_ssize_t at = panel * b.panel_bytes
    memcpy(to + at, panels + at, tile.head_bytes)
    at += tile.head_bytes
    b.kernels.gate(b.k, tile.nr, tile.depth_step, panels + at, gates, to + at)


cdef inline void gate_panels(const PackedB *b, const char *panels, const char *gates, char *to,
                             int threads) noexcept nogil:
    """All of B, each row of it times its gate."""
    cdef Py_ssize_t j
    if threads == 1:
        for j in range(b.count):
            gate_panel(b, panels, gates, j, to)
    else:
        for j in prange(b.count, num_threads=threads, schedule="static"):
            gate_panel(b, panels, gates, j, to)
