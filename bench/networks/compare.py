"""Networks on fastpw and on ONNX Runtime: how far the results differ, and how long each takes.

python bench/networks/compare.py --folder FOLDER [--small] [--only mobilenet_v2 resnet50] [--files a.onnx]
python bench/networks/compare.py --folder FOLDER --dynamic      # in int8, beside fastpw in float32
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime

import fastpw

LIMIT = 1e-3  # how far a result may lie from ONNX Runtime's, as a part of the largest output


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """ONNX Runtime with a network."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def best(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call, in milliseconds."""
    call()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def row(name: str, path: Path, threads: int, seconds: float, pixels: tuple[int, int]) -> str:
    """A line of the table."""
    peer, net = session(path, threads), fastpw.load(path)
    wanted = net.inputs[0].shape
    shape = [n or size for n, size in zip(wanted, (1, 3, *pixels), strict=False)]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    feeds = {net.inputs[0].name: x}
    theirs, ours = peer.run(None, feeds), [*net.run(feeds).values()]
    difference = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True))
    verdict = "" if difference <= LIMIT else "   TOO MUCH"
    with fastpw.num_threads(threads):
        took = best(lambda: net.run(feeds), seconds), best(lambda: peer.run(None, feeds), seconds)
    return f"{name:34}{difference:10.1e}{took[0]:10.1f}{took[1]:10.1f}{took[1] / took[0]:8.2f}{verdict}"


def dynamic_row(path: Path, threads: int, seconds: float, pixels: tuple[int, int]) -> str:
    """A line of the table of networks in int8: how far from float32 the results lie, and the times."""
    nets = [fastpw.load(path), fastpw.load(path, quantize="dynamic")]
    shape = [n or size for n, size in zip(nets[0].inputs[0].shape, (1, 3, *pixels), strict=False)]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    feeds = {nets[0].inputs[0].name: x}
    plain, integers = ([*net.run(feeds).values()] for net in nets)
    pairs = [*zip(integers, plain, strict=True)]
    largest = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
    of_rms = max(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in pairs)
    took = [np.inf, np.inf]
    with fastpw.num_threads(threads):
        for _ in range(5):  # in turn: the clock drifts
            took = [
                min(t, best(lambda net=net: net.run(feeds), seconds / 5))
                for t, net in zip(took, nets, strict=True)
            ]
    figures = f"{largest:10.1e}{of_rms:10.1e}{took[1]:10.1f}{took[0]:12.1f}{took[0] / took[1]:8.2f}"
    return f"{path.stem:34}{figures}"


def files(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """What is compared."""
    for path in arguments.files:
        yield path.stem, path
    if arguments.files:
        return
    import zoo  # noqa: PLC0415 - it takes torch

    arguments.folder.mkdir(parents=True, exist_ok=True)
    for network, form in zoo.names():
        if not arguments.only or network in arguments.only:
            path = zoo.export(network, form, arguments.folder, arguments.small)
            yield path.stem, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("networks"), help="where the files are kept")
    parser.add_argument("--small", action="store_true", help="narrow networks and small images")
    parser.add_argument("--only", nargs="*", default=[], help="some of the networks")
    parser.add_argument("--files", nargs="*", default=[], type=Path, help="other files instead")
    parser.add_argument(
        "--pixels", nargs=2, type=int, default=(224, 224), help="where a file leaves them open"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each time")
    parser.add_argument(
        "--dynamic", action="store_true", help='load(quantize="dynamic") beside float32, without ONNX Runtime'
    )
    arguments = parser.parse_args()
    if arguments.dynamic:
        print(f"{'network':34}{'differs':>10}{'rms':>10}{'int8 ms':>10}{'float32 ms':>12}{'ratio':>8}")
        for _, path in files(arguments):
            row_of = dynamic_row(path, arguments.threads, arguments.seconds, tuple(arguments.pixels))
            print(row_of, flush=True)
        return
    print(f"{'network':34}{'differs':>10}{'fastpw ms':>10}{'ORT ms':>10}{'ratio':>8}")
    for name, path in files(arguments):
        line = row(name, path, arguments.threads, arguments.seconds, tuple(arguments.pixels))
        print(line, flush=True)


if __name__ == "__main__":
    main()
