"""Which function describes which operator to a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..values import Tensor, Value

# describe(plan, node, *inputs) returns the output, or a tuple of several.
Describe: TypeAlias = Callable[..., Value | tuple[Value, ...]]

OPERATORS: dict[str, Describe] = {}


class Unsupported(Exception):  # noqa: N818 - no error: another way is taken
    """The operator is known, but not in this form. ONNX's own implementation may take it."""


class DependsOnInput(Unsupported):
    """What the plan must know beforehand is computed by each call: the node is planned in the call."""


def operator(*names: str) -> Callable[[Describe], Describe]:
    """The function describes the operators of these names."""

    def enter(describe: Describe) -> Describe:
        OPERATORS.update(dict.fromkeys(names, describe))
        return describe

    return enter


def known(value: Value | None, what: str) -> Any:
    """The numbers of a value that the plan must know."""
    if isinstance(value, Tensor):
        raise DependsOnInput(f"with {what} that depends on the network's input")
    return value
