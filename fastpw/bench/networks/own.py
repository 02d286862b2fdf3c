"""fastpw on a network in a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import fastpw
from fastpw.bench.networks.problem import ModelProblem
from fastpw.network import load

with suppress(ImportError):  # a saved network does without
    import fastpw.network.onnx_file
    import fastpw.network.simplify


def network(problem: ModelProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """From arrays to new arrays."""
    fastpw.set_num_threads(problem.setting.threads)
    net = load(problem.path)
    feeds = problem.feeds([port.name for port in net.inputs])

    def run():
        return [*net.run(feeds).values()]

    return run, run
