"""ONNX Runtime on a network in an .onnx file."""

from collections.abc import Callable
from typing import Any

import onnxruntime

from fastpw.bench.networks.problem import ModelProblem


def network(problem: ModelProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """From arrays to new arrays, with all of its optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = problem.setting.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(problem.path, options, providers=["CPUExecutionProvider"])
    feeds = problem.feeds([given.name for given in session.get_inputs()])

    def run():
        return session.run(None, feeds)

    return run, run
