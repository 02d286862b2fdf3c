"""Windows: rows of a product that are many rows of A, in a plane of lines, some beyond its edges.

A row's taps are copied together, or found where they lie by a table of runs: taps one after the other.

The pixels of A lie in planes, lines and places. A row of the product reads taps[0] x taps[1] of them, which lie at
equal steps from each other; the next row reads others, at equal strides from these. Beyond the edges are zeros.
"""

from libc.string cimport memcpy, memset

from fastpw.core.ndarray cimport axes, bytes_of_number, ndarray, shape_of, strides_of
from fastpw.core.panels cimport whole_lines


cdef enum:
    # Bytes of taps of a line that are one run where they adjoin: fewer runs to look up. Those that cross an edge are
    # copied, which takes memory, and longer ones gain little.
    LONG_RUN = 512


# Numbers first..stop-1.
cdef struct Range:
    Py_ssize_t first, stop


# The outer axis comes first: lines, then places in a line.
cdef struct Window:
    Py_ssize_t count             # of taps; 0: no window, a row of the product is a row of A
    Py_ssize_t taps[2]
    Py_ssize_t step[2]           # from tap to tap
    Py_ssize_t stride[2]         # from row to row
    Py_ssize_t origin[2]         # where the first row has its first tap
    Py_ssize_t rows[2]           # of the product, in a plane
    Py_ssize_t size[2]           # of A's planes
    Py_ssize_t plane             # bytes from plane to plane,
    Py_ssize_t distance[2]       # from line to line, from place to place
    Py_ssize_t ring              # A has room for so many lines, and line after line goes round; 0: all are there
    Py_ssize_t pixel             # bytes of one
    Range whole                  # the rows of a line whose places are all inside
    Py_ssize_t runs, run         # of a row, and bytes of one: a tap, or the taps of a line


cdef inline Range whole_places(const Window *w) noexcept nogil:
    cdef Range whole
    cdef Py_ssize_t last = w.size[1] - 1 - (w.taps[1] - 1) * w.step[1] - w.origin[1]    # from the origin
    whole.first = 0 if w.origin[1] >= 0 else (w.stride[1] - 1 - w.origin[1]) // w.stride[1]
    whole.stop = 0 if last < 0 else min(w.rows[1], last // w.stride[1] + 1)
    return whole


cdef inline bint has_edges(const Window *w) noexcept nogil:
    """Whether some rows have places outside."""
    return w.whole.first > 0 or w.whole.stop < w.rows[1]


cdef inline bint taps_adjoin(const Window *w) noexcept nogil:
    """Whether the taps of a line are one piece of memory."""
    return w.taps[1] == 1 or w.step[1] * w.distance[1] == w.pixel


cdef inline void set_runs(Window *w) noexcept nogil:
    """Taps of a line are one run if that takes few copies."""
    w.whole = whole_places(w)
    w.runs, w.run = w.count, w.pixel
    if taps_adjoin(w) and not (has_edges(w) and w.taps[1] * w.pixel > LONG_RUN):
        w.runs, w.run = w.taps[0], w.taps[1] * w.pixel


cdef inline int take_window(Window *w, tuple window, ndarray a, ndarray c) except -1:
    """Taps, steps, strides and origins (each of both axes), over A (planes, lines, places, numbers); C has its rows.

    That both have these axes was checked. It is looked at again, as join_axes does. No position may overflow.
    """
    cdef int axis
    taps, steps, strides, origins = window
    if axes(a) != 4 or axes(c) != 4 or shape_of(a)[0] != shape_of(c)[0]:
        raise ValueError("arrays of one leading shape are needed, got some that were changed meanwhile")
    for axis in range(2):
        w.taps[axis], w.step[axis], w.stride[axis] = taps[axis], steps[axis], strides[axis]
        w.origin[axis] = origins[axis]
        w.size[axis] = shape_of(a)[1 + axis]
        # (where there is one line, or one place, any number may be its stride, and positions beyond it overflow)
        w.distance[axis] = strides_of(a)[1 + axis] if w.size[axis] > 1 else shape_of(a)[3] * bytes_of_number(a)
        w.rows[axis] = shape_of(c)[1 + axis]
        reach = abs(origins[axis]) + w.rows[axis] * strides[axis] + taps[axis] * steps[axis] + w.size[axis]
        if min(taps[axis], steps[axis], strides[axis]) < 1 or reach >= 1 << 62:
            raise ValueError(f"no window has taps {taps}, steps {steps}, strides {strides}, origins {origins}")
    w.count = w.taps[0] * w.taps[1]
    w.plane, w.pixel = strides_of(a)[0], shape_of(a)[3] * bytes_of_number(a)
    w.ring = 0
    set_runs(w)
    return 0


cdef inline int narrowed(const Window *w, lines, places, Window *to) except -1:
    """Some lines and places of the rows, over some of the taps: as edges.Span says it."""
    cdef int axis
    to[0] = w[0]
    for axis, some in enumerate((lines, places)):
        to.origin[axis] += some.start * w.stride[axis] + some.first_tap * w.step[axis]
        to.rows[axis], to.taps[axis] = some.stop - some.start, some.stop_tap - some.first_tap
    to.count = to.taps[0] * to.taps[1]
    set_runs(to)
    return 0


cdef inline double rows_of_tap(const Window *w) noexcept nogil:
    """How many rows read the same pixel, or pass it by."""
    return max(1.0, <double>w.count / (<double>min(w.stride[0], w.taps[0]) * min(w.stride[1], w.taps[1])))


# Where a row has its first tap.
cdef struct Spot:
    const char *plane
    Py_ssize_t row[2]            # of the product, in its plane
    Py_ssize_t at[2]             # of A


cdef inline void find_first_tap(const Window *w, Spot *spot) noexcept nogil:
    spot.at[0] = w.origin[0] + spot.row[0] * w.stride[0]
    spot.at[1] = w.origin[1] + spot.row[1] * w.stride[1]


cdef inline void find_spot(const Window *w, const char *base, Py_ssize_t row, Spot *spot) noexcept nogil:
    """`base` is A's first pixel."""
    cdef Py_ssize_t line = row // w.rows[1]
    spot.plane = base + line // w.rows[0] * w.plane
    spot.row[0], spot.row[1] = line % w.rows[0], row % w.rows[1]
    find_first_tap(w, spot)


cdef inline void next_spot(const Window *w, Spot *spot) noexcept nogil:
    spot.row[1] += 1
    if spot.row[1] == w.rows[1]:
        spot.row[1] = 0
        spot.row[0] += 1
    if spot.row[0] == w.rows[0]:
        spot.row[0] = 0
        spot.plane += w.plane
    find_first_tap(w, spot)


cdef inline bint inside(const Window *w, int axis, Py_ssize_t at) noexcept nogil:
    return 0 <= at < w.size[axis]


cdef inline Range taps_inside(const Window *w, int axis, Py_ssize_t at) noexcept nogil:
    """Of an axis."""
    cdef Py_ssize_t taps = w.taps[axis], step = w.step[axis]
    cdef Range range_
    range_.first, range_.stop = 0, taps
    if at < 0:
        range_.first = min(taps, (step - 1 - at) // step)
    if at + (taps - 1) * step >= w.size[axis]:
        range_.stop = max(range_.first, (w.size[axis] - at + step - 1) // step)
    return range_


cdef inline const char *tap_of(const Window *w, const Spot *spot, Py_ssize_t line, Py_ssize_t place) noexcept nogil:
    """A tap that is inside."""
    cdef Py_ssize_t at = spot.at[0] + line * w.step[0]
    if w.ring:
        at %= w.ring
    return spot.plane + at * w.distance[0] + (spot.at[1] + place * w.step[1]) * w.distance[1]


cdef inline void copy_line(const Window *w, const Spot *spot, Py_ssize_t line, Range places, char *to) noexcept nogil:
    """The taps of a line, of which `places` are inside."""
    cdef Py_ssize_t place
    if not inside(w, 0, spot.at[0] + line * w.step[0]) or places.first == places.stop:
        memset(to, 0, w.taps[1] * w.pixel)
        return
    memset(to, 0, places.first * w.pixel)
    if taps_adjoin(w):
        memcpy(to + places.first * w.pixel, tap_of(w, spot, line, places.first),
               (places.stop - places.first) * w.pixel)
    else:
        for place in range(places.first, places.stop):
            memcpy(to + place * w.pixel, tap_of(w, spot, line, place), w.pixel)
    memset(to + places.stop * w.pixel, 0, (w.taps[1] - places.stop) * w.pixel)


cdef inline void gather_taps(const Window *w, const char *base, Py_ssize_t start, Py_ssize_t stop,
                             char *to) noexcept nogil:
    """All taps of rows start..stop-1, row by row."""
    cdef Py_ssize_t line, _
    cdef Range places
    cdef Spot spot
    find_spot(w, base, start, &spot)
    for _ in range(start, stop):
        places = taps_inside(w, 1, spot.at[1])
        for line in range(w.taps[0]):
            copy_line(w, &spot, line, places, to)
            to += w.taps[1] * w.pixel
        next_spot(w, &spot)


cdef inline Py_ssize_t bytes_of_copies(const Window *w) noexcept nogil:
    """Of a row: its runs, if they may cross an edge."""
    return w.runs * w.run if w.runs < w.count and has_edges(w) else 0


cdef inline Py_ssize_t bytes_of_table(const Window *w, Py_ssize_t rows) noexcept nogil:
    """What find_runs needs: zeros, the table, and room for runs that cross an edge."""
    return whole_lines(rows * w.runs * sizeof(char *)) + whole_lines(w.run) + whole_lines(rows * bytes_of_copies(w))


# Rows side by side with the same taps inside: lines x places.
cdef struct Reach:
    Py_ssize_t rows
    Range lines, places


cdef inline void find_reach(const Window *w, const Spot *spot, Py_ssize_t most, Reach *reach) noexcept nogil:
    """Of at most so many rows from this one on."""
    reach.rows = 1
    reach.lines, reach.places = taps_inside(w, 0, spot.at[0]), taps_inside(w, 1, spot.at[1])
    if w.whole.first <= spot.row[1] < w.whole.stop:
        reach.rows = min(most, w.whole.stop - spot.row[1])


cdef inline void put_run(const char **table, Py_ssize_t rows, const char *run, Py_ssize_t shift) noexcept nogil:
    """The same run of rows side by side."""
    cdef Py_ssize_t row
    for row in range(rows):
        table[row] = run
        run += shift


cdef inline void put_runs(const Window *w, const Spot *spot, const Reach *reach, const char *zeros,
                          const char **table, Py_ssize_t ld) noexcept nogil:
    """The runs of these rows, the first of which is at the spot; each run is inside or not. `ld` pointers lie from run
    to run."""
    cdef Py_ssize_t line, place, places = w.runs // w.taps[0]
    for line in range(w.taps[0]):
        for place in range(places):
            if reach.lines.first <= line < reach.lines.stop and reach.places.first <= place < reach.places.stop:
                put_run(table, reach.rows, tap_of(w, spot, line, place), w.stride[1] * w.distance[1])
            else:
                put_run(table, reach.rows, zeros, 0)
            table += ld


cdef inline bint crosses_edge(const Window *w, Range places) noexcept nogil:
    """Whether a run of all taps of a line does."""
    return w.runs < w.count and places.first < places.stop and places.stop - places.first < w.taps[1]


cdef inline void find_runs(const Window *w, const char *base, Py_ssize_t start, Py_ssize_t stop,
                           char *workspace) noexcept nogil:
    """The table of the runs of rows start..stop-1, run by run; it comes first in the workspace."""
    cdef const char **table = <const char **>workspace
    cdef Py_ssize_t row = start, line, ld = stop - start
    cdef char *zeros = workspace + whole_lines(ld * w.runs * sizeof(char *))
    cdef char *copy = zeros + whole_lines(w.run)
    cdef Reach reach
    cdef Spot spot
    memset(zeros, 0, w.run)
    while row < stop:
        find_spot(w, base, row, &spot)
        find_reach(w, &spot, stop - row, &reach)
        put_runs(w, &spot, &reach, zeros, table, ld)
        if crosses_edge(w, reach.places):
            for line in range(reach.lines.first, reach.lines.stop):
                copy_line(w, &spot, line, reach.places, copy)
                table[line * ld] = copy
                copy += w.run
        table += reach.rows
        row += reach.rows
