"""Arrays in an .npz file, with a description in JSON before them: quick to read, and checked. No pickles.

NumPy's own `np.load` opens such a file. Reading it here takes neither the archive's directory nor a copy:
the description says where each array lies, at a multiple of `ALIGNMENT`, and what its checksum is.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BufferedReader
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from .._frozen import Mapped
from .memory import Budget

VERSION = 2
ALIGNMENT = 64  # bytes: a cache line
_DESCRIPTION = "graph"  # the name of the description, beside the arrays' numbers
_MOST_DESCRIBED = 1 << 26  # bytes of a description
_DTYPES = {
    *["|b1", "|i1", "|u1", "<f4", "<f8"],
    *[f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)],
}

# What a member of an archive begins with, before its name: APPNOTE.TXT of PKWARE, 4.3.7.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END, _END_SIZE = b"PK\x05\x06", 22  # what an archive ends with, 4.3.16
_SIZES = 20  # bytes of the field with a member's sizes in 64 bits
_FILL = 0xD935  # the field that zipalign of Android fills up with, too
_ROOM = 320  # bytes for what stands before an array: these, and NumPy's header
_ALWAYS = (1980, 1, 1, 0, 0, 0)  # the date of all members: the same network is the same file


class ArchiveError(ValueError):
    """No such file, or a damaged one."""


# ---- checksums


_CHUNK = 1 << 18  # bytes that are read and summed at a time: they stay in the second-level cache
_LANES = 512  # numbers of 8 bytes that are summed side by side
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # an odd number: the order of chunks matters


class _Sum:
    """A checksum of bytes at the speed of memory, where `zlib.crc32` reads a gigabyte a second or less.

    Each chunk is summed in lanes of 64 bits, the lanes of earlier chunks multiplied by an odd number before.
    The checksum is the CRC of what is left over and of the lanes. Whatever changes within 64 bits is found;
    of other damage, all but a few cases in millions.
    """

    def __init__(self) -> None:
        self._lanes = np.zeros(_LANES, "<u8")
        self._row = np.empty(_LANES, "<u8")
        self._rest = 0

    def add(self, chunk: Any) -> None:
        """All chunks but the last one are _CHUNK bytes."""
        whole = len(chunk) // (8 * _LANES) * _LANES
        if whole:
            np.add.reduce(np.frombuffer(chunk, "<u8", whole).reshape(-1, _LANES), axis=0, out=self._row)
            self._lanes *= _FACTOR
            self._lanes += self._row
        if 8 * whole < len(chunk):
            self._rest = zlib.crc32(memoryview(chunk)[8 * whole :], self._rest)

    def value(self) -> int:
        return zlib.crc32(self._lanes.tobytes(), self._rest) if self._lanes.any() else self._rest


def _checksum(data: Any) -> int:
    total = _Sum()
    for start in range(0, len(data), _CHUNK):
        total.add(memoryview(data)[start : start + _CHUNK])
    return total.value()


# ---- written


def write(path: str | os.PathLike[str], description: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write a file, in the place of one that may be there: whoever has that open keeps it.

    `description` is what JSON holds; "version" and "arrays" are added to it.
    """
    import zipfile  # noqa: PLC0415 - reading does without

    # One number everywhere, as of a ConstantOfShape, is written in full.
    arrays = [np.ascontiguousarray(array).reshape(array.shape) for array in arrays]
    arrays = [array.astype(array.dtype.newbyteorder("<"), copy=False) for array in arrays]
    entries, place = [], 0
    for array in arrays:
        place = _aligned(place + _ROOM)
        entries.append([array.dtype.str, array.shape, place, _checksum(array.tobytes())])
        place += array.nbytes
    text = json.dumps({"version": VERSION, "arrays": entries, **description}).encode()
    target = os.path.realpath(path)
    partial = f"{target}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
            first = _put(file, _DESCRIPTION, np.frombuffer(text, np.uint8))
            for number, (array, entry) in enumerate(zip(arrays, entries, strict=True)):
                _put(file, str(number), array, first + entry[2])
        os.replace(partial, target)
    finally:
        with suppress(OSError):  # it is there if something went wrong
            os.remove(partial)


def _aligned(place: int) -> int:
    return -(-place // ALIGNMENT) * ALIGNMENT


def _put(file: Any, name: str, array: np.ndarray, place: int | None = None) -> int:
    """Write a member, of which the numbers begin at a place in the file; returns the next aligned place."""
    import zipfile  # noqa: PLC0415

    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(array))
    entry = zipfile.ZipInfo(f"{name}.npy", _ALWAYS)
    if place is not None:
        begins = file.fp.tell() + _LOCAL.size + len(entry.filename) + _SIZES
        fill = place - begins - header.tell() - 4
        entry.extra = struct.pack("<HH", _FILL, fill) + bytes(fill)
    with file.open(entry, "w", force_zip64=True) as member:
        member.write(header.getvalue())
        member.write(array.tobytes())
    return _aligned(file.fp.tell())


# ---- read


class Source:
    """The file behind arrays that were not read, but are read from it whenever they are needed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.memory: Mapped = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._stamp = self._now()

    def check(self) -> None:
        """Whether the file is what it was.

        Raises
        ------
        ValueError
            Somebody has written to it.
        """
        if self._now() != self._stamp:
            raise ValueError(f"{self._file.name}: the file has changed since the network was loaded")

    def release(self) -> None:
        """Give back the memory that holds numbers which have been read so far."""
        self.memory.madvise(mmap.MADV_DONTNEED)

    def _now(self) -> tuple[int, int]:
        told = os.fstat(self._file.fileno())
        return told.st_size, told.st_mtime_ns


class Archive(NamedTuple):
    """What a file holds."""

    description: dict[str, Any]
    arrays: list[np.ndarray]
    source: Source | None  # of the arrays that were not read


def read(
    file: BufferedReader, budget: Budget, described: Callable[[dict[str, Any]], set[int]], least: int
) -> Archive:
    """What `write` has written.

    Arrays of `least` bytes or more whose numbers are in `described(description)` are left in the file, which
    stays open, where the system can do that. All are checked.

    Raises
    ------
    ValueError
        It is no such file, truncated or damaged, or takes more memory than allowed.
    """
    _check_end(file)
    description, first = _description(file)
    left = described(description)
    entries = [_Entry.read(given, first) for given in description["arrays"]]
    left = {n for n in left if n < len(entries) and entries[n].nbytes >= least} if _can_map() else set()
    source = Source(file) if left else None
    arrays, scratch = [], bytearray(_CHUNK)
    for number, entry in enumerate(entries):
        budget.take(entry.nbytes)
        file.seek(entry.place)
        if source is not None and number in left:
            total = _summed(file, entry.nbytes, scratch)
            data, place = source.memory, entry.place
        else:
            data, place = file.read(entry.nbytes), 0
            total = _checksum(data) if len(data) == entry.nbytes else None
        if total != entry.checksum:
            raise ArchiveError(f"the numbers of array {number} have changed, or are truncated")
        arrays.append(np.ndarray(entry.shape, entry.dtype, data, place))
    return Archive(description, arrays, source)


def _can_map() -> bool:
    return hasattr(mmap, "MADV_DONTNEED")


def _check_end(file: BinaryIO) -> None:
    """Whether the file ends as archives do: it is whole."""
    file.seek(max(file.seek(0, os.SEEK_END) - _END_SIZE, 0))
    if file.read(len(_END)) != _END:
        raise ArchiveError("the end is missing")
    file.seek(0)


def _description(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The description, and where the arrays' places count from."""
    local = file.read(_LOCAL.size)
    signature, *_, method, _, _, crc, _, _, name, extra = _LOCAL.unpack(local)
    if signature != b"PK\x03\x04" or file.read(name) != f"{_DESCRIPTION}.npy".encode() or method != 0:
        raise ArchiveError(f"{_DESCRIPTION!r} is needed as the first array")
    file.seek(extra, os.SEEK_CUR)
    start = file.tell()
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    if dtype != np.uint8 or len(shape) != 1 or not 0 <= shape[0] <= _MOST_DESCRIBED:
        raise ArchiveError(f"a description is needed, got {dtype}{list(shape)}")
    text, end = file.read(*shape), file.tell()
    file.seek(start)
    if zlib.crc32(file.read(end - start)) != crc:
        raise ArchiveError("the description has changed, or is truncated")
    description = json.loads(text)
    version = description.get("version") if isinstance(description, dict) else None
    if version != VERSION:
        raise ArchiveError(f"version {VERSION} is needed, got {version!r}")
    return description, _aligned(end)


class _Entry(NamedTuple):
    """What the description says of an array."""

    dtype: np.dtype
    shape: tuple[int, ...]
    place: int
    checksum: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def read(cls, given: Any, first: int) -> _Entry:
        dtype, shape, place, checksum = given
        if dtype not in _DTYPES:
            raise ArchiveError(f"{dtype!r} is no dtype of a saved network")
        if any(type(size) is not int or size < 0 for size in (*shape, place)):
            raise ArchiveError(f"numbers >= 0 are needed, got {given}")
        return cls(np.dtype(dtype), tuple(shape), first + place, checksum)


def _summed(file: BufferedReader, nbytes: int, scratch: bytearray) -> int | None:
    """The checksum of some bytes from here; None if there are fewer."""
    total, view = _Sum(), memoryview(scratch)
    while nbytes:
        part = view[: min(nbytes, len(view))]
        if file.readinto(part) != len(part):
            return None
        total.add(part)
        nbytes -= len(part)
    return total.value()
