"""load(quantize="dynamic"): which nodes become int8, what they compute, and what is saved of them."""

import pickle

import numpy as np
import pytest

import fastpw
from fastpw import quantized_reference as reference
from fastpw.network import saved
from fastpw.network.graph import Graph, Node, Port
from fastpw.network.memory import Budget

FLOAT32 = np.dtype(np.float32)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def graph():
    """3x3, 1x1, 1x1 in groups that adds a residual, one weight per channel, 1x1 with a stride, product."""
    nodes = [
        Node(
            "Conv",
            ["x", "stem"],
            ["a"],
            {"pads": [1, 1, 1, 1], "strides": [2, 2], "activation": "relu"},
            "stem",
        ),
        Node("Conv", ["a", "wide", "bias"], ["b"], {"activation": "relu6"}, "wide"),
        Node("Conv", ["b", "narrow", "", "a"], ["c"], {"group": 2, "activation": "relu"}, "narrow"),
        Node("Conv", ["c", "scale"], ["d"], {"group": 8}, "scale"),
        Node("Conv", ["d", "down"], ["e"], {"strides": [2, 2], "pads": [1, 0, 0, 1]}, "down"),
        Node("GlobalAveragePool", ["e"], ["f"], {}, "mean"),
        Node("Flatten", ["f"], ["g"], {}, "flat"),
        Node("Linear", ["g", "last", "offset"], ["y"], {}, "last"),
    ]
    constants = {
        "stem": normal(8, 3, 3, 3),
        "wide": normal(24, 8, 1, 1),
        "bias": normal(24),
        "narrow": normal(8, 12, 1, 1),
        "scale": normal(8, 1, 1, 1),
        "down": normal(16, 8, 1, 1),
        "last": normal(5, 16),
        "offset": normal(5),
    }
    ports = [Port("x", (None, 3, None, None), FLOAT32)], [Port("y", (None, 5), FLOAT32)]
    return Graph(*ports, nodes, constants)


@pytest.fixture
def path(tmp_path):
    saved.write(tmp_path / "network.npz", graph())
    return tmp_path / "network.npz"


@pytest.fixture
def x(rng):
    return rng.standard_normal((2, 3, 12, 10), dtype=np.float32)


def by_hand(x, constants):
    """The network in images with their channels last; the products by the specification of integers."""

    def product(x, name, bias=None, layout="OIHW", **options):
        q, scale = fastpw.quantize_weight(constants[name], layout)
        return reference.qconv1x1(x, q, bias, weight_scale=scale, weight_layout=layout, **options)

    images = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    options = {"padding": 1, "stride": 2, "activation": "relu"}
    a = fastpw.conv2d(images, constants["stem"], weight_layout="OIHW", **options)
    b = product(a, "wide", constants["bias"], activation="relu6")
    c = np.maximum(product(b, "narrow", groups=2) + a, 0)
    e = product(c * constants["scale"].reshape(-1), "down", stride=2, padding=((1, 0), (0, 1)))
    mean = fastpw.GlobalAveragePool()(e).reshape(len(x), -1)
    return product(mean, "last", constants["offset"], "OI")


@pytest.mark.usefixtures("isa")
def test_the_values(path, x):
    wanted = by_hand(x, graph().constants)  # (which adds a mean's pixels in another order)
    np.testing.assert_allclose(fastpw.load(path, quantize="dynamic")(x), wanted, rtol=1e-5)


def test_it_is_near_the_network_in_floats(path, x):
    plain, y = fastpw.load(path)(x), fastpw.load(path, quantize="dynamic")(x)
    assert not np.array_equal(plain, y)
    assert np.abs(plain - y).max() < 0.05 * np.abs(plain).max()


def test_what_becomes_int8(path):
    net = fastpw.load(path, quantize="dynamic")
    ops = {node.name: node.op for node in net._graph.nodes}
    assert ops == {
        "stem": "Conv", "wide": "QConv", "narrow": "QConv", "scale": "Conv", "down": "QConv",
        "mean": "GlobalAveragePool", "flat": "Flatten", "last": "QLinear",
    }  # fmt: skip
    told = net.summary((1, 3, 12, 10))
    assert "QConv + relu6" in told
    assert "QConv + add + relu" in told
    assert "QLinear" in told
    assert "narrow" not in net._graph.constants
    assert sum(array.dtype == np.int8 for array in net._graph.constants.values()) == 4


def test_saved_and_pickled_it_has_the_same_bits(path, tmp_path, x):
    net = fastpw.load(path, quantize="dynamic")
    net.save(tmp_path / "int8.npz")
    y = net(x)
    for again in (
        fastpw.load(tmp_path / "int8.npz"),
        fastpw.load(tmp_path / "int8.npz", quantize="dynamic"),
        pickle.loads(pickle.dumps(net)),
    ):
        assert np.array_equal(again(x), y)
    last = fastpw.load(path, quantize="dynamic", layout="NHWC")
    assert np.array_equal(last(np.ascontiguousarray(x.transpose(0, 2, 3, 1))), y)
    held = saved.read(tmp_path / "int8.npz", Budget(1 << 20)).constants
    assert sorted(array.dtype.name for array in held.values()).count("int8") == 4


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, "float64", "deep"])
def test_what_stays_in_floats(spoilt, tmp_path):
    weight = normal(3, 4)
    if spoilt == "deep":
        weight = np.ones((1, 66400), np.float32)
    elif spoilt == "float64":
        weight = weight.astype(np.float64)
    else:
        weight[0, 0] = spoilt
    ports = [Port("x", (None, weight.shape[1]), weight.dtype)], [Port("y", (None, len(weight)), weight.dtype)]
    saved.write(tmp_path / "a.npz", Graph(*ports, [Node("Linear", ["x", "w"], ["y"])], {"w": weight}))
    net = fastpw.load(tmp_path / "a.npz", quantize="dynamic")
    assert [node.op for node in net._graph.nodes] == ["Linear"]
    x = np.ones((2, weight.shape[1]), weight.dtype)
    assert np.array_equal(net(x), fastpw.load(tmp_path / "a.npz")(x), equal_nan=True)


def test_gemm_and_matmul_of_a_file(tmp_path, rng):
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[N, 6] x) => (float[N, 4] y) {
            a = MatMul (x, first)
            b = Relu (a)
            y = Gemm <transB = 1> (b, second, bias)
        }""")
    arrays = {"first": normal(6, 5), "second": normal(4, 5), "bias": normal(4)}
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "small.onnx")
    x = rng.standard_normal((7, 6), dtype=np.float32)
    y = fastpw.load(tmp_path / "small.onnx", quantize="dynamic")(x)
    for name, bias, layout, activation in (
        ("first", None, "IO", "relu"),
        ("second", arrays["bias"], "OI", None),
    ):
        q, scale = fastpw.quantize_weight(arrays[name], layout)
        options = {"weight_scale": scale, "weight_layout": layout, "activation": activation}
        x = reference.qconv1x1(x, q, bias, **options)
    assert np.array_equal(y, x)


@pytest.mark.parametrize("given", ["static", True, 8])
def test_another_way_to_quantize(path, given):
    with pytest.raises(ValueError, match="quantize: None or 'dynamic' is needed, got"):
        fastpw.load(path, quantize=given)


def test_inputs_that_do_not_fit(path):
    with pytest.raises(ValueError, match=r"wide.*8 channels are needed|x: "):
        broken = graph()
        broken.constants["wide"] = normal(24, 9, 1, 1)
        saved.write(path, broken)
        fastpw.load(path, quantize="dynamic")(np.ones((1, 3, 4, 4), np.float32))
