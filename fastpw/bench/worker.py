"""A contestant in a process of its own.

The parent sends the name of a method of Contestant and its arguments; the worker does it and answers with
(True, what it returned) or (False, what went wrong), as soon as its threads rest. So a worker that owes no
answer is idle, and the parent, who waits for one, is too: never do two of them compute at a time.
"""

import multiprocessing
import os
import signal
from importlib import import_module
from multiprocessing.connection import Connection

from fastpw.bench.blocks.parts import Block
from fastpw.bench.contestant import Contestant
from fastpw.bench.layers import Layer
from fastpw.bench.networks.model import Model
from fastpw.bench.setting import Setting

PATIENCE = 120  # seconds, for one answer


class PeerError(Exception):
    """A peer cannot compute a layer, or computes it wrong: there it does not count."""


class Worker:
    """A Contestant elsewhere: the same methods, which raise PeerError whatever goes wrong."""

    kind: type[Contestant] = Contestant

    def __init__(self, name: str, target: str) -> None:
        self.name: str = name
        self._target = target
        self._start()

    def _start(self):
        context = multiprocessing.get_context("spawn")  # fork would copy a process that has threads
        self._connection, theirs = context.Pipe()
        arguments = theirs, self.name, self._target, self.kind
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, layer: Layer | Block | Model, setting: Setting) -> float | None:
        if not self._process.is_alive():
            self._start()
        return self._ask("prepare", layer, setting)

    def burst(self, seconds: float) -> list[float]:
        return self._ask("burst", seconds)

    def check(self) -> float | None:
        return self._ask("check")

    def _ask(self, *question):
        try:
            self._connection.send(question)
            if not self._connection.poll(PATIENCE):
                self.close()
                raise PeerError(f"{self.name} gave no answer within {PATIENCE} s")
            done, answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise PeerError(f"{self.name} ended with exit status {self._process.exitcode}") from None
        if not done:
            raise PeerError(answer)
        return answer

    def close(self) -> None:
        """End the process; it is idle, or does not answer."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def serve(connection: Connection, name: str, target: str, kind: type[Contestant]) -> None:
    """What the worker does until its parent goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # runtimes talk; what goes wrong is in the answer
    contestant = None
    while True:
        try:
            method, *arguments = connection.recv()
        except EOFError:
            return
        try:
            contestant = contestant or kind(name, _find(target))
            answer = True, getattr(contestant, method)(*arguments)
        except Exception as error:  # (whatever a foreign runtime raises)
            answer = False, str(error) if isinstance(error, ArithmeticError) else f"{name}: {error!r}"
        connection.send(answer)


def _find(target):
    module, function = target.split(":")
    return getattr(import_module(module), function)
