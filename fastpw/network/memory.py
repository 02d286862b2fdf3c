"""How much memory a network may take, asked before it is taken."""

from __future__ import annotations

import os

# What a container grants, where it is one: cgroup version 2, version 1.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """Of the machine, or of the container where that is less, in bytes."""
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        most = 1 << 62
    for path in _LIMITS:
        try:
            with open(path) as file:
                most = min(most, int(file.read()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return most


class Budget:
    """Counts the bytes that a plan takes, and refuses those beyond the limit."""

    def __init__(self, limit: int, taken: int = 0) -> None:
        self.limit: int = limit
        self.taken: int = taken

    def check(self, count: int) -> None:
        """Whether so many bytes more are there.

        Raises
        ------
        ValueError
            They are not.
        """
        if self.taken + count > self.limit:
            raise ValueError(
                f"{self.taken + count:,} bytes are needed, memory_limit={self.limit:,} bytes are allowed"
            )

    def take(self, count: int) -> None:
        """Take so many bytes for good."""
        self.check(count)
        self.taken += count
