"""What a chain must not take for granted: arrays that change, layers made for others, images without end."""

from itertools import product

import numpy as np
import pytest

import fastpw


def test_images_that_cannot_be_had():
    """How they would be cut is found at once, and they are refused as by a layer."""
    expand, project = (fastpw.Conv1x1(np.ones(shape, np.float32)) for shape in ((9, 4), (4, 9)))
    spatial = fastpw.DepthwiseConv2d(np.ones((3, 3, 9), np.float32), padding=1)
    chains = fastpw.Chain([expand, spatial, project]), fastpw.Chain([expand, project])
    for chain, shape in product(chains, [(1 << 29, 1 << 29, 4), (3, 1 << 40, 1 << 40, 4)]):
        assert len(chain.describe(shape)) >= 1
        assert chain.output_shape(shape) == shape
    for chain in chains:
        with pytest.raises(ValueError, match=r"^x, padding: a result of less than 2\*\*63 bytes is needed"):
            chain(np.broadcast_to(np.ones(4, np.float32), (1 << 29, 1 << 29, 4)))
