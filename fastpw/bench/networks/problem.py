"""A network's input, and the check of an answer, in the process of whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpw.bench.networks.model import Model
from fastpw.bench.setting import Setting

LIMIT = 1e-3  # how far a result may lie from the one in float64, as a part of the largest output


class ModelProblem:
    """What a runtime is given.

    Attributes
    ----------
    path : str
        Of the network.
    inputs : list of array
        In the order of the file.
    difference : float
        How far the last result that was checked lay from that in float64, as a part of the largest.
    """

    def __init__(self, model: Model, setting: Setting) -> None:
        self.name: str = model.name
        self.path: str = model.path
        self.setting: Setting = setting
        self.inputs: list[NDArray[Any]] = _arrays(model.inputs)
        self.difference: float = 0.0
        self._expected = _arrays(model.expected)

    def feeds(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The inputs by name."""
        return dict(zip(names, self.inputs, strict=True))

    def check(self, results: Sequence[ArrayLike], name: str) -> None:
        """Raise ArithmeticError if the results of implementation `name` are not the network's."""
        if len(results) != len(self._expected):
            raise ArithmeticError(
                f"{self.name}: {name} gave {len(results)} results, not {len(self._expected)}"
            )
        self.difference = max(
            self._difference(np.asarray(result), expected, name)
            for result, expected in zip(results, self._expected, strict=True)
        )
        if not self.difference <= LIMIT:
            raise ArithmeticError(
                f"{self.name}: the result of {name} differs by {self.difference:.1e} of the largest output, "
                f"more than {LIMIT:g}"
            )

    def _difference(self, result, expected, name):
        if result.shape != expected.shape:
            raise ArithmeticError(
                f"{self.name}: the result of {name} has shape {result.shape}, not {expected.shape}"
            )
        known = np.isfinite(expected)
        if not known.any():
            return 0.0
        exact = expected[known].astype(np.float64)
        largest = np.abs(exact).max() or 1.0
        return float(np.abs(result[known].astype(np.float64) - exact).max() / largest)


def _arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return [file[name] for name in file.files]
