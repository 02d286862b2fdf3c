"""Types of arguments, and how errors are told: in one line, with exit status 2."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# What a file, an argument or a missing package leads to. Anything else is a fault of fastpw.
EXPECTED = (ImportError, MemoryError, OSError, TypeError, ValueError)


def positive(text: str) -> int:
    """A number of threads, pixels or calls."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    """The name of an input, None if there is none, and its shape: of x=1,3,224,224 or 1,3,224,224."""
    name, equals, sizes = text.rpartition("=")
    try:
        numbers = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a shape such as 1,3,224,224 or x=1,3,224,224")
    return name if equals else None, numbers


def complain(command: str, error: BaseException | str) -> int:
    """Say in one line what is wrong; returns the exit status."""
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"fastpw {command}: {text}", file=sys.stderr)
    return 2


@contextmanager
def warnings_in_a_line(command: str) -> Iterator[None]:
    """Warnings without the place in the code that Python adds to them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield
        finally:
            for text in dict.fromkeys(str(w.message) for w in caught if w.category is RuntimeWarning):
                print(f"fastpw {command}: warning: {text}", file=sys.stderr)
