"""fastpw convert: an .onnx file into one that fastpw opens without onnx, and what it made of the nodes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastpw.commands import changes, progress
from fastpw.commands.options import EXPECTED, complain, warnings_in_a_line
from fastpw.network import loading


def add_to(commands: Any) -> None:  # argparse's subparsers
    """The command and its arguments."""
    command = commands.add_parser(
        "convert",
        help="an .onnx file into an .npz file, which is opened without onnx",
        description="Read an .onnx file (with the extra fastpw[onnx]), simplify its network, and write it to "
        "an .npz file, which fastpw.load and fastpw run open with NumPy alone. A table says what was folded "
        "and fused, and what remains.",
    )
    command.add_argument("model", type=Path, metavar="MODEL.onnx", help="the file to read")
    command.add_argument("result", type=Path, metavar="MODEL.npz", help="the file to write")
    command.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Convert a file; returns the exit status."""
    try:
        with warnings_in_a_line("convert"):
            return _convert(options.model, options.result)
    except EXPECTED as error:
        return complain("convert", error)


def _convert(model, result):
    if result.suffix != ".npz":
        raise ValueError(f"the result: a name that ends in .npz is needed, got {result}")
    before = None

    def watch(stage, graph):
        nonlocal before
        if stage == "read":
            before = changes.inventory(graph)
            say(f"simplifying {before.counts.total()} nodes")
        else:
            say("packing weights")

    with progress.stages() as say:
        say(f"reading {model.name}")
        net = loading.watched(model, None, None, None, watch)
        say(f"writing {result.name}")
        net.save(result)
    chains = [len(node.attributes["nodes"]) for node in net._chained.nodes if node.op == "Chain"]
    for line in changes.lines(before, net._graph, chains):
        print(line)
    print(f"{result}: written, {changes.bytes_as_text(result.stat().st_size)}")
    return 0
