"""Threads and the instruction set in use: how many, which, and why."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import itemgetter
from typing import Any, Literal

from . import _checks
from ._version import __version__
from .core import machine

# The instruction set


def _choose_isa() -> None:
    name = os.environ.get("FASTPW_ISA")
    if name:
        try:
            machine.choose_isa(name.strip().lower())
        except ValueError as error:
            raise ValueError(f"FASTPW_ISA={name}: {error}") from None


_choose_isa()


# Threads

# More serve no machine, and libgomp ends the process when the system refuses it a thread.
MOST_THREADS = 1024


def cpu_quota(proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> float | None:
    """The CPUs that the control groups of this process (v1, v2) and their ancestors grant; None: all."""
    try:
        with open(proc, errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    quotas = []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if not controllers:
            base, read = str(mount), _quota_v2
        elif "cpu" in controllers.split(","):
            base, read = os.path.join(mount, "cpu"), _quota_v1
        else:
            continue
        group = os.path.join(base, path.strip("/")).rstrip("/")
        # In a container the path may be the host's, where nothing is mounted; its ancestors reach what is.
        while len(group) >= len(base):
            quotas.append(read(group))
            group = os.path.dirname(group)
    return min((quota for quota in quotas if quota is not None), default=None)


def _numbers(folder: str, name: str) -> list[float] | None:
    """The numbers in a file; None where it cannot be read or says "max"."""
    try:
        with open(os.path.join(folder, name)) as file:
            return [float(word) for word in file.read().split()]
    except (OSError, ValueError):
        return None


def _quota_v2(group: str) -> float | None:
    match _numbers(group, "cpu.max"):
        case [quota, period] if quota > 0 and period > 0:
            return quota / period
    return None


def _quota_v1(group: str) -> float | None:
    match _numbers(group, "cpu.cfs_quota_us"), _numbers(group, "cpu.cfs_period_us"):
        case [quota], [period] if quota > 0 and period > 0:
            return quota / period
    return None


# OpenMP reads OMP_NUM_THREADS when it is loaded: a list of positive integers, of which the first counts here.
NUMBERS = re.compile(r"\s*\+?([0-9]+)\s*(,\s*\+?[0-9]+\s*)*", re.ASCII)


def _openmp_number(value: str | None) -> int | None:
    """What OpenMP takes from a value of OMP_NUM_THREADS; None: nothing."""
    numbers = NUMBERS.fullmatch(value or "")
    return int(numbers[1]) if numbers and all(map(int, value.split(","))) else None


_openmp_at_import = machine.openmp_threads()
_openmp_cpus, _thread_limit = machine.openmp_limits()
_variable = os.environ.get("OMP_NUM_THREADS", "").strip()
_by_variable = _openmp_number(_variable) == _openmp_at_import
_quota = cpu_quota()

CPUS = "the CPUs that this process may run on"

Limit = tuple[int, str]  # so many threads, and why


def _smallest(*limits: Limit) -> Limit:
    return min(limits, key=itemgetter(0))


def _default_limit(quota: float | None, by_variable: bool) -> Limit:
    """Of calls for which nobody asked for a number, beside what OpenMP would use."""
    limits = [(MOST_THREADS, f"no call uses more than {MOST_THREADS}")]
    if quota is not None:
        limits.append((max(1, math.ceil(quota)), f"the container's CPU quota is {quota:g}"))
    if not by_variable:
        limits.append((_openmp_cpus, CPUS))
    return _smallest(*limits)


_default = _default_limit(_quota, _by_variable)

_everywhere: int | None = None  # set_num_threads
_in_block: ContextVar[int | None] = ContextVar("fastpw.num_threads", default=None)


def threads() -> int:
    """The most threads a call made here and now may ask for. (It gets no more than there are CPUs left.)"""
    allowed = machine.openmp_threads()
    wanted = _in_block.get() or _everywhere
    if wanted is None:
        return min(allowed, _default[0])
    # Who asks may have more threads than CPUs, but no more than OpenMP was limited to since the import.
    return wanted if allowed >= _openmp_at_import else min(wanted, allowed)


def _in_use() -> Limit:
    """The most threads that a call made here and now would use."""
    if machine.in_forked_child():
        return 1, "a child of fork() runs serially: OpenMP's threads stayed with its parent"
    allowed, wanted = machine.openmp_threads(), _in_block.get() or _everywhere
    by_openmp = allowed, _why_openmp(allowed)
    if wanted is None:
        limits = [by_openmp, _default]
    else:
        limits = [(wanted, "with num_threads(n)" if _in_block.get() else "set_num_threads(n)")]
        limits += [by_openmp] * (allowed < _openmp_at_import)
    limits.append((_thread_limit, f"OMP_THREAD_LIMIT={_thread_limit}"))
    return _smallest(*limits, (machine.cpus_left(), CPUS))


def _why_openmp(allowed: int) -> str:
    if allowed != _openmp_at_import:
        return f"OpenMP was set to {allowed} after the import (threadpoolctl, omp_set_num_threads)"
    if _by_variable:
        return f"OMP_NUM_THREADS={_variable}"
    return CPUS if allowed == _openmp_cpus else f"OpenMP was set to {allowed} before the import"


_said_alone = False


def _number(n, stacklevel) -> int:
    """`n`, checked; says once that it cannot have any effect."""
    global _said_alone  # noqa: PLW0603 - once per process
    n = _checks.integer("n", n, 1, MOST_THREADS)
    if n > 1 and machine.in_forked_child() and not _said_alone:
        _said_alone = True
        message = "n: calls run on one thread, OpenMP's others stayed with the parent of a fork()"
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
    return n


def get_num_threads() -> int:
    """The most threads that a call made here and now would use. (Small work runs on one.)"""
    return _in_use()[0]


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
    Other limits hold as well, and calls use the smallest number: one set through threadpoolctl,
    OMP_THREAD_LIMIT, and, once a thread may run on fewer CPUs than there were at the import, these CPUs.
    A call works alone, whatever n, where it is small, and for a moment after teams took longer than one
    thread, because something else keeps a CPU busy (not with more threads than CPUs). Results do not depend
    on the number of threads.

    Raises
    ------
    TypeError, ValueError
        n is no integer, or none from 1 to 1024.

    Warns
    -----
    RuntimeWarning
        Once: in a child of fork() whose OpenMP runtime lost its threads (LLVM's may), n has no effect.
    """
    global _everywhere  # noqa: PLW0603 - the setting is the process's
    _everywhere = None if n is None else _number(n, stacklevel=3)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """``with num_threads(n):`` uses at most n threads for the calls in the block.

    It holds for the thread (or asyncio task) that runs the block, where it goes before `set_num_threads`.
    """
    token = _in_block.set(_number(n, stacklevel=4))
    try:
        yield
    finally:
        _in_block.reset(token)


# What there is


def config() -> dict[str, Any]:
    """What `show_config` shows."""
    sets = machine.kernel_sets()
    chosen = {row["dtype"]: row["isa"] for row in sets if row["chosen"]}
    built = list(dict.fromkeys(row["isa"] for row in sets))
    number, why = _in_use()
    return {
        "fastpw": {"version": __version__},
        "compiler": machine.compiler(),
        "instruction sets": {
            "chosen": chosen,
            "built": built,
            "this CPU runs": [isa for isa in built if any(row["runs"] for row in sets if row["isa"] == isa)],
            "FASTPW_ISA": os.environ.get("FASTPW_ISA"),
        },
        "threads": {"number": number, "why": why, "CPU quota": _quota},
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
