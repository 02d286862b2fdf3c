"""Interleaved rounds, best of many.

On two threads a timing is bimodal (a thread now and then shares its core), and a machine's clock drifts: so
all implementations take their turn in every round, and a call's time is the best of all its calls.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Timing:
    """The seconds of every call."""

    calls: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.calls)

    @property
    def median(self) -> float:
        return statistics.median(self.calls)


def settle(limit: float = 10.0) -> None:
    """Wait until this process rests.

    A library's threads spin after their work (OpenBLAS's for a tenth of a second) and would take the core of
    who comes next.
    """
    pause = 0.005
    started = time.perf_counter()
    busy = True
    while busy:
        before = time.process_time()
        time.sleep(pause)
        busy = time.process_time() - before > pause / 4
        if busy and time.perf_counter() - started > limit:
            raise RuntimeError(f"the threads of this process were still busy {limit:g} s after its work")


def burst(run: Callable[[], object], seconds: float) -> list[float]:
    """Call `run` until `seconds` have passed, at least once; the seconds of each call."""
    calls = []
    started = now = time.perf_counter()
    while not calls or now - started < seconds:
        before = time.perf_counter()
        run()
        now = time.perf_counter()
        calls.append(now - before)
    return calls


def interleave(
    bursts: dict[str, Callable[[float], list[float]]], rounds: int, seconds: float
) -> dict[str, Timing]:
    """Time everyone in `rounds` rounds of bursts.

    Parameters
    ----------
    bursts : dict
        By name, functions that take the seconds to last, return the seconds of each call, and leave their
        threads at rest.

    Returns
    -------
    dict of Timing
    """
    timings = {name: Timing() for name in bursts}
    for _ in range(rounds):
        for name, timed in bursts.items():
            timings[name].calls += timed(seconds)
    return timings
