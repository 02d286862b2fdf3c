"""Copies of images into another order of their axes."""

import numpy as np
import pytest

from fastpw.network.entering import Entry

LAST = (0, 3, 1, 2)  # (N, H, W, C) seen as (N, C, H, W)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape",
    [(1, 3, 5, 7), (2, 2, 1, 4), (3, 7, 4, 1), (2, 8, 3, 3), (1, 1, 4, 4), (0, 3, 2, 2), (2, 3, 130, 200)],
)
def test_copies_are_exact(shape, dtype):
    n, c, h, w = shape
    whole = np.random.default_rng(0).standard_normal((n, c, h + 2, 2 * w)).astype(dtype)
    sources = [whole[:, :, 1:-1, ::2], np.ascontiguousarray(whole[:, :, :h, :w])]
    sources.append(np.ascontiguousarray(sources[1].transpose(0, 2, 3, 1)).transpose(LAST))
    for source in sources:
        for target in (np.zeros((n, h, w, c), dtype).transpose(LAST), np.zeros(shape, dtype)):
            enter = Entry(target)
            for given in (source, -source, whole[:, :, 2:, ::2], source):  # laid out alike, and not
                enter(given)
                assert np.array_equal(given, target)
