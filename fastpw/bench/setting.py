"""What is measured of every layer in one run."""

import math
from dataclasses import dataclass

import numpy as np

from fastpw.bench.layers import Layer

TITLES = {
    "pointwise": "1×1 convolutions",
    "dense": "dense convolutions",
    "depthwise": "depthwise convolutions",
    "block": "blocks of networks",
    "network": "networks",
}


@dataclass(frozen=True)
class Setting:
    """Threads of all; the pass; whether each call makes its result anew, or writes into arrays of its own."""

    threads: int = 1
    backward: bool = False
    new_arrays: bool = False
    dtype: str = "float32"
    kind: str = "pointwise"
    dynamic: bool = False  # of int8: float32 goes in and comes out

    @property
    def in_integers(self) -> bool:
        return self.dtype == "int8"

    @property
    def peak_dtype(self) -> str:
        """Of the multiply-adds that are timed beside the layers: integers are compared with float32."""
        return "float32" if self.in_integers else self.dtype

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    def weight_shape(self, layer: Layer) -> tuple[int, ...]:
        """In the layout that fastpw takes it in."""
        return {
            "pointwise": (layer.K, layer.C),
            "dense": (layer.K, *layer.kernel, layer.C),
            "depthwise": (*layer.kernel, layer.C),
        }[self.kind]

    def flops(self, layer: Layer) -> int:
        """A product and a sum per weight and pixel, padding included; backward twice, for dx and dweight."""
        return (4 if self.backward else 2) * layer.P * math.prod(self.weight_shape(layer))

    def bytes(self, layer: Layer) -> int:
        """The traffic nobody can avoid: each array read once, or written once."""
        x, y, bias = layer.pixels_read * layer.C, layer.P * layer.K, layer.K
        weight = math.prod(self.weight_shape(layer))
        # Backward reads x, y, dy and the weight, and writes dx, dweight and dbias.
        elements = 2 * (x + y + weight) + bias if self.backward else x + y + weight + bias
        if self.in_integers:
            return (x + y) * (4 if self.dynamic else 1) + weight + 4 * bias
        return elements * np.dtype(self.dtype).itemsize

    def intensity(self, layer: Layer) -> float:
        """FLOP per byte of that traffic: where the layer stands on the roofline."""
        return self.flops(layer) / self.bytes(layer)

    def __str__(self) -> str:
        what = "gradients of bias + ReLU" if self.backward else "bias + ReLU"
        what = "bias and activations" if self.kind == "block" else what
        dtype = f"dynamic {self.dtype}" if self.dynamic else self.dtype
        where = "new arrays each call" if self.new_arrays else "into the same array"
        if self.kind == "network":
            what, where = "one call", "from array to new array"
        return f"{dtype}, {what}, {where}, threads: {self.threads}"
