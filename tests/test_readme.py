"""The Python examples of the README and the other pages run as pasted, and their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert len(EXAMPLES) >= 7


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


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for path, anchor in LINK.findall(TEXTS[name]):
        target = (ROOT / name).parent / path if path else ROOT / name
        # (a wheel's tests have the pages, but not all of the repository)
        assert target.exists() or not (ROOT / ".ci").exists(), path
        assert not anchor or anchor in headings(target.read_text()), anchor


def test_the_readme_begins_with_the_commands_that_ci_runs():
    """One shell line each: the benchmark on real networks, and the tests."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXTS["README.md"], re.MULTILINE | re.DOTALL)
    bench, tests, *_ = "".join(blocks).splitlines()
    assert bench.endswith("fastpw bench")
    assert tests.endswith("pytest")


def test_the_readme_is_read_to_the_end():
    assert TEXTS["README.md"].count("\n") <= 200
