"""The Python examples of the README and the other pages run as pasted, and their links lead somewhere."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fastpw
from fastpw import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for folder in (".", "docs", "bench", "examples") for page in (ROOT / folder).glob("*.md"))
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    f"{name}-{number}": example
    for name, text in TEXTS.items()
    for number, example in enumerate(EXAMPLE.findall(text))
}
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")


def test_there_are_examples():
    assert sum(name.startswith("README.md") for name in EXAMPLES) >= 3
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_example_runs_as_pasted(example, tmp_path):
    for module in re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE):
        pytest.importorskip(module)
    command = [sys.executable, "-W", "error", "-"]
    done = subprocess.run(command, input=example, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def headings(text):
    """The anchors of a page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def made():
    """Pages and pictures of the site that are made when it is built, in docs/made/."""
    pages = runpy.run_path(str(ROOT / "docs" / "neighbours.py"))["PAGES"].values()
    pictures = re.findall(r"^def (\w+)\(\):", (ROOT / "docs" / "pictures.py").read_text(), re.MULTILINE)
    return {"api.md", *pages, *(f"{name}.svg" for name in pictures)}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name, made):
    for path, anchor in LINK.findall(TEXTS[name]):
        if path.startswith("made/"):
            assert path.removeprefix("made/") in made  # its anchors are checked when the site is built
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        # (a wheel's tests have the pages, but not all of the repository)
        assert target.exists() or not (ROOT / ".ci").exists(), path
        assert not anchor or anchor in headings(target.read_text()), anchor


SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [
    (name, line)
    for name, text in TEXTS.items()
    for block in SHELL.findall(text)
    for line in block.splitlines()
    if line.startswith("fastpw ")
]


def test_there_are_commands():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_have_options_that_exist(name, line):
    """What pages tell users to type is understood; it is not run."""
    arguments = shlex.split(line, comments=True)[1:]
    assert cli._parser().parse_args(arguments).run


def test_the_site_names_every_public_function():
    """One entry for each, whatever its group."""
    text = runpy.run_path(str(ROOT / "docs" / "neighbours.py"))["api"]()
    entries = re.findall(r":: fastpw\.(\w+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(name for name in fastpw.__all__ if name != "__version__")


def test_the_readme_begins_with_the_commands_that_ci_runs():
    """One shell line each: the benchmark on real networks, and the tests."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXTS["README.md"], re.MULTILINE | re.DOTALL)
    bench, tests, *_ = "".join(blocks).splitlines()
    assert bench.endswith("fastpw bench")
    assert tests.endswith("pytest")


def test_the_readme_is_read_to_the_end():
    assert TEXTS["README.md"].count("\n") <= 150
