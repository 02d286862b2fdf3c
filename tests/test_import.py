"""An import that cannot succeed says what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "fastpw"


@pytest.fixture
def folder(tmp_path):
    """The source, as it is cloned."""
    shutil.copytree(
        SOURCE, tmp_path / "fastpw", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    return tmp_path


def error_of_import(folder):
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import fastpw"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_without_the_compiled_module(folder):
    error = error_of_import(folder)
    assert error.startswith("ImportError: fastpw: the compiled module fastpw.core.machine is needed, got ")
    assert f"{folder / 'fastpw'} without it" in error
    assert "`pip install .`" in error


def test_with_one_that_fails(folder):
    (folder / "fastpw" / "core" / "machine.py").write_text("raise ImportError('libgomp.so.1: not there')")
    assert error_of_import(folder) == "ImportError: libgomp.so.1: not there"
