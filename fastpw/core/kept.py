"""Memory of large results that are gone, kept for the next."""

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
