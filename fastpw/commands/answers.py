"""What `fastpw run` shows of a network's outputs, and how it saves them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

LARGEST = 5  # of the outputs, that are shown
MOST_ROWS = 8  # of a batch


def read_labels(path: Path) -> list[str]:
    """A name in each line."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def lines(outputs: Mapping[str, NDArray[Any]], labels: Sequence[str] | None) -> Iterator[str]:
    """The largest numbers of outputs that are scores; of others, what they are.

    Raises
    ------
    ValueError
        There are not as many labels as scores.
    """
    for name, array in outputs.items():
        rows = _scores(array)
        if rows is None:
            yield f"{name}: {_described(array)}"
            continue
        if labels is not None and len(labels) != rows.shape[1]:
            raise ValueError(
                f"--labels: {rows.shape[1]} lines are needed, one for each of {name!r}, got {len(labels)}"
            )
        for number, row in enumerate(rows[:MOST_ROWS]):
            yield f"{name}: {_described(array)}" if len(rows) == 1 else f"{name}[{number}]: {_described(row)}"
            yield from _largest(row, labels)
        if len(rows) > MOST_ROWS:
            yield f"... and {len(rows) - MOST_ROWS} more; --save has all"


def _scores(array: NDArray[Any]) -> NDArray[Any] | None:
    """An output as rows of scores; None if it is something else, as an image."""
    if array.dtype.kind not in "fiu" or not array.size:
        return None
    if array.ndim < 1 or any(size != 1 for size in array.shape[2:]):
        return None
    rows = array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(1, -1)
    return rows if rows.shape[1] > 1 else None


def _described(array):
    shape = "×".join(map(str, array.shape)) or "one number"
    if not array.size or array.dtype.kind not in "fiub":
        return f"{shape} {array.dtype}"
    finite = array[np.isfinite(array)]
    told = f"{shape} {array.dtype}"
    if finite.size:
        told += f", from {finite.min():.4g} to {finite.max():.4g}, mean {finite.mean(dtype=np.float64):.4g}"
    return told if finite.size == array.size else f"{told}, {array.size - finite.size} not finite"


def _largest(row, labels):
    """A line for each of the largest numbers, of equal ones the first, NaN last."""
    # (in float64, where integers can be negated, too)
    order = np.argsort(-np.where(np.isnan(row), -np.inf, row).astype(np.float64), kind="stable")[:LARGEST]
    width = len(str(order.max()))
    for place in order:
        label = "" if labels is None else f"  {labels[place]}"
        yield f"  {place:>{width}}  {row[place]:>11.6g}{label}"


def save(outputs: Mapping[str, NDArray[Any]], path: Path) -> None:
    """All outputs into an .npz file, by their names; or the only one into an .npy file.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        It has another ending, or there are several outputs for an .npy file.
    """
    check_name(path, len(outputs))
    if path.suffix == ".npy":
        np.save(path, *outputs.values())
        return
    with zipfile.ZipFile(path, "w") as file:  # (np.savez takes no array by the name of its own arguments)
        for name, array in outputs.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def check_name(path: Path, outputs: int) -> None:
    """Whether so many outputs can be saved under that name, before anything is computed."""
    if path.suffix not in (".npy", ".npz") or (path.suffix == ".npy" and outputs > 1):
        wanted = (
            ".npy or .npz is needed for one output"
            if outputs == 1
            else f".npz is needed for {outputs} outputs"
        )
        raise ValueError(f"--save: a name that ends in {wanted}, got {path}")
