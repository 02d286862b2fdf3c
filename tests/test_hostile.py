"""Misuse: any call gives the right answer or an error that names an argument, and then nothing is written."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastpw
from fastpw import _bounds

pytestmark = pytest.mark.usefixtures("isa")

ARGUMENTS = (
    "x|weight|bias|stride|padding|groups|activation|residual|weight_layout|out|out_z|dy|y|z|wrt|accumulate|"
    "gamma|beta|mean|variance|epsilon|layers|add_input"
)
NAMES_AN_ARGUMENT = re.compile(rf"({ARGUMENTS})\b")


class Evil:
    """Fails at whatever it is asked."""

    def _fail(self, *arguments, **options):
        raise RuntimeError("evil")

    __array__ = __index__ = __float__ = __len__ = __iter__ = __getitem__ = __eq__ = __repr__ = _fail
    __hash__ = None


class Subclass(np.ndarray):
    """An array that says it is another."""

    def __array_finalize__(self, other):
        self.flags_of = other


def read_only(array):
    array.flags.writeable = False
    return array


def unaligned(shape):
    space = np.zeros(np.prod(shape) * 4 + 1, np.uint8)
    return np.ndarray(shape, np.float32, space, 1)


SHAPE = (2, 4, 6, 8)
ANYTHING = {
    "None": None,
    "nothing": np.zeros((0, 8), "f4"),
    "no channels": np.zeros((2, 4, 6, 0), "f4"),
    "0-d": np.array(1, "f4"),
    "1-d": np.ones(8, "f4"),
    "7-d": np.ones((1, 2, 1, 2, 1, 2, 8), "f4"),
    "32-d": np.ones((1,) * 31 + (8,), "f4"),
    "10 x 8": np.ones((10, 8), "f4"),
    "like x": np.ones(SHAPE, "f4"),
    "like y": np.ones((2, 4, 6, 10), "f4"),
    "float64": np.ones(SHAPE),
    "float16": np.ones(SHAPE, "f2"),
    "longdouble": np.ones(SHAPE, "g"),
    "other byte order": np.ones(SHAPE, ">f4"),
    "complex": np.ones(SHAPE, "c8"),
    "objects": np.full(SHAPE, None),
    "structured": np.zeros(SHAPE, [("a", "f4"), ("b", "f4")]),
    "dates": np.zeros(SHAPE, "M8[s]"),
    "text": np.full(SHAPE, "1.0"),
    "masked": np.ma.masked_less(np.ones(SHAPE, "f4"), 2),
    "matrix": np.ones((10, 8), "f4").view(np.matrix),
    "subclass": np.ones(SHAPE, "f4").view(Subclass),
    "records": np.ones(SHAPE, "f4").view(np.recarray),
    "read-only": read_only(np.ones(SHAPE, "f4")),
    "reversed": np.ones(SHAPE, "f4")[::-1, ::-1, ::-1, ::-1],
    "transposed": np.ones(SHAPE[::-1], "f4").T,
    "unaligned": unaligned(SHAPE),
    "one number everywhere": np.broadcast_to(np.float32(2), SHAPE),
    "specials": np.resize(np.array([np.nan, np.inf, -np.inf, 1e-45, -0.0, 3e38], "f4"), SHAPE),
    "huge": np.broadcast_to(np.ones(8, "f4"), (1 << 39, 1 << 18, 8)),
    "huge weight": np.broadcast_to(np.float32(1), (1 << 30, 1 << 30)),
    "ragged": [[1.0], [1.0, 2.0]],
    "list": [1.0] * 8,
    "memoryview": memoryview(np.ones((10, 8), "f4")),
    "set": {1, 2},
    "generator": (i for i in (1.0, 2.0)),
    "bytes": b"12345678",
    "str": "same",
    "empty str": "",
    "type": np.ndarray,
    "evil": Evil(),
    "true": True,
    "0": 0,
    "1": 1,
    "-1": -1,
    "2": 2,
    "0.5": 0.5,
    "nan": float("nan"),
    "2 ** 31 - 1": (1 << 31) - 1,
    "2 ** 31": 1 << 31,
    "2 ** 63 - 1": (1 << 63) - 1,
    "2 ** 63": 1 << 63,
    "-2 ** 63": -(1 << 63),
    "10 ** 5000": 10**5000,
    "()": (),
    "(2, 3)": (2, 3),
    "(0, -1)": (0, -1),
    "((1, 0), (0, 2))": ((1, 0), (0, 2)),
    "(2 ** 63, 1)": (1 << 63, 1),
    "evil twice": (Evil(), Evil()),
    "clip": ("clip", -1.0, 2.0),
    "clip at infinity": ("clip", float("-inf"), float("inf")),
    "clip past infinity": ("clip", -(10**5000), 10**5000),
    "clip of nothing": ("clip", None, None),
    "leaky": ("leaky_relu", 0.25),
    "leaky upwards": ("leaky_relu", -1),
    "evil activation": (Evil(), 1),
    "HWIO": "HWIO",
    "IO": np.str_("IO"),
    "OIHW": np.str_("OIHW"),
    "layouts": np.array(["OI", "OIHW"]),
    "gelu": "gelu",
    "relu\0": "relu\0",
}
anything = st.sampled_from(sorted(ANYTHING))


def good():
    """(2, 4, 6, 8) -> 10 channels, and the output's canary."""
    return {
        "x": np.ones(SHAPE, "f4"),
        "weight": np.ones((10, 8), "f4"),
        "bias": np.ones(10, "f4"),
        "residual": np.ones((2, 4, 6, 10), "f4"),
    }


FORWARD = (*good(), "stride", "padding", "groups", "activation", "weight_layout", "out", "out_z")
LAYER = tuple(name for name in FORWARD if name != "out_z")
BACKWARD = (*FORWARD[:-1], "dy", "y", "z", "wrt", "accumulate")


def assert_right_or_named(call, arguments, check):
    """`check` compares what the call returns; an error names an argument, and the canary lives."""
    canary = None
    if "out" not in arguments:
        canary = np.full((2, 4, 6, 10), 77, "f4")
        arguments = {**arguments, "out": canary}
        if call is fastpw.conv1x1_backward:
            arguments["out"] = (None, None, None, canary)
            arguments.setdefault("wrt", ("residual", "weight"))
    try:
        with np.errstate(all="ignore"):
            result = call(**arguments)
    except MemoryError:
        assert any(type(value) is np.ndarray and value.size > 1 << 30 for value in arguments.values())
    except (TypeError, ValueError) as error:
        assert NAMES_AN_ARGUMENT.match(str(error)), repr(error)
    else:
        check(result, arguments)
        return
    assert canary is None or np.all(canary == 77)


def against_reference(result, arguments):
    arrays = {n: a for n, a in arguments.items() if n not in ("out", "out_z")}
    if isinstance(arrays.get("padding"), bytes) or isinstance(arrays.get("stride"), bytes):
        return  # pairs of integers, as it happens; the reference does not think so
    with np.errstate(all="ignore"):
        assert _bounds.excess(result, *_bounds.promise(**arrays)) <= 1


@given(changes=st.dictionaries(st.sampled_from(FORWARD), anything, min_size=1, max_size=3))
@example(changes={"padding": "2 ** 63"})
@example(changes={"padding": "10 ** 5000"})
@example(changes={"activation": "clip past infinity"})
@example(changes={"weight_layout": "layouts"})
@example(changes={"weight": "huge weight"})
@example(changes={"stride": "evil twice"})
@example(changes={"groups": "evil"})
def test_function_with_anything(changes):
    arguments = good() | {name: ANYTHING[value] for name, value in changes.items()}
    assert_right_or_named(fastpw.conv1x1, arguments, against_reference)


def through_layer(x, residual=None, out=None, **arguments):
    layer = fastpw.Conv1x1(**arguments)
    layer(np.zeros(SHAPE, "f4"), out=None)  # so that the next call may be a replay
    return layer(x, residual=residual, out=out)


@given(changes=st.dictionaries(st.sampled_from(LAYER), anything, min_size=1, max_size=2))
def test_layer_with_anything(changes):
    arguments = good() | {name: ANYTHING[value] for name, value in changes.items()}
    assert_right_or_named(through_layer, arguments, against_reference)


@given(changes=st.dictionaries(st.sampled_from(BACKWARD), anything, min_size=1, max_size=3))
def test_backward_with_anything(changes):
    arguments = good() | {"dy": np.ones((2, 4, 6, 10), "f4")}
    arguments |= {name: ANYTHING[value] for name, value in changes.items()}
    assert_right_or_named(fastpw.conv1x1_backward, arguments, lambda result, arguments: None)


FIRST, LAST = fastpw.Conv1x1(np.ones((6, 8), "f4"), activation="silu"), fastpw.Conv1x1(np.ones((10, 6), "f4"))


def through_chain(x, residual=None, out=None, layers=(FIRST, LAST), add_input=False):
    chain = fastpw.Chain(layers, add_input=add_input)
    chain(np.zeros(SHAPE, "f4"))  # so that there is something from an earlier call
    return chain(x, residual=residual, out=out)


def against_layers(result, arguments):
    expected = LAST(FIRST(arguments["x"]), residual=arguments["residual"])
    assert np.asarray(result).tobytes() == expected.tobytes()


@given(
    changes=st.dictionaries(
        st.sampled_from(("x", "residual", "out", "layers", "add_input")), anything, min_size=1, max_size=2
    )
)
def test_chain_with_anything(changes):
    arguments = {name: array for name, array in good().items() if name in ("x", "residual")}
    arguments |= {name: ANYTHING[value] for name, value in changes.items()}
    assert_right_or_named(through_chain, arguments, against_layers)


FOLDED = ("weight", "bias", "gamma", "beta", "mean", "variance")


@given(changes=st.dictionaries(st.sampled_from((*FOLDED, "epsilon", "weight_layout")), anything, min_size=1))
def test_folding_with_anything(changes):
    arguments = dict.fromkeys(FOLDED, np.ones(10, "f4")) | {"weight": np.ones((10, 8), "f4")}
    arguments |= {name: ANYTHING[value] for name, value in changes.items()}
    try:
        weight, bias = fastpw.fold_batch_norm(**arguments)
    except MemoryError:
        assert arguments["weight"].size > 1 << 30
    except (TypeError, ValueError) as error:
        assert NAMES_AN_ARGUMENT.match(str(error)), repr(error)
    else:
        assert weight.shape == np.shape(arguments["weight"])
        assert bias.dtype == weight.dtype


class TooLarge:
    """An array that cannot be had."""

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("of another device")


def test_memory_errors_stay_what_they_are():
    with pytest.raises(MemoryError, match="of another device"):
        fastpw.conv1x1(TooLarge(), np.ones((2, 3)))


def test_wanted_gradients_from_an_iterator():
    """Whose names come only once."""
    x, weight, dy = np.ones((5, 8), "f4"), np.ones((10, 8), "f4"), np.ones((5, 10), "f4")
    grads = fastpw.conv1x1_backward(dy, x, weight, wrt=iter(("x", "bias")))
    assert [a is None for a in grads] == [False, True, False, True]


@given(value=anything)
def test_threads_with_anything(value):
    try:
        with fastpw.num_threads(ANYTHING[value]):
            assert 1 <= fastpw.get_num_threads() <= 1024
    except (TypeError, ValueError) as error:
        assert str(error).startswith("n: ")
