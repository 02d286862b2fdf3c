"""Writes the tables of docs/results.md and README.md from the files that `fastpw bench --json` wrote.

    python bench/write_results.py FOLDER

One and two threads are needed, the others are left out where their file is missing:

    fastpw bench --peers --all --threads 1 --json FOLDER/one.json
    fastpw bench --peers --all --threads 2 --json FOLDER/two.json --plot bench/roofline.png
    fastpw bench --peers --all --threads 2 --numpy-to-numpy --json FOLDER/new_arrays.json
    fastpw bench --peers --layers bench/heldout.csv --threads 2 --json FOLDER/heldout.json
    fastpw bench --peers --layers bench/few.csv --threads 2 --json FOLDER/few.json
    fastpw bench --backward --all --threads 2 --json FOLDER/backward.json
    fastpw bench --networks --peers --threads 1 --json FOLDER/networks_one.json
    fastpw bench --networks --peers --threads 2 --json FOLDER/networks_two.json

A table stands between two comments, <!-- begin NAME --> and <!-- end NAME -->. What lies between is replaced.
"""

import argparse
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Figures = dict[str, Any]  # what `fastpw bench --json` writes

NAMES = {
    "einsum": "`np.einsum`",
    "numpy": "NumPy: matmul, bias, maximum",
    "litert": "LiteRT (XNNPACK)",
    "torch eager": "torch, eager",
    "torch onednn": "torch, oneDNN with packed weights",
    "ort conv": "ONNX Runtime, Conv",
    "ort gemm": "ONNX Runtime, Gemm",
    "openvino": "OpenVINO",
}
IN_README = ["litert", "openvino", "ort gemm", "torch onednn", "numpy"]
PEERS = {"ort": "ONNX Runtime", "openvino": "OpenVINO"}
NETWORKS = {
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "resnet50": "ResNet-50",
    "nin": "Network in Network",
    "squeezenet": "SqueezeNet 1.1",
    "shufflenet_v1": "ShuffleNetV1",
    "shufflenet_v2": "ShuffleNetV2",
    "inception_v3": "Inception V3",
    "convnext_t": "ConvNeXt-T",
    "efficientnet_b0": "EfficientNet-B0",
}
OTHERS = {
    "new_arrays": "the same layers, from a NumPy array to a new one (`--numpy-to-numpy`)",
    "heldout": "`bench/heldout.csv`: odd widths, single rows, few columns, very many pixels; "
    "nothing was tuned on these",
    "few": "`bench/few.csv`: few columns or few rows",
    "backward": "gradients of the same layers (`--backward`)",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def setting(one: Figures, two: Figures) -> str:
    """Where, with what and when it was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in two["packages"].items())
    rows = [
        ["machine", f"{two['processor']}, {two['isa']}; FMA peak {one['peak_gflops']:.0f} GFLOP/s on one "
                    f"thread, {two['peak_gflops']:.0f} on two"],
        ["software", f"fastpw {two['fastpw']}, {two['compiler']}, Python {two['python']}, "
                     f"NumPy {two['numpy']}, {packages}"],
        ["commands", "`fastpw bench --peers --all --threads 1` and `--threads 2`"],
        ["what", "float32, bias + ReLU; weights are packed and memory is allocated before the clock starts, "
                 "for every library"],
        ["when", two["date"]],
    ]  # fmt: skip
    return table(["", ""], rows)


def means(one: Figures, two: Figures) -> str:
    """Geometric means over the layers."""
    rows = [["**fastpw**"]]
    for run in (one, two):
        rows[0] += [f"**{run['mean_fraction_of_peak']['fastpw']:.2f}**", ""]
    for name, text in NAMES.items():
        if all(run["mean_speedup"].get(name) for run in (one, two)):
            figures = [
                [f"{run['mean_fraction_of_peak'][name]:.2f}", f"{run['mean_speedup'][name]:.2f} ×"]
                for run in (one, two)
            ]
            rows.append([text, *figures[0], *figures[1]])
    best = [["", f"{run['mean_speedup_over_best']:.2f} ×"] for run in (one, two)]
    rows.append(["the best of the others on each layer", *best[0], *best[1]])
    return table(["", "1 thread: of peak", "fastpw is", "2 threads: of peak", "fastpw is"], rows)


def readme(one: Figures, two: Figures) -> str:
    """The same in a few lines."""
    rows = [
        [NAMES[name], *(f"{run['mean_speedup'][name]:.2f}" for run in (one, two))]
        for name in IN_README
        if all(run["mean_speedup"].get(name) for run in (one, two))
    ]
    rows[0][1:] = [f"{ratio} times as fast" for ratio in rows[0][1:]]
    own = [run["mean_fraction_of_peak"]["fastpw"] for run in (one, two)]
    return (
        f"Measured on {two['date']}, on {two['processor']} ({two['isa']}):\n\n"
        + table(["", "fastpw is, on 1 thread", "on 2 threads"], rows)
        + f"\n\nfastpw reaches {own[0]:.2f} (one thread) and {own[1]:.2f} (two) of the multiply-adds that "
        "this CPU can do at most."
    )


def others(runs: dict[str, Figures]) -> str:
    """Other layers, and other ways to call them: one row for each run."""
    rows = []
    for name, text in OTHERS.items():
        if name not in runs:
            continue
        run = runs[name]
        ratios = {layer["layer"]: over_best(layer) for layer in run["layers"]}
        slowest = min(ratios, key=lambda layer: ratios[layer])
        rows.append([
            text,
            str(len(ratios)),
            f"{run['mean_fraction_of_peak']['fastpw']:.2f}",
            f"{statistics.geometric_mean(ratios.values()):.2f} ×",
            str(sum(ratio < 1 for ratio in ratios.values())),
            f"{ratios[slowest]:.2f} × ({slowest})",
        ])  # fmt: skip
    return table(["2 threads", "layers", "of peak", "× best", "slower on", "slowest"], rows)


def layers(run: Figures) -> str:
    """A row for each layer of a run."""
    rows = []
    for layer in run["layers"]:
        N, H, W, C = layer["shape"]
        ratio, best = over_best(layer), layer["best_other"]
        rows.append([
            layer["layer"],
            (f"{N}×" if N > 1 else "") + f"{H}×{W}" + (f" /{layer['stride']}" if layer["stride"] > 1 else ""),
            f"{C}→{layer['K']}",
            f"{layer['implementations']['fastpw']['best_seconds'] * 1e6:.0f}",
            f"{layer['implementations']['fastpw']['fraction_of_peak']:.2f}",
            *(over(layer, name) for name in ("numpy", "litert")),
            f"{ratio:.2f} {best}".replace(" ", "\N{NO-BREAK SPACE}"),
        ])  # fmt: skip
    return table(["layer", "pixels", "C→K", "µs", "of peak", "× NumPy", "× LiteRT", "× best"], rows)


def networks(one: Figures, two: Figures) -> str:
    """A row for each whole network."""
    rows = []
    for network, again in zip(one["networks"], two["networks"], strict=True):
        row = [NETWORKS[network["network"]]]
        for run in (network, again):
            seconds = run["implementations"]["fastpw"]["best_seconds"]
            row += [f"{seconds * 1e3:.1f}", f"{run['speedup_over_best_peer']:.2f} {PEERS[run['best_peer']]}"]
        rows.append(row)
    means = [f"{run['mean_speedup_over_best_peer']:.2f}" for run in (one, two)]
    rows.append(["geometric mean", "", means[0], "", means[1]])
    head = ["", "1 thread: ms", "× best", "2 threads: ms", "× best"]
    return f"Measured on {two['date']}, on {two['processor']} ({two['isa']}):\n\n" + table(head, rows)


def over_best(layer: Figures) -> float:
    """How many times as fast as the fastest of the others."""
    return ratio(layer, layer["best_other"])


def over(layer: Figures, name: str) -> str:
    """The same for one of the others, which may have failed on the layer."""
    return f"{ratio(layer, name):.2f}" if name in layer["implementations"] else "–"


def ratio(layer: Figures, name: str) -> float:
    """Its time by fastpw's."""
    times = {who: figures["best_seconds"] for who, figures in layer["implementations"].items()}
    return times[name] / times["fastpw"]


def replaced(page: str, name: str, text: str) -> str:
    """A page with another text between the comments of that name.

    Raises
    ------
    ValueError
        The page does not have the two comments, each once.
    """
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(\n<!-- end {name} -->)", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"a page has to have <!-- begin {name} --> and <!-- end {name} --> once")
    return pattern.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)


def parts(runs: dict[str, Figures]) -> Iterator[tuple[str, str, str]]:
    """The page, the name and the text of each part."""
    one, two = runs["one"], runs["two"]
    yield "README.md", "results", readme(one, two)
    yield "docs/results.md", "setting", setting(one, two)
    yield "docs/results.md", "means", means(one, two)
    if runs.keys() & OTHERS.keys():
        yield "docs/results.md", "others", others(runs)
    yield "docs/results.md", "layers on one thread", layers(one)
    yield "docs/results.md", "layers on two threads", layers(two)
    if {"networks_one", "networks_two"} <= runs.keys():
        yield "docs/results.md", "networks", networks(runs["networks_one"], runs["networks_two"])


def main() -> None:
    """Replace the tables of both pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args().folder
    runs = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    if missing := {"one", "two"} - runs.keys():
        raise SystemExit(f"{folder}: {' and '.join(f'{name}.json' for name in sorted(missing))} needed")
    for page, name, text in parts(runs):
        path = ROOT / page
        path.write_text(replaced(path.read_text(), name, text))


if __name__ == "__main__":
    main()
