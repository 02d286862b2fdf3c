"""A batch normalization that follows a convolution, made part of its weights."""

from __future__ import annotations

import numpy as np

from . import _checks
from ._typing import AnyLayout, ArrayLike, FloatArray


def fold_batch_norm(
    weight: ArrayLike,
    bias: ArrayLike | None,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float = 1e-5,
    weight_layout: AnyLayout = "OI",
) -> tuple[FloatArray, FloatArray]:
    """The weight and bias of a convolution that does what it and the batch normalization after it do.

    The normalization of Ioffe and Szegedy [1]_, as it is at inference, makes
    ``gamma * (z - mean) / sqrt(variance + epsilon) + beta`` of each channel of ``z = x @ weight.T + bias``.
    With ``scale = gamma / sqrt(variance + epsilon)`` that is a convolution whose weight is ``scale * weight``
    and whose bias is ``scale * (bias - mean) + beta``.

    Parameters
    ----------
    weight : (K, C // groups) array
        Or as `weight_layout` says. float32 or float64, as all other arrays of the call.
    bias : (K,) array or None
        The convolution's. None: 0.
    gamma, beta : (K,) array or None
        The factor and what is added; torch calls them weight and bias, ONNX scale and B. None: 1 and 0.
    mean, variance : (K,) array
        The running (moving) mean and variance.
    epsilon : float
        What was added to the variance: by default 1e-5 in torch, ONNX and Flax, 1e-3 in Keras.
    weight_layout : {"OI", "IO", "OIHW", "HWIO", "OHWI", "HWC", "1HWC"}
        As in `conv1x1`, `conv2d` and `depthwise_conv2d`; the kernel may have any height and width. Whether
        "HWIO" is the layout of a depthwise kernel, whose K is C * m, shows in the length of `mean`.

    Returns
    -------
    weight, bias
        New arrays of the weight's dtype, computed in float64 and rounded once: the weight in its layout, and
        (K,).

    Raises
    ------
    TypeError, ValueError
        As in `conv1x1`; besides, a variance or an epsilon below 0 is refused.

    Notes
    -----
    The folded convolution takes the same stride, padding and groups. It is another one where a residual or an
    activation comes between the convolution and the normalization.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
       Internal Covariate Shift", 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np, fastpw
    >>> weight, gamma, beta = np.ones((2, 3)), np.array([1.0, 2.0]), np.array([0.0, 1.0])
    >>> mean, variance = np.array([3.0, 1.0]), np.array([1.0, 4.0])
    >>> weight, bias = fastpw.fold_batch_norm(weight, None, gamma, beta, mean, variance, epsilon=0)
    >>> fastpw.conv1x1(np.ones((1, 3)), weight, bias)
    array([[0., 3.]])
    """
    weight, mean = _checks.array("weight", weight), _checks.array("mean", mean)
    filters = _checks.filters_first(weight, weight_layout, mean.size)
    mean = _checks.per_filter("mean", mean, filters)
    variance = _checks.not_negative("variance", _checks.per_filter("variance", variance, filters))
    bias = np.float64(0) if bias is None else _checks.per_filter("bias", bias, filters)
    gamma = np.float64(1) if gamma is None else _checks.per_filter("gamma", gamma, filters)
    beta = np.float64(0) if beta is None else _checks.per_filter("beta", beta, filters)
    epsilon = _checks.number("epsilon", epsilon)
    folded = np.empty(weight.shape, filters.dtype)
    with np.errstate(all="ignore"):  # NaN and infinities pass in silence
        scale = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
        scales = scale.reshape(-1, *[1] * (filters.ndim - 1))
        out = _checks.filters_first(folded, weight_layout, mean.size)  # a view
        np.multiply(filters, scales, out=out, casting="same_kind")
        return folded, (scale * (bias - mean.astype(np.float64)) + beta).astype(filters.dtype)
