"""Damaged files of networks: an error or a right answer, in a process that survives all of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "fuzz_networks.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="a wheel's tests do not have the script")
@pytest.mark.skipif(sys.platform != "linux", reason="the system limits the memory of the process")
def test_three_hundred_damaged_files():
    """`bench/fuzz_networks.py` says what is damaged and what is right."""
    command = [sys.executable, str(SCRIPT), "--count", "300", "--first", "20260"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    errors, right = (int(re.search(rf"(\d+) {kind}", done.stdout)[1]) for kind in ("errors", "right"))
    assert errors > 100
    assert right > 20
