"""Large results go past the caches: the same bits as those that do not, wherever they lie."""

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _programs
from fastpw.core import partition

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

# (m, n, k): whole panels, a narrow last one, odd rows, few and many of them.
SHAPES = [(1, 64, 3), (13, 32, 8), (700, 96, 16), (97, 80, 33), (250, 77, 5), (64, 16, 300)]


@pytest.fixture
def streams(monkeypatch):
    """Let results of any size stream, from here on."""

    def stream():
        monkeypatch.setattr(partition, "leaves_caches", lambda result, touched: True)
        _programs.forward.forget()
        _programs.backward.forget()

    yield stream
    monkeypatch.undo()
    _programs.forward.forget()
    _programs.backward.forget()


def aligned(shape, dtype):
    """An array that begins with a cache line, full of NaN."""
    lines = np.empty(int(np.prod(shape)) * dtype.itemsize + 64, np.uint8)
    start = -lines.__array_interface__["data"][0] % 64
    array = lines[start:][: lines.size - 64].view(dtype).reshape(shape)
    array.fill(np.nan)
    return array


@pytest.mark.parametrize("activation", [row.spec for row in _activations.TABLE], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape, activation, dtype, rng, streams):
    m, n, k = shape
    x, weight, bias, residual = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), n, (m, n)))
    expected, expected_z = np.empty((m, n), dtype), np.empty((m, n), dtype)
    options = {"residual": residual, "activation": activation}
    fastpw.conv1x1(x, weight, bias, **options, out=expected, out_z=expected_z)
    streams()
    out, z = aligned((m, n), dtype), aligned((m, n), dtype)
    fastpw.conv1x1(x, weight, bias, **options, out=out, out_z=z)
    assert out.tobytes() == expected.tobytes() and z.tobytes() == expected_z.tobytes()
    unaligned = np.full(m * n + 1, np.nan, dtype)[1:].reshape(m, n)
    fastpw.conv1x1(x, weight, bias, **options, out=unaligned)
    assert unaligned.tobytes() == expected.tobytes()
    out = aligned((m, n), dtype)
    layer = fastpw.Conv1x1(weight, bias, activation=activation)
    for _ in range(2):  # checked, then not
        out.fill(np.nan)
        layer(x, out=out)
        assert out.tobytes() == fastpw.conv1x1(x, weight, bias, activation=activation).tobytes()


@pytest.mark.parametrize("width", [5, 12, 29, 56])
def test_forward_of_a_strided_layer(width, dtype, rng, streams):
    """Its pixels lie in runs, which are left in place or copied together."""
    x, weight = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 7, width, 24), (96, 24)))
    expected = fastpw.conv1x1(np.ascontiguousarray(x[:, ::2, ::2]), weight, activation="relu")
    for _ in range(2):  # through the caches, then past them
        out = aligned(expected.shape, dtype)
        fastpw.conv1x1(x, weight, stride=2, activation="relu", out=out)
        assert out.tobytes() == expected.tobytes()
        streams()


def test_chains(dtype, rng, streams):
    """A result is written past the caches, what it is made of is not."""
    expand, project = (rng.standard_normal(s).astype(dtype) for s in ((64, 32), (32, 64)))
    spatial = rng.standard_normal((3, 3, 64)).astype(dtype)

    def chain():
        middle = fastpw.DepthwiseConv2d(spatial, padding=1, activation="relu6")
        return fastpw.Chain([fastpw.Conv1x1(expand), middle, fastpw.Conv1x1(project)], add_input=True)

    x = rng.standard_normal((2, 9, 7, 32)).astype(dtype)
    expected = chain()(x)
    streams()
    block = chain()
    for _ in range(2):
        out = aligned(x.shape, dtype)
        assert block(x, out=out).tobytes() == expected.tobytes()
    frame = aligned((2, 11, 9, 96), dtype)
    block(x, out=frame[:, 1:-1, 1:-1, 32:64])
    assert frame[:, 1:-1, 1:-1, 32:64].tobytes() == expected.tobytes()
    frame[:, 1:-1, 1:-1, 32:64] = np.nan
    assert np.isnan(frame).all()


def test_only_what_was_asked_for_is_written(dtype, rng, streams):
    streams()
    x, weight = rng.standard_normal((50, 9)).astype(dtype), rng.standard_normal((64, 9)).astype(dtype)
    frame = aligned((52, 128), dtype)
    fastpw.conv1x1(x, weight, out=frame[1:-1, 32:96])
    assert np.isfinite(frame[1:-1, 32:96]).all()
    frame[1:-1, 32:96] = np.nan
    assert np.isnan(frame).all()


@pytest.mark.parametrize("accumulate", [False, True])
def test_gradients(accumulate, dtype, rng, streams):
    """dx of many pixels, which is the result of a walk in slices."""
    m, n, k = 2000, 32, 64
    x, weight, dy = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), (m, n)))
    before = rng.standard_normal((m, k)).astype(dtype)
    results = []
    for stream in (lambda: None, streams):
        stream()
        dx = aligned((m, k), dtype)
        dx[...] = before
        options = {"out": (dx, None, None, None), "accumulate": accumulate}
        results.append(fastpw.conv1x1_backward(dy, x, weight, **options))
    for one, other in zip(*results, strict=True):
        assert one is other is None or one.tobytes() == other.tobytes()
