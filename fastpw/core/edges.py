"""How the rows of a window are cut where taps of all of them lie beyond an edge: those are left out.

A result is the same however it is cut: what is left out are products with zeros.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

Pair = tuple[int, int]


class Span(NamedTuple):
    """Along one axis, rows that have the same taps inside, and these."""

    start: int
    stop: int
    first_tap: int
    stop_tap: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def taps(self) -> int:
        return self.stop_tap - self.first_tap


class Box(NamedTuple):
    """Rows of a plane, and the taps that are multiplied."""

    lines: Span
    places: Span

    @property
    def rows(self) -> int:
        return self.lines.rows * self.places.rows

    @property
    def work(self) -> int:
        return self.rows * self.lines.taps * self.places.taps


class Along(NamedTuple):
    """A window along one axis: its taps and the step between them, the stride of rows, where the first row
    has its first tap; the rows, and the size of A."""

    taps: int
    step: int
    stride: int
    origin: int
    rows: int
    size: int


# Tiles of fewer rows wait for their own sums.
FULL_ROWS = 4

# More boxes are left as they are: each takes tiles of its own.
MOST_BOXES = 32

# So much of the work is spared at least, or it is not worth the tiles of few rows.
SPARED = 0.01


@lru_cache(maxsize=1024)
def cut(lines: Along, places: Along) -> tuple[Box, ...]:
    """The boxes, which cover all rows once, largest first; a single one if no others are worth it."""
    whole = Box(Span(0, lines.rows, 0, lines.taps), Span(0, places.rows, 0, places.taps))
    if min(lines.rows, places.rows) == 0:
        return (whole,)
    down, across = _spans(lines), _spans(places)
    if max(len(down), len(across)) > MOST_BOXES:
        return (whole,)
    boxes = [
        Box(some, part)
        for some in _joined(down, -(-FULL_ROWS // places.rows))
        for part in (_columns(across) if some.rows >= FULL_ROWS else _joined(across, FULL_ROWS))
    ]
    if len(boxes) > MOST_BOXES or sum(box.work for box in boxes) > (1 - SPARED) * whole.work:
        return (whole,)
    return tuple(sorted(boxes, key=lambda box: -box.work))


def _spans(along: Along) -> list[Span]:
    """From each end of the rows that a tap is inside for to the next. A span has one tap at least."""
    taps, step, stride, origin, rows, size = along
    ends = {0, rows}
    for tap in range(taps):
        at = origin + tap * step
        ends |= {min(max(0, end), rows) for end in (-(at // stride), -((at - size) // stride))}
    ends = sorted(ends)
    found = []
    for start, stop in pairwise(ends):
        at = origin + start * stride
        first = min(max(0, -(at // step)), taps)
        last = min(max(first, -((at - size) // step)), taps)
        found.append(Span(start, stop, first, last) if first < last else Span(start, stop, 0, 1))
    return found


def _joined(spans: list[Span], least: int) -> list[Span]:
    """The same, but one of fewer rows than `least` goes with the one beside it that has fewer taps."""
    spans = list(spans)
    while len(spans) > 1 and min(span.rows for span in spans) < least:
        short = min(range(len(spans)), key=lambda i: spans[i].rows)
        beside = [i for i in (short - 1, short + 1) if 0 <= i < len(spans)]
        first = min(short, min(beside, key=lambda i: spans[i].taps))
        one, other = spans[first : first + 2]
        taps = min(one.first_tap, other.first_tap), max(one.stop_tap, other.stop_tap)
        spans[first : first + 2] = [Span(one.start, other.stop, *taps)]
    return spans


def _columns(spans: list[Span]) -> list[Span]:
    """The same, but the places of a short span are one by one: rows go from line to line then."""
    return [
        part
        for span in spans
        for part in (
            [span]
            if span.rows >= FULL_ROWS
            else [span._replace(start=i, stop=i + 1) for i in range(span.start, span.stop)]
        )
    ]
