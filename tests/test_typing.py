"""Annotations can be evaluated, and say what is allowed."""

import ast
import inspect
import re
import typing
from pathlib import Path

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _checks, _typing

FUNCTIONS = {name: f for name in fastpw.__all__ if inspect.isfunction(f := getattr(fastpw, name))}
CLASSES = {name: c for name in fastpw.__all__ if inspect.isclass(c := getattr(fastpw, name))}
METHODS = {
    f"{name}.{method}": f
    for name, c in CLASSES.items()
    for method, f in vars(c).items()
    if inspect.isfunction(f) and f.__module__.startswith("fastpw")
}
PROPERTIES = {
    f"{name}.{attribute}": p
    for name, c in CLASSES.items()
    for attribute, p in vars(c).items()
    if isinstance(p, property)
}
SOURCE = Path(__file__).parents[1] / "fastpw"
MODULES = sorted(
    path
    for path in SOURCE.rglob("*.py")
    if not any(re.match(r"_(?!_)", part) for part in path.relative_to(SOURCE).parts)
)
DUNDER = re.compile(r"__\w+__$")
RESULT = np.ndarray[tuple[typing.Any, ...], np.dtype[np.floating]]


@pytest.mark.parametrize("public", [*FUNCTIONS.values(), *METHODS.values()], ids=[*FUNCTIONS, *METHODS])
def test_annotations_can_be_evaluated(public):
    hints = typing.get_type_hints(public)
    signature = inspect.signature(public, eval_str=True)
    names = [name for name in signature.parameters if name != "self"]
    assert hints.keys() == {*names, "return"}
    assert not any(isinstance(hint, str) for hint in hints.values())


@pytest.mark.parametrize("public", PROPERTIES.values(), ids=PROPERTIES)
def test_properties_annotations_can_be_evaluated(public):
    assert typing.get_type_hints(public.fget).keys() == {"return"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_has_no_underscore_is_annotated(path):
    """As pyright --verifytypes asks; here without it."""
    assert not [*unannotated(ast.parse(path.read_text()))]


def unannotated(tree):
    """Of a module, or of a class without an underscore: what its functions without one leave out."""
    for node in tree.body:
        name = getattr(node, "name", "_")
        if name.startswith("_") and not DUNDER.match(name):
            continue
        if isinstance(node, ast.ClassDef):
            yield from unannotated(node)
        elif isinstance(node, ast.FunctionDef):
            given = node.args
            arguments = *given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg
            named = [a for a in arguments if a and a.arg not in ("self", "cls")]
            left_out = [a.arg for a in named if a.annotation is None]
            left_out += ["return"] * (node.returns is None)
            yield from (f"line {node.lineno}: {name} of {node.name}" for name in left_out)


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
    assert {*names(_typing.WeightLayout)} == _checks.arrays.LAYOUTS.keys()
    rows = _activations.TABLE
    assert {*names(_typing.Activation)} == {name for row in rows for name in (row.name, *row.aliases)}
