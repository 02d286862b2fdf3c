"""What this machine can do: the two roofs that no layer can pass."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from fastpw.bench.timing import burst, settle
from fastpw.core import machine


class FmaPeak:
    """Fused multiply-adds from register to register, `flops` of them in a call.

    To be timed like an implementation, in turn with them: the clock drifts, and the best call counts.
    """

    def __init__(self, threads: int, dtype: str) -> None:
        rounds = 1000
        # Long enough that starting the threads does not show. Seen on one: beside other work a team waits
        # even when it has next to nothing to do.
        while min(burst(partial(machine.peak, dtype, rounds, 1), 0.005)) < 0.5e-3:
            rounds *= 2
        self._run = partial(machine.peak, dtype, rounds, threads)
        self.flops: float = self._run()

    def burst(self, seconds: float) -> list[float]:
        """As a Contestant's."""
        calls = burst(self._run, seconds)
        settle()
        return calls


def memory_bandwidth(threads: int, megabytes: int = 128, copies: int = 8) -> float:
    """Bytes per second, read and written, of that many threads that copy an array larger than the caches."""
    source = np.ones(megabytes << 17)
    target = np.ones_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(copies):
            started = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))  # NumPy copies without the GIL
            best = min(best, time.perf_counter() - started)
    return 2 * source.nbytes / best
