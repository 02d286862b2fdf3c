"""Segments: rows of a product whose windows have the same taps inside. They leave out the others."""

from libc.string cimport memset

from fastpw.core.gemm_window cimport Window, narrowed
from fastpw.core.ndarray cimport ndarray, strides_of
from fastpw.core.panels cimport new_memory
from fastpw.core.pixels cimport C, OPERANDS, Lead, Pixels, join_axes, take_inner_axes


cdef struct Segment:
    Py_ssize_t first             # row; the next segment's rows follow
    Window window                # over the taps that are left
    Pixels pixels                # where its results lie,
    Py_ssize_t offsets[OPERANDS]     # and how far from those of the first row of a plane
    Py_ssize_t depth             # in a panel, of the first tap
    Py_ssize_t left_out          # depths between the taps of a line and those of the next


cdef inline void whole_window(const Window *w, const Pixels *pixels, Segment *s) noexcept nogil:
    """All rows, with all taps."""
    memset(s, 0, sizeof(s[0]))
    s.window, s.pixels = w[0], pixels[0]


cdef inline int take_box(const Window *w, box, tuple views, Py_ssize_t numbers, Segment *s) except -1:
    """The views are those of a GEMM's operands, and a pixel of A has so many numbers."""
    cdef Lead lead
    cdef ndarray array
    cdef int i
    lines, places = box
    memset(s, 0, sizeof(s[0]))
    narrowed(w, lines, places, &s.window)
    some = [view if view is None else view[:, lines.start:lines.stop, places.start:places.stop] for view in views[C:]]
    join_axes(&lead, (None, *some))
    take_inner_axes(&lead, &s.pixels)
    for i in range(C, OPERANDS):
        array = views[i]
        if array is not None:
            s.offsets[i] = lines.start * strides_of(array)[1] + places.start * strides_of(array)[2]
    s.depth = (lines.first_tap * w.taps[1] + places.first_tap) * numbers
    s.left_out = (w.taps[1] - s.window.taps[1]) * numbers
    return 0


cdef inline Segment *new_segments(const Window *w, tuple boxes, tuple views, Py_ssize_t numbers) except NULL:
    """Of edges.Boxes."""
    cdef Segment *segments
    cdef Py_ssize_t first = 0
    cdef int i
    segments = <Segment *>new_memory(len(boxes) * sizeof(Segment), "the segments of a window")
    for i in range(len(boxes)):
        take_box(w, boxes[i], views, numbers, &segments[i])
        segments[i].first = first
        first += segments[i].pixels.m
    return segments
