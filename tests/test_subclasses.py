"""Promise 5 for subclasses of ndarray: what counts is the array, not what the subclass says of it."""

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

WRT = ("x", "weight", "bias", "residual")


def lying(array, **lies):
    """A view that answers `lies` when it is asked."""
    properties = {name: property(lambda self, lie=lie: lie) for name, lie in lies.items()}
    return array.view(type("Liar", (np.ndarray,), properties))


class Unasked(np.ndarray):
    """Fails whatever it is asked."""

    def _fail(self):
        raise RuntimeError("asked")

    shape = dtype = strides = flags = ndim = size = itemsize = nbytes = base = T = property(_fail)


def ones(*shape):
    return np.ones(shape, "f4")


def forward():
    return {"x": ones(5, 8), "weight": ones(10, 8), "bias": ones(10), "residual": ones(5, 10)}


def backward():
    return {"dy": ones(5, 10), "y": ones(5, 10), "z": ones(5, 10), **forward()}


# Lies about arrays of 5 rows: each makes one that does not fit look as if it did, or the other way round.
LIES = {
    "shape": (1000, 10),
    "dtype": np.dtype("f8"),
    "strides": (4, 40),
    "ndim": 3,
    "size": 0,
    "flags": np.ones((2, 4))[:, ::2].flags,
}


@pytest.mark.parametrize("lies", [{name: lie} for name, lie in LIES.items()] + [LIES], ids=str)
def test_results_are_written_where_the_array_is(lies, conv):
    for _ in range(3):  # the layer's later calls are of a kind of their own
        memory = np.zeros((7, 10), "f4")
        out = lying(memory[1:6], **lies)
        assert conv(**forward(), out=out) is out
        assert np.all(memory[1:6] == 10)
        assert not memory[0].any()
        assert not memory[6].any()


def test_a_layer_after_a_lie():
    layer = fastpw.Conv1x1(ones(10, 8))
    memory = np.zeros((2000, 10), "f4")
    layer(ones(5, 8), out=lying(memory[:5], shape=(1000, 10)))
    layer(ones(5, 8), out=memory[5:10])
    assert np.all(memory[:10] == 8)
    assert not memory[10:].any()
    assert layer(ones(5, 8)).shape == (5, 10)


@pytest.mark.parametrize("name", ["out", "out_z"])
@pytest.mark.parametrize(
    ("array", "lies", "message"),
    [
        (np.zeros((1, 10), "f4"), {"shape": (5, 10)}, "shape (5, 10) is needed, got (1, 10)"),
        (
            np.zeros((5, 10), "i4"),
            {"dtype": np.dtype("f4")},
            "dtype float32 is needed, as the inputs have, got int32",
        ),
        (
            np.broadcast_to(np.float32(0), (5, 10)),
            {"flags": ones(5, 10).flags, "strides": (40, 4)},
            "a writable array is needed, got a read-only one",
        ),
        (
            np.zeros((5, 20), "f4")[:, ::2],
            {"flags": ones(5, 10).flags, "strides": (40, 4)},
            "channels adjacent in memory (4 bytes apart) are needed, got strides (80, 8)",
        ),
    ],
    ids=str,
)
def test_outputs_that_only_say_they_fit(name, array, lies, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        fastpw.conv1x1(**forward(), **{name: lying(array, **lies)})
    assert str(caught.value) == f"{name}: {message}"
    assert not array.any()


# The argument that does not fit, where one is shorter than it says: x and the weight set the others' sizes.
BLAMED = {"x": "residual", "weight": "bias"}


@pytest.mark.parametrize("name", [*forward()])
def test_inputs_that_only_say_they_fit(name, conv):
    good = forward()
    bad = lying(good[name][:1], shape=good[name].shape)
    with pytest.raises(ValueError, match=f"^{BLAMED.get(name, name)}: "):
        conv(**{**good, name: bad})


@pytest.mark.parametrize("name", [*backward()])
def test_gradients_of_inputs_that_only_say_they_fit(name):
    good = backward()
    bad = lying(good[name][:1], shape=good[name].shape)
    blamed = {**BLAMED, "x": "dy"}.get(name, name)
    with pytest.raises(ValueError, match=f"^{blamed}: "):
        fastpw.conv1x1_backward(**{**good, name: bad}, activation="gelu", wrt=WRT)


def test_nothing_is_asked(conv):
    y = np.zeros((5, 10), "f4").view(Unasked)
    unasked = {name: array.view(Unasked) for name, array in forward().items()}
    assert conv(**unasked, out=y) is y
    assert np.all(np.asarray(y) == 10)


@pytest.mark.parametrize("kind", [tuple, list, lambda a: fastpw.Gradients(*a)])
def test_nothing_is_asked_backward(kind):
    for _ in range(2):
        out = kind([np.zeros(a.shape, "f4").view(Unasked) for a in (forward().values())])
        unasked = {name: array.view(Unasked) for name, array in backward().items()}
        grads = fastpw.conv1x1_backward(**unasked, activation="relu", wrt=WRT, out=out)
        assert all(a is b for a, b in zip(grads, out, strict=True))
        assert [float(np.asarray(a).flat[0]) for a in grads] == [10, 5, 5, 1]


@pytest.mark.parametrize("number", range(4))
def test_gradients_that_only_say_they_fit(number):
    out = [np.zeros(a.shape, "f4") for a in forward().values()]
    plain, out[number] = out[number], lying(out[number][:1], shape=out[number].shape)
    with pytest.raises(ValueError, match=rf"^out\.d{WRT[number]}: shape "):
        fastpw.conv1x1_backward(**backward(), activation="relu", wrt=WRT, out=tuple(out))
    assert not plain.any()


class Five(tuple):
    """Says that it is four."""

    def __len__(self):
        return 4

    def __iter__(self):
        return iter([None] * 5)


class Fails(list):
    def __iter__(self):
        raise RuntimeError("asked")


@pytest.mark.parametrize(
    ("out", "error", "came"), [(Five(), ValueError, "5 elements"), (Fails(), TypeError, r"\[\]")]
)
def test_a_tuple_that_is_not_what_it_says(out, error, came):
    for _ in range(2):
        with pytest.raises(error, match=f"^out: Gradients or a tuple of four is needed, got {came}$"):
            fastpw.conv1x1_backward(ones(5, 10), ones(5, 8), ones(10, 8), out=out)
        fastpw.conv1x1_backward(ones(5, 10), ones(5, 8), ones(10, 8))


def test_an_object_that_says_it_is_an_array():
    class Pretender:
        __class__ = np.ndarray

        def __array__(self, dtype=None, copy=None):
            return np.zeros((5, 10), "f4")

    with pytest.raises(TypeError, match=r"^out: a NumPy array is needed, got a Pretender$"):
        fastpw.conv1x1(ones(5, 8), ones(10, 8), out=Pretender())


@pytest.mark.parametrize("kind", [np.memmap, np.matrix, np.recarray])
def test_subclasses_are_given_back(kind, conv):
    y = np.zeros((5, 10), "f4").view(kind)
    assert conv(**forward(), out=y) is y
    assert np.all(np.asarray(y).view("f4") == 10)
