"""Networks in .npz files: what they hold, and files that others have made."""

import io
import json
import random
import zipfile

import numpy as np
import pytest

import fastpw
from fastpw.network import saved
from fastpw.network.graph import Graph, Node, Port
from fastpw.network.network import Network

FLOAT32 = np.dtype(np.float32)


def network():
    """A convolution and a mean, made by hand: no onnx is needed."""
    random_numbers = np.random.default_rng(0)
    weight = random_numbers.standard_normal((4, 3, 3, 3), dtype=np.float32)
    nodes = [
        Node("Conv", ["x", "w"], ["z"], {"pads": [1, 1, 1, 1], "activation": "relu"}, "first"),
        Node("GlobalAveragePool", ["z"], ["y"], {}, "second"),
    ]
    ports = [Port("x", (None, 3, None, None), FLOAT32)], [Port("y", (None, 4, 1, 1), FLOAT32)]
    return Network(Graph(*ports, nodes, {"w": weight}), None, 1 << 30)


@pytest.fixture
def path(tmp_path):
    network().save(tmp_path / "network.npz")
    return tmp_path / "network.npz"


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((2, 3, 8, 9), dtype=np.float32)


def test_the_same_bits(path, x):
    assert np.array_equal(fastpw.load(path)(x), network()(x))
    last = fastpw.load(path, layout="NHWC")
    assert np.array_equal(last(x.transpose(0, 2, 3, 1)), network()(x).transpose(0, 2, 3, 1))


def test_the_values(path, x):
    layer = fastpw.Conv2d(network()._graph.constants["w"], padding=1, activation="relu", weight_layout="OIHW")
    wanted = fastpw.GlobalAveragePool()(layer(np.ascontiguousarray(x.transpose(0, 2, 3, 1))))
    assert np.allclose(fastpw.load(path)(x)[:, :, 0, 0], wanted, rtol=1e-5, atol=1e-6)


def test_what_it_holds(path):
    """Plain arrays, which NumPy reads without pickles, and a description with a version."""
    with np.load(path, allow_pickle=False) as file:
        described = json.loads(file["graph"].tobytes())
        assert np.array_equal(file["0"], network()._graph.constants["w"])
    assert described["version"] == saved.VERSION
    assert [node[0] for node in described["nodes"]] == ["Conv", "GlobalAveragePool"]


def test_saved_again(path, tmp_path):
    fastpw.load(path).save(tmp_path / "again.npz")
    assert np.array_equal(*(np.load(p)["graph"] for p in (path, tmp_path / "again.npz")))


def test_files_cut_short(path):
    whole = path.read_bytes()
    for length in range(4, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no saved network, or a damaged one"):
            fastpw.load(path)


def test_files_with_bytes_changed(path, x):
    """They are refused, or are networks."""
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(4, len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            fastpw.load(path)(x)
        except (ValueError, TypeError):
            continue


def rewritten(path, name, content):
    """The file with another member in the place of one."""
    with zipfile.ZipFile(path) as file:
        members = {entry.filename: file.read(entry) for entry in file.infolist()}
    members[name] = content
    with zipfile.ZipFile(path, "w") as file:
        for key, value in members.items():
            file.writestr(key, value)


def array_file(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def described(path, change):
    """The file with its description changed."""
    description = json.loads(np.load(path)["graph"].tobytes())
    change(description)
    rewritten(path, "graph.npy", array_file(np.frombuffer(json.dumps(description).encode(), np.uint8)))


class Opened:
    """What a pickle does when it is opened."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_pickles_are_not_opened(path):
    rewritten(path, "0.npy", array_file(np.array([Opened()], object), allow_pickle=True))
    with pytest.raises(ValueError, match="no saved network, or a damaged one"):
        fastpw.load(path)


def test_arrays_that_say_they_are_larger(path):
    content = array_file(np.zeros((4, 3, 3, 3), np.float32)).replace(b"(4, 3, 3, 3)", b"(400000000,)")
    rewritten(path, "0.npy", content)
    with pytest.raises(ValueError, match="does not fit 432 bytes"):
        fastpw.load(path)


def test_more_memory_than_allowed(path):
    with pytest.raises(ValueError, match="memory_limit=100 bytes are allowed"):
        fastpw.load(path, memory_limit=100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=99), "version 1 is needed, got 99"),
        (lambda d: d["nodes"][0].__setitem__(0, "Wonder"), "no Wonder"),
        (lambda d: d["nodes"][0].__setitem__(1, ["nothing", "w"]), "'nothing' is made by no node"),
        (lambda d: d["nodes"][0].__setitem__(1, ["y", "w"]), "needs its own result"),
        (lambda d: d["nodes"].append(d["nodes"][0]), "another node makes 'z', too"),
        (lambda d: d["inputs"][0].__setitem__(1, [-1, 3, 8, 8]), "a shape of numbers >= 0"),
        (lambda d: d.pop("nodes"), "nodes"),
    ],
)
def test_descriptions_that_do_not_hold(path, change, message):
    described(path, change)
    with pytest.raises(ValueError, match=message):
        fastpw.load(path)
