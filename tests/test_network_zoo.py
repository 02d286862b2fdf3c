"""The networks of papers, made small: ONNX Runtime's values, and the same bits however they are run."""

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

import fastpw  # noqa: E402

FOLDER = Path(__file__).parents[1] / "bench" / "networks"
if not FOLDER.exists():
    pytest.skip("a wheel's tests do not have the networks", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
import zoo  # noqa: E402

LIMIT = 1e-3  # of the largest output
NAMES = [*zoo.names()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(params=NAMES, ids="-".join)
def path(request, folder):
    """A small network in a file."""
    return zoo.export(*request.param, folder, small=True)


@pytest.fixture(params=[(name, "") for name in zoo.NETWORKS], ids=lambda pair: pair[0])
def plain_path(request, folder):
    """One form of each."""
    return zoo.export(*request.param, folder, small=True)


def image(net, pixels=64):
    """An input that the network takes; where it leaves the size open, with so many pixels."""
    shape = [n or free for n, free in zip(net.inputs[0].shape, (3, 3, pixels, pixels + 6), strict=True)]
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def theirs(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_values(path):
    net = fastpw.load(path)
    x = image(net)
    y, wanted = net(x), theirs(path, x)
    assert y.shape == wanted.shape
    assert np.abs(y - wanted).max() <= LIMIT * np.abs(wanted).max()


def test_another_size_is_planned_anew(folder):
    path = zoo.export("shufflenet_v2", "dynamic", folder, small=True)
    net = fastpw.load(path)
    for pixels in (64, 96, 70, 128, 33, 64):  # more than there are plans
        x = image(net, pixels)
        wanted = theirs(path, x)
        assert np.abs(net(x) - wanted).max() <= LIMIT * np.abs(wanted).max()


def test_the_same_bits_for_any_number_of_threads(plain_path):
    net = fastpw.load(plain_path)
    x = image(net)
    with fastpw.num_threads(1):
        alone = net(x)
    with fastpw.num_threads(2):
        assert np.array_equal(net(x), alone)
        assert np.array_equal(fastpw.load(plain_path)(x), alone)


def test_the_same_bits_in_both_layouts(plain_path):
    net, last = fastpw.load(plain_path), fastpw.load(plain_path, layout="NHWC")
    x = image(net)
    n, c, h, w = net.inputs[0].shape
    assert last.inputs[0].shape == (n, h, w, c)
    assert np.array_equal(last(np.ascontiguousarray(x.transpose(0, 2, 3, 1))), net(x))
    assert np.array_equal(last(x.transpose(0, 2, 3, 1)), net(x))


def test_the_same_bits_from_threads_at_once(plain_path):
    net = fastpw.load(plain_path)
    images = [image(net) * scale for scale in (1, 0.5, 0.25)]
    alone = [net(x) for x in images]
    wrong = []

    def call(x, wanted):
        wrong.extend(number for number in range(5) if not np.array_equal(net(x), wanted))

    threads = [threading.Thread(target=call, args=pair) for pair in zip(images, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


SAVED = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onnx", "torch", "google"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy, fastpw
net = fastpw.load(sys.argv[1])
numpy.save(sys.argv[3], net(numpy.load(sys.argv[2])))
"""


def test_the_same_bits_from_the_saved_file_without_onnx(plain_path, tmp_path):
    net = fastpw.load(plain_path)
    x = image(net)
    net.save(tmp_path / "network.npz")
    np.save(tmp_path / "x.npy", x)
    arguments = [str(tmp_path / name) for name in ("network.npz", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", SAVED, *arguments], check=True)
    assert np.array_equal(np.load(tmp_path / "y.npy"), net(x))
    assert np.array_equal(pickle.loads(pickle.dumps(net))(x), net(x))


def test_results_are_new_arrays(folder):
    net = fastpw.load(zoo.export("mobilenet_v2", "", folder, small=True))
    x = image(net)
    before = x.copy()
    first = net(x)
    kept = first.copy()
    second = net(x * 2)
    assert not np.shares_memory(first, second)
    assert first.flags.writeable
    assert np.array_equal(first, kept)
    assert np.array_equal(x, before)


def test_little_is_left_of_a_mobilenet(folder):
    """Convolutions with their activations and sums, the mean, the last product, and nothing between them."""
    net = fastpw.load(zoo.export("mobilenet_v2", "unfolded", folder, small=True))
    told = [line.split("  ")[1:] for line in net.summary((1, 3, 64, 64)).splitlines()]
    operators = {
        cell.strip().split(" ")[0]
        for cells in told
        for cell in cells[:40]
        if "Conv" in cell or "Batch" in cell
    }
    assert operators == {"Conv"}
