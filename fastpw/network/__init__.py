"""Networks: from the file that people have to an answer.

loading.py      load: a network from a file
network.py      Network: it is called, planned for each size, saved
ends.py         its inputs and outputs as the caller sees them
onnx_file.py    an .onnx file as a graph; the only module that needs onnx
opsets.py       nodes of older opsets in the form of the newest
saved.py        networks in .npz files
simplify.py     the rewritings, in their order
constants.py    what depends on constants alone
lowering.py     nodes of ONNX in our own words: scales, products with constant weights, activations
functions.py    activations, however a file writes them
norms.py        layer normalizations likewise
folding.py      what becomes part of the convolution beside it
chains.py       which nodes become a chain
quantization.py  products in int8
ties.py         equal filters give equal results
planning.py     a plan for given shapes
fusing.py       steps of a plan that become one, or none
tables.py       summary and profile
fallback.py     operators that fastpw has not, by onnx's reference
operators/      the operators, each described to a plan
arena.py        the memory of a call
plan.py         a plan: its steps and values
entering.py     the way of arrays into that memory
values.py       shapes and memory layouts
archive.py      arrays in an .npz file
graph.py        nodes, values and constants as plain data
memory.py       how much memory a network may take
"""

from .ends import NetworkPort
from .loading import load
from .network import Network

__all__ = ["Network", "NetworkPort", "load"]
