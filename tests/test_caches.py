"""The caches' sizes as the system tells them."""

import pytest

from fastpw.core import caches

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def sysfs(tmp_path):
    """Writes the files of caches: (level, type, size, the CPUs that share it)."""

    def write(*rows):
        for number, row in enumerate(rows):
            folder = tmp_path / f"index{number}"
            folder.mkdir()
            for name, text in zip(("level", "type", "size", "shared_cpu_list"), row, strict=True):
                (folder / name).write_text(f"{text}\n")
        return caches.read(tmp_path)

    return write


L1 = (1, "Data", "32K", "0"), (1, "Instruction", "32K", "0")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*L1, (2, "Unified", "512K", "0"), (3, "Unified", "32768K", "0-7")], (512 * KIB, 32 * MIB)),
        (
            [*L1, (2, "Unified", "2M", "0-3")],
            (512 * KIB, 2 * MIB),
        ),  # a board: four cores share the last level
        ([*L1, (2, "Unified", "1024K", "0,64"), (3, "Unified", "1G", "0-127")], (512 * KIB, 256 * MIB)),
        (L1, (512 * KIB, 32 * MIB)),
        ([], (512 * KIB, 32 * MIB)),
        ([(2, "Unified", "what?", "0")], (512 * KIB, 32 * MIB)),
        ([(2, "Unified", "16K", "0"), (3, "Unified", "0K", "0")], (128 * KIB, 1 * MIB)),
    ],
)
def test_caches_of(rows, expected, sysfs):
    assert sysfs(*rows) == expected


def test_this_machine():
    assert caches.LEAST <= caches.read() <= caches.MOST
