"""What annotations name. The modules import it when they run, so that annotations can be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Activation",
    "AnyLayout",
    "ArrayLike",
    "DepthwiseLayout",
    "FloatArray",
    "KernelLayout",
    "Padding",
    "Stride",
    "WeightLayout",
]

FloatArray: TypeAlias = NDArray[np.floating]  # float32 or float64

Stride: TypeAlias = SupportsIndex | Sequence[SupportsIndex]

Padding: TypeAlias = (
    Literal["valid", "same", "VALID", "SAME"]
    | SupportsIndex
    | Sequence[SupportsIndex | Sequence[SupportsIndex]]
)

WeightLayout: TypeAlias = Literal["OI", "IO", "OIHW", "HWIO", "OHWI"]
KernelLayout: TypeAlias = Literal["OHWI", "OIHW", "HWIO"]
DepthwiseLayout: TypeAlias = Literal["HWC", "OIHW", "HWIO", "1HWC"]
AnyLayout: TypeAlias = Literal["OI", "IO", "OIHW", "HWIO", "OHWI", "HWC", "1HWC"]

Activation: TypeAlias = (
    Literal[
        "linear", "identity", "relu", "relu6", "hard_sigmoid", "hardsigmoid", "hard_swish", "hardswish",
        "sigmoid", "tanh", "silu", "swish", "gelu", "gelu_tanh",
    ]
    | tuple[Literal["leaky_relu"], float]
    | tuple[Literal["clip"], float, float]
    | list[str | float]
    | None
)  # fmt: skip
