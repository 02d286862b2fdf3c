"""Beside other libraries in one process, each with an OpenMP runtime of its own, in either import order."""

import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

# What each library is to compute, on several threads, before and after fastpw: true if it is right.
OTHERS = {
    "torch": """
        import torch
        torch.set_num_threads(2)
        def other():
            a = torch.ones(300, 300)
            return bool((a @ a == 300).all())
    """,
    "sklearn": """
        from sklearn.cluster import KMeans
        import numpy as points
        def other():
            data = points.repeat(points.array([[0.0, 0.0], [9.0, 9.0]]), 5000, axis=0)
            return abs(KMeans(2, n_init=1, random_state=0).fit(data).cluster_centers_.sum() - 18) < 1e-9
    """,
    "numpy": """
        import numpy
        def other():
            a = numpy.ones((500, 500))
            return bool((a @ a == 500).all())
    """,
}
FASTPW = """
    import numpy as np, fastpw
    fastpw.set_num_threads(2)
    def ours():
        x, weight = np.ones((3000, 64), "f4"), np.ones((64, 64), "f4")
        y = fastpw.conv1x1(x, weight, activation="relu")
        return bool((y == 64).all() and (fastpw.conv1x1_backward(y, x, weight).dx == 64 * 64).all())
"""
USE = """
    import os
    for _ in range(5):
        assert ours() and other() and ours()
    child = os.fork()
    if child == 0:
        os._exit(0 if ours() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ours() and other()
    print("well")
"""


@pytest.mark.parametrize("fastpw_first", [True, False], ids=["fastpw first", "fastpw last"])
@pytest.mark.parametrize("name", OTHERS)
def test_beside(name, fastpw_first):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    parts = [FASTPW, OTHERS[name]] if fastpw_first else [OTHERS[name], FASTPW]
    code = "\n".join(map(textwrap.dedent, [*parts, USE]))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.stdout.split() == ["well"], done.stderr
