"""fastpw: 1x1 convolutions and the layers around them on channels-last NumPy arrays, made fast.

conv.py          conv1x1: one call
layer.py         Conv1x1: weights packed once, called many times
quantized_layer.py  QConv1x1, qconv1x1: int8 weights, exact
conv2d.py        conv2d, Conv2d: dense kernels of any size
depthwise.py     depthwise_conv2d, DepthwiseConv2d
pool.py          MaxPool2d, AveragePool2d, GlobalAveragePool
chain.py         Chain: layers one after the other, in the cache
concat.py        Concat: branches side by side in one array
shuffle.py       ChannelShuffle
network/         load, Network: networks from files
batch_norm.py    fold_batch_norm
quantize.py      quantize_weight, quantize, dequantize
gradients.py     conv1x1_backward: the gradients of such a call
_fusion.py       which layers of a chain run as one
_fused.py        the program of layers that run as one
_frozen.py       arrays that nobody can write
_layer.py        what all layers have in common
_operation.py    what a layer computes: arrays checked, programs found or described
_steps.py        operations one after the other as one program
_convolution.py  the 1x1 convolution as an operation
_quantized.py    and that of integers
_windowed.py     the operations whose pixels look at their neighbours
_gradient_call.py, _backward.py, _window_gradients.py  the backward pass, checked and run
_programs.py     programs of earlier calls, for those that follow
_checks/         every rule on arguments, every error message
_geometry.py     stride, padding, groups: which input pixel feeds which output pixel
_activations.py  the table of activations
_typing.py       what annotations name
reference.py     the specification, in float64
quantized_reference.py  the specification of integers, exact
_bounds.py       how far a result may lie from it
runtime.py       threads, the instruction set in use, show_config
core/            Cython: programs, GEMMs and threads
kernels/         C: registers
verify.py        what fastpw verify runs
bench/           what fastpw bench runs
cli.py           fastpw info | verify | bench

Public are the names below, in __all__; everything else may change from one version to the next.
"""

# The compiled module first: on small boards libgomp, loaded late, may find no room for thread-local storage.
try:
    from .core import machine as _machine  # noqa: F401
except ImportError as _error:
    if _error.name != "fastpw.core":  # it is there, and fails by itself
        raise
    raise ImportError(
        f"fastpw: the compiled module fastpw.core.machine is needed, got {__path__[0]} without it. "
        "This is the source, or it was built for another Python. Run `pip install .` where pyproject.toml is "
        "and start Python in another folder, or `pip install -e .` to use the source in place.",
        name="fastpw.core.machine",
    ) from None

from typing import TYPE_CHECKING, Any

from ._activations import activations
from ._version import __version__
from .batch_norm import fold_batch_norm
from .chain import Chain
from .concat import Concat
from .conv import conv1x1
from .conv2d import Conv2d, conv2d, conv2d_backward
from .depthwise import DepthwiseConv2d, depthwise_conv2d, depthwise_conv2d_backward
from .gradients import Gradients, conv1x1_backward
from .layer import Conv1x1
from .pool import AveragePool2d, GlobalAveragePool, MaxPool2d
from .quantize import dequantize, quantize, quantize_weight
from .quantized_layer import QConv1x1, qconv1x1
from .runtime import get_num_threads, num_threads, set_num_threads, show_config
from .shuffle import ChannelShuffle

if TYPE_CHECKING:
    from .network import Network, load

__all__ = [
    "AveragePool2d",
    "Chain",
    "ChannelShuffle",
    "Concat",
    "Conv1x1",
    "Conv2d",
    "DepthwiseConv2d",
    "GlobalAveragePool",
    "Gradients",
    "MaxPool2d",
    "Network",
    "QConv1x1",
    "__version__",
    "activations",
    "conv1x1",
    "conv1x1_backward",
    "conv2d",
    "conv2d_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "dequantize",
    "fold_batch_norm",
    "get_num_threads",
    "load",
    "num_threads",
    "qconv1x1",
    "quantize",
    "quantize_weight",
    "set_num_threads",
    "show_config",
]


def __getattr__(name: str) -> Any:
    """Networks are imported when they are first asked for: most calls need none."""
    if name not in ("Network", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import network  # noqa: PLC0415 - see above

    globals().update(Network=network.Network, load=network.load)
    return globals()[name]
