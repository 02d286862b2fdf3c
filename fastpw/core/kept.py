"""Memory that is kept for what comes next: that of large results that are gone, and scratch."""

import numpy as np

# Beyond 32 MiB, glibc hands memory back when it is freed, and the system clears new pages for what follows.
# So what was freed last is kept, up to a limit (bench/constants.md).
LEAST_KEPT = 32 << 20
MOST_KEPT = 64 << 20


_freed: list[np.ndarray] = []  # at most one


class _Loan:
    """What an array's memory belongs to; when the array and all its views are gone, the memory is kept."""

    def __init__(self, memory: np.ndarray):
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self, freed: list[np.ndarray] = _freed):  # (the module may be gone before)
        freed[:] = (self.memory,)


def new_bytes(size: int) -> np.ndarray:
    """So many bytes: new ones or, of a large size, those that were freed last, if they suffice."""
    if not LEAST_KEPT <= size <= MOST_KEPT:
        return np.empty(size, np.uint8)
    try:
        memory = _freed.pop()
    except IndexError:
        memory = None
    if memory is None or memory.size < size:
        memory = np.empty(size, np.uint8)
    return np.asarray(_Loan(memory))


# Scratch: to ask for it anew takes as long as a small layer. So one piece is kept, of at most this size.
MOST_SCRATCH = 8 << 20
LINE = 64  # bytes of a cache line

_scratch: list[np.ndarray] = []  # at most one


def borrow(size: int) -> np.ndarray:
    """So many bytes or more, which begin with a cache line, until they are given back."""
    kept = _take()
    if kept is not None and kept.size >= size:
        return kept
    del kept  # so that the system has that memory before it is asked for more
    memory = np.empty(size + LINE, np.uint8)
    return memory[-memory.ctypes.data % LINE :]


def give_back(memory: np.ndarray) -> None:
    """Keep memory that was borrowed for who borrows next, unless there is more already."""
    kept = _take()
    larger = memory if kept is None or kept.size < memory.size else kept
    if larger.size <= MOST_SCRATCH:
        _scratch[:] = (larger,)


def _take() -> np.ndarray | None:
    """What is kept, which is the caller's then."""
    try:
        return _scratch.pop()
    except IndexError:
        return None
