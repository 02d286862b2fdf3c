"""Promise 7: a layer pickles as its plain weights and options, and packs again where it is loaded."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastpw
from fastpw.core import machine

ARGUMENTS = fastpw.Conv1x1._ARGUMENTS

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]


@pytest.fixture(params=[1, 4, 8], ids=lambda groups: f"{groups}groups")
def layer(request, dtype, rng):
    weight = rng.standard_normal((8, 8 // request.param)).astype(dtype)
    bias = rng.standard_normal(8).astype(dtype)
    return fastpw.Conv1x1(
        weight[None, None].swapaxes(-1, -2), bias, stride=2, padding=(1, 0), groups=request.param,
        activation=("clip", -1.0, np.inf), weight_layout="HWIO",
    )  # fmt: skip


@pytest.fixture
def image(dtype, rng):
    return rng.standard_normal((2, 7, 5, 8)).astype(dtype)


def through_pickle(protocol):
    return lambda layer: pickle.loads(pickle.dumps(layer, protocol))


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"protocol {p}": through_pickle(p) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_compute_the_same(duplicate, layer, image):
    y = layer(image)
    again = duplicate(layer)
    assert again(image).tobytes() == y.tobytes()
    assert repr(again) == repr(layer)
    for name in ARGUMENTS:
        assert np.array_equal(getattr(again, name), getattr(layer, name))
    assert not again.weight.flags.writeable


def test_a_copy_of_a_loaded_layer(layer, image):
    again = copy.deepcopy(pickle.loads(pickle.dumps(copy.copy(layer))))
    assert np.array_equal(again(image), layer(image))


def test_a_pickle_is_the_weights_and_little_else():
    layer = fastpw.Conv1x1(np.ones((64, 64), "f4"))
    layer(np.ones((3, 64), "f4"))
    assert len(pickle.dumps(layer)) < layer.weight.nbytes + 500


def test_a_layer_keeps_its_own_weights(dtype, conv):
    weight, bias = np.ones((2, 3), dtype), np.ones(2, dtype)
    layer = fastpw.Conv1x1(weight, bias)
    weight[...] = bias[...] = 7
    assert np.all(layer(np.ones((1, 3), dtype)) == 4)
    assert np.all(copy.copy(layer)(np.ones((1, 3), dtype)) == 4)


def test_between_processes_with_other_instruction_sets(layer, image, tmp_path):
    (tmp_path / "layer").write_bytes(pickle.dumps((layer, image)))
    code = (
        "import pickle, sys, fastpw\n"
        f"layer, image = pickle.load(open({str(tmp_path / 'layer')!r}, 'rb'))\n"
        "sys.stdout.buffer.write(pickle.dumps(layer(image)))"
    )
    simplest = [row["isa"] for row in machine.kernel_sets() if row["runs"]][-1]
    environment = {**os.environ, "FASTPW_ISA": simplest}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    tolerance = 100 * np.finfo(image.dtype).eps
    assert np.allclose(pickle.loads(done.stdout), layer(image), rtol=tolerance, atol=tolerance)


ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))


@pytest.mark.parametrize("theirs", ISAS)
def test_from_a_process_with_another_instruction_set(theirs):
    """A layer that has computed there computes here what one made here does, to the bit."""
    code = (
        "import pickle, sys, numpy as np, fastpw\n"
        "rng = np.random.default_rng(5)\n"
        "layer = fastpw.Conv1x1(rng.standard_normal((70, 33)).astype('f4'), activation='gelu')\n"
        "layer(np.ones((9, 33), 'f4'))\n"
        "sys.stdout.buffer.write(pickle.dumps(layer))"
    )
    environment = {**os.environ, "FASTPW_ISA": theirs}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    loaded = pickle.loads(done.stdout)
    x = np.random.default_rng(6).standard_normal((100, 33)).astype("f4")
    assert loaded(x).tobytes() == fastpw.Conv1x1(loaded.weight, activation="gelu")(x).tobytes()


def test_every_truncated_pickle_is_refused(layer):
    whole = pickle.dumps(layer)
    for length in range(len(whole)):
        with pytest.raises((EOFError, pickle.UnpicklingError, ValueError)):
            pickle.loads(whole[:length])


GOOD = {
    "version": 1,
    "weight": np.ones((2, 3)),
    "bias": None,
    "stride": (1, 1),
    "padding": ((0, 0), (0, 0)),
    "groups": 1,
    "activation": None,
    "weight_layout": "OI",
}
CORRUPT = {
    "no dictionary": [1, 2],
    "nothing": None,
    "empty": {},
    "one missing": {name: value for name, value in GOOD.items() if name != "bias"},
    "one more": {**GOOD, "panels": b"\0"},
    "weight of another rank": {**GOOD, "weight": np.ones(3)},
    "weight of another type": {**GOOD, "weight": "abc"},
    "weight of another dtype": {**GOOD, "weight": np.ones((2, 3), int)},
    "bias of another dtype": {**GOOD, "bias": np.ones(2, "f4")},
    "bias of another shape": {**GOOD, "bias": np.ones(3)},
    "stride": {**GOOD, "stride": 0},
    "padding": {**GOOD, "padding": "around"},
    "groups": {**GOOD, "groups": 7},
    "activation": {**GOOD, "activation": ("relu", 1)},
    "activation past all floats": {**GOOD, "activation": ("clip", -(10**5000), 10**5000)},
    "one of a later version": {**GOOD, "version": 2},
    "no version": {name: value for name, value in GOOD.items() if name != "version"},
    "a version of another type": {**GOOD, "version": True},
    "layout": {**GOOD, "weight_layout": None},
}


@pytest.mark.parametrize("state", CORRUPT.values(), ids=CORRUPT)
def test_corrupt_state_is_refused(state):
    with pytest.raises(ValueError, match=r"^state: "):
        fastpw.Conv1x1.__new__(fastpw.Conv1x1).__setstate__(state)


def test_good_state_is_taken():
    layer = fastpw.Conv1x1.__new__(fastpw.Conv1x1)
    layer.__setstate__(GOOD)
    assert np.all(layer(np.ones((1, 3))) == 3)


def test_repr():
    layer = fastpw.Conv1x1(np.ones((10, 2), "f4"), np.ones(10, "f4"), groups=2, stride=2, activation="relu")
    assert (
        repr(layer)
        == "<Conv1x1: 4 -> 10 channels, float32, bias, stride (2, 2), 2 groups, activation 'relu'>"
    )
    assert repr(fastpw.Conv1x1(np.ones((10, 4)))) == "<Conv1x1: 4 -> 10 channels, float64>"
