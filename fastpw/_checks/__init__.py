"""Every rule on arguments, and every error message. Cheap tests first: a small call takes microseconds.

A message names the argument, what is allowed and what came. A TypeError is about a type or a dtype, a
ValueError about anything else.

arrays.py    what is read and what is written, where they lie, and the weight's layouts
integers.py  the convolution of integers: its arrays, and which arguments go together
kernels.py   weights with a height and a width
scales.py    quantized numbers: their types, scales and zero points
options.py   everything else
"""

# ruff: noqa: F401 - callers say checks.stride, wherever it stands

from .arrays import (
    INPUTS,
    apart,
    array,
    bias,
    bias_of,
    dtype,
    four,
    gradients,
    gradients_apart,
    layout,
    like_result,
    matrix,
    mixed_dtypes,
    not_negative,
    output,
    per_filter,
    unwritten,
    weight,
    weight_matrix,
    with_channels,
    wrong_channels,
)
from .integers import (
    BIASES,
    FLOAT32,
    goes_together,
    held_scales,
    input_of,
    integer_weight,
    integer_zero_point,
    no_activation,
    per_filter_scales,
    result_dtype,
    sums_fit,
    typed_bias,
    zero_point_fits,
)
from .kernels import (
    dense,
    dense_layout,
    depthwise,
    depthwise_layout,
    filters_first,
    wrong_depthwise_channels,
)
from .options import (
    NOTHING,
    ONCE,
    WRT,
    Epilogue,
    Padding,
    Pair,
    activation,
    divides,
    divides_channels,
    flag,
    groups,
    has_pixels,
    holds_window,
    image,
    input_cannot_be_added,
    integer,
    layers,
    no_residual,
    nothing_to_add_to,
    number,
    padding,
    shape,
    shown,
    smaller_padding,
    steps,
    too_large,
    two_residuals,
    wrt,
    x_is_needed,
    z_can_be_had,
)
from .scales import (
    INT8,
    INT32,
    QUANTIZED,
    UINT8,
    broadcasts,
    finite,
    in_float32,
    integers,
    no_nan,
    quantized_dtype,
    range_of,
    scale,
    scale_fits,
    scales,
    zero_point,
)
