"""The operators, each described to a plan as steps on NumPy arrays and fastpw's layers.

registry.py      the table of operators
convolutions.py  Conv
transposed.py    ConvTranspose
chains.py        chains of these and of pools
products.py      Linear (a product with constant weights), Gemm, MatMul
quantized.py     QConv and QLinear: the same with weights in int8
pools.py         MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool
activations.py   ONNX's activations and BatchNormalization
scaling.py       Affine, Activation, and the sum and the product of images
rows.py          programs on elements, normal rows and means, by kernels
elementwise.py   functions of one, two or more arrays, element by element
reductions.py    ReduceMean and its like, Softmax
norms.py         LayerNormalization, LRN, InstanceNormalization
shapes.py        views: Reshape, Transpose, Slice, Split, ...
joins.py         Concat, Pad, Gather, Tile
resize.py        Resize
facts.py         what shapes and constants tell: Shape, ConstantOfShape, Range
"""

from . import (  # each enters its operators into the table
    activations,
    chains,
    convolutions,
    elementwise,
    facts,
    joins,
    norms,
    pools,
    products,
    quantized,
    reductions,
    resize,
    rows,
    scaling,
    shapes,
    transposed,
)
from .registry import OPERATORS, DependsOnInput, Unsupported

__all__ = [
    "OPERATORS",
    "DependsOnInput",
    "Unsupported",
    "activations",
    "chains",
    "convolutions",
    "elementwise",
    "facts",
    "joins",
    "norms",
    "pools",
    "products",
    "quantized",
    "reductions",
    "resize",
    "rows",
    "scaling",
    "shapes",
    "transposed",
]
