"""Networks in .npz files: what they hold, and files that others have made."""

import json
import pickle
import random

import numpy as np
import pytest

import fastpw
from fastpw.network import archive
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
    assert described["version"] == archive.VERSION
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


def described(path, change):
    """The file with its description changed, and the checksums right."""
    with np.load(path) as file:
        description = json.loads(file["graph"].tobytes())
        arrays = [file[str(number)] for number in range(len(file.files) - 1)]
    change(description)
    archive.write(path, description, arrays)


def test_any_byte_of_the_weights_changed(path):
    """Whatever bit of them flips, it is found."""
    whole, (_, _, place, _) = path.read_bytes(), json.loads(np.load(path)["graph"].tobytes())["arrays"][0]
    start = whole.index(network()._graph.constants["w"].tobytes())
    assert start % archive.ALIGNMENT == 0 == place % archive.ALIGNMENT
    for at in range(start, start + 4 * 27 * 4, 5):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="the numbers of array 0 have changed"):
            fastpw.load(path)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, archive._CHUNK, 3 * archive._CHUNK + 4099])
def test_checksums_tell_what_has_changed(size):
    """Any byte, the order of chunks, how many there are."""
    numbers = np.random.default_rng(size).integers(0, 256, size + 1, dtype=np.uint8)
    seen = {archive._checksum(numbers[:size].tobytes()), archive._checksum(numbers.tobytes())}
    for at in range(0, size, max(size // 50, 1)):
        changed = numbers[:size].copy()
        changed[at] ^= 1
        seen.add(archive._checksum(changed.tobytes()))
    shifted = size > 2 * archive._CHUNK
    if shifted:
        first, second, rest = np.split(numbers[:size], [archive._CHUNK, 2 * archive._CHUNK])
        seen.add(archive._checksum(np.concatenate([second, first, rest]).tobytes()))
    assert len(seen) == 2 + len(range(0, size, max(size // 50, 1))) + shifted


def test_pickles_are_not_opened(path):
    """Not even a dtype of objects is believed."""
    described(path, lambda d: d["arrays"][0].__setitem__(0, "|O"))
    with pytest.raises(ValueError, match=r"'\|O' is no dtype of a saved network"):
        fastpw.load(path)


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        (1, [4, 3, 3, 4], "have changed, or are truncated"),
        (1, [400000000], "bytes are allowed"),
        (1, [4, -3, 3, 3], "numbers >= 0 are needed"),
        (1, [4, 3, 3, 3.0], "numbers >= 0 are needed"),
        (2, -64, "numbers >= 0 are needed"),
        (2, 1 << 70, "no saved network, or a damaged one"),
        (2, 1 << 40, "have changed, or are truncated"),
    ],
)
def test_arrays_that_are_not_where_they_are_said_to_be(path, number, value, message):
    described(path, lambda d: d["arrays"][0].__setitem__(number, value))
    with pytest.raises(ValueError, match=message):
        fastpw.load(path, memory_limit=1 << 20)


def test_more_memory_than_allowed(path):
    with pytest.raises(ValueError, match="memory_limit=100 bytes are allowed"):
        fastpw.load(path, memory_limit=100)


# ---- weights that stay in the file


@pytest.fixture
def large(tmp_path):
    """A network whose weights are large enough to stay in the file, and the answer."""
    weight = np.random.default_rng(0).standard_normal((256, 128, 1, 1), dtype=np.float32)
    nodes = [Node("Conv", ["x", "w"], ["y"], {}, "first")]
    ports = [Port("x", (None, 128, None, None), FLOAT32)], [Port("y", (None, 256, None, None), FLOAT32)]
    net = Network(Graph(*ports, nodes, {"w": weight}), None, 1 << 30)
    net.save(tmp_path / "large.npz")
    x = np.random.default_rng(1).standard_normal((1, 128, 3, 4), dtype=np.float32)
    return tmp_path / "large.npz", x, net(x)


def test_weights_stay_in_the_file(large):
    path, x, y = large
    net = fastpw.load(path)
    assert net._graph.source is not None
    assert np.array_equal(net(x), y)
    assert np.array_equal(pickle.loads(pickle.dumps(net))(x), y)
    with pytest.raises(ValueError, match="WRITEABLE"):
        net._graph.constants["w"].flags.writeable = True


def test_saved_over_its_own_file(large):
    """Who has the old one open keeps it."""
    path, x, y = large
    net, other = fastpw.load(path), fastpw.load(path)
    net.save(path)
    assert [*path.parent.iterdir()] == [path]
    for each in (net, other, fastpw.load(path)):
        assert np.array_equal(each(x), y)
        each.save(path)


def test_a_file_that_is_written_to_while_it_is_open(large, tmp_path):
    """What is packed goes on; what needs the file says so."""
    path, x, y = large
    net = fastpw.load(path)
    assert np.array_equal(net(x), y)
    path.write_bytes(b"")
    assert np.array_equal(net(x), y)
    for use in (
        lambda: net.save(tmp_path / "other.npz"),
        lambda: pickle.dumps(net),
        lambda: net(x[:, :, :2]),
    ):
        with pytest.raises(ValueError, match="the file has changed since the network was loaded"):
            use()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=99), "version 2 is needed, got 99"),
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
