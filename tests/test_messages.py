"""The messages of errors, whole: here and in the tables of other tests, and none of _checks is missing."""

import ast
import re
import runpy
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import fastpw


class Evil:
    """Cannot even be shown."""

    def __repr__(self):
        raise RuntimeError("no")


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
