"""Rules on the weights of layers whose pixels look at their neighbours."""

from __future__ import annotations

import numpy as np

from .arrays import array, wrong_channels
from .options import Pair, shown

# weight_layout -> the weight's shape, and its axes in the order (K, kh, kw, C // groups)
DENSE = {
    "OHWI": ("(K, kh, kw, C // groups)", (0, 1, 2, 3)),
    "OIHW": ("(K, C // groups, kh, kw)", (0, 2, 3, 1)),
    "HWIO": ("(kh, kw, C // groups, K)", (3, 0, 1, 2)),
}

# The same in the order (kh, kw, C, m), for m outputs of each channel; a letter that an axis lacks is 1
DEPTHWISE = {
    "HWC": ("(kh, kw, C)", (0, 1, 2)),
    "OIHW": ("(C, 1, kh, kw)", (2, 3, 0, 1)),
    "HWIO": ("(kh, kw, C, m)", (0, 1, 2, 3)),
    "1HWC": ("(1, kh, kw, C)", (1, 2, 3, 0)),
}
SEVERAL_OUTPUTS = "several outputs of a channel need weight_layout='HWIO', (kh, kw, C, m)"

# Where K is found in the weights of any convolution
FILTERS = {
    "OI": ("(K, C // groups)", 0),
    "IO": ("(C // groups, K)", 1),
    **{layout: (shape, axes[0]) for layout, (shape, axes) in DENSE.items()},
    "HWC": ("(kh, kw, C)", 2),
    "1HWC": ("(1, kh, kw, C)", 3),
}


def _known(value, layouts: dict) -> str:
    if not isinstance(value, str) or str(value) not in layouts:
        allowed = ", ".join(map(repr, layouts))
        raise ValueError(f"weight_layout: one of {allowed} is needed, got {shown(value)}")
    return str(value)


def dense_layout(value) -> str:
    return _known(value, DENSE)


def depthwise_layout(value) -> str:
    return _known(value, DEPTHWISE)


def _wrong_shape(value: np.ndarray, layout: str, layouts: dict) -> ValueError:
    return ValueError(
        f"weight: shape {layouts[layout][0]} is needed for weight_layout={layout!r}, got {value.shape}"
    )


def dense(value: np.ndarray, layout: str) -> np.ndarray:
    """A view (K, kh, kw, C // groups) of weights, or of their gradient."""
    value = array("weight", value)
    if value.ndim != 4:
        raise _wrong_shape(value, layout, DENSE)
    view = value.transpose(DENSE[layout][1])
    _has_taps(value, view.shape[1:3])
    return view


def depthwise(value: np.ndarray, layout: str) -> np.ndarray:
    """A view (kh, kw, C, m) of weights, or of their gradient."""
    value = array("weight", value)
    shape, axes = DEPTHWISE[layout]
    if value.ndim != len(axes):
        raise _wrong_shape(value, layout, DEPTHWISE)
    if "1" in shape and value.transpose(axes).shape[3] != 1:
        raise ValueError(f"{_wrong_shape(value, layout, DEPTHWISE)}; {SEVERAL_OUTPUTS}")
    view = value.transpose(axes)
    _has_taps(value, view.shape[:2])
    return view if view.ndim == 4 else view[..., np.newaxis]


def wrong_depthwise_channels(shape: tuple[int, ...], channels: int, layout: str) -> ValueError:
    """What is wrong with an input of a shape; its channels are not those of the weights."""
    error = wrong_channels(shape, channels, 1)
    multiple = shape[-1] and channels % shape[-1] == 0
    if layout == "HWIO" or not multiple or channels in shape:  # whose place is wrong, not their number
        return error
    return ValueError(f"{error}; {SEVERAL_OUTPUTS}")


def _has_taps(weight: np.ndarray, size: Pair) -> None:
    if min(size) < 1:
        raise ValueError(f"weight: a kernel of at least 1 x 1 is needed, got shape {weight.shape}")


def filters_first(value, layout, filters: int) -> np.ndarray:
    """The weights of any convolution as (K, ...), a view if they are contiguous.

    "HWIO" is conv2d's, or depthwise_conv2d's (kh, kw, C, m): the number of filters tells which.
    """
    layout, value = _known(layout, FILTERS), array("weight", value)
    if value.ndim != len(layout):
        raise _wrong_shape(value, layout, FILTERS)
    axis = FILTERS[layout][1]
    if layout == "HWIO" and filters == value.shape[2] * value.shape[3] != value.shape[3]:
        value, axis = value.reshape(*value.shape[:2], filters), 2
    return np.moveaxis(value, axis, 0)
