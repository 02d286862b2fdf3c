"""A layer called again and again, with other arrays each time: every call is checked as the first was."""

import numpy as np
import pytest

import fastpw
from fastpw import _geometry, reference
from fastpw.core import machine

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

C, K = 12, 7


@pytest.fixture
def layer(dtype, rng):
    weight = rng.integers(-8, 9, (K, C)).astype(dtype)
    return fastpw.Conv1x1(weight, rng.integers(-8, 9, K).astype(dtype), activation="relu")


@pytest.fixture
def pixels(dtype, rng):
    return lambda *shape: rng.integers(-8, 9, (*shape, C)).astype(dtype)


def expected(layer, x, **options):
    return reference.conv1x1(x, layer.weight, layer.bias, activation="relu", **options)


def test_the_same_arrays(layer, pixels, dtype):
    x, out = pixels(50), np.zeros((50, K), dtype)
    for _ in range(3):
        out[...] = 0
        assert layer(x, out=out) is out
        assert np.array_equal(out, expected(layer, x))
        assert np.array_equal(layer(x), out)
        x[...] = pixels(50)


def test_other_shapes_and_strides(layer, pixels, dtype):
    image = pixels(6, 8, 10)
    wide = np.repeat(image, 2, axis=-1)
    views = [
        image,
        image,
        image[:, 1:-1],
        image[0],
        image[:, ::2, ::-1],
        wide[..., ::2],
        image[:0],
        image[0, 0, 0],
    ]
    for x in [*views, pixels(2, 3, 2, 2), pixels(50), *views[::-1]]:
        assert np.array_equal(layer(x), expected(layer, x))
        canvas = np.full((*x.shape[:-1], K + 4), 5, dtype)
        layer(x, out=canvas[..., 2:-2])
        assert np.array_equal(canvas[..., 2:-2], expected(layer, x))
        canvas[..., 2:-2] = 5
        assert np.all(canvas == 5)


def test_fresh_results_do_not_share_memory(layer, pixels):
    x = pixels(30)
    first, second = layer(x), layer(x)
    assert not np.may_share_memory(first, second)


def test_each_call_is_checked(layer, pixels, dtype):
    x, out = pixels(50), np.zeros((50, K), dtype)
    other = np.float32 if dtype == np.float64 else np.float64
    locked = np.zeros((50, K), dtype)
    locked.flags.writeable = False
    layer(x, out=out)
    for call, error in {
        lambda: layer(x.astype(other), out=out): TypeError,
        lambda: layer(x, out=out.astype(other)): TypeError,
        lambda: layer(x.astype(x.dtype.newbyteorder()), out=out): TypeError,
        lambda: layer(np.ma.array(x), out=out): TypeError,
        lambda: layer(x.astype(int), out=out): TypeError,
        lambda: layer(x[:, :-1], out=out): ValueError,
        lambda: layer(x[:-1], out=out): ValueError,
        lambda: layer(x[None], out=out): ValueError,
        lambda: layer(x, out=locked): ValueError,
        lambda: layer(x, out=np.zeros((50, 2 * K), dtype)[:, ::2]): ValueError,
        lambda: layer(x, out=np.broadcast_to(out[:1], out.shape)): ValueError,
        lambda: layer(x, out=out.tolist()): TypeError,
    }.items():
        layer(x, out=out)
        out[...] = 3
        with pytest.raises(error):
            call()
        assert np.all(out == 3)


def test_overlap_in_a_later_call(dtype, rng):
    weight = rng.integers(-8, 9, (C, C)).astype(dtype)
    layer = fastpw.Conv1x1(weight)
    memory = np.zeros((60, C), dtype)
    for shift in (20, 0, 1, 30, 7):
        memory[...] = rng.integers(-8, 9, memory.shape)
        x, out = memory[:30], memory[shift : shift + 30]
        y = x @ weight.T
        layer(x, out=out)
        assert np.array_equal(out, y)


def test_residual_now_and_then(layer, pixels, dtype, rng):
    x = pixels(40)
    for _ in range(2):
        residual = rng.integers(-8, 9, (40, K)).astype(dtype)
        assert np.array_equal(layer(x), expected(layer, x))
        assert np.array_equal(layer(x, residual=residual), expected(layer, x, residual=residual))
        y = expected(layer, x, residual=residual)
        assert np.array_equal(layer(x, residual=residual, out=residual), y)


def test_array_likes_and_subclasses(layer, pixels):
    x = pixels(5)
    for like in (x, x.view(np.memmap), x.view(np.matrix), x):
        y = layer(like)
        assert type(y) is np.ndarray
        assert np.array_equal(y, expected(layer, x))


def test_the_number_of_threads_may_change(dtype, rng):
    weight, x = rng.standard_normal((64, 64)).astype(dtype), rng.standard_normal((3000, 64)).astype(dtype)
    layer = fastpw.Conv1x1(weight)
    y = layer(x)
    for n in (1, 3, 2):
        with fastpw.num_threads(n):
            assert layer(x).tobytes() == y.tobytes()


def test_a_layer_outlives_a_change_of_the_instruction_set(layer, pixels, isa):
    x = pixels(20)
    y = layer(x)
    try:
        for row in machine.kernel_sets():
            if row["runs"]:
                machine.choose_isa(row["isa"])
                assert np.array_equal(layer(x), y)
    finally:
        machine.choose_isa(isa)


# ---- a layer does not change ---------------------------------------------------------------------------


def test_nothing_changes_a_layer(layer, pixels):
    x = pixels(5)
    y = layer(x)
    state = fastpw.Conv1x1(np.zeros((2, 3))).__getstate__()
    for change in (
        lambda: layer.__init__(np.zeros((7, 12), layer.dtype)),
        lambda: layer.__setstate__(state),
        lambda: setattr(layer, "weight", np.zeros((7, 12), layer.dtype)),
        lambda: setattr(layer, "other", 1),
        lambda: delattr(layer, "weight"),
        lambda: delattr(layer, "_programs"),
    ):
        with pytest.raises((AttributeError, ValueError), match="does not change"):
            change()
    for array in (layer.weight, layer.bias, layer.weight[1:]):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert layer(x).tobytes() == y.tobytes()


def test_a_layer_that_failed_may_be_made_after_all():
    layer = fastpw.Conv1x1.__new__(fastpw.Conv1x1)
    with pytest.raises(ValueError, match="stride"):
        layer.__init__(np.ones((2, 3)), stride=0)
    layer.__init__(np.ones((2, 3)))
    assert np.all(layer(np.ones((1, 3))) == 3)


def test_what_a_layer_says_of_itself(layer, dtype):
    assert (layer.channels, layer.filters, layer.dtype) == (12, 7, dtype)
    assert fastpw.Conv1x1(np.ones((6, 2), dtype), groups=3).channels == 6


@pytest.mark.parametrize("wanted", ["float32", np.float64, np.dtype("f4"), float])
def test_astype(layer, pixels, wanted):
    other = layer.astype(wanted)
    assert other.dtype == np.dtype(wanted) and other.bias.dtype == np.dtype(wanted)
    assert other.activation == layer.activation
    x = pixels(5).astype(wanted)
    y = fastpw.conv1x1(x, layer.weight.astype(wanted), layer.bias.astype(wanted), activation=layer.activation)
    assert np.array_equal(other(x), y)
    for unknown in ("float16", int, "abc", None if wanted is not float else object()):
        if unknown is not None:
            with pytest.raises(TypeError, match="dtype: float32 or float64 is needed"):
                layer.astype(unknown)


def test_out_z(layer, pixels, dtype):
    x, z = pixels(5), np.empty((5, 7), dtype)
    for _ in range(2):
        y = layer(x, out_z=z)
        assert np.array_equal(y, np.maximum(z, 0))
        assert np.array_equal(z, fastpw.conv1x1(x, layer.weight, layer.bias))


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "hard_swish"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_backward(activation, has_bias, dtype, rng):
    weight, bias = rng.standard_normal((8, 3)).astype(dtype), rng.standard_normal(8).astype(dtype)
    x, residual = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 5, 4, 6), (2, 3, 2, 8)))
    options = {"stride": 2, "groups": 2, "activation": activation}
    layer = fastpw.Conv1x1(weight, bias if has_bias else None, **options)
    z = np.empty_like(residual)
    y = layer(x, residual=residual, out_z=z)
    dy, wrt = rng.standard_normal(y.shape).astype(dtype), ("x", "weight", "bias", "residual")
    expected = fastpw.conv1x1_backward(dy, x, weight, layer.bias, z=z, wrt=wrt, **options)
    for given in ({"z": z}, {"y": y, "residual": residual}, {"residual": residual}, {"y": y, "z": z}):
        grads = layer.backward(dy, x, wrt=wrt, **given)
        for one, other in zip(grads, expected, strict=True):
            assert np.allclose(one, other, rtol=1e-4, atol=1e-5)
    out = tuple(np.ones_like(a) for a in expected)
    assert layer.backward(dy, x, z=z, wrt=wrt, out=out, accumulate=True).dx is out[0]
    assert np.allclose(out[1], expected.dweight + 1, rtol=1e-4, atol=1e-4)


def test_programs_of_the_last_sizes_are_kept(layer, pixels):
    sizes = [3, 5, 3, 8, 13, 21, 34, 3]
    for x in map(pixels, sizes):
        assert np.array_equal(layer(x), expected(layer, x))
    assert len(layer._programs) == 4


@pytest.mark.parametrize("groups", [1, 10**6])
def test_groups_that_have_nothing_to_do_take_no_time(groups, monkeypatch):
    monkeypatch.setattr(_geometry, "group", None)  # nothing is done group by group
    x, weight = np.ones((3, groups), "f4"), np.ones((0, 1), "f4")
    y = fastpw.conv1x1(x, weight, groups=groups)
    assert y.shape == (3, 0)
    grads = fastpw.conv1x1_backward(y, x, weight, groups=groups)
    assert not grads.dx.any() and grads.dx.shape == x.shape and grads.dweight.shape == (0, 1)
