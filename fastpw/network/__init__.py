"""Networks: from the file that people have to an answer.

loading.py      load: a network from a file
network.py      Network: it is called, planned for each size, saved
onnx_file.py    an .onnx file as a graph; the only module that needs onnx
opsets.py       nodes of older opsets in the form of the newest
saved.py        .npz files
simplify.py     the rewritings, in their order
planning.py     a plan for given shapes
tables.py       summary and profile
fallback.py     operators that fastpw has not, by onnx's reference
operators/      the operators, each described to a plan
arena.py        the memory of a call
plan.py         a plan: its steps and values
values.py       shapes and memory layouts
graph.py        nodes, values and constants as plain data
memory.py       how much memory a network may take
"""

from .loading import load
from .network import Network, NetworkPort

__all__ = ["Network", "NetworkPort", "load"]
