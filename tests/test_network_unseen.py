"""What networks of other makers write: faults that such files have shown, and ONNX Runtime's values."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
reference = pytest.importorskip("onnx.reference")

import fastpw  # noqa: E402

random = np.random.default_rng(0)


def numbers(*shape):
    return random.standard_normal(shape, dtype=np.float32)


def written(folder, text, opset=17, **constants):
    """A file of a graph in ONNX's own notation."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def compare(path, **inputs):
    """Results are ONNX Runtime's, and the saved file has the same bits."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    net = fastpw.load(path)
    results = net.run(inputs)
    net.save(path.with_suffix(".npz"))
    saved = fastpw.load(path.with_suffix(".npz")).run(inputs)
    for port, wanted in zip(net.outputs, session.run(None, inputs), strict=True):
        result = results[port.name]
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)
        assert np.array_equal(result, saved[port.name])


def test_one_number_stays_without_axes(tmp_path):
    path = written(
        tmp_path,
        "(float x) => (float y) { a = Mul(x, k)\n b = Add(a, k)\n y = Sqrt(b) }",
        k=np.float32(2),
    )
    compare(path, x=np.array(3, np.float32))


def test_arithmetic_with_one_size_of_a_shape(tmp_path):
    """As TensorFlow's padding is exported: the size as a float, and put into a list of paddings."""
    path = written(
        tmp_path,
        """(float[1, 4, H, W] x) => (float[1, 4, P, Q] y) {
            s = Shape(x)
            h = Gather<axis = 0>(s, two)
            f = Cast<to = 1>(h)
            g = Sub(f, one)
            d = Div(g, half)
            c = Clip(d, zero)
            i = Cast<to = 7>(c)
            u = Unsqueeze(i, first)
            p = Concat<axis = 0>(zeros, u)
            y = Pad(x, p)
        }""",
        two=np.int64(2), one=np.float32(1), half=np.float32(2), zero=np.float32(0), first=np.array([0]),
        zeros=np.zeros(7, np.int64),
    )  # fmt: skip
    compare(path, x=numbers(1, 4, 6, 5))


@pytest.mark.parametrize("slope", [numbers(1) - 3, np.full((8, 1, 1), -0.5, np.float32)])
def test_slopes_below_zero(tmp_path, slope):
    path = written(
        tmp_path,
        "(float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) { a = Conv(x, w)\n y = PRelu(a, s) }",
        w=numbers(8, 8, 1, 1),
        s=slope,
    )
    compare(path, x=numbers(1, 8, 6, 6))


def test_leaky_relu_with_a_slope_below_zero(tmp_path):
    path = written(
        tmp_path,
        "(float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) { a = Conv(x, w)\n y = LeakyRelu<alpha = -0.25>(a) }",
        w=numbers(8, 8, 1, 1),
    )
    compare(path, x=numbers(1, 8, 6, 6))


@pytest.mark.parametrize("axes", [3, 4])
def test_convolutions_over_more_axes(tmp_path, axes):
    """With an activation and a sum, which other convolutions have as their own."""
    sizes = (1, 4, *[5] * axes)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1] * 2 * axes),
                onnx.helper.make_node("Relu", ["a"], ["r"]),
                onnx.helper.make_node("Conv", ["r", "v"], ["c"], group=2),
                onnx.helper.make_node("Add", ["c", "x"], ["s"]),
                onnx.helper.make_node("Sigmoid", ["s"], ["y"]),
            ],
            "net",
            [onnx.helper.make_tensor_value_info(name, 1, sizes) for name in "x"],
            [onnx.helper.make_tensor_value_info(name, 1, sizes) for name in "y"],
            [
                onnx.numpy_helper.from_array(array, name)
                for name, array in (
                    ("w", numbers(4, 4, *[3] * axes)), ("b", numbers(4)), ("v", numbers(4, 2, *[1] * axes)),
                )
            ],
        ),
        ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)],
    )  # fmt: skip
    onnx.save(model, tmp_path / "net.onnx")
    x = numbers(*sizes)
    right = reference.ReferenceEvaluator(model).run(None, {"x": x})[0] if axes > 3 else None
    if axes == 3:
        compare(tmp_path / "net.onnx", x=x)
    else:
        np.testing.assert_allclose(fastpw.load(tmp_path / "net.onnx")(x), right, rtol=1e-4, atol=1e-5)


def test_activations_of_integers(tmp_path):
    path = written(
        tmp_path,
        "(int32[2, 5] x) => (int32[2, 5] y) { a = Relu(x)\n b = Add(a, k)\n c = Clip(b, k, m)\n"
        " d = Max(c, k)\n e = Min(d, m)\n f = Abs(e)\n s = Sub(f, m)\n y = Relu(s) }",
        k=np.int32(1), m=np.int32(4),
    )  # fmt: skip
    compare(path, x=np.arange(-5, 5, dtype=np.int32).reshape(2, 5))


def test_a_dropout_that_drops(tmp_path):
    path = written(
        tmp_path,
        "(float[2, 5] x) => (float[2, 5] y) { y = Dropout(x, r, t) }",
        r=np.float32(0.5), t=np.array(True),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"\(Dropout\): training_mode: False is needed, got True"):
        fastpw.load(path)


def test_results_that_nobody_reads(tmp_path):
    path = written(
        tmp_path,
        """(float[1, 8, 6, 6] x) => (float[1, 8, 3, 3] y) {
            p, index = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
            y, mask = Dropout(p)
        }""",
    )
    compare(path, x=numbers(1, 8, 6, 6))


def test_layer_normalization_with_a_mean_that_nobody_reads(tmp_path):
    path = written(
        tmp_path,
        "(float[2, 8] x) => (float[2, 8] y) { y, mean, inverse = LayerNormalization(x, s, s) }",
        s=numbers(8),
    )
    compare(path, x=numbers(2, 8))
