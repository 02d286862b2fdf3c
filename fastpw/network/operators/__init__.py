"""The operators, each described to a plan as steps on NumPy arrays and fastpw's layers.

registry.py      the table of operators
convolutions.py  Conv
transposed.py    ConvTranspose
chains.py        chains of these and of pools
products.py      Linear (a product with constant weights), Gemm, MatMul
linear_quantization.py  QuantizeLinear, DequantizeLinear, products and convolutions of ONNX's integers
control.py       If, Loop, Scan
quantized.py     QConv and QLinear: the same with weights in int8
volumes.py       convolutions and pools over more axes, LpPool, MaxUnpool
pools.py         MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool
activations.py   ONNX's activations and BatchNormalization
scaling.py       Affine, Activation, and the sum and the product of images
rows.py          programs on elements, normal rows and means, by kernels
elementwise.py   functions of one, two or more arrays, element by element
reductions.py    ReduceMean and its like, Softmax
norms.py         LayerNormalization, LRN, InstanceNormalization
group_norms.py   GroupNormalization, RMSNormalization, MeanVarianceNormalization, LpNormalization
attention.py     Attention, RotaryEmbedding
recurrent.py     LSTM, GRU, RNN
shapes.py        views: Reshape, Transpose, Slice, Split, ...
joins.py         Concat, Pad, Gather, Tile
resize.py        Resize; resampling.py: the shares of pixels
regions.py       NonMaxSuppression, RoiAlign, GridSample, AffineGrid, Col2Im
picking.py       what picks elements by their places: GatherElements, TopK, OneHot, ...
scattering.py    what puts elements to places: ScatterElements, ScatterND
whole.py         functions that give a new array
facts.py         what shapes and constants tell: Shape, ConstantOfShape, Range
"""

from . import (  # each enters its operators into the table
    activations,
    attention,
    chains,
    control,
    convolutions,
    elementwise,
    facts,
    group_norms,
    joins,
    linear_quantization,
    norms,
    picking,
    pools,
    products,
    quantized,
    recurrent,
    reductions,
    regions,
    resampling,
    resize,
    rows,
    scaling,
    scattering,
    shapes,
    transposed,
    volumes,
)
from .registry import OPERATORS, DependsOnInput, Unsupported

__all__ = [
    "OPERATORS",
    "DependsOnInput",
    "Unsupported",
    "activations",
    "attention",
    "chains",
    "control",
    "convolutions",
    "elementwise",
    "facts",
    "group_norms",
    "joins",
    "linear_quantization",
    "norms",
    "picking",
    "pools",
    "products",
    "quantized",
    "recurrent",
    "reductions",
    "regions",
    "resampling",
    "resize",
    "rows",
    "scaling",
    "scattering",
    "shapes",
    "transposed",
    "volumes",
]
