"""A call like an earlier one runs its program, without checks, and computes the same; no other does."""

import tracemalloc

import numpy as np
import pytest

import fastpw
from fastpw import _backward, _convolution, _programs
from fastpw.core import partition

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("threads")]

# Many pixels, which are cut into slices, and few, which the team shares.
SIZES = [((1, 40, 30), 24, 40), ((7, 7), 96, 200), ((13,), 5, 3)]


@pytest.fixture(autouse=True)
def no_programs(monkeypatch):
    programs = _programs.Programs(_programs.MOST_PROGRAMS, _programs.MOST_BYTES)
    monkeypatch.setattr(_programs, "backward", programs)


@pytest.fixture(params=SIZES, ids=str)
def size(request):
    return request.param


# With pixels that a stride skips.
STRIDED = [((2, 41, 30), 24, 40), ((14, 15), 96, 200), ((1, 1), 5, 3)]


def problem(size, dtype, rng, stride=1):
    pixels, C, K = size
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((*pixels, C), (K, C), K))
    outputs = (*pixels[:-2], *(-(-size // stride) for size in pixels[-2:]))
    y, z = (np.empty((*outputs, K), dtype) for _ in range(2))
    fastpw.conv1x1(x, weight, bias, activation="silu", out=y, out_z=z, stride=stride)
    return [rng.standard_normal(y.shape).astype(dtype), x, weight, bias], {"y": y, "z": z}


def checked(*arrays, **options):
    """The call as if it were the first."""
    _programs.backward.forget()
    return fastpw.conv1x1_backward(*arrays, **options)


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape == other.shape and one.tobytes() == other.tobytes())


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("wrt", [("x", "weight", "bias"), ("x",), "weight", ("bias", "residual")], ids=str)
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_other_numbers(size, dtype, activation, wrt, rng):
    options = {"activation": activation, "wrt": wrt}
    problems = [problem(size, dtype, rng) for _ in range(3)]
    expected = [checked(*arrays, **kept, **options) for arrays, kept in problems]
    (program,) = _programs.backward.kept()
    for (arrays, kept), grads in zip(problems, expected, strict=True):
        assert_same(fastpw.conv1x1_backward(*arrays, **kept, **options), grads)
        out = fastpw.Gradients(*[None if a is None else np.full_like(a, np.nan) for a in grads])
        found = fastpw.conv1x1_backward(*arrays, **kept, **options, out=out)
        assert_same(out, grads)
        assert all(a is b for a, b in zip(found, out, strict=True))
    assert _programs.backward.kept() == [program]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("wrt", [("x", "weight", "bias"), ("x",), "weight"], ids=str)
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("size", STRIDED, ids=str)
def test_strides(size, stride, dtype, wrt, rng):
    options = {"activation": "silu", "wrt": wrt, "stride": stride}
    problems = [problem(size, dtype, rng, stride) for _ in range(3)]
    expected = [checked(*arrays, **kept, **options) for arrays, kept in problems]
    (program,) = _programs.backward.kept()
    for (arrays, kept), grads in zip(problems, expected, strict=True):
        assert_same(fastpw.conv1x1_backward(*arrays, **kept, **options), grads)
        out = fastpw.Gradients(*[None if a is None else np.full_like(a, np.nan) for a in grads])
        fastpw.conv1x1_backward(*arrays, **kept, **options, out=out)
        assert_same(out, grads)
    assert _programs.backward.kept() == [program]


def test_another_stride(dtype, rng):
    """Inputs of other sizes have gradients of one size; what equals a stride need not be one."""
    arrays, kept = problem(((8, 8), 12, 20), dtype, rng, 2)
    smaller = [arrays[0], arrays[1][:7, :7].copy(), *arrays[2:]]
    expected = {
        inputs[1].shape: checked(*inputs, **kept, activation="relu", stride=(2, 2))
        for inputs in (arrays, smaller)
    }
    for inputs in (arrays, smaller, arrays, smaller):
        grads = fastpw.conv1x1_backward(*inputs, **kept, activation="relu", stride=2)
        assert_same(grads, expected[inputs[1].shape])
    assert len(_programs.backward.kept()) == 2
    for stride in (2.0, np.float32(2)):
        with pytest.raises(TypeError, match="stride"):
            fastpw.conv1x1_backward(*arrays, **kept, activation="relu", stride=stride)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("layout", ["IO", "OIHW", "HWIO"])
def test_layouts_of_weights(layout, dtype, rng):
    (dy, x, weight, bias), kept = problem(SIZES[0], dtype, rng)
    grads = checked(dy, x, weight, bias, **kept, activation="relu")
    laid_out = {
        "IO": lambda a: a.T.copy(),
        "OIHW": lambda a: a[:, :, None, None],
        "HWIO": lambda a: a.T[None, None].copy(),
    }[layout]
    weight, dweight = laid_out(weight), laid_out(grads.dweight)
    for _ in range(2):
        found = fastpw.conv1x1_backward(dy, x, weight, bias, **kept, activation="relu", weight_layout=layout)
        assert_same(found, grads._replace(dweight=dweight))


def differently_laid_out(a):
    """The same values, every other row of a larger array."""
    wide = np.zeros((2 * a.shape[0], *a.shape[1:]), a.dtype)
    wide[::2] = a
    return wide[::2]


def test_other_calls_are_checked(size, dtype, rng):
    arrays, kept = problem(size, dtype, rng)
    grads = checked(*arrays, **kept, activation="relu")
    for number in range(3):
        other = [differently_laid_out(a) if i == number else a for i, a in enumerate(arrays)]
        assert_same(fastpw.conv1x1_backward(*other, **kept, activation="relu"), grads)
    out = fastpw.Gradients(*[None if a is None else differently_laid_out(a) for a in grads])
    fastpw.conv1x1_backward(*arrays, **kept, activation="relu", out=out)
    assert_same(out, grads)
    recomputed = fastpw.conv1x1_backward(*arrays, activation="relu")
    assert np.allclose(recomputed.dx, checked(*arrays, **kept, activation="relu").dx, rtol=1e-3, atol=1e-3)


def test_errors_are_found(size, dtype, rng):
    (dy, x, weight, bias), kept = problem(size, dtype, rng)
    grads = fastpw.conv1x1_backward(dy, x, weight, bias, **kept, activation="relu")
    other = np.dtype("float32" if dtype == "float64" else "float64")
    read_only = grads.dx.copy()
    read_only.flags.writeable = False
    swapped = x.astype(dtype.newbyteorder())
    for error, arrays, options in [
        (TypeError, (dy, x.astype(other), weight, bias), {}),
        (TypeError, (dy.astype(other), x, weight, bias), {}),
        (TypeError, (dy, swapped, weight, bias), {}),
        (ValueError, (dy, x, weight, bias[:-1]), {}),
        (ValueError, (dy, x, weight, bias), {"y": kept["y"][..., :-1]}),
        (ValueError, (dy, x, weight, bias), {"out": (read_only, None, None, None)}),
        (ValueError, (dy, x, weight, bias), {"out": (None, None, None, dy.copy())}),
        (ValueError, (dy, x, weight, bias), {"out": (None, None, None)}),
        (TypeError, (dy, x, weight, bias), {"stride": 1.0}),
        (TypeError, (dy, x, weight, bias), {"accumulate": 0}),
    ]:
        with pytest.raises(error):
            fastpw.conv1x1_backward(*arrays, **{**kept, "activation": "relu", **options})


def test_shared_memory(dtype, rng):
    """An output on an input: as if there were none."""
    arrays, kept = problem(((50,), 8, 8), dtype, rng)
    grads = checked(*arrays, **kept, activation="relu")
    dy, x, *rest = (a.copy() for a in arrays)
    fastpw.conv1x1_backward(dy, x, *rest, **kept, activation="relu", out=(x, None, None, None))
    assert x.tobytes() == grads.dx.tobytes()
    dy, x, *rest = (a.copy() for a in arrays)
    fastpw.conv1x1_backward(dy, x, *rest, **kept, activation="relu", out=(dy, None, None, None))
    assert dy.tobytes() == grads.dx.tobytes()
    with pytest.raises(ValueError, match="out"):
        dx = np.empty_like(arrays[1])
        fastpw.conv1x1_backward(*arrays, **kept, activation="relu", out=(dx, None, dx[0], None))


def test_another_number_of_threads(dtype, rng):
    arrays, kept = problem(SIZES[1], dtype, rng)
    grads = checked(*arrays, **kept, activation="relu")
    for threads in (3, 1, 2, 1):
        with fastpw.num_threads(threads):
            for _ in range(2):
                assert_same(fastpw.conv1x1_backward(*arrays, **kept, activation="relu"), grads)


def test_not_all_calls_are_kept(monkeypatch, rng):
    monkeypatch.setattr(_programs, "backward", _programs.Programs(3, _programs.MOST_BYTES))
    for pixels in range(1, 9):
        arrays, kept = problem(((pixels,), 2, 3), np.dtype("float32"), rng)
        fastpw.conv1x1_backward(*arrays, **kept, activation="relu")
        assert len(_programs.backward.kept()) <= 3


def test_large_dx_streams(monkeypatch, dtype, rng):
    """A program knows of the caches, and looks at where the arrays lie each time."""
    monkeypatch.setattr(partition, "leaves_caches", lambda result, touched: True)
    arrays, kept = problem(((2000,), 32, 16), dtype, rng)
    grads = checked(*arrays, **kept, activation="relu")
    memory = np.empty(grads.dx.nbytes + 128, np.uint8)
    for offset in (*range(0, 64, dtype.itemsize), 0):
        dx = memory[offset : offset + grads.dx.nbytes].view(dtype).reshape(grads.dx.shape)
        dx.fill(np.nan)
        fastpw.conv1x1_backward(*arrays, **kept, activation="relu", out=(dx, None, None, None))
        assert dx.tobytes() == grads.dx.tobytes()


# ---- what must not be kept, and what may change meanwhile --------------------------------------------------


@pytest.fixture
def no_forward_programs(monkeypatch):
    monkeypatch.setattr(_programs, "forward", _programs.Programs(9, _programs.MOST_BYTES))


@pytest.mark.usefixtures("no_forward_programs")
def test_threads_may_change_between_describing_and_running(monkeypatch, rng):
    arrays, kept = problem(SIZES[0], np.dtype("float32"), rng)
    expected = checked(*arrays, **kept, activation="relu")
    y = fastpw.conv1x1(*arrays[1:])
    for module, name in ((_convolution.Convolution, "describe"), (_backward.Call, "_describe")):
        describe = getattr(module, name)

        def meddled(*given, describe=describe):
            program = describe(*given)
            fastpw.set_num_threads(3 - fastpw.get_num_threads() if not meddled.done else None)
            meddled.done = True
            return program

        meddled.done = False
        monkeypatch.setattr(module, name, meddled)
    _programs.forward.forget()
    out = np.full_like(y, np.nan)
    assert fastpw.conv1x1(*arrays[1:], out=out).tobytes() == y.tobytes()
    layer = fastpw.Conv1x1(*arrays[2:])
    assert layer(arrays[1], out=np.full_like(y, np.nan)).tobytes() == y.tobytes()
    assert_same(checked(*arrays, **kept, activation="relu"), expected)


class Meddler:
    """Reshapes another argument when it is looked at."""

    def __init__(self, target, shape, like):
        self.target, self.shape, self.like = target, shape, like

    def __array__(self, *args, **kwargs):
        self.target.shape = self.shape
        return np.zeros(self.like)


@pytest.mark.usefixtures("no_forward_programs")
def test_shapes_may_not_change_meanwhile():
    memory = np.full((300, 64), -7.0)
    x, weight = np.ones((70, 64)), np.ones((64, 64))
    with pytest.raises(ValueError, match="changed meanwhile"):
        fastpw.conv1x1(x, weight, residual=Meddler(x, (140, 32), (70, 64)), out=memory[100:170])
    assert np.all(memory == -7)
    x, dy = np.ones((70, 64)), np.ones((70, 64))
    with pytest.raises(ValueError, match="changed meanwhile"):
        fastpw.conv1x1_backward(dy, x, weight, y=Meddler(dy, (140, 32), (70, 64)), activation="relu")


def test_a_layer_makes_no_result_for_arrays_that_do_not_fit():
    layer = fastpw.Conv1x1(np.ones((4096, 1), np.float32))
    layer(np.ones((2048, 1), np.float32))  # 32 MiB
    tracemalloc.start()
    try:
        assert layer(np.ones((2, 1), np.float32)).shape == (2, 4096)
        with pytest.raises(TypeError):
            layer("nonsense")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("no_forward_programs")
def test_what_is_equal_computes_the_same():
    x, weight = -np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
    results = [
        call(activation=("clip", low, 6.0))
        for low in (-0.0, 0.0, 0, -0.0)
        for call in (lambda **o: fastpw.conv1x1(x, weight, **o), lambda **o: fastpw.Conv1x1(weight, **o)(x))
    ]
    assert len({result.tobytes() for result in results}) == 1
    said = np.dtype("f4", metadata={"of": "the first call"})
    fastpw.conv1x1(x.astype(said), weight.astype(said))
    assert fastpw.conv1x1(x, weight).dtype.metadata is None

    class LikeOI:
        def __eq__(self, other):
            return other == "OI"

        def __hash__(self):
            return hash("OI")

    with pytest.raises(ValueError, match="weight_layout"):
        fastpw.conv1x1(x, weight, weight_layout=LikeOI())


def test_programs_take_a_bounded_memory(rng):
    weight, most = rng.standard_normal((512, 2)).astype(np.float32), 0
    for pixels in range(1, 60):
        x = np.ones((pixels, 512), np.float32)
        fastpw.conv1x1_backward(x, x, weight, groups=256)
        assert sum(program.nbytes for program in _programs.backward.kept()) <= _programs.MOST_BYTES
        most = max(most, len(_programs.backward.kept()))
    assert 10 < most < 59


def test_too_large_a_program_is_not_kept(rng):
    x = np.ones((2, 3000), np.float32)
    weight = np.ones((3000, 1), np.float32)[:, :1]
    many = np.ones((2, 6000), np.float32)
    wide = np.ones((3000, 2), np.float32)
    fastpw.conv1x1_backward(x, x, weight, groups=3000)  # one weight per channel: one walk
    assert len(_programs.backward.kept()) == 1
    fastpw.conv1x1_backward(x, many, wide, groups=3000)
    assert len(_programs.backward.kept()) == 1
