"""Threads and the instruction set in use: how many, which, and why."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from . import checks
from ._version import __version__
from .core import machine

# The instruction set


def _choose_isa() -> None:
    name = os.environ.get("FASTPW_ISA")
    if name:
        try:
            machine.choose_isa(name.lower())
        except ValueError as error:
            raise ValueError(f"FASTPW_ISA={name}: {error}") from None


_choose_isa()


# Threads

# More serve no machine, and libgomp ends the process when the system refuses it a thread.
MOST_THREADS = 1024


def cpu_quota(proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> float | None:
    """The CPUs that the control groups of this process (v1, v2) and their ancestors grant; None: all."""
    try:
        lines = Path(proc).read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:
            base, read = Path(mount), _quota_v2
        elif "cpu" in controllers.split(","):
            base, read = Path(mount, "cpu"), _quota_v1
        else:
            continue
        group = base / path.lstrip("/")
        # In a container the path may be the host's, where nothing is mounted; its ancestors reach what is.
        quotas += [read(directory) for directory in (group, *group.parents) if directory.is_relative_to(base)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _numbers(file: Path) -> list[float] | None:
    """The file's numbers; None where it cannot be read or says "max"."""
    try:
        return [float(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return None


def _quota_v2(group: Path) -> float | None:
    match _numbers(group / "cpu.max"):
        case [quota, period]:
            return quota / period
    return None


def _quota_v1(group: Path) -> float | None:
    match _numbers(group / "cpu.cfs_quota_us"), _numbers(group / "cpu.cfs_period_us"):
        case [quota], [period] if quota > 0:
            return quota / period
    return None


# Read once: what OpenMP would use (OMP_NUM_THREADS, or the CPUs by affinity) and what the container grants.
_openmp_at_import = machine.openmp_threads()
_quota = cpu_quota()
_quota_threads = MOST_THREADS if _quota is None else max(1, math.ceil(_quota))

_everywhere: int | None = None  # set_num_threads
_in_block: ContextVar[int | None] = ContextVar("fastpw.num_threads", default=None)


def threads() -> int:
    """The most threads a call made here and now may use."""
    allowed = machine.openmp_threads()
    wanted = _in_block.get() or _everywhere
    if wanted is None:
        return min(allowed, _quota_threads)
    # Who asks may have more threads than CPUs, but no more than OpenMP was limited to since the import.
    return wanted if allowed >= _openmp_at_import else min(wanted, allowed)


def _number(n) -> int:
    return checks.integer("n", n, 1, MOST_THREADS)


def get_num_threads() -> int:
    """The most threads that a call made here and now would use. (Small work runs on one.)"""
    return 1 if machine.in_forked_child() else threads()


def set_num_threads(n: int | None) -> None:
    """Sets the most threads that calls use, in the whole process, from now on.

    Parameters
    ----------
    n : int or None
        1 to 1024; it may exceed the number of CPUs. None returns to the default: the smaller of what OpenMP
        would use (OMP_NUM_THREADS, or the CPUs that the process may run on) and the CPU quota of its
        container, rounded up.

    Notes
    -----
    A limit set through threadpoolctl holds as well: calls use the smaller number. Results do not depend on
    the number of threads.

    Raises
    ------
    TypeError, ValueError
        n is no integer, or none from 1 to 1024.
    """
    global _everywhere  # noqa: PLW0603 - the setting is the process's
    _everywhere = None if n is None else _number(n)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """``with num_threads(n):`` uses at most n threads for the calls in the block.

    It holds for the thread (or asyncio task) that runs the block, where it goes before `set_num_threads`.
    """
    token = _in_block.set(_number(n))
    try:
        yield
    finally:
        _in_block.reset(token)


def _why() -> str:
    if machine.in_forked_child():
        return "a child of fork() runs serially: OpenMP's threads stayed with its parent"
    allowed, wanted = machine.openmp_threads(), _in_block.get() or _everywhere
    if allowed < _openmp_at_import and (wanted is None or allowed < wanted):
        return f"OpenMP was limited to {allowed} after the import (threadpoolctl, omp_set_num_threads)"
    if wanted is not None:
        return "with num_threads(n)" if _in_block.get() else "set_num_threads(n)"
    if _quota_threads < allowed:
        return f"the container's CPU quota is {_quota:g}"
    variable = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={variable}" if variable else "the CPUs that this process may run on"


# What there is


def config() -> dict[str, Any]:
    """What `show_config` shows."""
    sets = machine.kernel_sets()
    chosen = {row["dtype"]: row["isa"] for row in sets if row["chosen"]}
    built = list(dict.fromkeys(row["isa"] for row in sets))
    return {
        "fastpw": {"version": __version__},
        "compiler": machine.compiler(),
        "instruction sets": {
            "chosen": chosen,
            "built": built,
            "this CPU runs": [isa for isa in built if any(row["runs"] for row in sets if row["isa"] == isa)],
            "FASTPW_ISA": os.environ.get("FASTPW_ISA"),
        },
        "threads": {"number": get_num_threads(), "why": _why(), "CPU quota": _quota},
    }


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Shows the version, the compiler, the instruction sets built and chosen, the threads and why so many.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as a dictionary.

    Raises
    ------
    ValueError
        Another mode.
    """
    if mode == "dicts":
        return config()
    if mode != "stdout":
        raise ValueError(f"mode: 'stdout' or 'dicts' is needed, got {mode!r}")
    for name, value in config().items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        print(f"{name}:")
        for key, item in value.items():
            print(f"  {key}: {item}")
    return None
