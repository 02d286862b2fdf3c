"""fastpw run: a network's answer to a photograph or to arrays, and how long it takes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import fastpw
from fastpw.commands import answers, inputs, progress
from fastpw.commands.options import EXPECTED, complain, positive, warnings_in_a_line

CALLS = 10


def add_to(commands: Any) -> None:  # argparse's subparsers
    """The command and its arguments."""
    command = commands.add_parser(
        "run",
        help="the answer of a network to a photograph or to arrays",
        description="Run the network in an .onnx file (with the extra fastpw[onnx]) or in an .npz file that "
        "fastpw has saved, and show the five largest outputs and the time of a call.",
        epilog="A photograph is turned as its EXIF data say and becomes an RGB image (or gray, if the "
        "network has one channel). Then, as by torchvision's Resize and CenterCrop, its short side is "
        "resized to SIZE (or to --resize) by bilinear interpolation, and SIZE x SIZE pixels are cut out of "
        "the middle. Its numbers are divided by 255, the mean is subtracted, and the difference is divided "
        "by the standard deviation; an input of integers gets those from 0 to 255. Without --size, the "
        "network's own height and width are used, or if it has none, the photograph's.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file, or a saved .npz file")
    command.add_argument("--input", action="append", required=True, metavar="[NAME=]FILE",
                         help="a photograph (with the extra fastpw[images]), an .npy file, or an .npz file "
                         "with an array for each input; with names, for several inputs")  # fmt: skip
    command.add_argument(
        "--size", type=positive, metavar="SIZE", help="the photograph is cut to SIZE x SIZE pixels"
    )
    command.add_argument("--resize", type=positive, metavar="PIXELS",
                         help="length of the photograph's short side before it is cut; "
                         "default: SIZE")  # fmt: skip
    command.add_argument("--mean", type=float, nargs="+", default=[0.0], metavar="M",
                         help="is subtracted from the photograph's numbers: one of each channel, or "
                         "one for all; default: 0")  # fmt: skip
    command.add_argument("--std", type=float, nargs="+", default=[1.0], metavar="S",
                         help="by which these are divided then, likewise; default: 1")  # fmt: skip
    command.add_argument(
        "--labels", type=Path, metavar="FILE", help="a text file with the name of each class, one in a line"
    )
    command.add_argument("--save", type=Path, metavar="FILE",
                         help="write the outputs to an .npz file, or the only output to an .npy "
                         "file")  # fmt: skip
    command.add_argument("--threads", type=positive, metavar="N",
                         help="the most threads to use; default: what fastpw info says")  # fmt: skip
    command.add_argument("--calls", type=positive, default=CALLS, metavar="N",
                         help="call the network N times and show the shortest time; "
                         f"default: {CALLS}")  # fmt: skip
    command.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    try:
        with warnings_in_a_line("run"), fastpw.num_threads(options.threads or fastpw.get_num_threads()):
            return _run(options)
    except EXPECTED as error:
        return complain("run", error)


def _run(options):
    labels = answers.read_labels(options.labels) if options.labels else None
    with progress.stages() as say:
        say(f"reading {options.model.name}")
        started = time.perf_counter()
        net = fastpw.load(options.model)
        loaded = time.perf_counter() - started
        if options.save:
            answers.check_name(options.save, len(net.outputs))
        preparation = inputs.Preparation(options.size, options.resize, options.mean, options.std)
        arrays = inputs.read(net, options.input, preparation)
    outputs, seconds = _timed(net, arrays, options.calls)
    for line in answers.lines(outputs, labels):
        print(line)
    if options.save:
        answers.save(outputs, options.save)
        print(f"{options.save}: written")
    threads = fastpw.get_num_threads()
    print(
        f"{min(seconds) * 1e3:.2f} ms (best of {len(seconds)} calls, {threads} thread{'s' * (threads > 1)}; "
        f"the first took {seconds[0] * 1e3:.0f} ms, loading {loaded * 1e3:.0f} ms)"
    )
    return 0


def _timed(net, arrays, calls):
    """The outputs, and the seconds of each call."""
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        outputs = net.run(arrays)
        seconds.append(time.perf_counter() - started)
    return outputs, seconds
