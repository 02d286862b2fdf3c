# The pixels of dx that a stride skips, which get zeros.

cdef struct Skipped:
    Pixels pixels                # of all of dx: its only operand
    Py_ssize_t bytes_of_pixel
    # Down and along an image: those from `first` on, `step` apart, are not skipped.
    Py_ssize_t first[2]
    Py_ssize_t step[2]
    bint small


cdef int describe_skipped(Skipped *s, ndarray dx, tuple first, tuple step) except -1:
    memset(s, 0, sizeof(s[0]))
    count_rows(&s.pixels, (<object>dx).shape)
    s.pixels.rows[0] = rows_of(dx)
    s.bytes_of_pixel = shape_of(dx)[axes(dx) - 1] * bytes_of_number(dx)
    s.first[0], s.first[1] = first
    s.step[0], s.step[1] = step
    s.small = s.pixels.m * s.bytes_of_pixel < partition.SMALL_CLEARING_BYTES
    return 0


cdef void zero_pixels(char *first, Py_ssize_t stride, Py_ssize_t count, Py_ssize_t bytes_of_pixel) noexcept nogil:
    cdef Py_ssize_t i
    if stride == bytes_of_pixel:
        memset(first, 0, count * bytes_of_pixel)
        return
    for i in range(count):
        memset(first + i * stride, 0, bytes_of_pixel)


cdef void zero_row(const Skipped *s, Py_ssize_t number) noexcept nogil:
    """A row of an image; they are numbered through all images."""
    cdef const Pixels *pixels = &s.pixels
    cdef Py_ssize_t height = pixels.size[1], width = pixels.size[2], stride = pixels.rows[0].stride[2]
    cdef char *row = address(pixels, 0, number * width)
    cdef Py_ssize_t start = 0, stop = width
    if number % height % s.step[0] == s.first[0]:
        stop = s.first[1]
    while start < width:
        zero_pixels(row + start * stride, stride, min(stop, width) - start, s.bytes_of_pixel)
        start = stop + 1
        stop += s.step[1]


cdef void zero_skipped(const Skipped *s, int threads) noexcept nogil:
    cdef Py_ssize_t rows = s.pixels.size[0] * s.pixels.size[1], number
    if threads == 1 or s.small:
        for number in range(rows):
            zero_row(s, number)
    else:
        for number in prange(rows, num_threads=threads, schedule="static"):
            zero_row(s, number)


def clear_skipped(ndarray dx, tuple first, tuple step, int threads):
    """Write zeros to the pixels of dx that a stride skips.

    Parameters
    ----------
    dx : ([n,] height, width, channels) array
    first, step : (int, int)
        Down and along the images: pixels that are `first` + a multiple of `step` in both are left alone.
    threads : int
        The most threads to use.
    """
    cdef Skipped s
    describe_skipped(&s, dx, first, step)
    threads = team(threads)
    with nogil:
        zero_skipped(&s, threads)
