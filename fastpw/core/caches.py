"""The sizes of the processor's caches, as the system tells them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SYSFS = Path("/sys/devices/system/cpu/cpu0/cache")
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


def read(folder: Path = SYSFS) -> Caches:
    """Of the machine; of what is not told, the default."""
    sizes, cores = {}, {}
    for index in sorted(folder.glob("index*")):
        try:
            if (index / "type").read_text().strip() == "Instruction":
                continue
            level, size = int((index / "level").read_text()), (index / "size").read_text().strip()
            sizes[level] = int(size.rstrip("KMG")) * UNITS.get(size[-1:], 1)
            cores[level] = _count((index / "shared_cpu_list").read_text())
        except (OSError, ValueError):
            continue
    second = sizes[2] // cores[2] if 2 in sizes else DEFAULT.second
    last = sizes[max(sizes)] if max(sizes, default=0) >= 2 else DEFAULT.last
    limits = zip((second, last), LEAST, MOST, strict=True)
    return Caches(*(min(max(size, least), most) for size, least, most in limits))


def _count(cpus: str) -> int:
    """How many a list like 0-3,8 names."""
    ranges = (part.split("-") for part in cpus.split(","))
    return sum(int(numbers[-1]) - int(numbers[0]) + 1 for numbers in ranges)
