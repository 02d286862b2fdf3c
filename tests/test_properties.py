"""Random calls of the whole surface: any shapes, views, geometry, activation, residual, out and out_z."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import fastpw
from fastpw import _activations, _bounds, reference

pytestmark = pytest.mark.usefixtures("isa", "threads")

SPECS = [row.spec for row in _activations.TABLE]


@st.composite
def views(draw, shape, dtype, writable=False):
    """An array of random values (NaN around it), as a random view of a larger one."""
    steps, index, around = [], [], []
    for axis, size in enumerate(shape):
        step = draw(st.sampled_from([1, 1, 2, -1])) if axis < len(shape) - 1 else 1
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        around.append(before + max(size, 1) * abs(step) + after)
        last = before + (size - 1) * abs(step)
        window = (
            slice(before, last + 1, step) if step > 0 else slice(last, before - 1 if before else None, step)
        )
        index.append(window if size else slice(0, 0))
        steps.append(step)
    memory = np.full(around, np.nan, dtype)
    view = memory[tuple(index)]
    assert view.shape == tuple(shape)
    seed = draw(st.integers(0, 2**32 - 1))
    view[...] = np.random.default_rng(seed).standard_normal(shape)
    if not writable and shape[0] and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        if axis < len(shape) - 1 and shape[axis]:
            view = np.broadcast_to(view[(slice(None),) * axis + (slice(1),)], shape)
    return view


def sizes(most):
    return st.integers(0, most) | st.just(1)


@st.composite
def problems(draw, dtype):
    """The arguments of a valid call."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    C, K = groups * draw(sizes(12)), groups * draw(sizes(20))
    if draw(st.booleans()):
        groups = C = K = max(1, C)
    options = {"groups": groups, "activation": draw(st.sampled_from(SPECS))}
    leading = draw(st.lists(sizes(7), max_size=5))
    if len(leading) in (2, 3):
        sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
        strides = st.integers(1, 4)
        options["stride"] = draw(st.just(1) | strides | st.tuples(strides, strides))
        options["padding"] = draw(
            st.sampled_from([0, "valid", "same"]) | st.integers(0, 2) | sides | st.tuples(sides, sides)
        )
    x = draw(views((*leading, C), dtype))
    weight = draw(views((K, C // groups), dtype))
    bias = draw(st.none() | views((K,), dtype))
    if draw(st.booleans()):
        options["weight_layout"] = layout = draw(st.sampled_from(["IO", "OIHW", "HWIO", "OHWI"]))
        weight = {
            "OIHW": weight[:, :, None, None],
            "HWIO": weight.T[None, None],
            "IO": weight.T,
            "OHWI": weight[:, None, None],
        }[layout]
    return x, weight, bias, options


@given(data=st.data())
def test_any_call(data, dtype):
    x, weight, bias, options = data.draw(problems(dtype))
    z = reference.preactivation(
        x, weight, bias, **{name: value for name, value in options.items() if name != "activation"}
    )
    event(f"{x.ndim} axes")
    residual = data.draw(st.none() | views(z.shape, dtype))
    out = data.draw(st.none() | views(z.shape, dtype, writable=True))
    out_z = data.draw(st.none() | views(z.shape, dtype, writable=True))
    y, allowed = _bounds.promise(x, weight, bias, residual=residual, **options)
    inputs = [array.copy() for array in (x, weight) if array is not None]

    got = fastpw.conv1x1(x, weight, bias, residual=residual, out=out, out_z=out_z, **options)

    assert got.dtype == dtype
    assert got.shape == y.shape
    assert out is None or got is out
    assert _bounds.excess(got, y, allowed) <= 1
    for memory in (out, out_z):
        assert memory is None or np.count_nonzero(np.isnan(memory.base)) == memory.base.size - memory.size
    for before, after in zip(inputs, (x, weight), strict=True):
        assert np.array_equal(before, after)
    if out_z is not None:
        options["activation"] = None
        assert _bounds.excess(out_z, *_bounds.promise(x, weight, bias, residual=residual, **options)) <= 1


@given(data=st.data())
def test_function_and_layer_and_copies_agree_to_the_bit(data, dtype):
    x, weight, bias, options = data.draw(problems(dtype))
    y = fastpw.conv1x1(x, weight, bias, **options)
    layer = fastpw.Conv1x1(weight, bias, **options)
    for again in (
        layer(x),
        layer(x),
        layer(x.copy()),
        fastpw.conv1x1(x.copy(), weight.copy(), bias, **options),
    ):
        assert again.tobytes() == y.tobytes()
