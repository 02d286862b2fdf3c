"""Each operator of networks, on ONNX's own test cases."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastpw  # noqa: E402
from fastpw.network.operators import OPERATORS  # noqa: E402

DTYPES = {
    "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64",
}  # fmt: skip
# Cases whose Dropout drops; a Scan as opset 8 had it; and a size of 2.4 pixels, which ONNX Runtime and
# fastpw take for 2.
LEFT_OUT = (
    "training_dropout",
    "scan_sum",
    "resize_downsample_scales_linear_align_corners",
    "resize_downsample_scales_cubic_align_corners",
)


def cases():
    """Those of operators that fastpw has, on arrays of usual numbers."""
    from onnx.backend.test.case.node import collect_testcases  # noqa: PLC0415 - it takes onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX computes some of its cases with infinities
        found = collect_testcases(None)
    for case in found:
        nodes, opset = case.model.graph.node, case.model.opset_import[0].version
        arrays = [array for arrays in case.data_sets[0] for array in arrays]
        if opset < 7 or any(node.domain or node.op_type not in OPERATORS for node in nodes):
            continue
        if any(type(array) is not np.ndarray or array.dtype.name not in DTYPES for array in arrays):
            continue
        if not any(name in case.name for name in LEFT_OUT):
            yield case


CASES = {case.name: case for case in cases()}


def with_constants(case):
    """The case's model with all inputs but the first among its constants, as networks have them."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 4)  # from which on constants are no inputs
    inputs, _ = case.data_sets[0]
    names = [port.name for port in model.graph.input]
    del model.graph.input[1:]
    for name, array in [*zip(names, inputs, strict=True)][1:]:
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize("name", CASES)
def test_on_onnx_own_cases(name, tmp_path):
    case = CASES[name]
    inputs, outputs = case.data_sets[0]
    onnx.save(with_constants(case), tmp_path / "network.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some forms are left to onnx's reference
        net = fastpw.load(tmp_path / "network.onnx")
        results = net.run({net.inputs[0].name: inputs[0]} if inputs else {})
    for port, wanted in zip(net.outputs, outputs, strict=True):
        result = results[port.name]
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(
            result.astype(np.float64), np.asarray(wanted, np.float64), rtol=1e-3, atol=1e-5
        )


def test_all_that_networks_need_have_cases():
    """Of most operators; the others are in the networks of the other files."""
    tried = {node.op_type for case in CASES.values() for node in case.model.graph.node}
    assert {"Conv", "ConvTranspose", "Gemm", "MatMul", "LRN", "MaxPool", "AveragePool", "Resize"} <= tried
    assert len(CASES) > 500
