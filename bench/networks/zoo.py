"""The networks by name, seeded and exported to .onnx files, in the forms in which such files are found."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import large
import mobile
import torch
from blocks import SMALL, Size, seed
from torch import nn


class Entry(NamedTuple):
    build: Callable[[Size], nn.Module]
    pixels: int  # of the images of the paper
    small: int  # of those of a test


NETWORKS = {
    "mobilenet_v1": Entry(mobile.mobilenet_v1, 224, 64),
    "mobilenet_v2": Entry(mobile.mobilenet_v2, 224, 64),
    "mobilenet_v3_large": Entry(mobile.mobilenet_v3_large, 224, 64),
    "efficientnet_b0": Entry(mobile.efficientnet_b0, 224, 64),
    "shufflenet_v1": Entry(mobile.shufflenet_v1, 224, 64),
    "shufflenet_v2": Entry(mobile.shufflenet_v2, 224, 64),
    "resnet50": Entry(large.resnet50, 224, 64),
    "nin": Entry(large.nin, 227, 83),
    "squeezenet": Entry(large.squeezenet, 224, 70),
    "inception_v3": Entry(large.inception_v3, 299, 107),
    "convnext_t": Entry(large.convnext_t, 224, 64),
}

# The forms: what a network's exporter is told besides.
FORMS: dict[str, dict[str, Any]] = {
    "": {"opset_version": 17},
    "opset13": {"opset_version": 13},
    "batch8": {"opset_version": 17, "batch": 8},
    "dynamic_batch": {"opset_version": 17, "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}},
    "dynamic": {"opset_version": 17, "dynamic_axes": {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n"}}},
    "unfolded": {
        "opset_version": 17,
        "training": torch.onnx.TrainingMode.PRESERVE,
        "do_constant_folding": False,
    },
}
# The newer exporter takes a package of its own.
if importlib.util.find_spec("onnxscript"):
    FORMS["dynamo"] = {"dynamo": True, "verbose": False}
# Which forms a network is exported in, besides the first two and the newer exporter's.
MORE = {
    "mobilenet_v2": ("batch8", "dynamic_batch", "unfolded"),
    "resnet50": ("batch8",),
    "shufflenet_v2": ("dynamic",),
}


def names() -> Iterator[tuple[str, str]]:
    """Every network in every form."""
    for network in NETWORKS:
        newer = ("dynamo",) if "dynamo" in FORMS else ()
        for form in ("", "opset13", *newer, *MORE.get(network, ())):
            yield network, form


def export(network: str, form: str, folder: Path, small: bool = False) -> Path:
    """Write a network to a file, unless it is there, and return its path."""
    path = folder / f"{network}{'_' * bool(form)}{form}{'_small' * small}.onnx"
    if path.exists():
        return path
    options = {"dynamo": False, **FORMS[form]}
    entry = NETWORKS[network]
    pixels = entry.small if small else entry.pixels
    shape = (options.pop("batch", 1), 3, pixels, pixels)
    torch.manual_seed(0)
    module = seed(entry.build(SMALL if small else Size()), shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.randn(shape),),
            str(path),
            input_names=["x"],
            output_names=["y"],
            **options,
        )
    return path
