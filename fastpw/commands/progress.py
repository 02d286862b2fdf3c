"""How far long work is, on the terminal: by rich, where it is installed, else in plain lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]


@contextmanager
def stages() -> Iterator[Say]:
    """A function that says what is being done now. Nothing is said into a file."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - where it is installed
    except ImportError:
        yield lambda text: print(f"{text} ...", file=sys.stderr, flush=True)
        return
    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(f"{text} ...".replace("[", r"\["))
