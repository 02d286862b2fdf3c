"""fastpw info: what is installed, which instruction sets it uses, and on how many threads."""

from __future__ import annotations

import argparse
import platform
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastpw
from fastpw.core import machine

_NAME = 19  # columns of a name
_WIDTH = 80


def add_to(commands: Any) -> None:  # argparse's subparsers
    """The command."""
    command = commands.add_parser(
        "info",
        help="version, compiler, instruction sets, threads",
        description="Show the version, the compiler, the instruction sets in use and those that there are, "
        "how many threads calls use, and why. fastpw.show_config('dicts') gives the same to a program.",
    )
    command.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Print it; returns the exit status."""
    for line in lines(fastpw.show_config("dicts"), machine.integer_sets()):
        print(line)
    return 0


def lines(config: dict[str, Any], integer_sets: list[dict[str, Any]]) -> Iterator[str]:
    """A heading for each part, and below it a line for each thing: its name, and what it is."""
    sets, threads = config["instruction sets"], config["threads"]
    yield f"fastpw {config['fastpw']['version']}"
    yield from _line("compiler", config["compiler"])
    yield from _line("Python", platform.python_version())
    yield from _line("NumPy", np.__version__)
    yield "instruction sets"
    for dtype, isa in sets["chosen"].items():
        yield from _line(dtype, isa)
    yield from _line("int8", next(row["isa"] for row in integer_sets if row["chosen"]))
    yield from _line("this CPU runs", _names(sets["this CPU runs"], integer_sets, "runs"))
    yield from _line("built", _names(sets["built"], integer_sets, "isa"))
    yield from _line("FASTPW_ISA", sets["FASTPW_ISA"] or "not set")
    yield "threads"
    yield from _line("number", threads["number"])
    yield from _line("why", threads["why"])
    yield from _line("CPU quota", "none" if threads["CPU quota"] is None else f"{threads['CPU quota']:g}")


def _names(of_floats, integer_sets, condition):
    """The instruction sets for floats, and after them those for integers alone."""
    of_integers = [row["isa"] for row in integer_sets if row[condition] and row["isa"] not in of_floats]
    return ", ".join(of_floats) + (f"; for integers {', '.join(of_integers)}" if of_integers else "")


def _line(name, value):
    yield from textwrap.wrap(
        f"  {name:{_NAME}} {value}", _WIDTH, subsequent_indent=" " * (_NAME + 3), drop_whitespace=True
    )
