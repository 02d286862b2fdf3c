"""The README's Python examples run as pasted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_runs_as_pasted(example, tmp_path):
    for module in re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE):
        pytest.importorskip(module)
    command = [sys.executable, "-W", "error", "-"]
    done = subprocess.run(command, input=example, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
