"""Promise 3: NaN and infinities pass as in NumPy; the floating-point state of the process is left alone."""

import threading

import numpy as np
import pytest

import fastpw
from fastpw import _activations, reference

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

SPECIALS = [np.nan, np.inf, -np.inf, 0.0, -0.0]


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("channels", [1, 3, 70])
def test_specials_alone(row, channels, dtype, conv):
    x = np.repeat(np.array(SPECIALS, dtype)[:, None], channels, axis=1)
    y = conv(x, np.ones((channels, 1), dtype), groups=channels, activation=row.spec)
    assert np.allclose(y, reference.activate(x, row.spec), rtol=1e-6, atol=1e-37, equal_nan=True)


@pytest.mark.parametrize("n", [1, 5, 16, 33])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 17])
def test_specials_in_a_row_stay_in_it(n, k, dtype, conv, keeps_promise, rng):
    """Nor do they come from columns and depths that only pad a tile."""
    x, weight = rng.standard_normal((2 * len(SPECIALS) * k, k)).astype(dtype), np.ones((n, k), dtype)
    for row, special in enumerate(SPECIALS * k):
        x[2 * row, row // len(SPECIALS)] = special
    assert keeps_promise(conv(x, weight), x, weight)
    wide = np.full((len(x), k + 8), np.nan, dtype)
    wide[:, 4:-4] = x
    assert keeps_promise(conv(wide[:, 4:-4], weight), x, weight)


@pytest.mark.parametrize("special", SPECIALS)
def test_specials_in_weight_bias_and_residual(special, dtype, conv, keeps_promise, rng):
    x, weight = rng.standard_normal((40, 9)).astype(dtype), rng.standard_normal((35, 9)).astype(dtype)
    bias, residual = rng.standard_normal(35).astype(dtype), rng.standard_normal((40, 35)).astype(dtype)
    for array in (weight, bias, residual):
        array.flat[3::7] = special
        assert keeps_promise(conv(x, weight, bias, residual=residual), x, weight, bias, residual=residual)


def test_padding_meets_no_weight(dtype, conv):
    y = conv(np.ones((1, 1, 1), dtype), np.array([[np.nan], [np.inf]], dtype), padding=1)
    assert np.isnan(y[1, 1, 0])
    assert y[1, 1, 1] == np.inf
    y[1, 1] = 0
    assert not y.any()


@pytest.mark.parametrize("activation", [None, "relu", ("clip", -1, 1), ("leaky_relu", 1)])
def test_subnormal_numbers_are_not_flushed(activation, dtype, conv):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([[tiny], [5 * tiny], [100 * tiny]], dtype)
    for channels in (1, 40):
        weight = np.ones((channels, 1), dtype)
        assert np.array_equal(conv(x, weight, activation=activation), np.repeat(x, channels, axis=1))


def test_state_of_the_process(dtype):
    """Neither the import nor a call sets flush-to-zero or another rounding, in no thread."""
    fastpw.conv1x1(np.ones((2000, 64), dtype), np.ones((64, 64), dtype), activation="gelu")
    kept = []

    def compute():
        limits = np.finfo(dtype)
        one, half_ulp = np.ones(1, dtype), np.full(1, limits.eps / 2, dtype)
        kept.append((np.full(1, limits.tiny, dtype) / 2 > 0)[0])
        kept.append((one + half_ulp == one)[0] and (one + 3 * half_ulp == one + 4 * half_ulp)[0])

    compute()
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert kept == [True] * 4
