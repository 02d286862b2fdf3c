"""Annotations can be evaluated, and say what is allowed."""

import inspect
import typing

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _typing, checks

FUNCTIONS = {name: f for name in fastpw.__all__ if inspect.isfunction(f := getattr(fastpw, name))}
CLASSES = {name: c for name in fastpw.__all__ if inspect.isclass(c := getattr(fastpw, name))}
METHODS = {
    f"{name}.{method}": f
    for name, c in CLASSES.items()
    for method, f in vars(c).items()
    if inspect.isfunction(f) and f.__module__.startswith("fastpw")
}
RESULT = np.ndarray[tuple[typing.Any, ...], np.dtype[np.floating]]


@pytest.mark.parametrize("public", [*FUNCTIONS.values(), *METHODS.values()], ids=[*FUNCTIONS, *METHODS])
def test_annotations_can_be_evaluated(public):
    hints = typing.get_type_hints(public)
    signature = inspect.signature(public, eval_str=True)
    names = [name for name in signature.parameters if name != "self"]
    assert hints.keys() == {*names, "return"}
    assert not any(isinstance(hint, str) for hint in hints.values())


@pytest.mark.parametrize("public", CLASSES.values(), ids=CLASSES)
def test_attributes_annotations_can_be_evaluated(public):
    assert typing.get_type_hints(public)


def test_results_are_arrays_of_floats():
    assert typing.get_type_hints(fastpw.conv1x1)["return"] == RESULT
    assert typing.get_type_hints(fastpw.Conv1x1.__call__)["return"] == RESULT
    assert set(typing.get_type_hints(fastpw.Gradients).values()) == {RESULT | None}


def names(hint):
    """The strings in a Literal, or in a union of some."""
    for part in typing.get_args(hint):
        yield from [part] if isinstance(part, str) else names(part)


def test_the_names_are_those_of_the_tables():
    assert {*names(_typing.WeightLayout)} == checks.arrays.LAYOUTS.keys()
    rows = _activations.TABLE
    assert {*names(_typing.Activation)} == {name for row in rows for name in (row.name, *row.aliases)}
