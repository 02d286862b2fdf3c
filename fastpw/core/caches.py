"""The sizes of the processor's caches, as the system tells them."""

from __future__ import annotations

import os
from typing import NamedTuple

SYSFS = "/sys/devices/system/cpu/cpu0/cache"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Caches(NamedTuple):
    """Bytes that one core has of the second level, and bytes of the last level."""

    second: int
    last: int


# Where the system does not tell: what many servers have.
DEFAULT = Caches(512 << 10, 32 << 20)

# What is believed of it: a virtual machine may show caches that are not there, or none.
LEAST = Caches(128 << 10, 1 << 20)
MOST = Caches(2 << 20, 256 << 20)


def read(folder: str | os.PathLike[str] = SYSFS) -> Caches:
    """Of the machine; of what is not told, the default."""
    sizes, cores = {}, {}
    for number in range(10):
        index = os.path.join(folder, f"index{number}")
        try:
            if _told(index, "type") == "Instruction":
                continue
            level, size = int(_told(index, "level")), _told(index, "size")
            sizes[level] = int(size.rstrip("KMG")) * UNITS.get(size[-1:], 1)
            cores[level] = _count(_told(index, "shared_cpu_list"))
        except (OSError, ValueError):
            continue
    second = sizes[2] // cores[2] if 2 in sizes else DEFAULT.second
    last = sizes[max(sizes)] if max(sizes, default=0) >= 2 else DEFAULT.last
    limits = zip((second, last), LEAST, MOST, strict=True)
    return Caches(*(min(max(size, least), most) for size, least, most in limits))


def _told(folder: str, name: str) -> str:
    with open(os.path.join(folder, name)) as file:
        return file.read().strip()


def _count(cpus: str) -> int:
    """How many a list like 0-3,8 names."""
    ranges = (part.split("-") for part in cpus.split(","))
    return sum(int(numbers[-1]) - int(numbers[0]) + 1 for numbers in ranges)
