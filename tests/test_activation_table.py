"""The kernels' table of activations (kernels/activations.h) and Python's (_activations.py) say the same."""

import pytest

from fastpw import _activations
from fastpw.core import machine

KERNELS = machine.activations()
BY_CODE = {code: (name, reads) for name, code, reads in KERNELS}


@pytest.mark.parametrize(("name", "code", "reads"), KERNELS, ids=[name for name, *_ in KERNELS])
def test_python_has_a_row_for_every_activation_of_the_kernels(name, code, reads):
    codes = {row.name: row.code for row in _activations.TABLE}
    assert name in codes, f"kernels/activations.h has {name}, and _activations.py has no such row"
    assert codes[name] == code


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
def test_the_kernels_know_python_s_codes_and_read_the_same_arrays(row):
    """Several rows of Python may be one of the kernels: relu6 is a clip."""
    assert row.code in BY_CODE, f"_activations.py has {row.name}, code {row.code}, which no kernel knows"
    name, reads = BY_CODE[row.code]
    assert name in {other.name for other in _activations.TABLE if other.code == row.code}
    assert row.reads == reads
