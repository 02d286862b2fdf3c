"""Misuse: any call gives the right answer or an error that names an argument, and then nothing is written.

Views of one memory may overlap in every way; NumPy's answer is that of copies. Arguments may be anything.
The messages are in test_errors.py and here, and none is missing.
"""

import ast
import re
import runpy
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import fastpw
from fastpw import _bounds, reference

pytestmark = pytest.mark.usefixtures("isa")

ARGUMENTS = (
    "x|weight|bias|stride|padding|groups|activation|residual|weight_layout|out|out_z|dy|y|z|wrt|accumulate|"
    "gamma|beta|mean|variance|epsilon|layers|add_input"
)
NAMES_AN_ARGUMENT = re.compile(rf"({ARGUMENTS})\b")


# ---- overlap -----------------------------------------------------------------------------------------------


@st.composite
def view(draw, memory, shape):
    """Somewhere in `memory`, most often in rows, sometimes reversed, repeated or overlapping."""
    strides, reach = [], 1
    for size in reversed(shape):
        strides.append(reach)
        reach = reach * size + draw(st.sampled_from([0, 0, 0, 1, 5]))
    strides = strides[::-1]
    if draw(st.sampled_from([False, False, True])):
        axis = draw(st.integers(0, len(shape) - 1))
        strides[axis] = draw(st.sampled_from([-strides[axis], 0, 1, -1, 2, strides[axis] + 3]))
    spans = [stride * (size - 1) for stride, size in zip(strides, shape, strict=True)]
    low, high = sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
    assume(high - low < memory.size)
    start = draw(st.integers(-low, memory.size - 1 - high))
    return as_strided(memory[start:], shape, [stride * memory.itemsize for stride in strides])


@st.composite
def calls(draw, dtype, names):
    """Integers, so that results are exact; a shape; views of one memory; the options."""
    seed = draw(st.integers(0, 1000))
    memory = np.random.default_rng(seed).integers(-4, 5, 2500).astype(dtype)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    C, K = (groups * draw(st.integers(1, 40 // groups)) for _ in range(2))
    options = {"groups": groups, "activation": draw(st.sampled_from([None, "relu", ("clip", -3, 5)]))}
    lead = draw(st.lists(st.integers(1, 5), max_size=4))
    after = lead
    if len(lead) in (2, 3):
        options["stride"] = stride = draw(st.sampled_from([1, 2, 3]))
        options["padding"] = padding = draw(st.sampled_from([0, 0, 1]))
        after = [*lead[:-2], *((size + 2 * padding - 1) // stride + 1 for size in lead[-2:])]
    shapes = {
        "x": (*lead, C),
        "weight": (K, C // groups),
        "bias": (K,),
        "dx": (*lead, C),
        "dweight": (K, C // groups),
        "dbias": (K,),
    }
    arrays = {name: draw(view(memory, shapes.get(name, (*after, K)))) for name in names}
    return memory, arrays, options


def assert_only(memory, before, written):
    """What `written` says (pairs of a view and its contents) was written, and nothing else."""
    expected = before.copy()
    for target, contents in written:
        start = target.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        as_strided(expected[start // memory.itemsize :], target.shape, target.strides)[...] = contents
    assert memory.tobytes() == expected.tobytes()


# What outputs may be refused for; every other argument is good.
OUTPUT = re.compile(
    r"out[._a-z]*: (channels adjacent|elements apart|memory apart) .*(is|are) needed|"
    r"out_z: memory apart from that of out is needed"
)


@given(data=st.data())
def test_forward_in_one_memory(data, dtype):
    wanted = data.draw(st.sets(st.sampled_from(["bias", "residual", "out", "out_z"])))
    memory, arrays, options = data.draw(calls(dtype, ["x", "weight", *sorted(wanted)]))
    before = memory.copy()
    inputs = {n: a.copy() for n, a in arrays.items() if not n.startswith("out")}
    z = reference.preactivation(**inputs, **{n: o for n, o in options.items() if n != "activation"})
    y = reference.activate(z, options["activation"])
    try:
        result = fastpw.conv1x1(**arrays, **options)
    except ValueError as error:
        assert OUTPUT.match(str(error)), error
        assert memory.tobytes() == before.tobytes()
        return
    contents = {"out": y, "out_z": z}
    if "out" not in arrays:
        assert np.array_equal(result, y)
    assert_only(memory, before, [(a, contents[n]) for n, a in arrays.items() if n in contents])


@given(data=st.data())
def test_backward_in_one_memory(data, dtype):
    wrt = data.draw(st.sets(st.sampled_from(["x", "weight", "bias", "residual"]), min_size=1))
    outputs = [f"d{name}" for name in sorted(wrt) if data.draw(st.booleans())]
    given_ = data.draw(st.sets(st.sampled_from(["bias", "residual", "z"])))
    accumulate = data.draw(st.booleans())
    memory, arrays, options = data.draw(calls(dtype, ["dy", "x", "weight", *sorted(given_), *outputs]))
    before = memory.copy()
    out = fastpw.Gradients(*(arrays.pop(f"d{name}", None) for name in ("x", "weight", "bias", "residual")))
    start = [0 if a is None or not accumulate else a.copy() for a in out]
    inputs = {n: a.copy() for n, a in arrays.items()}
    expected = reference.conv1x1_backward(**inputs, **options)
    try:
        result = fastpw.conv1x1_backward(**arrays, **options, wrt=wrt, out=out, accumulate=accumulate)
    except ValueError as error:
        assert OUTPUT.match(str(error)), error
        assert memory.tobytes() == before.tobytes()
        return
    for name, got, first, target, exact in zip(result._fields, result, start, out, expected, strict=True):
        assert (got is None) == (name[1:] not in wrt)
        if got is not None and target is None:
            assert np.array_equal(got, first + exact), name
    written = [(t, s + e) for t, s, e in zip(out, start, expected, strict=True) if t is not None]
    assert_only(memory, before, written)


# ---- anything ----------------------------------------------------------------------------------------------


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
    grads = fastpw.conv1x1_backward(DY, X, WEIGHT, wrt=iter(("x", "bias")))
    assert [a is None for a in grads] == [False, True, False, True]


@given(value=anything)
def test_threads_with_anything(value):
    try:
        with fastpw.num_threads(ANYTHING[value]):
            assert 1 <= fastpw.get_num_threads() <= 1024
    except (TypeError, ValueError) as error:
        assert str(error).startswith("n: ")


# ---- the messages ------------------------------------------------------------------------------------------

X, WEIGHT, DY = np.ones((5, 8), "f4"), np.ones((10, 8), "f4"), np.ones((5, 10), "f4")
MESSAGES = {
    "x, padding: a result of less than 2**63 bytes is needed, got shape (4294967296, 4294967296, 10)": {
        "x": np.ones((2, 2, 8), "f4"),
        "padding": (1 << 31) - 1,
    },
    "stride: 1 to 2147483647 is needed, got an unprintable tuple": {"stride": (-(10**5000), 1)},
    "groups: an integer is needed, got an unprintable Evil": {"groups": Evil()},
    "dy: the result's shape (5, 10) is needed, got (4, 10)": {"dy": DY[:4]},
    "y: the result's shape (5, 10) is needed, got (5, 8)": {"y": X},
    "z: dtype float32 is needed, as the inputs have, got float64; give z.astype(np.float32)": {
        "z": DY.astype("f8")
    },
    "wrt: some of 'x', 'weight', 'bias', 'residual' are needed, got ('dx',)": {"wrt": ("dx",)},
    "wrt: some of 'x', 'weight', 'bias', 'residual' are needed, got 1": {"wrt": 1},
    "accumulate: True or False is needed, got 1": {"accumulate": 1},
    "z: the activation's derivative is read from it, so pass z, or bias=zeros if there was none, "
    "got y alone": {
        "y": DY,
        "activation": "silu",
    },
    "x: an array is needed, got None, which is allowed with stride 1, padding 0, no 'weight' in wrt "
    "and what the activation's derivative is read from, y or z": {"x": None},
    "out: Gradients or a tuple of four is needed, got a ndarray": {"out": X},
    "out: Gradients or a tuple of four is needed, got 1 elements": {"out": (X,)},
    "out.dx: None is needed as wrt has no 'x', got an array": {"out": (X, None, None, None), "wrt": "bias"},
    "out.dx: shape (5, 8) is needed, got (5, 10)": {"out": (DY, None, None, None)},
    "out.dresidual: memory apart from that of out.dx is needed, got arrays that overlap": {
        "out": (DY[:, :8], None, None, DY),
        "wrt": ("x", "residual"),
    },
}


@pytest.mark.parametrize(("message", "change"), MESSAGES.items(), ids=[*MESSAGES])
def test_message(message, change):
    backward = change.keys() & {"dy", "y", "z", "wrt", "accumulate", "out"} or change.get("x", X) is None
    call, good = (fastpw.conv1x1_backward, {"dy": DY}) if backward else (fastpw.conv1x1, {})
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{**good, "x": X, "weight": WEIGHT, **change})
    assert str(caught.value) == message


NO_DTYPE = "dtype: float32 or float64 is needed, got 'int8'"


def test_message_of_astype():
    with pytest.raises(TypeError) as caught:
        fastpw.Conv1x1(WEIGHT).astype("int8")
    assert str(caught.value) == NO_DTYPE


def raised_messages():
    """The constant parts of every message in _checks/, as a pattern for the whole."""
    sources = Path(fastpw._checks.__file__).parent.glob("*.py")
    for node in chain.from_iterable(ast.walk(ast.parse(source.read_text())) for source in sources):
        if (
            isinstance(node, ast.Call)
            and node.args
            and re.fullmatch("(Type|Value)Error|kind", getattr(node.func, "id", ""))
        ):
            text = node.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in parts)


def messages_of(test):
    tables = runpy.run_path(str(Path(__file__).with_name(f"{test}.py")))
    return {**tables["TYPE_ERRORS"], **tables["VALUE_ERRORS"]}


def test_no_message_is_missing():
    tests = ["test_errors", "test_batch_norm", "test_windowed_layers", "test_chain_api"]
    tests += ["test_quantized_errors"]
    tables = [messages_of(test) for test in tests]
    known = {NO_DTYPE, *MESSAGES, *chain.from_iterable(tables)}
    assert len(known) > 80
    patterns = [*raised_messages()]
    assert len(patterns) > 30
    missing = [p for p in patterns if not any(re.fullmatch(p, message) for message in known)]
    assert not missing
