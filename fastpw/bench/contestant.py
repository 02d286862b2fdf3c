"""One implementation, from its arrays to the seconds of its calls: in this process or in a worker."""

from collections.abc import Callable
from typing import Any, TypeAlias

from fastpw.bench import problem, timing
from fastpw.bench.blocks.parts import Block
from fastpw.bench.layers import Layer
from fastpw.bench.networks.model import Model
from fastpw.bench.setting import Setting

Pair: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]  # what is timed; what says what it computed


class Contestant:
    """What prepares, times and checks an implementation.

    Parameters
    ----------
    name : str
    prepare : function
        Of a Problem; returns the function to time and one that says what it computed.
    """

    def __init__(self, name: str, prepare: Callable[[Any], Pair]) -> None:
        self.name = name
        self._prepare = prepare

    def prepare(self, layer: Layer | Block | Model, setting: Setting) -> float | None:
        """Make arrays, pack weights, compute once and check the result: as `check`."""
        self._problem = problem.of(layer, setting)
        self.start()
        return self.check()

    def start(self) -> None:
        """Prepare it, from the arrays that are there, and compute once."""
        self._run, self._read = self._prepare(self._problem)
        self._run()

    def burst(self, seconds: float) -> list[float]:
        """Call it until so many seconds have passed, then wait until its threads rest.

        Returns the seconds of each call.
        """
        calls = timing.burst(self._run, seconds)
        timing.settle()
        return calls

    def check(self) -> float | None:
        """Raise ArithmeticError if the last result is wrong.

        Of integers it returns the share of wrong outputs instead, but for fastpw's own.
        """
        share = self._problem.check(self._read(), self.name)
        timing.settle()
        return share


def local(name: str, prepare: Callable[[Any], Callable[[], Any]]) -> Contestant:
    """A Contestant of this process, from a row of implementations.py."""

    def prepare_pair(layer_problem):
        run = prepare(layer_problem)
        return run, run

    return Contestant(name, prepare_pair)
