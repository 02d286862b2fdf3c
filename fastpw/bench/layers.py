"""The layers: convolutions of real networks, in the sizes their papers give."""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fastpw._geometry import Window

FILES = {"pointwise": "layers.csv", "dense": "dense.csv", "depthwise": "depthwise.csv"}
KINDS = tuple(FILES)
COLUMNS = ["layer", "N", "H", "W", "C", "K", "stride"]
WINDOW_COLUMNS = ["kh", "kw"]  # which a file of the other kinds has too
# A third of the pointwise layers, with the geometric means of all: bench/representative.py chose them.
REPRESENTATIVE = [
    *["resnet50.c2.reduce", "resnet50.c3.expand", "resnet50.c4.expand", "resnet50.c4.reduce"],
    *["resnet50.c5.reduce", "mobilenetv1.pw2", "mobilenetv1.pw3", "mobilenetv1.pw6", "mobilenetv2.b2.expand"],
    *["mobilenetv2.b4.project", "mobilenetv2.b12.project", "mobilenetv2.b15.expand"],
    *["mobilenetv2.b17.project", "inceptionv3.5b.1x1", "inceptionv3.6b.1x1", "inceptionv3.6b.7x7r"],
    *["nin.cccp3", "squeezenet.fire2.squeeze", "convnext_t.s4.expand", "mobilenetv2.b2.expand.n8"],
]


@dataclass(frozen=True)
class Layer:
    """One row of a file: an (N, H, W, C) input, K outputs, a stride, a kernel; bias and ReLU.

    The padding is "same". Which kind of convolution it is says the setting.
    """

    name: str
    N: int
    H: int
    W: int
    C: int
    K: int
    stride: int
    kh: int = 1
    kw: int = 1

    @property
    def network(self) -> str:
        return self.name.split(".")[0]

    @property
    def kernel(self) -> tuple[int, int]:
        return self.kh, self.kw

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.N, -(-self.H // self.stride), -(-self.W // self.stride), self.K

    @property
    def P(self) -> int:
        """Pixels computed."""
        N, Ho, Wo, _ = self.output_shape
        return N * Ho * Wo

    @property
    def pixels_read(self) -> int:
        """All of the input's, but for those that a stride skips."""
        N, Ho, Wo, _ = self.output_shape
        return N * min(self.H, Ho * self.kh) * min(self.W, Wo * self.kw)

    @property
    def sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The padding: ((top, bottom), (left, right))."""
        return Window(self.kernel, (1, 1), (self.stride, self.stride), None).sides(self.H, self.W)


def columns(kind: str = "pointwise") -> list[str]:
    """Those of a file of that kind."""
    return COLUMNS if kind == "pointwise" else [*COLUMNS, *WINDOW_COLUMNS]


def load(path: str | Path | None = None, kind: str = "pointwise") -> list[Layer]:
    """The layers of a CSV file, network by network; by default of the kind's own."""
    file = resources.files(__package__).joinpath(FILES[kind]) if path is None else Path(path)
    rows = csv.DictReader(file.read_text().splitlines())
    if rows.fieldnames != columns(kind):
        raise ValueError(f"{path}: the columns {','.join(columns(kind))} are needed, got {rows.fieldnames}")
    return [_layer(path, row, kind) for row in rows]


def _layer(path, row, kind):
    sizes = columns(kind)[1:]
    try:
        layer = Layer(row["layer"], *(int(row[name]) for name in sizes))
    except (TypeError, ValueError):
        layer = None
    came = ",".join(map(str, row.values()))
    if layer is None or min(getattr(layer, name) for name in sizes) < 1:
        raise ValueError(f"{path}: a name and positive integers are needed, got {came}")
    if kind == "depthwise" and layer.C != layer.K:
        raise ValueError(f"{path}: K = C is needed of a depthwise layer, got {came}")
    return layer


def representative(known: list[Layer]) -> tuple[list[Layer], str]:
    """The layers that stand for all, and a line that says so. All, where none of those is among them."""
    chosen = [layer for layer in known if layer.name in REPRESENTATIVE]
    if not chosen:
        return known, ""
    return chosen, f"{len(chosen)} layers that stand for all {len(known)} (--all measures these)"


def networks(kind: str = "pointwise") -> list[str]:
    """The networks' names, in the order of the table."""
    return list(dict.fromkeys(layer.network for layer in load(kind=kind)))


def all_networks() -> list[str]:
    """Those of any kind."""
    return list(dict.fromkeys(name for kind in KINDS for name in networks(kind)))
