# New arrays for results.

cdef enum:
    # NumPy's own arrays begin 16 bytes past a line, so that every vector stored to them touches two. Where the
    # result leaves the first-level cache that costs up to 1.4 of the time; below, making sure of it costs more.
    LARGE = 32 << 10


def empty(tuple shape, dtype):
    """``np.empty``, but large arrays begin with a cache line, and may lie where one lay that is gone."""
    cdef Py_buffer buffer
    cdef Py_ssize_t start
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < LARGE:
        return numpy_empty(shape, dtype)
    memory = new_bytes(size + CACHE_LINE)
    PyObject_GetBuffer(memory, &buffer, PyBUF_SIMPLE)
    start = (CACHE_LINE - <size_t>buffer.buf % CACHE_LINE) % CACHE_LINE
    PyBuffer_Release(&buffer)
    return ndarray(shape, dtype, memory, start)
