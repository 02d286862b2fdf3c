"""A layer called again and again, with other arrays each time: every call is checked as the first was."""

import numpy as np
import pytest

import fastpw
from fastpw import reference
from fastpw.core import machine

pytestmark = pytest.mark.usefixtures("isa", "threads")

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
        assert np.array_equal(layer(x, residual, residual), y)


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
