"""Measures networks, one after the other, into a ModelReport."""

from __future__ import annotations

import ctypes
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fastpw.bench.contestant import Contestant
from fastpw.bench.networks.model import Model
from fastpw.bench.networks.report import Account, ModelReport, ModelResult
from fastpw.bench.peers import Peer
from fastpw.bench.runner import Runner
from fastpw.bench.setting import Setting
from fastpw.bench.worker import Worker

OWN: dict[str, Peer] = {"fastpw": Peer("fastpw.bench.networks.own:network", ())}


class ModelContestant(Contestant):
    """A Contestant that keeps account of how it started."""

    def start(self) -> None:
        pages = _Pages()
        before, started = pages.begin(), time.perf_counter()
        super().start()
        self._seconds = time.perf_counter() - started
        self._bytes = pages.most(before)

    def account(self) -> Account:
        """What it took from the file to the first answer, and how far that is from the right one."""
        return Account(self._seconds, self._bytes, self._problem.difference)


class _Pages(NamedTuple):
    """The pages of this process, as Linux tells them."""

    folder: Path = Path("/proc/self")

    def begin(self) -> int | None:
        """The bytes that are in use. What was free is given back, and the most in use counts from here."""
        if sys.platform != "linux":
            return None
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
        with suppress(OSError):  # not allowed: the most since the process began is about the same
            (self.folder / "clear_refs").write_text("5")
        return self._number("VmRSS")

    def most(self, before: int | None) -> int | None:
        """The most bytes that were in use at a time, beyond those."""
        return None if before is None else max(self._number("VmHWM") - before, 0)

    def _number(self, field: str) -> int:
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) << 10


class ModelWorker(Worker):
    """A ModelContestant elsewhere."""

    kind: type[Contestant] = ModelContestant

    def account(self) -> Account:
        return self._ask("account")


class ModelRunner(Runner):
    """As a Runner, but of networks, everyone in a new process for each: so their memory can be told."""

    report: ModelReport

    def __init__(self, setting: Setting, peers_: dict[str, Peer], rounds: int | None = None) -> None:
        super().__init__(setting, {}, {**OWN, **peers_}, rounds)

    def _new_report(self, implementations, peers_, absent) -> ModelReport:
        others = [name for name in peers_ if name not in OWN]
        return ModelReport(self.setting, implementations, others, absent)

    def _new_worker(self, name, peer) -> Worker:
        return ModelWorker(name, peer.target)

    def measure(self, layer: Model) -> ModelResult:
        """Check everyone on a network, time them in turn, and check them again.

        Raises
        ------
        ArithmeticError
            fastpw's own result is wrong.
        """
        timings, peak = self._time(layer)
        if "fastpw" not in timings:
            raise ArithmeticError(self.report.failures[layer.name, "fastpw"])
        accounts = {one.name: one.account() for one in self._able(layer)}
        result = ModelResult(layer, self.setting, timings, peak, accounts)
        self.report.results.append(result)
        for one in self._contestants:
            one.close()
        return result
