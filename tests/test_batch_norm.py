"""A folded batch normalization: the convolution with it is the convolution, then the normalization."""

import warnings
from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import reference

pytestmark = pytest.mark.pairwise

LAYOUTS = {
    "OI": lambda w: w,
    "IO": lambda w: w.T,
    "OIHW": lambda w: w[:, :, None, None],
    "HWIO": lambda w: w.T[None, None],
    "OHWI": lambda w: w[:, None, None, :],
}
NAMES = ("weight", "bias", "gamma", "beta", "mean", "variance")


def batch_norm(z, gamma, beta, mean, variance, epsilon=1e-5):
    """As it is at inference, in float64."""
    gamma, beta = 1.0 if gamma is None else gamma, 0.0 if beta is None else beta
    return gamma * (z - mean) / np.sqrt(variance.astype(np.float64) + epsilon) + beta


def parameters(rng, K, C, dtype=np.float64):
    """In the order of NAMES."""
    arrays = [rng.standard_normal(shape) for shape in ((K, C), *[K] * 4)]
    return [a.astype(dtype) for a in (*arrays, rng.uniform(0, 3, K))]


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 3}, {"groups": 6}], ids=str)
def test_it_is_the_convolution_and_then_the_normalization(layout, options, conv, rng):
    groups = options.get("groups", 1)
    weight, bias, *rest = parameters(rng, 6, 6 // groups)
    x = rng.standard_normal((2, 5, 4, 6))
    for given in product((bias, None), *((a, None) for a in rest[:2])):
        bias, *rest[:2] = given
        z = reference.conv1x1(x, weight, bias, **options)
        folded = fastpw.fold_batch_norm(LAYOUTS[layout](weight), bias, *rest, 1e-3, weight_layout=layout)
        assert folded[0].shape == LAYOUTS[layout](weight).shape
        y = conv(x, *folded, activation="relu", weight_layout=layout, **options)
        exact = np.maximum(batch_norm(z, *rest, epsilon=1e-3), 0)
        assert np.allclose(y, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_kernel_of_keras(channels, multiplier, rng):
    """Its "HWIO" is (kh, kw, C, m), and K = C * m."""
    weight = rng.standard_normal((3, 2, channels, multiplier))
    bias, *rest = parameters(rng, channels * multiplier, 1)[1:]
    x = rng.standard_normal((2, 5, 4, channels))
    folded = fastpw.fold_batch_norm(weight, bias, *rest, weight_layout="HWIO")
    assert folded[0].shape == weight.shape
    y = fastpw.depthwise_conv2d(x, *folded, weight_layout="HWIO")
    exact = batch_norm(reference.depthwise_conv2d(x, weight, bias, weight_layout="HWIO"), *rest)
    assert np.allclose(y, exact, rtol=1e-13, atol=1e-13)
    view = np.asfortranarray(weight)
    assert np.array_equal(fastpw.fold_batch_norm(view, bias, *rest, weight_layout="HWIO")[0], folded[0])


def test_it_is_rounded_once(rng):
    """Of float32, the float64 result, rounded."""
    arrays = parameters(rng, 50, 30, np.float32)
    weight, bias, gamma, beta, mean, variance = (a.astype(np.float64) for a in arrays)
    scale = gamma / np.sqrt(variance + 1e-5)
    folded = fastpw.fold_batch_norm(*arrays)
    assert np.array_equal(folded[0], (scale[:, None] * weight).astype(np.float32))
    assert np.array_equal(folded[1], (scale * (bias - mean) + beta).astype(np.float32))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_are_new_arrays(layout, dtype, rng):
    arrays = parameters(rng, 6, 6, dtype)
    arrays[0] = LAYOUTS[layout](arrays[0])[..., ::-1]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    for result in fastpw.fold_batch_norm(*arrays, weight_layout=layout):
        assert type(result) is np.ndarray
        assert result.dtype == dtype
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert not any(np.may_share_memory(result, a) for a in arrays)
    assert all(map(np.array_equal, arrays, before))


def test_a_batch_norm_of_torch(rng):
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(6, 8, 1, groups=2, dtype=torch.float64).eval()
    norm = torch.nn.BatchNorm2d(8, dtype=torch.float64).eval()
    for parameter in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        parameter.data = torch.from_numpy(rng.uniform(0.5, 2, 8))
    arrays = conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var
    folded = fastpw.fold_batch_norm(*(a.detach().numpy() for a in arrays), norm.eps, weight_layout="OIHW")
    x = rng.standard_normal((2, 5, 4, 6))
    y = norm(conv(torch.from_numpy(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1).detach().numpy()
    got = fastpw.conv1x1(x, *folded, groups=2, weight_layout="OIHW")
    assert np.allclose(got, y, rtol=1e-12, atol=1e-12)


def test_no_filters_and_no_depth():
    for K, C in ((0, 3), (3, 0)):
        weight, ones = np.ones((K, C)), np.ones(K)
        folded = fastpw.fold_batch_norm(weight, None, None, None, ones, ones, 0)
        assert folded[0].shape == (K, C)
        assert np.array_equal(folded[1], -ones)


def test_specials_pass_in_silence(dtype):
    weight, ones = np.ones((3, 2), dtype), np.ones(3, dtype)
    variance = np.array([0, np.inf, np.nan], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folded = fastpw.fold_batch_norm(weight, None, ones, None, ones, variance, 0)
        largest = np.full((3, 2), np.finfo(dtype).max)
        assert np.all(fastpw.fold_batch_norm(largest, None, 2 * ones, None, ones, ones, 0)[0] == np.inf)
    assert np.array_equal(folded[0], np.array([[np.inf] * 2, [0] * 2, [np.nan] * 2]), equal_nan=True)
    assert np.array_equal(folded[1], [-np.inf, 0, np.nan], equal_nan=True)


def test_kernels_with_a_height_and_a_width(rng):
    x, dense, depthwise = (rng.standard_normal(shape) for shape in ((6, 5, 4), (7, 3, 2, 4), (3, 2, 4)))
    for call, weight, layout in (
        (fastpw.conv2d, dense, "OHWI"),
        (fastpw.conv2d, dense.transpose(0, 3, 1, 2), "OIHW"),
        (fastpw.conv2d, dense.transpose(1, 2, 3, 0), "HWIO"),
        (fastpw.depthwise_conv2d, depthwise, "HWC"),
        (fastpw.depthwise_conv2d, depthwise[None], "1HWC"),
        (fastpw.depthwise_conv2d, depthwise.transpose(2, 0, 1)[:, None], "OIHW"),
    ):
        z = call(x, weight, weight_layout=layout)
        bias, gamma, beta, mean, variance = np.abs(rng.standard_normal((5, z.shape[-1])))
        expected = (z + bias - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        folded = fastpw.fold_batch_norm(weight, bias, gamma, beta, mean, variance, weight_layout=layout)
        np.testing.assert_allclose(call(x, *folded, weight_layout=layout), expected, rtol=1e-9, atol=1e-9)


def ones(*shape, dtype="f4"):
    return np.ones(shape, dtype)


GOOD = {"weight": ones(10, 8), **{name: ones(10) for name in NAMES[1:]}}
F4 = "float32 or float64 in native byte order is needed, got"
OTHER = "one dtype for all is needed, nothing is converted silently; use .astype"
TYPE_ERRORS = {
    "epsilon: a number is needed, got '1e-5'": {"epsilon": "1e-5"},
    "epsilon: a number is needed, got None": {"epsilon": None},
    "epsilon: a number is needed, got 1j": {"epsilon": 1j},
    f"weight is float32, gamma is float64: {OTHER}": {"gamma": ones(10, dtype="f8")},
    f"weight is float32, variance is float64: {OTHER}": {"variance": [1.0] * 10},
    f"mean: {F4} object from a NoneType": {"mean": None},
    f"variance: {F4} object from a NoneType": {"variance": None},
    "beta: a masked array is not supported, give beta.filled(...) or beta.data": {
        "beta": np.ma.ones(10, "f4")
    },
}
VALUE_ERRORS = {
    **{
        f"{name}: shape (K,) = (10,) is needed, got (8,)": {name: ones(8)}
        for name in ("bias", "gamma", "beta", "mean", "variance")
    },
    "mean: shape (K,) = (8,) is needed, got (10,)": {"weight_layout": "IO"},
    "weight: shape (K, C // groups, kh, kw) is needed for weight_layout='OIHW', got (10, 8)": {
        "weight_layout": "OIHW"
    },
    "epsilon: a finite number >= 0 is needed, got -1e-05": {"epsilon": -1e-5},
    "epsilon: a finite number >= 0 is needed, got nan": {"epsilon": float("nan")},
    "epsilon: a finite number >= 0 is needed, got an unprintable int": {"epsilon": 10**5000},
    "variance: numbers >= 0 are needed, got -2.0": {
        "variance": np.array([1, np.nan, 3, -2, 5, 6, 7, 8, -9, 10], "f4")
    },
}


ERRORS = {TypeError: TYPE_ERRORS, ValueError: VALUE_ERRORS}


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [(error, *case) for error, cases in ERRORS.items() for case in cases.items()],
)
def test_error(error, message, change):
    with pytest.raises(error) as caught:
        fastpw.fold_batch_norm(**{**GOOD, **change})
    assert type(caught.value) is error
    assert str(caught.value) == message


def test_the_good_call_is_good():
    weight, bias = fastpw.fold_batch_norm(**GOOD, epsilon=np.float32(0))
    assert np.all(weight == 1)
    assert np.all(bias == 1)
