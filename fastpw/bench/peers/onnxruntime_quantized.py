"""ONNX Runtime (MLAS) on integers: QLinearConv over channels-last pixels, and DynamicQuantizeMatMul.

Both belong to the domain com.microsoft. x is uint8 there. Weights are uint8, which is exact, or int8, which
saturates at 16 bits on CPUs without VNNI.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastpw.bench.quantized_problem import Quantized

Pair = tuple[Callable[[], Any], Callable[[], Any]]
DOMAIN = "com.microsoft"
TYPES: dict[str, int] = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


def unsigned(problem: Quantized) -> Pair:
    """Weights in uint8."""
    return _qlinear(problem, problem.weight.view(np.uint8) ^ 128, 128)


def signed(problem: Quantized) -> Pair:
    """Weights in int8."""
    return _qlinear(problem, problem.weight, 0)


def unsigned_dynamic(problem: Quantized) -> Pair:
    """Weights in uint8."""
    return _matmul(problem, problem.weight.view(np.uint8) ^ 128, 128)


def signed_dynamic(problem: Quantized) -> Pair:
    """Weights in int8."""
    return _matmul(problem, problem.weight, 0)


def _qlinear(problem, weight, zero_point):
    """The ReLU is the lower end of uint8, where the result's zero point lies."""
    constants = {
        "x_scale": np.float32(problem.x_scale),
        "x_zero_point": np.uint8(problem.x_zero_point + 128),
        "weight": weight[:, :, np.newaxis, np.newaxis],
        "weight_scale": problem.weight_scale,
        "weight_zero_point": np.full(len(weight), zero_point, weight.dtype),
        "y_scale": np.float32(problem.y_scale),
        "y_zero_point": np.uint8(problem.y_zero_point + 128),
        "bias": problem.bias,
    }
    strides = [problem.layer.stride] * 2
    node = helper.make_node(
        "QLinearConv", ["x", *constants], ["y"], domain=DOMAIN, channels_last=1, strides=strides
    )
    return _session(problem, [node], constants, problem.unsigned_x)


def _matmul(problem, weight, zero_point):
    """Rows of pixels; a stride is a Slice before them."""
    layer = problem.layer
    constants: dict[str, Any] = {
        "weight": weight.T,
        "weight_scale": problem.weight_scale,
        "weight_zero_point": np.full(len(weight), zero_point, weight.dtype),
        "bias": problem.bias,
    }
    product = helper.make_node("DynamicQuantizeMatMul", ["x", *constants], ["z"], domain=DOMAIN)
    nodes = [product, helper.make_node("Relu", ["z"], ["y"])]
    if layer.stride > 1:
        product.input[0] = "pixels"
        steps = {
            "starts": np.array([0, 0]),
            "ends": np.array([layer.H, layer.W]),
            "axes": np.array([1, 2]),
            "steps": np.array([layer.stride] * 2),
        }
        nodes.insert(0, helper.make_node("Slice", ["x", *steps], ["pixels"]))
        constants |= steps
    return _session(problem, nodes, constants, problem.x)


def _session(problem: Quantized, nodes: list[Any], constants: dict[str, Any], x: NDArray[Any]) -> Pair:
    """Run the graph on `x`: bound to it and to an array of its own, or from array to new array."""
    element = TYPES[str(x.dtype)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", element, x.shape)],
        [helper.make_tensor_value_info("y", element, problem.output_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = problem.setting.threads
    inference = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    if problem.setting.new_arrays:

        def run():
            return inference.run(None, {"x": x})[0]

        return run, run
    y = problem.own(x.dtype)
    binding = inference.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, x.dtype.type, y.shape, y.ctypes.data)
    return lambda: inference.run_with_iobinding(binding), lambda: y
