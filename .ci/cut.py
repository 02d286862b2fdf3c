"""Runs one test in N against the installed package: `cut.py N [pytest's arguments]`, in the sources' folder.

CHILD_PYTHON, where set, is what tests start as sys.executable: an emulated interpreter cannot start itself.
"""

import os
import sys
from pathlib import Path

import pytest

import fastpw


class Cut:
    def __init__(self, every):
        self.every = every

    @pytest.hookimpl(trylast=True)  # of those that remain
    def pytest_collection_modifyitems(self, config, items):
        kept = items[:: self.every]
        config.hook.pytest_deselected(items=[item for i, item in enumerate(items) if i % self.every])
        items[:] = kept


if __name__ == "__main__":
    where = Path(fastpw.__file__)
    if where.is_relative_to(Path.cwd()):
        sys.exit(f"{where} is the source folder's, not the installed package's")
    sys.executable = os.environ.get("CHILD_PYTHON", sys.executable)
    sys.exit(pytest.main(sys.argv[2:], plugins=[Cut(int(sys.argv[1]))]))
