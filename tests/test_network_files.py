"""Files as they are found: those in ONNX's own package, and forms that exporters and converters write."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

import fastpw  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


@pytest.mark.parametrize("name", ["densenet121", "inception_v1", "resnet50", "shufflenet", "squeezenet"])
def test_networks_with_their_expected_outputs(name):
    """Of opset 9, with weights that are made when the network is loaded."""
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx has no such file")
    tensor = onnx.TensorProto()
    tensor.ParseFromString((LIGHT / f"light_{name}_output_0.pb").read_bytes())
    wanted = onnx.numpy_helper.to_array(tensor)
    net = fastpw.load(path)
    y = net(np.ones(net.inputs[0].shape, np.float32))
    assert y.shape == wanted.shape
    assert np.abs(y - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_the_package_is_imported_without_networks():
    code = (
        "import sys, fastpw; assert not {n for n in sys.modules if n.startswith(('fastpw.network', 'onnx'))}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def saved(tmp_path):
    """The path of a file with a model from text and some arrays as constants."""

    def save(text, **arrays):
        model = onnx.parser.parse_model(HEAD + text)
        for name, array in arrays.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        onnx.save(model, tmp_path / "network.onnx")
        return tmp_path / "network.onnx"

    return save


RNG = np.random.default_rng(0)


def test_float16_is_widened(saved):
    """Weights are computed with as float32; inputs and outputs stay what the file says."""
    weight = RNG.standard_normal((5, 3, 1, 1)).astype(np.float16)
    path = saved("half (float16[N, 3, H, W] x) => (float16[N, 5, H, W] y) { y = Conv(x, w) }", w=weight)
    net = fastpw.load(path)
    assert net.inputs[0].dtype == net.outputs[0].dtype == np.float16
    x = RNG.standard_normal((1, 3, 4, 5)).astype(np.float16)
    y = net(x)
    assert y.dtype == np.float16
    wanted = np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0].astype(np.float32), x.astype(np.float32))
    assert (
        np.array_equal(y, wanted.astype(np.float16))
        or np.abs(y - wanted).max() <= 2e-3 * np.abs(wanted).max()
    )


def test_means_of_an_empty_batch(saved):
    text = "means (float[N, 3, H, W] x) => (float[N, 3, A, B] y) { y = GlobalAveragePool(x) }"
    net = fastpw.load(saved(text))
    assert net(np.zeros((0, 3, 8, 8), np.float32)).shape == (0, 3, 1, 1)
    assert net(np.ones((2, 3, 8, 8), np.float32)).shape == (2, 3, 1, 1)


def test_float64(saved):
    weight = RNG.standard_normal((5, 3, 3, 3))
    path = saved("double (double[N, 3, H, W] x) => (double[N, 5, A, B] y) { y = Conv(x, w) }", w=weight)
    x = RNG.standard_normal((2, 3, 5, 6))
    wanted = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(fastpw.load(path)(x), wanted, rtol=1e-12, atol=1e-12)


def test_rows_of_pixels(saved):
    """A convolution, a pool and a transposed convolution of signals."""
    path = saved(
        """rows (float[N, 4, L] x) => (float[N, 3, M] y) {
            a = Conv<strides = [2], pads = [1, 1], dilations = [2]>(x, w)
            b = MaxPool<kernel_shape = [2], strides = [1]>(a)
            y = ConvTranspose<strides = [2], output_padding = [1]>(b, v) }""",
        w=RNG.standard_normal((6, 4, 3), dtype=np.float32),
        v=RNG.standard_normal((6, 3, 2), dtype=np.float32),
    )
    x = RNG.standard_normal((2, 4, 21), dtype=np.float32)
    wanted = reference.ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(fastpw.load(path)(x), wanted, rtol=1e-4, atol=1e-5)


def test_outputs_that_do_not_say_what_they_are(saved):
    path = saved("plain (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    model = onnx.load(path)
    model.graph.output[0].ClearField("type")
    path.write_bytes(model.SerializeToString())
    net = fastpw.load(path)
    assert net.outputs[0].shape == (2, 3)
    assert np.array_equal(net(-np.ones((2, 3), np.float32)), np.zeros((2, 3)))


def test_constants_among_the_inputs_are_no_inputs(saved):
    """Older files list them among both."""
    text = "old (float[2, 3] x, float[3] w) => (float[2, 3] y) { y = Add(x, w) }"
    net = fastpw.load(saved(text, w=np.arange(3, dtype=np.float32)))
    assert [port.name for port in net.inputs] == ["x"]
    assert np.array_equal(net(np.zeros((2, 3), np.float32)), [[0, 1, 2], [0, 1, 2]])


def test_an_output_that_is_an_input_or_a_constant(saved):
    text = """three (float[2] x) => (float[2] x2, float[2] c2, float[2] y)
    { x2 = Identity(x) c2 = Identity(c) y = Neg(x) }"""
    net = fastpw.load(saved(text, c=np.array([5, 6], np.float32)))
    x = np.array([1, 2], np.float32)
    results = net.run({"x": x})
    assert [*results] == ["x2", "c2", "y"]
    assert np.array_equal(np.stack([*results.values()]), [[1, 2], [5, 6], [-1, -2]])
    assert not any(np.shares_memory(result, x) for result in results.values())
    results["c2"][:] = 0
    assert np.array_equal(net.run({"x": x})["c2"], [5, 6])


def test_two_inputs_of_two_kinds(saved):
    path = saved("two (float[N, M] x, int64[K] i) => (float[N, K] y) { y = Gather<axis = 1>(x, i) }")
    net = fastpw.load(path)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(net.run({"x": x, "i": np.array([2, 0])})["y"], [[2, 0], [5, 3]])
    with pytest.raises(TypeError, match="a network with one input and one output is needed"):
        net(x)


def test_functions_of_the_file_itself(saved):
    """What a file defines is put in the place of its calls."""
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    whole (float[2] x) => (float[2] y) { y = own.twice(x) }
    <domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    path = saved("plain (float[2] x) => (float[2] y) { y = Relu(x) }")
    onnx.save(onnx.parser.parse_model(text), path)
    assert np.array_equal(fastpw.load(path)(np.array([1, 2], np.float32)), [2, 4])
