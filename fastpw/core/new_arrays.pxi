# New arrays for results.

cdef enum:
    # NumPy's own arrays begin 16 bytes past a line, so that every vector stored to them touches two. Where the
    # result leaves the first-level cache that costs up to 1.4 of the time; below, making sure of it costs more.
    LARGE = 32 << 10


def empty(tuple shape, dtype):
    """``np.empty``, but large arrays begin with a cache line, and may lie where one lay that is gone."""
    cdef ndarray memory
    cdef size_t place
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < LARGE:
        return numpy_empty(shape, dtype)
    memory = new_bytes(size + CACHE_LINE)
    place = <size_t>first_byte(memory)
    return ndarray(shape, dtype, memory, (CACHE_LINE - place % CACHE_LINE) % CACHE_LINE)
