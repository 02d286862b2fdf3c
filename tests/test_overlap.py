"""Views of one memory may overlap in every way: the answer is that of copies, or nothing is written."""

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import fastpw
from fastpw import reference

pytestmark = pytest.mark.usefixtures("isa")


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
