"""fastpw: the pointwise (1x1) convolution on channels-last NumPy arrays, as fast as the CPU can make it.

conv.py          conv1x1: one call
layer.py         Conv1x1: weights packed once, called many times
batch_norm.py    fold_batch_norm
gradients.py     conv1x1_backward: the gradients of such a call
_convolution.py  weights and options checked, and the forward pass run
_backward.py     the backward pass, checked and run
_programs.py     programs of earlier calls, for those that follow
_checks/         every rule on arguments, every error message
_geometry.py     stride, padding, groups: which input pixel feeds which output pixel
_activations.py  the table of activations
_typing.py       what annotations name
reference.py     the specification, in float64
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

from ._activations import activations
from ._version import __version__
from .batch_norm import fold_batch_norm
from .conv import conv1x1
from .gradients import Gradients, conv1x1_backward
from .layer import Conv1x1
from .runtime import get_num_threads, num_threads, set_num_threads, show_config

__all__ = [
    "Conv1x1",
    "Gradients",
    "__version__",
    "activations",
    "conv1x1",
    "conv1x1_backward",
    "fold_batch_norm",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "show_config",
]
