"""OpenVINO on a network in an .onnx file."""

from collections.abc import Callable
from typing import Any

import openvino

from fastpw.bench.networks.problem import ModelProblem


def network(problem: ModelProblem) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """From arrays to new arrays; sizes that the file leaves open are those of the inputs."""
    core = openvino.Core()
    model = core.read_model(problem.path)
    if any(given.partial_shape.is_dynamic for given in model.inputs):
        model.reshape({n: list(array.shape) for n, array in enumerate(problem.inputs)})
    options = {
        "INFERENCE_NUM_THREADS": problem.setting.threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the CPU has it
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    feeds = dict(enumerate(problem.inputs))

    def run():
        return list(request.infer(feeds, share_inputs=True).values())

    return run, run
