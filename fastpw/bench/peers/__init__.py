"""The runtimes that fastpw is compared with.

Each has a module here, which is imported only in its worker: their spinning threads disturb each other, and
so do their copies of OpenMP. Its functions take a Problem and return two: one to time, and one that says what
the first one computed. Into arrays of its own a peer computes as it likes best: packed weights, bound
buffers, its own layout. With new arrays it gets a channels-last NumPy array for each call and makes
a new one.
"""

from importlib.util import find_spec
from typing import NamedTuple

from fastpw.bench.setting import Setting


class Peer(NamedTuple):
    """What it computes, where: "module:function"; the modules that have to be installed."""

    target: str
    needs: tuple[str, ...]


FORWARD = {
    "litert": Peer("fastpw.bench.peers.litert:conv2d", ("ai_edge_litert",)),
    "torch eager": Peer("fastpw.bench.peers.torch:eager", ("torch",)),
    "torch onednn": Peer("fastpw.bench.peers.torch:onednn", ("torch",)),
    "ort conv": Peer("fastpw.bench.peers.onnxruntime:conv", ("onnxruntime", "onnx")),
    "ort gemm": Peer("fastpw.bench.peers.onnxruntime:gemm", ("onnxruntime", "onnx")),
    "openvino": Peer("fastpw.bench.peers.openvino:matmul", ("openvino",)),
}
BACKWARD = {
    "torch conv": Peer("fastpw.bench.peers.torch:convolution_backward", ("torch",)),
    "torch mm": Peer("fastpw.bench.peers.torch:matmul_backward", ("torch",)),
}
# Of layers whose pixels look at their neighbours:
WINDOWED = {
    **{name: FORWARD[name] for name in ("litert", "torch eager", "torch onednn", "ort conv")},
    "openvino": Peer("fastpw.bench.peers.openvino:convolution", ("openvino",)),
}
WINDOWED_BACKWARD = {"torch conv": BACKWARD["torch conv"]}
INTEGERS = {
    "litert": Peer("fastpw.bench.peers.litert_quantized:conv2d", ("ai_edge_litert",)),
    "torch onednn": Peer("fastpw.bench.peers.torch_quantized:onednn", ("torch",)),
    "ort u8u8": Peer("fastpw.bench.peers.onnxruntime_quantized:unsigned", ("onnxruntime", "onnx")),
    "ort u8s8": Peer("fastpw.bench.peers.onnxruntime_quantized:signed", ("onnxruntime", "onnx")),
    "openvino": Peer("fastpw.bench.peers.openvino_quantized:matmul", ("openvino",)),
}
DYNAMIC = {
    "litert": Peer("fastpw.bench.peers.litert_quantized:dynamic", ("ai_edge_litert",)),
    "torch dynamic": Peer("fastpw.bench.peers.torch_quantized:dynamic", ("torch",)),
    "ort u8u8": Peer("fastpw.bench.peers.onnxruntime_quantized:unsigned_dynamic", ("onnxruntime", "onnx")),
    "ort u8s8": Peer("fastpw.bench.peers.onnxruntime_quantized:signed_dynamic", ("onnxruntime", "onnx")),
}
BLOCKS = {
    "litert": Peer("fastpw.bench.peers.litert_blocks:block", ("ai_edge_litert",)),
    "torch eager": Peer("fastpw.bench.peers.torch_blocks:eager", ("torch",)),
    "torch onednn": Peer("fastpw.bench.peers.torch_blocks:onednn", ("torch",)),
    "ort conv": Peer("fastpw.bench.peers.onnxruntime_blocks:conv", ("onnxruntime", "onnx")),
    "ort gemm": Peer("fastpw.bench.peers.onnxruntime_blocks:gemm", ("onnxruntime", "onnx")),
    "openvino conv": Peer("fastpw.bench.peers.openvino_blocks:convolution", ("openvino",)),
    "openvino matmul": Peer("fastpw.bench.peers.openvino_blocks:matmul", ("openvino",)),
}
NETWORKS = {
    "ort": Peer("fastpw.bench.peers.onnxruntime_networks:network", ("onnxruntime", "onnx")),
    "openvino": Peer("fastpw.bench.peers.openvino_networks:network", ("openvino", "onnx")),
}
# Of the blocks' peers, who takes part only where a block consists of 1x1 convolutions:
OF_POINTWISE_BLOCKS = ("ort gemm", "openvino matmul")


def table(setting: Setting) -> dict[str, Peer]:
    """The peers of the kind and the pass that are measured, by name."""
    if setting.kind in ("block", "network"):
        return BLOCKS if setting.kind == "block" else NETWORKS
    if setting.in_integers:
        return DYNAMIC if setting.dynamic else INTEGERS
    if setting.kind == "pointwise":
        return BACKWARD if setting.backward else FORWARD
    return WINDOWED_BACKWARD if setting.backward else WINDOWED


def absent(setting: Setting) -> dict[str, str]:
    """Why a peer cannot take part, by name."""
    reasons = {}
    for name, peer in table(setting).items():
        missing = [module for module in peer.needs if not _installed(module)]
        if missing:
            reasons[name] = f"{' and '.join(missing)} not installed"
        elif setting.dtype not in ("float32", "int8"):
            reasons[name] = "compared in float32 and int8 only"
    return reasons


def _installed(module):
    try:
        return find_spec(module) is not None
    except ValueError:  # sys.modules holds None, or something that was not found the usual way
        return False
