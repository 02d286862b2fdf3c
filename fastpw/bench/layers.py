"""The layers: 1x1 convolutions of real networks, in the sizes their papers give."""

import csv
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Layer:
    """One row of layers.csv: an (N, H, W, C) input, K outputs, a stride; float32, bias and ReLU."""

    name: str
    N: int
    H: int
    W: int
    C: int
    K: int
    stride: int

    @property
    def network(self):
        return self.name.split(".")[0]

    @property
    def output_shape(self):
        return self.N, -(-self.H // self.stride), -(-self.W // self.stride), self.K

    @property
    def P(self):
        """Pixels computed."""
        N, Ho, Wo, _ = self.output_shape
        return N * Ho * Wo

    @property
    def flops(self):
        return 2 * self.P * self.C * self.K

    @property
    def bytes(self):
        """The traffic nobody can avoid: each pixel and each weight read once, each result written once."""
        return 4 * (self.P * self.C + self.K * self.C + self.K + self.P * self.K)

    @property
    def intensity(self):
        """FLOP per byte of that traffic: where the layer stands on the roofline."""
        return self.flops / self.bytes


def load():
    """All layers, network by network."""
    text = resources.files(__package__).joinpath("layers.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    return [Layer(row.pop("layer"), **{key: int(value) for key, value in row.items()}) for row in rows]


def networks():
    """The networks' names, in the order of the table."""
    return list(dict.fromkeys(layer.network for layer in load()))
