"""Measures layers, one after the other, into a Report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import threadpoolctl

import fastpw
from fastpw.bench import contestant, peers, roofs
from fastpw.bench.blocks.parts import Block
from fastpw.bench.layers import Layer
from fastpw.bench.networks.model import Model
from fastpw.bench.report import Report, Result
from fastpw.bench.setting import Setting
from fastpw.bench.timing import Timing, interleave
from fastpw.bench.worker import PeerError, Worker

ROUNDS = 10
SECONDS = 0.03  # of each implementation in each round


class Runner:
    """A run in one setting, as a context: the workers end with it.

    Parameters
    ----------
    setting : Setting
    locals_ : dict
        Rows of implementations.py, computed in this process.
    peers_ : dict
        Rows of peers/, each computed in a worker; those that are absent are named in the report.
    rounds : int, optional
        In which they take turns on a layer.
    """

    def __init__(
        self,
        setting: Setting,
        locals_: dict[str, Any],
        peers_: dict[str, peers.Peer],
        rounds: int | None = None,
    ) -> None:
        absent = {name: why for name, why in peers.absent(setting).items() if name in peers_}
        present = {name: peer for name, peer in peers_.items() if name not in absent}
        self.setting = setting
        self.report: Report = self._new_report([*locals_, *present], list(present), absent)
        self._locals, self._peers = locals_, present
        self._rounds = rounds or ROUNDS

    def _new_report(self, implementations, peers_, absent) -> Report:
        return Report(self.setting, implementations, peers_, absent)

    def _new_worker(self, name, peer) -> Worker:
        return Worker(name, peer.target)

    def __enter__(self) -> Runner:
        with ExitStack() as stack:
            stack.enter_context(threads_held(self.setting.threads))
            self._contestants = [contestant.local(*row) for row in self._locals.items()]
            for name, peer in self._peers.items():
                self._contestants.append(stack.enter_context(closing(self._new_worker(name, peer))))
            self._measure_memory()
            self._peak = roofs.FmaPeak(self.setting.threads, self.setting.peak_dtype)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if error is None:
                self._measure_memory()

    def _measure_memory(self):
        """At the beginning and at the end: as of the peak, the best of the run counts."""
        bandwidth = roofs.memory_bandwidth(self.setting.threads)
        self.report.bandwidth_gbs = max(self.report.bandwidth_gbs, bandwidth / 1e9)

    def measure(self, layer: Layer) -> Result:
        """Check everyone on a layer, time them in turn, and check them again; the Result.

        What is wrong in this process is an error (ArithmeticError); a peer that fails does not count. Of
        integers a peer whose outputs are wrong in part is timed, and its share of them noted.
        """
        timings, peak = self._time(layer)
        result = Result(layer, self.setting, timings, peak, wrong=self._wrong)
        self.report.results.append(result)
        return result

    def _time(self, layer: Layer | Block | Model) -> tuple[dict[str, Timing], float]:
        """The timings of those who are right, by name, and the FMA peak beside them, in GFLOP/s."""
        first = self._everyone(layer, "prepare", layer, self.setting)
        able = self._able(layer)
        bursts = {one.name: partial(self._attempt, layer, one, "burst") for one in able}
        timings = interleave({"peak": self._peak.burst, **bursts}, self._rounds, SECONDS)
        last = self._everyone(layer, "check")
        self._wrong = {name: share for name in last if (share := max(first[name] or 0, last[name] or 0))}
        peak = self._peak.flops / timings.pop("peak").best / 1e9
        self.report.peak_gflops = max(self.report.peak_gflops, peak)
        return {one.name: timings[one.name] for one in self._able(layer)}, peak

    def _able(self, layer):
        failed = self.report.failures
        return [one for one in self._contestants if (layer.name, one.name) not in failed]

    def _everyone(self, layer, method, *arguments):
        """What each answers, by name; of one that fails now, []."""
        return {one.name: self._attempt(layer, one, method, *arguments) for one in self._able(layer)}

    def _attempt(self, layer, one, method, *arguments):
        try:
            return getattr(one, method)(*arguments)
        except PeerError as error:
            self.report.failures.setdefault((layer.name, one.name), str(error))
            return []


@contextmanager
def threads_held(threads: int) -> Iterator[None]:
    """fastpw and the BLAS of NumPy on that many threads."""
    with threadpoolctl.threadpool_limits(threads, "blas"), fastpw.num_threads(threads):
        yield
