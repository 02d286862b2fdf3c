"""Networks in which shapes depend on numbers that only a call knows: some nodes are planned in the call."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import fastpw  # noqa: E402

random = np.random.default_rng(0)
weight = random.standard_normal((4, 4, 1, 1), dtype=np.float32)


def loaded(folder, text, opset=17, **constants):
    """The network of a graph in ONNX's own notation, as loaded and as saved; and what tells what is right."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    onnx.save(model, folder / "net.onnx")
    net = fastpw.load(folder / "net.onnx")
    net.save(folder / "net.npz")
    return net, fastpw.load(folder / "net.npz"), onnxruntime.InferenceSession(folder / "net.onnx")


def agree(networks, **inputs):
    net, saved, right = networks
    results, again = net.run(inputs), saved.run(inputs)
    for port, wanted in zip(net.outputs, right.run(None, inputs), strict=True):
        assert results[port.name].shape == wanted.shape
        np.testing.assert_allclose(results[port.name], wanted, rtol=1e-4, atol=1e-5)
        assert np.array_equal(results[port.name], again[port.name])


def test_a_choice_of_elements(tmp_path):
    """Where numbers are above zero, and a convolution of what is chosen."""
    networks = loaded(
        tmp_path,
        """(float[1, 4, 5, N] x) => (float[1, 4, 5, M] y, float[1, 4, 5, N] early) {
            early = Relu(x)
            top = ReduceMax<axes = [0, 1, 2], keepdims = 0>(early)
            more = Greater(top, one)
            where = NonZero(more)
            chosen = Squeeze(where, first)
            some = Gather<axis = 3>(early, chosen)
            y = Conv(some, w)
        }""",
        one=np.float32(1), first=np.array([0]), w=weight,
    )  # fmt: skip
    for width in (6, 9):
        agree(networks, x=random.standard_normal((1, 4, 5, width), dtype=np.float32))


def test_a_shape_that_is_computed(tmp_path):
    networks = loaded(
        tmp_path,
        "(float[6] x, int64[2] s) => (float[A, B] y) { z = Neg(x)\n a = Abs(s)\n y = Reshape(z, a) }",
    )
    for shape in ([2, 3], [6, 1], [-3, 2]):
        agree(networks, x=np.arange(6, dtype=np.float32), s=np.array(shape))


def test_weights_that_are_computed_from_shapes(tmp_path):
    """Each size of the input has other weights: no layer is kept from one size to the next."""
    networks = loaded(
        tmp_path,
        """(float[1, 4, 5, N] x) => (float[1, 4, 5, N] y) {
            s = Shape<start = 3>(x)
            f = Cast<to = 1>(s)
            v = Mul(w, f)
            y = Conv(x, v)
        }""",
        w=weight,
    )
    for width in (6, 9, 6):
        agree(networks, x=random.standard_normal((1, 4, 5, width), dtype=np.float32))


def test_weights_that_a_late_node_makes(tmp_path):
    """A transposed convolution whose weights each call computes does not keep those of the first."""
    networks = loaded(
        tmp_path,
        """(float[1, 4, 5, 5] x, float[4, 4, 2, 2] w) => (float[1, 4, 10, 10] y) {
            y = ConvTranspose<strides = [2, 2]>(x, w)
        }""",
    )
    x = random.standard_normal((1, 4, 5, 5), dtype=np.float32)
    for _ in range(2):
        agree(networks, x=x, w=random.standard_normal((4, 4, 2, 2), dtype=np.float32))


def test_more_memory_than_allowed(tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[1] x, int64[1] s) => (float[N] y) {
            z = Expand(x, s)
            y = Neg(z)
        }"""
    )
    onnx.save(model, tmp_path / "net.onnx")
    net = fastpw.load(tmp_path / "net.onnx", memory_limit=10_000)
    one = np.ones(1, np.float32)
    assert net.run({"x": one, "s": np.array([5])})["y"].shape == (5,)
    with pytest.raises(ValueError, match="memory_limit=10,000 bytes are allowed"):
        net.run({"x": one, "s": np.array([1 << 40])})


def test_the_opset_of_the_file_tells_the_reference(tmp_path):
    """Not the newest: operators change from one to the next. (Det is one that fastpw has not.)"""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 23]> net (float[4, 6] x) => (float[4, 6] y) { y = Det(x) }'
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, tmp_path / "net.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = fastpw.load(tmp_path / "net.onnx")
    assert {node.version for node in net._graph.nodes} == {23}
    assert np.isclose(net(2 * np.eye(4, dtype=np.float32)), 16)


IF = """(float[1, 4, 5, N] x, bool c) => (float[1, 4, 5, N] y) {
    s = Shape<start = 3>(x)
    wide = Greater(s, limit)
    z = If(wide) <
        then_branch = g () => (float[1, 4, 5, N] r) { a = Conv(x, w)\n r = Relu(a) },
        else_branch = h () => (float[1, 4, 5, N] r) { a = Neg(x)\n r = Conv(a, w) }
    >
    y = If(c) <
        then_branch = g2 () => (float[1, 4, 5, N] r) { r = Identity(z) },
        else_branch = h2 () => (float[1, 4, 5, N] r) { r = Mul(z, x) }
    >
}"""


def test_branches(tmp_path):
    """One that shapes decide, and one that an input decides. Both have values of the same names."""
    networks = loaded(tmp_path, IF, limit=np.array([7]), w=weight)
    for width in (6, 9):
        for chosen in (True, False):
            x = random.standard_normal((1, 4, 5, width), dtype=np.float32)
            agree(networks, x=x, c=np.array(chosen))


LOOP = """(float[2, 3] x, int64 n) => (float[2, 3] y, float[M, 2, 3] all, float[2, 3] three) {
    y, all = Loop(n, yes, x) <body = step (int64 i, bool before, float[2, 3] s) =>
        (bool going, float[2, 3] after, float[2, 3] each) {
            f = Cast<to = 1>(i)
            a = Add(s, f)
            after = Mul(a, x)
            each = Neg(after)
            top = ReduceMax<keepdims = 0>(after)
            going = Less(top, most)
        }
    >
    three = Loop(often, yes, x) <body = again (int64 i, bool before, float[2, 3] s) =>
        (bool going, float[2, 3] after) {
            after = MatMul(s, w)
            going = Identity(before)
        }
    >
}"""


def test_loops(tmp_path):
    """One that ends when its values say so, and one of three passes."""
    w = random.standard_normal((3, 3), dtype=np.float32)
    networks = loaded(tmp_path, LOOP, yes=np.array(True), most=np.float32(50), often=np.int64(3), w=w)
    for count in (1, 4, 40):
        agree(networks, x=random.standard_normal((2, 3), dtype=np.float32) + 3, n=np.array(count))


SCAN = """(float[5, 3] x) => (float[3] y, float[3, 5] all) {
    y, all = Scan<num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
        body = step (float[3] s, float[3] e) => (float[3] after, float[3] each) {
            a = Mul(s, half)
            after = Add(a, e)
            each = Identity(after)
        }>(zero, x)
}"""


def test_scans(tmp_path):
    networks = loaded(tmp_path, SCAN, half=np.float32(0.5), zero=np.zeros(3, np.float32))
    agree(networks, x=random.standard_normal((5, 3), dtype=np.float32))


def test_sums_of_rows_of_one_element(tmp_path):
    """What lies side by side along an axis of one element may lie otherwise along the next."""
    networks = loaded(
        tmp_path,
        """(float[2, 1, 6] x, float[2, 6, 1] z) => (float[2, 6, 1] y) {
            a = Transpose<perm = [0, 2, 1]>(x)
            b = Mul(a, z)
            y = Add(b, a)
        }""",
    )
    shapes = {"x": (2, 1, 6), "z": (2, 6, 1)}
    agree(networks, **{k: random.standard_normal(s, dtype=np.float32) for k, s in shapes.items()})
