"""Random calls of the whole surface of the gradients: shapes, views, geometry, sources, out, accumulate."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import fastpw
from fastpw import _activations, reference

pytestmark = pytest.mark.usefixtures("isa", "threads")

ALL = ("x", "weight", "bias", "residual")
# Exact in integers, whatever y or z it is read from.
SPECS = [row.spec for row in _activations.TABLE if row.name in ("linear", "relu", "relu6", "leaky_relu")]
SPECS.append(("clip", -9, 4))


@st.composite
def views(draw, shape, dtype):
    """An array of random integers (NaN around it), as a random view of a larger one."""
    index, around = [], []
    for axis, size in enumerate(shape):
        step = draw(st.sampled_from([1, 1, 2, -1])) if axis < len(shape) - 1 else 1
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        around.append(before + max(size, 1) * abs(step) + after)
        last = before + (size - 1) * abs(step)
        window = (
            slice(before, last + 1, step) if step > 0 else slice(last, before - 1 if before else None, step)
        )
        index.append(window if size else slice(0, 0))
    view = np.full(around, np.nan, dtype)[tuple(index)]
    view[...] = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-8, 9, shape)
    return view


def sizes(most):
    return st.integers(0, most) | st.just(1)


LAYOUTS = {
    "OI": lambda w: w,
    "OIHW": lambda w: w[:, :, None, None],
    "HWIO": lambda w: w.T[None, None],
    "IO": lambda w: w.T,
    "OHWI": lambda w: w[:, None, None],
}


@st.composite
def problems(draw, dtype):
    """x, weight, bias and the options of a valid call of conv1x1."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    C, K = groups * draw(sizes(12)), groups * draw(sizes(20))
    if draw(st.booleans()):
        groups = C = K = max(1, C)
    options = {"groups": groups, "activation": draw(st.sampled_from(SPECS))}
    leading = draw(st.lists(sizes(7), max_size=5))
    if len(leading) in (2, 3):
        sides, strides = st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(1, 4)
        options["stride"] = draw(st.just(1) | strides | st.tuples(strides, strides))
        options["padding"] = draw(st.sampled_from([0, "same"]) | st.integers(0, 2) | st.tuples(sides, sides))
    options["weight_layout"] = draw(st.sampled_from([*LAYOUTS]))
    x, weight = draw(views((*leading, C), dtype)), draw(views((K, C // groups), dtype))
    return x, LAYOUTS[options["weight_layout"]](weight), draw(st.none() | views((K,), dtype)), options


@given(data=st.data())
def test_any_call_is_exact(data, dtype):
    x, weight, bias, options = data.draw(problems(dtype))
    z = fastpw.conv1x1(x, weight, bias, **options | {"activation": None})
    dy, residual = data.draw(views(z.shape, dtype)), data.draw(st.none() | views(z.shape, dtype))
    options["residual"] = residual
    exact = reference.conv1x1_backward(dy, x, weight, bias, **options)
    wrt = data.draw(st.sets(st.sampled_from(ALL)))
    accumulate = data.draw(st.booleans())
    outs, before = [], []
    for name, gradient in zip(ALL, exact, strict=True):
        out = data.draw(st.none() | views(gradient.shape, dtype)) if name in wrt else None
        outs.append(out)
        before.append(np.copy(out) if accumulate and out is not None else 0)
    given_arrays = {}
    if data.draw(st.booleans()):
        given_arrays["y"] = fastpw.conv1x1(x, weight, bias, **options)
    if data.draw(st.booleans()):
        given_arrays["z"] = fastpw.conv1x1(x, weight, bias, **options | {"activation": None})
    inputs = [array.copy() for array in (dy, x, weight)]
    event(f"{x.ndim} axes, {', '.join(given_arrays) or 'recomputed'}")

    got = fastpw.conv1x1_backward(
        dy, x, weight, bias, wrt=wrt, out=outs, accumulate=accumulate, **given_arrays, **options
    )

    for name, a, out, start, gradient in zip(ALL, got, outs, before, exact, strict=True):
        assert (a is not None) == (name in wrt)
        if a is None:
            continue
        assert a.dtype == dtype
        assert np.array_equal(a, gradient + start), name
        assert out is None or (a is out and np.count_nonzero(np.isnan(out.base)) == out.base.size - out.size)
    for array, copy in zip((dy, x, weight), inputs, strict=True):
        assert np.array_equal(array, copy)
