"""The layers: 1x1 convolutions of real networks, in the sizes their papers give."""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

COLUMNS = ["layer", "N", "H", "W", "C", "K", "stride"]


@dataclass(frozen=True)
class Layer:
    """One row of layers.csv: an (N, H, W, C) input, K outputs, a stride; bias and ReLU."""

    name: str
    N: int
    H: int
    W: int
    C: int
    K: int
    stride: int

    @property
    def network(self) -> str:
        return self.name.split(".")[0]

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.N, -(-self.H // self.stride), -(-self.W // self.stride), self.K

    @property
    def P(self) -> int:
        """Pixels computed."""
        N, Ho, Wo, _ = self.output_shape
        return N * Ho * Wo


def load(path: str | Path | None = None) -> list[Layer]:
    """The layers of a CSV file, network by network; by default of layers.csv."""
    file = resources.files(__package__).joinpath("layers.csv") if path is None else Path(path)
    rows = csv.DictReader(file.read_text().splitlines())
    if rows.fieldnames != COLUMNS:
        raise ValueError(f"{path}: the columns {','.join(COLUMNS)} are needed, got {rows.fieldnames}")
    return [_layer(path, row) for row in rows]


def _layer(path, row):
    try:
        layer = Layer(row["layer"], *(int(row[name]) for name in COLUMNS[1:]))
    except (TypeError, ValueError):
        layer = None
    if layer is None or min(layer.N, layer.H, layer.W, layer.C, layer.K, layer.stride) < 1:
        came = ",".join(map(str, row.values()))
        raise ValueError(f"{path}: a name and positive integers are needed, got {came}")
    return layer


def networks() -> list[str]:
    """The networks' names, in the order of the table."""
    return list(dict.fromkeys(layer.network for layer in load()))
