"""A fresh interpreter with other environment variables, and what it says of its threads."""

import os
import subprocess
import sys

import pytest

from fastpw.core import machine

LIBGOMP = sys.platform == "linux" and machine.compiler().startswith("gcc")
needs_libgomp = pytest.mark.skipif(not LIBGOMP, reason="LLVM's OpenMP does otherwise")
THREADS = "import fastpw; print(fastpw.get_num_threads(), fastpw.show_config('dicts')['threads']['why'])"
BY_CPUS = "the CPUs that this process may run on"


def run(code, **variables):
    """What a fresh interpreter with these environment variables prints, or its last words if it fails."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "FASTPW_"))
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=inherited | variables, text=True, capture_output=True, check=False)
    return (done.stderr if done.returncode else done.stdout).strip().splitlines()[-1]
