# B, packed.

cdef char *new_memory(Py_ssize_t size, what) except NULL:
    """Memory that begins with a cache line."""
    cdef void *memory = NULL
    if posix_memalign(&memory, CACHE_LINE, max(size, 1)):
        raise MemoryError(f"no memory for {what} ({size} bytes)")
    return <char *>memory


cdef class Panels:
    """B, packed for one kernel set: weights with their biases, in the order in which tiles read them."""

    cdef PackedB b

    def __dealloc__(self):
        free(self.b.panels)


cdef Py_ssize_t whole_lines(Py_ssize_t size) noexcept nogil:
    return (size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE


cdef Py_ssize_t panel_bytes(const fastpw_tile *tile, Py_ssize_t k, Py_ssize_t element) noexcept nogil:
    cdef Py_ssize_t steps = (k + tile.depth_step - 1) // tile.depth_step
    return whole_lines(tile.head_bytes + steps * tile.depth_step * tile.nr * element)


cdef PackedB panels_of(const fastpw_kernel_set *kernels, Py_ssize_t n, Py_ssize_t k) except *:
    """How B is cut into panels; they are not there yet."""
    cdef PackedB b
    memset(&b, 0, sizeof(b))
    b.kernels, b.n, b.k = kernels, n, k
    b.count, b.last_tile = partition.column_panels(n, k, tiles_of[kernels.isa, kernels.a_type])
    if <double>b.count * kernels.tiles[0].nr * (k + CACHE_LINE) * kernels.b_size > <double>PTRDIFF_MAX:
        raise MemoryError(f"no memory for packed weights ({n} x {k} numbers)")
    b.panel_bytes = panel_bytes(&kernels.tiles[0], k, kernels.b_size)
    return b


cdef Py_ssize_t bytes_of_panels(const PackedB *b, Py_ssize_t count) noexcept nogil:
    """So many, the last of B among them, which is larger if its tile takes more depths in a step."""
    cdef Py_ssize_t last = panel_bytes(&b.kernels.tiles[b.last_tile], b.k, b.kernels.b_size)
    return (count - 1) * b.panel_bytes + max(b.panel_bytes, last)


cdef Panels new_panels(const fastpw_kernel_set *kernels, Py_ssize_t n, Py_ssize_t k):
    cdef Panels panels = Panels.__new__(Panels)
    cdef PackedB b = panels_of(kernels, n, k)
    b.panels = new_memory(bytes_of_panels(&b, b.count), "packed weights")
    panels.b = b
    return panels


cdef int packing_threads(const PackedB *b, int threads) except -1:
    return 1 if b.n * b.k < partition.SMALL_PACKING else threads


cdef void pack_panels(const PackedB *b, const char *heads, Py_ssize_t stride_bias, int threads) noexcept nogil:
    """All of B, from its base."""
    cdef Py_ssize_t j
    if threads == 1:
        for j in range(b.count):
            pack_panel(b, j, b.panels + j * b.panel_bytes, heads, stride_bias)
    else:
        for j in prange(b.count, num_threads=threads, schedule="static"):
            pack_panel(b, j, b.panels + j * b.panel_bytes, heads, stride_bias)


cdef Panels pack_real(const real[:, :] weight, const real[:] bias, const fastpw_kernel_set *kernels, int threads):
    cdef Panels panels = new_panels(kernels, weight.shape[0], weight.shape[1])
    cdef PackedB *b = &panels.b
    cdef const char *heads = NULL
    cdef Py_ssize_t stride_bias = 0
    b.base, b.stride_n, b.stride_k = NULL, weight.strides[0], weight.strides[1]
    if b.k > 0:
        b.base = <const char *>&weight[0, 0]
    if bias is not None:
        heads, stride_bias = <const char *>&bias[0], bias.strides[0]
    threads = team(packing_threads(b, threads))
    with nogil:
        pack_panels(b, heads, stride_bias, threads)
    b.base = NULL                # the caller's, who may change it
    return panels


def pack(weight, bias, int threads=1):
    """Pack `weight` (n, k) and `bias` (n,) or None, of any strides, for the chosen kernels of their dtype."""
    if weight.itemsize == 4:
        return pack_real[float](weight, bias, chosen[0], threads)
    return pack_real[double](weight, bias, chosen[1], threads)


cdef Panels pack_scale_real(const real[:] scale, const real[:] bias, const fastpw_kernel_set *kernels):
    cdef Panels panels = Panels.__new__(Panels)
    cdef PackedB *b = &panels.b
    cdef Py_ssize_t n = scale.shape[0], j
    cdef real *row = <real *>new_memory(2 * n * kernels.b_size, "packed weights")
    b.panels = <char *>row
    b.kernels, b.n, b.k, b.diagonal, b.count = kernels, n, 1, True, 1
    for j in range(n):
        # Copied as bytes: the caller's arrays may be unaligned.
        row[j] = 0
        if bias is not None:
            memcpy(&row[j], &bias[j], sizeof(real))
        memcpy(&row[n + j], &scale[j], sizeof(real))
    return panels


def pack_scale(scale, bias):
    """Pack one weight per channel, `scale` (n,), with `bias` (n,) or None: `forward` multiplies rows by it."""
    if scale.itemsize == 4:
        return pack_scale_real[float](scale, bias, chosen[0])
    return pack_scale_real[double](scale, bias, chosen[1])
