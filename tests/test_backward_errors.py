"""Promise 5 for gradients: errors name the argument, and nothing is written before."""

import numpy as np
import pytest

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]


def ones(*shape, dtype="f4"):
    return np.ones(shape, dtype)


# A call that works: (N, H, W, C) = (2, 4, 6, 8), K = 10.
GOOD = {
    "dy": ones(2, 4, 6, 10),
    "x": ones(2, 4, 6, 8),
    "weight": ones(10, 8),
    "bias": ones(10),
    "y": ones(2, 4, 6, 10),
    "z": ones(2, 4, 6, 10),
    "residual": ones(2, 4, 6, 10),
    "activation": "relu",
    "wrt": ("x", "weight", "bias", "residual"),
}
NEEDED = "the result's shape (2, 4, 6, 10) is needed, got (4, 6, 10)"
OTHER = "dtype float32 is needed, as the inputs have, got float64"
WRT = "wrt: some of 'x', 'weight', 'bias', 'residual' are needed, got"
NO_X = (
    "x: an array is needed, got None, which is allowed with stride 1, padding 0, no 'weight' in wrt and what "
    "the activation's derivative is read from, y or z"
)
ALONE = (
    "z: the activation's derivative is read from it, so pass z, or bias=zeros if there was none, got y alone"
)


def out(**changed):
    arrays = {"dx": GOOD["x"], "dweight": GOOD["weight"], "dbias": GOOD["bias"], "dresidual": GOOD["dy"]}
    arrays = {name: np.full(a.shape, 7, a.dtype) for name, a in arrays.items()}
    return tuple((arrays | changed).values())


def read_only(array):
    array.flags.writeable = False
    return array


CASES = [
    *((ValueError, f"{name}: {NEEDED}", {name: ones(4, 6, 10)}) for name in ("dy", "y", "z", "residual")),
    *((TypeError, f"{name}: {OTHER}; give {name}.astype(np.float32)", {name: ones(2, 4, 6, 10, dtype="f8")})
      for name in ("dy", "y", "z", "residual")),
    (TypeError, "dy: float32 or float64 in native byte order is needed, got int64; "
     "give dy.astype(np.float32)",
     {"dy": ones(2, 4, 6, 10, dtype="i8")}),
    (ValueError, "dy: the result's shape (2, 4, 6, 10) is needed, got (2, 10, 4, 6); "
     "channels come last: np.moveaxis(dy, 1, -1)", {"dy": ones(2, 10, 4, 6)}),
    (ValueError, "dy: the result's shape (2, 2, 3, 10) is needed, got (2, 4, 6, 10)", {"stride": 2}),
    (ValueError, "stride: 1 to 2147483647 is needed, got 9223372036854775807", {"stride": (1 << 63) - 1}),
    (ValueError, "padding: 0 to 2147483647 is needed, got 9223372036854775807", {"padding": (1 << 63) - 1}),
    (ValueError, "dy: the result's shape (2, 6, 8, 10) is needed, got (2, 4, 6, 10)", {"padding": 1}),
    (ValueError, "dy: the result's shape (2, 4, 6, 10) is needed, got (2, 4, 6, 9)",
     {"dy": ones(2, 4, 6, 9), "x": None, "wrt": "x"}),
    (ValueError, "x: C = 8 channels are needed for the weight's 8 input channels, got shape (2, 4, 6, 7)",
     {"x": ones(2, 4, 6, 7)}),
    (TypeError, NO_X, {"x": None}),
    (TypeError, NO_X, {"x": None, "wrt": "x", "y": None, "z": None}),
    (TypeError, NO_X, {"x": None, "wrt": "x", "stride": 2}),
    (TypeError, NO_X, {"x": None, "wrt": "bias", "activation": "gelu", "z": None}),
    *((ValueError, ALONE, {"activation": name, "z": None, "bias": None})
      for name in ("gelu", "gelu_tanh", "silu", "swish", "hard_swish", np.str_("hardswish"))),
    (ValueError, f"{WRT} 'y'", {"wrt": "y"}),
    (ValueError, f"{WRT} ('x', 'dx')", {"wrt": ("x", "dx")}),
    (TypeError, f"{WRT} 1", {"wrt": 1}),
    (TypeError, f"{WRT} [['x']]", {"wrt": [["x"]]}),
    (TypeError, "accumulate: True or False is needed, got 1", {"accumulate": 1}),
    (ValueError, "activation: lo <= hi is needed for ('clip', lo, hi), got ('clip', 2, 1)",
     {"activation": ("clip", 2, 1)}),
    (TypeError, "out: Gradients or a tuple of four is needed, got a ndarray", {"out": ones(2, 4, 6, 8)}),
    (ValueError, "out: Gradients or a tuple of four is needed, got 3 elements", {"out": out()[:3]}),
    (ValueError, "out.dbias: None is needed as wrt has no 'bias', got an array",
     {"wrt": ("x", "weight", "residual")}),
    (ValueError, "out.dx: shape (2, 4, 6, 8) is needed, got (48, 8)", {"out": out(dx=ones(48, 8))}),
    (ValueError, "out.dweight: shape (10, 8) is needed, got (8, 10)", {"out": out(dweight=ones(8, 10))}),
    (ValueError, "out.dweight: shape (10, 8, 1, 1) is needed, got (10, 8)",
     {"weight": ones(10, 8, 1, 1), "weight_layout": "OIHW"}),
    (ValueError, "out.dbias: shape (10,) is needed, got (1, 10)", {"out": out(dbias=ones(1, 10))}),
    (TypeError, "out.dbias: a NumPy array is needed, got a list", {"out": out(dbias=[1.0] * 10)}),
    (TypeError, f"out.dresidual: {OTHER}", {"out": out(dresidual=ones(2, 4, 6, 10, dtype="f8"))}),
    (ValueError, "out.dweight: a writable array is needed, got a read-only one",
     {"out": out(dweight=read_only(ones(10, 8)))}),
    (ValueError, "out.dx: channels adjacent in memory (4 bytes apart) are needed, got "
     "strides (1536, 384, 64, 8)", {"out": out(dx=ones(2, 4, 6, 16)[..., ::2])}),
    (ValueError, "out.dweight: elements apart in memory are needed, got strides (0, 4)",
     {"out": out(dweight=np.lib.stride_tricks.as_strided(ones(8), (10, 8), (0, 4)))}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "change"), CASES, ids=[message for _, message, _ in CASES])
def test_error(error, message, change):
    good = out()
    with pytest.raises(error) as caught:
        fastpw.conv1x1_backward(**{**GOOD, "out": good, **change})
    assert type(caught.value) is error
    assert str(caught.value) == message
    assert all(np.all(a == 7) for a in good)


@pytest.mark.parametrize("rows", [slice(0, 4), slice(1, 5)])
def test_outputs_must_lie_apart(rows):
    memory = np.full((5, 8), 7, "f4")
    with pytest.raises(ValueError, match=r"out\.dresidual: memory apart from that of out\.dx is needed"):
        fastpw.conv1x1_backward(
            ones(4, 8),
            ones(4, 8),
            ones(8, 8),
            wrt=("x", "residual"),
            out=(memory[:4], None, None, memory[rows]),
        )
    assert np.all(memory == 7)


def test_the_good_call_is_good():
    good = out()
    grads = fastpw.conv1x1_backward(**GOOD, out=good)
    assert all(a is b for a, b in zip(grads, good, strict=True))
    assert [float(a.flat[0]) for a in grads] == [10, 48, 48, 1]


def test_array_likes():
    rows, weight = [[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    grads = fastpw.conv1x1_backward([[1.0, 0.0, 1.0]], rows, weight)
    assert np.array_equal(grads.dx, [[10, 12]])
    assert np.array_equal(grads.dweight, [[1, 2], [0, 0], [1, 2]])
