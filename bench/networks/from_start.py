"""Networks in fresh processes: from the start of Python to the first answer, in time and in peak memory.

python bench/networks/from_start.py --folder FOLDER [--only mobilenet_v2 resnet50] [--threads 1] [--rounds 7]

FOLDER holds .onnx files. fastpw saves each as .npz. Then, in turn, a process of fastpw loads the saved file
and runs it once, another one the .onnx file, and a process of ONNX Runtime that file, too. The first line is
of processes that only import NumPy and the package.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import fastpw

# What a process runs: its arguments are a file, the number of threads, and the sizes of the input.
_END = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
_ARGUMENTS = """
import sys
path, threads, *shape = sys.argv[1:]
"""
_INPUT = """
x = np.full([*map(int, shape)], 0.5, np.float32)
"""
_OURS = """
import numpy as np
import fastpw
fastpw.set_num_threads(int(threads))
"""
_THEIRS = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
"""
_RUN_OURS = """
net = fastpw.load(path)
net(x)
"""
_RUN_THEIRS = """
net = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
net.run(None, {net.get_inputs()[0].name: x})
"""
_PROGRAMS = {
    "saved": _ARGUMENTS + _OURS + _INPUT + _RUN_OURS + _END,
    "onnx": _ARGUMENTS + _OURS + _INPUT + _RUN_OURS + _END,
    "ort": _ARGUMENTS + _THEIRS + _INPUT + _RUN_THEIRS + _END,
}
_IMPORTS = {"fastpw": _ARGUMENTS + _OURS + _END, "onnxruntime": _ARGUMENTS + _THEIRS + _END}


class Taken(NamedTuple):
    """By a process: its shortest time and its smallest peak."""

    seconds: float
    mebibytes: float

    def least(self, other: Taken) -> Taken:
        return Taken(*map(min, self, other))


def taken(program: str, *arguments: object) -> Taken:
    """Run a program once."""
    # (installed packages have their bytecode in files, which the first process writes here)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    start = time.perf_counter()
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Taken(time.perf_counter() - start, int(ended.stdout) / 1024)


def in_turn(calls: dict[str, tuple[object, ...]], rounds: int) -> dict[str, Taken]:
    """The least of some rounds, in each of which every program runs once."""
    best = {kind: taken(*call) for kind, call in calls.items()}
    for _ in range(rounds - 1):
        for kind, call in calls.items():
            best[kind] = best[kind].least(taken(*call))
    return best


def row(name: str, best: dict[str, Taken]) -> str:
    """A line of the table: milliseconds and MiB of each, and how many times the last one's they are."""
    *ours, theirs = best.values()
    cells = [f"{t.seconds * 1e3:8.0f}{t.mebibytes:6.0f}" for t in best.values()]
    cells += [f"{theirs.seconds / t.seconds:8.2f}{theirs.mebibytes / t.mebibytes:6.2f}" for t in ours]
    return f"{name:26}" + "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="with the .onnx files; .npz files go there"
    )
    parser.add_argument("--only", nargs="+", help="the files' names, without .onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--pixels", type=int, nargs=2, default=(224, 224), help="where a file leaves them open"
    )
    chosen = parser.parse_args()
    imports = in_turn({kind: (code, "", chosen.threads) for kind, code in _IMPORTS.items()}, chosen.rounds)
    print(
        f"{'milliseconds, MiB':26}" + "".join(f"{kind:>14}" for kind in (*_PROGRAMS, "ort/saved", "ort/onnx"))
    )
    print(row("(import)", imports))
    for name in chosen.only or sorted(path.stem for path in chosen.folder.glob("*.onnx")):
        path, saved = (chosen.folder / f"{name}.{kind}" for kind in ("onnx", "npz"))
        net = fastpw.load(path)
        net.save(saved)
        sizes = (1, 3, *chosen.pixels)
        shape = [n or size for n, size in zip(net.inputs[0].shape, sizes, strict=True)]
        files = {"saved": saved, "onnx": path, "ort": path}
        calls = {kind: (code, files[kind], chosen.threads, *shape) for kind, code in _PROGRAMS.items()}
        print(row(name, in_turn(calls, chosen.rounds)), flush=True)


if __name__ == "__main__":
    main()
