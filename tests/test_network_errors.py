"""Damaged, hostile and foreign files, wrong inputs: a TypeError or ValueError that says what and where."""

import random
import re
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fastpw  # noqa: E402

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
SMALL = (
    HEAD
    + """
small (float[N, 3, H, W] x) => (float[N, 4, A, B] y)
<float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
{ [first] z = Conv(x, w)
  [second] y = Relu(z) }
"""
)


@pytest.fixture
def written(tmp_path):
    """The path of a file with a model, or with bytes."""

    def write(content, name="network.onnx"):
        path = tmp_path / name
        if isinstance(content, str):
            content = onnx.parser.parse_model(content)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            onnx.save(content, path)
        return path

    return write


@pytest.fixture
def small(written):
    return written(SMALL)


# ---- calls


def test_a_name_that_is_none(small):
    with pytest.raises(ValueError, match=r"inputs: \['x'\] are needed, got \['image'\]"):
        fastpw.load(small).run({"image": np.ones((1, 3, 2, 2), np.float32)})


def test_another_dtype(small):
    with pytest.raises(TypeError, match="input 'x': float32 is needed, got float64"):
        fastpw.load(small)(np.ones((1, 3, 2, 2)))


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 4, 2, 2)])
def test_another_shape(small, shape):
    wanted = re.escape(f"input 'x': shape (any, 3, any, any) is needed, got {shape}")
    with pytest.raises(ValueError, match=wanted):
        fastpw.load(small)(np.ones(shape, np.float32))


def test_a_call_of_a_network_with_two_outputs(written):
    net = fastpw.load(
        written(HEAD + "two (float[2] x) => (float[2] y, float[2] z) { y = Exp(x) z = Neg(x) }")
    )
    with pytest.raises(TypeError, match=r"use run\(\{name: array\}\)"):
        net(np.ones(2, np.float32))
    assert net.run({"x": np.ones(2, np.float32)}).keys() == {"y", "z"}


def test_sizes_that_a_node_cannot_take(written):
    net = fastpw.load(
        written(
            HEAD + "two (float[N, M] x) => (float[N] y) { [turned] z = Transpose(x) [sum] y = Add(x, z) }"
        )
    )
    assert net(np.ones((2, 2), np.float32)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"node 'sum' \(Add\): "):
        net(np.ones((2, 3), np.float32))


def test_layouts_that_are_none(small):
    with pytest.raises(ValueError, match="layout: None or 'NHWC' is needed, got 'NCHW'"):
        fastpw.load(small, layout="NCHW")


def test_a_summary_without_sizes(small):
    with pytest.raises(ValueError, match="shape: the sizes of the input are needed"):
        fastpw.load(small).summary()


# ---- memory


def test_more_memory_than_allowed(small):
    net = fastpw.load(small, memory_limit=10_000)
    assert net(np.ones((1, 3, 4, 4), np.float32)).shape == (1, 4, 4, 4)
    with pytest.raises(ValueError, match="memory_limit=10,000 bytes are allowed"):
        net(np.ones((1, 3, 400, 400), np.float32))


def test_a_file_larger_than_allowed(small):
    with pytest.raises(ValueError, match="memory_limit=10 bytes are allowed"):
        fastpw.load(small, memory_limit=10)


BOMBS = {
    "constant": "y = ConstantOfShape(s)",
    "repeated": "z = ConstantOfShape(s) y = Neg(z)",
    "tiled": "z = Unsqueeze(x, a) v = Unsqueeze(z, a) y = Tile(v, s)",
    "resized": (
        "z = Unsqueeze(x, a) v = Unsqueeze(z, a) e = Constant<value = float[0] {}>() "
        'y = Resize<mode="nearest">(v, e, e, s)'
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_asks_for_more_than_there_is(name, written):
    text = f"""{HEAD} bomb (float[2] x) => (float[A, B, C] y)
    <int64[3] s = {{3000000, 3000000, 3000000}}, int64[1] a = {{0}}> {{ [big] {BOMBS[name]} }}"""
    with pytest.raises(ValueError, match=r"node .*bytes are allowed"):
        fastpw.load(written(text))(np.ones(2, np.float32))


def test_many_constants_that_are_large_together(written):
    """Each of them alone would be allowed."""
    text = f"""{HEAD} many (float[1000, 1000] x) => (float[1000, 1000] y) <int64[2] s = {{1000, 1000}}>
    {{ a = ConstantOfShape(s) b = ConstantOfShape(s) c = Add(x, a) y = Mul(c, b) }}"""
    with pytest.raises(ValueError, match=r"memory_limit=7,000,000 bytes are allowed"):
        fastpw.load(written(text), memory_limit=7_000_000)
    assert fastpw.load(written(text), memory_limit=20_000_000).inputs[0].shape == (1000, 1000)


def test_a_constant_that_says_it_is_large(written):
    model = onnx.parser.parse_model(SMALL)
    model.graph.initializer[0].dims[0] = 1 << 60
    with pytest.raises(ValueError, match=r"constant 'w': .* bytes are needed"):
        fastpw.load(written(model))


def test_a_constant_with_another_size(written):
    model = onnx.parser.parse_model(SMALL)
    model.graph.initializer[0].dims[0] = 5
    with pytest.raises(ValueError, match=r"name: w|constant 'w'"):
        fastpw.load(written(model))


# ---- files


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastpw.load(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a network", b"PK\x03\x04 nor an archive"])
def test_other_files(content, written):
    with pytest.raises(ValueError, match=r"network\.onnx: "):
        fastpw.load(written(content))


def test_files_cut_short(small):
    whole = small.read_bytes()
    for length in range(0, len(whole), 3):
        small.write_bytes(whole[:length])
        with pytest.raises((ValueError, TypeError)):
            fastpw.load(small)


def test_files_with_bytes_changed(small):
    """They are refused, or are networks."""
    whole, draw = small.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        small.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                net = fastpw.load(small, memory_limit=1 << 28)
                net(np.ones((1, 3, 4, 4), np.float32))
        except (ValueError, TypeError):
            continue


def test_weights_in_files_elsewhere(written, tmp_path):
    """A file beside the network is read; one in another folder is not."""
    model = onnx.parser.parse_model(SMALL)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    (tmp_path / "inner").mkdir()
    onnx.save(
        model, tmp_path / "inner" / "n.onnx", save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    x = np.ones((1, 3, 2, 2), np.float32)
    assert fastpw.load(tmp_path / "inner" / "n.onnx")(x)[0, 3, 0, 0] == 33
    model = onnx.load(tmp_path / "inner" / "n.onnx", load_external_data=False)
    (tmp_path / "w.bin").write_bytes((tmp_path / "inner" / "w.bin").read_bytes())
    model.graph.initializer[0].external_data[0].value = "../w.bin"
    (tmp_path / "inner" / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"n\.onnx: "):
        fastpw.load(tmp_path / "inner" / "n.onnx")


def test_a_circle(written):
    text = HEAD + "circle (float[2] x) => (float[2] y) { y = Add(x, z) z = Exp(y) }"
    with pytest.raises(ValueError, match="z"):
        fastpw.load(written(text))


def test_operators_that_nobody_has_are_listed(written):
    text = """<ir_version: 8, opset_import: ["" : 17, "else" : 1]>
    other (float[2] x) => (float[2] y) { [a] z = else.Wonder(x) [b] v = else.Marvel(z) y = Neg(v) }"""
    with pytest.raises(ValueError, match=r"no else.Wonder \(node 'a'\), no else.Marvel \(node 'b'\)"):
        fastpw.load(written(text))


def test_an_operator_of_the_reference_runs_with_a_warning(written, tmp_path):
    text = HEAD + "rare (float[2, 2, 2] x) => (float[2] y) { [rare] z = Det(x) y = Neg(z) }"
    path = written(text)
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    with pytest.warns(RuntimeWarning, match=r"node 'rare' \(Det\)"):
        net = fastpw.load(path)
    assert np.allclose(net(x), [2, 2])
    with pytest.raises(ValueError, match=r"node 'rare' \(Det\)"):
        net.save(tmp_path / "network.npz")


def test_an_old_opset(written):
    text = SMALL.replace('"" : 17', '"" : 6')
    with pytest.raises(ValueError, match="opset 7 or later is needed, got 6"):
        fastpw.load(written(text))


def test_a_dtype_that_is_not_supported(written):
    text = HEAD + "words (string[2] x) => (string[2] y) { y = Identity(x) }"
    with pytest.raises(TypeError, match="input 'x': dtype object is not supported"):
        fastpw.load(written(text))
