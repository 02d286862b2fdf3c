"""ONNX Runtime (MLAS): Conv on its own layout, Gemm on rows of pixels; both fuse the ReLU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastpw._typing import FloatArray
from fastpw.bench.blocks.problem import BlockProblem
from fastpw.bench.problem import Forward

FLOAT: int = TensorProto.FLOAT


def conv(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Conv, which wants (N, channels, H, W): its own arrays are, NumPy's are transposed in the graph."""
    layer = problem.layer
    weight = problem.as_kernel(problem.weight).transpose(0, 3, 1, 2)
    constants = {"weight": weight, "bias": problem.bias}
    (top, bottom), (left, right) = layer.sides
    geometry = {"strides": [layer.stride] * 2, "pads": [top, left, bottom, right], "group": problem.groups}
    node = helper.make_node("Conv", ["x", "weight", "bias"], ["z"], **geometry)
    N, Ho, Wo, K = layer.output_shape
    if problem.setting.new_arrays:
        node.input[0] = "first"
        nodes = [
            helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
            node,
            helper.make_node("Relu", ["z"], ["last"]),
            helper.make_node("Transpose", ["last"], ["y"], perm=[0, 2, 3, 1]),
        ]
        return session(problem, nodes, constants, problem.x, layer.output_shape)
    nodes = [node, helper.make_node("Relu", ["z"], ["y"])]
    x = np.ascontiguousarray(problem.x.transpose(0, 3, 1, 2))
    run, read = session(problem, nodes, constants, x, (N, K, Ho, Wo))
    return run, lambda: read().transpose(0, 2, 3, 1)


def gemm(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Gemm, its weights packed by the session; a stride is a Slice before it."""
    layer, constants = problem.layer, {"weight": problem.weight.T, "bias": problem.bias}
    nodes = [
        helper.make_node("Gemm", ["rows", "weight", "bias"], ["z"]),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    if layer.stride == 1:
        nodes[0].input[0] = "x"
        return session(problem, nodes, constants, problem.x.reshape(-1, layer.C), (layer.P, layer.K))
    constants |= {
        "starts": np.array([0, 0]),
        "ends": np.array([layer.H, layer.W]),
        "axes": np.array([1, 2]),
        "steps": np.array([layer.stride] * 2),
        "shape": np.array([layer.P, layer.C]),
    }
    nodes = [
        helper.make_node("Slice", ["x", "starts", "ends", "axes", "steps"], ["pixels"]),
        helper.make_node("Reshape", ["pixels", "shape"], ["rows"]),
        *nodes,
    ]
    return session(problem, nodes, constants, problem.x, (layer.P, layer.K))


def session(
    problem: Forward | BlockProblem,
    nodes: list[Any],  # onnx.NodeProto
    constants: dict[str, NDArray[Any]],
    x: FloatArray,
    shape: tuple[int, ...],
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Run the graph on `x`: bound to it and to an array of its own, or from array to new array."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", FLOAT, shape)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    # Versions old enough for any ONNX Runtime of the last years; Gelu came with 20.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = problem.setting.threads
    inference = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    if problem.setting.new_arrays:

        def run():
            return inference.run(None, {"x": x})[0]

        return run, run
    y = problem.nan(*shape)
    binding = inference.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    return lambda: inference.run_with_iobinding(binding), lambda: y
