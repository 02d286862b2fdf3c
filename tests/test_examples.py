"""Every example runs by itself, prints something and names its paper."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TEXTS = {path.stem: path.read_text() for path in sorted(EXAMPLES.glob("*.py"))}


def test_there_are_examples():
    assert len(TEXTS) >= 15


@pytest.mark.parametrize("name", TEXTS)
def test_example_runs(name, tmp_path):
    for module in re.findall(r"^(?:import|from) (\w+)", TEXTS[name], re.MULTILINE):
        pytest.importorskip(module)
    for package in re.findall(r'find_spec\("(\w+)"\)', TEXTS[name]):  # of which it only takes files
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 3, done.stdout


# Those that show how to use other libraries, and are no papers' blocks.
WITHOUT_PAPER = {"digits_mlp", "hyperspectral_dask", "image_pipeline", "keras_weights", "torch_block"}


@pytest.mark.parametrize("name", sorted(TEXTS.keys() - WITHOUT_PAPER))
def test_example_names_its_paper(name):
    assert re.search(r"arXiv:\d{4}\.\d{4}", TEXTS[name])


def test_the_list_has_every_example():
    listed = re.findall(r"\]\((\w+)\.py\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == sorted(TEXTS)
