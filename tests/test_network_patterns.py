"""What stands beside a convolution becomes part of it, however a file writes it; the values stay the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

import fastpw  # noqa: E402

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


@pytest.fixture
def loaded(tmp_path):
    """A network from text, and the operators that are left of it."""

    def load(body, ends="(float[N, 4, H, W] x) => (float[N, K, A, B] y)", **arrays):
        model = onnx.parser.parse_model(f"{HEAD} network {ends} {{ {body} }}")
        for name, value in arrays.items():
            array = np.asarray(value)
            array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        onnx.save(model, tmp_path / "network.onnx")
        return fastpw.load(tmp_path / "network.onnx"), reference.ReferenceEvaluator(model)

    return load


def left(net):
    """The operators of a network, each with its activation and its sum."""
    told = []
    for node in net._graph.nodes:
        activation = node.attributes.get("activation")
        name = activation if activation is None or isinstance(activation, str) else activation[0]
        told.append(" ".join([node.op, *["add"] * bool(node.input(3)), *[name] * (name is not None)]))
    return told


def agrees(net, reference, *shape):
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) * 3
    y, wanted = net(x), reference.run(None, {"x": x})[0]
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    return True


RNG = np.random.default_rng(1)
WEIGHT = RNG.standard_normal((6, 4, 1, 1))
WIDE = RNG.standard_normal((6, 4, 3, 3))

ACTIVATIONS = {
    "hard_swish by clip": (
        "a = Add(z, three) b = Clip(a, zero, six) c = Mul(z, b) y = Div(c, six)",
        ["Conv hard_swish"],
    ),
    "hard_swish, divided first": (
        "a = Add(z, three) b = Clip(a, zero, six) c = Div(b, six) y = Mul(c, z)",
        ["Conv hard_swish"],
    ),
    "hard_swish by hard_sigmoid": (
        "a = HardSigmoid<alpha = 0.1666666667, beta = 0.5>(z) y = Mul(z, a)",
        ["Conv hard_swish"],
    ),
    "hard_swish with another alpha": (
        "a = HardSigmoid<alpha = 0.2, beta = 0.5>(z) y = Mul(z, a)",
        ["Conv hard_swish", "Affine"],
    ),
    "hard_sigmoid": ("y = HardSigmoid<alpha = 0.2, beta = 0.5>(z)", ["Conv clip"]),
    "hard_sigmoid by clip": (
        "a = Add(z, three) b = Clip(a, zero, six) y = Div(b, six)",
        ["Conv hard_sigmoid"],
    ),
    "relu6 by max and min": ("a = Max(z, zero) y = Min(a, six)", ["Conv relu6"]),
    "relu, then relu6": ("a = Relu(z) y = Clip(a, zero, six)", ["Conv relu6"]),
    "leaky_relu by max": ("a = Mul(z, tenth) y = Max(z, a)", ["Conv leaky_relu"]),
    "prelu of one slope": ("y = PRelu(z, slope)", ["Conv leaky_relu"]),
    "silu": ("a = Sigmoid(z) y = Mul(z, a)", ["Conv silu"]),
    "silu by exp": ("a = Neg(z) b = Exp(a) c = Add(b, one) y = Div(z, c)", ["Conv silu"]),
    "silu with a scale": ("a = Mul(z, tenth) b = Sigmoid(a) y = Mul(z, b)", ["Conv silu", "Affine"]),
    "gelu by erf": (
        "a = Div(z, root) b = Erf(a) c = Add(b, one) d = Mul(z, c) y = Mul(d, half)",
        ["Conv gelu"],
    ),
    "gelu, halved first": (
        "a = Mul(z, half) b = Div(z, root) c = Erf(b) d = Add(one, c) y = Mul(a, d)",
        ["Conv gelu"],
    ),
    "gelu by tanh": (
        "a = Pow(z, three) b = Mul(a, cubic) c = Add(z, b) d = Mul(c, inner) e = Tanh(d) f = Add(e, one)"
        " g = Mul(z, f) y = Mul(g, half)",
        ["Conv gelu_tanh"],
    ),
    "sigmoid by exp": ("a = Neg(z) b = Exp(a) c = Add(one, b) y = Reciprocal(c)", ["Conv sigmoid"]),
    "a scale, then tanh": ("a = Mul(z, tenth) y = Tanh(a)", ["Conv tanh"]),
    "mish is none of them": (
        "a = Softplus(z) b = Tanh(a) y = Mul(z, b)",
        ["Conv", "Softplus", "Activation tanh", "Mul"],
    ),
}
NUMBERS = {
    "zero": 0.0, "one": 1.0, "three": 3.0, "six": 6.0, "tenth": 0.1, "half": 0.5, "root": 2**0.5,
    "cubic": 0.044715, "inner": 0.7978845608, "slope": np.full((6, 1, 1), 0.2),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, loaded):
    body, wanted = ACTIVATIONS[name]
    numbers = {key: value for key, value in NUMBERS.items() if key in body}
    net, reference = loaded(f"z = Conv(x, w) {body}", w=WEIGHT, **numbers)
    assert left(net) == wanted
    assert agrees(net, reference, 2, 4, 5, 6)


def test_bounds_beyond_the_usual_numbers_are_not_forgotten(loaded):
    net, _ = loaded("z = Conv(x, w) a = Max(z, low) y = Min(a, high)", w=WEIGHT, low=-1e6, high=123456.0)
    x = np.full((1, 4, 1, 1), 1e9, np.float32)
    assert net(x).max() == np.float32(123456)
    assert left(net) == ["Conv clip"]


def test_whole_numbers_are_no_functions_of_floats(loaded):
    """Shapes are computed with integers, whose division rounds."""
    body = """s = Shape(x) h = Gather(s, two) a = Add(h, one) b = Div(a, two) c = Unsqueeze(b, zeros)
    y = Slice(x, zeros, c, two1)"""
    net, reference = loaded(body, two=2, one=1, zeros=[0], two1=[2])
    assert agrees(net, reference, 1, 4, 6, 2)


FOLDED = {
    "normalization": ("z = Conv(x, w, k) y = BatchNormalization(z, p, q, r, s)", ["Conv"]),
    "scale and offset of channels": ("z = Conv(x, w) a = Mul(z, c) y = Add(a, c)", ["Conv"]),
    "scale and offset of all": ("z = Conv(x, w, k) a = Div(z, n) b = Sub(a, n) y = Sub(n, b)", ["Conv"]),
    "scale before": ("a = Mul(x, d) y = Conv<pads = [1, 1, 1, 1]>(a, v, k)", ["Conv"]),
    "offset before": ("a = Add(x, d) y = Conv(a, v, k)", ["Conv"]),
    "offset before padding": ("a = Add(x, d) y = Conv<pads = [1, 1, 1, 1]>(a, v, k)", ["Affine", "Conv"]),
    "padding": ("a = Pad(x, around) y = Conv<pads = [1, 0, 0, 1]>(a, v)", ["Conv"]),
    "padding with ones": ("a = Pad(x, around, n1) y = Conv(a, v)", ["Pad", "Conv"]),
    "sum": ("z = Conv(x, w) a = Conv(x, w) b = Add(z, a) y = Relu(b)", ["Conv", "Conv add relu"]),
    "sum with the mean": (
        "z = Conv(x, w) m = GlobalAveragePool(z) y = Add(m, z)", ["Conv", "GlobalAveragePool", "Add"],
    ),
    "normalization of groups": (
        "a = BatchNormalization(x, p4, q4, r4, s4) z = Conv<group = 2>(a, g) y = Relu(z)", ["Conv relu"],
    ),
    "normalization before an activation": (
        "a = BatchNormalization(x, p4, q4, r4, s4) b = Relu(a) y = Conv(b, w)", ["Affine relu", "Conv"],
    ),
    "transposed": (
        "z = ConvTranspose<strides = [2, 2]>(x, t) y = BatchNormalization(z, p, q, r, s)", ["ConvTranspose"],
    ),
    "used twice": ("z = Conv(x, w) a = Relu(z) y = Add(z, a)", ["Conv", "Activation relu", "Add"]),
}  # fmt: skip
ARRAYS = {
    "w": WEIGHT, "v": WIDE, "g": RNG.standard_normal((6, 2, 1, 1)), "t": RNG.standard_normal((4, 6, 2, 2)),
    "k": RNG.standard_normal(6), "c": RNG.standard_normal((6, 1, 1)), "d": RNG.standard_normal((4, 1, 1)),
    "n": 0.7, "n1": 1.0, "around": [0, 0, 1, 2, 0, 0, 2, 1],
    **{name: RNG.random(6) + 0.5 for name in "pqrs"}, **{f"{name}4": RNG.random(4) + 0.5 for name in "pqrs"},
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_foldings(name, loaded):
    body, wanted = FOLDED[name]
    words = set("".join(c if c.isalnum() else " " for c in body).split())
    net, reference = loaded(body, **{key: value for key, value in ARRAYS.items() if key in words})
    assert left(net) == wanted
    assert agrees(net, reference, 2, 4, 5, 6)


def test_a_layer_normalization(loaded):
    body = """m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) s = Pow(d, two) v = ReduceMean<axes = [2]>(s)
    e = Add(v, eps) r = Sqrt(e) n = Div(d, r) a = Mul(n, g) y = Add(a, b)"""
    arrays = {"two": 2.0, "eps": 1e-5, "g": RNG.standard_normal(8), "b": RNG.standard_normal(8)}
    net, reference = loaded(body, "(float[N, L, 8] x) => (float[N, L, 8] y)", **arrays)
    assert left(net) == ["LayerNormalization"]
    assert agrees(net, reference, 3, 5, 8)


def test_a_product_with_its_bias_and_sum(loaded):
    body = "a = MatMul(x, w) b = Add(a, k) c = Add(b, x) y = Relu(c)"
    ends = "(float[N, L, 8] x) => (float[N, L, 8] y)"
    net, reference = loaded(body, ends, w=RNG.standard_normal((8, 8)), k=RNG.standard_normal(8))
    assert left(net) == ["Linear add relu"]
    assert agrees(net, reference, 3, 5, 8)


@pytest.mark.parametrize("beside", ["one", "most"])
def test_sums_that_broadcast(beside, loaded):
    """The residual is smaller than the result: it is added as NumPy adds it."""
    ends = "(float[2, 4, 4, 5] x) => (float[2, 6, 4, 5] y)"
    body = f"""z = Conv(x, w) one = Slice(z, first, second, axis) most = ReduceMax<axes = [2, 3]>(z)
    s = Add(z, {beside}) y = Relu(s)"""
    net, reference = loaded(body, ends, w=WEIGHT, first=[0], second=[1], axis=[1])
    assert agrees(net, reference, 2, 4, 4, 5)


def test_equal_filters_give_equal_results(loaded):
    """A softmax of large equal scores is a tie."""
    body = "z = Conv(x, w) y = Softmax<axis = 1>(z)"
    net, _ = loaded(body, w=np.full((100, 4, 1, 1), 1e4))
    y = net(np.random.default_rng(0).random((1, 4, 3, 3), dtype=np.float32))
    np.testing.assert_allclose(y, 0.01, rtol=1e-6)


def test_transposes_and_concatenations_cost_nothing(loaded):
    """Of a split, transposes and a join, a step is left for each convolution, and one for what is kept."""
    body = """a, b = Split<axis = 1>(x) c = Conv(b, w) d = Transpose<perm = [0, 2, 3, 1]>(c)
    e = Transpose<perm = [0, 3, 1, 2]>(d) f = Relu(e) g = Conv(f, w) y = Concat<axis = 1>(a, g)"""
    net, reference = loaded(body, w=RNG.standard_normal((2, 2, 1, 1)))
    assert agrees(net, reference, 1, 4, 6, 6)
    assert "4 steps of a call" in net.summary((1, 4, 6, 6))  # two convolutions, the Relu, the copy of a


def blocks(net):
    """The operators of the chains of a network, and of what is no chain."""
    told = []
    for node in net._chained.nodes:
        inner = node.attributes.get("nodes", [])
        told.append(" ".join(part.op for part in inner) if inner else node.op)
    return told


def test_an_inverted_residual_is_a_chain(loaded):
    """The sum is its own input; the next block, which widens again, begins a chain of its own."""
    body = """a = Conv(x, wide) b = Relu(a) c = Conv<group = 8, pads = [1, 1, 1, 1]>(b, window)
    d = Conv(c, narrow) e = Add(d, x) f = Conv(e, wide)
    g = Conv<group = 8, pads = [1, 1, 1, 1]>(f, window) y = Conv(g, narrow)"""
    arrays = {
        "wide": RNG.standard_normal((8, 4, 1, 1)),
        "window": RNG.standard_normal((8, 1, 3, 3)),
        "narrow": RNG.standard_normal((4, 8, 1, 1)),
    }
    net, reference = loaded(body, **arrays)
    assert blocks(net) == ["Conv Conv Conv", "Conv Conv Conv"]
    assert agrees(net, reference, 2, 4, 6, 7)
    assert "2 of them chains" in net.summary((2, 4, 6, 7))


@pytest.mark.parametrize("beside", [(4, 4, 1, 1), (1, 4, 1, 1)])
def test_a_chain_with_the_sum_of_another(beside, loaded):
    """A residual of the result's shape, or one that is broadcast."""
    body = """a = Conv<pads = [1, 1, 1, 1]>(x, window) b = Conv(a, narrow) c = Conv(x, other) d = Add(b, c)
    y = Relu(d)"""
    arrays = {"window": (8, 4, 3, 3), "narrow": (4, 8, 1, 1), "other": beside}
    net, reference = loaded(body, **{name: RNG.standard_normal(shape) for name, shape in arrays.items()})
    assert agrees(net, reference, 2, 4, 6, 7)


def test_a_pool_between(loaded):
    body = """a = Conv(x, w) b = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(a)
    c = Conv(b, v) y = Relu(c)"""
    net, reference = loaded(body, w=WEIGHT, v=RNG.standard_normal((3, 6, 1, 1)))
    assert blocks(net) == ["Conv MaxPool Conv"]
    assert agrees(net, reference, 1, 4, 8, 8)
