"""What a chain must not take for granted: arrays that change, layers made for others, images without end."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import _fusion
from fastpw.core import machine

ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))


@pytest.mark.usefixtures("machine_size")
@pytest.mark.parametrize("second", ISAS)
@pytest.mark.parametrize("first", ISAS)
def test_layers_made_for_different_instruction_sets(first, second, dtype, rng, one_by_one):
    """The layers of a chain may have vectors of different widths."""
    before = next(row["isa"] for row in machine.kernel_sets() if row["chosen"])
    x, *weights = (rng.standard_normal(s).astype(dtype) for s in ((2, 20, 19, 12), (72, 12), (3, 3, 72)))
    machine.choose_isa(first)
    pointwise = fastpw.Conv1x1(weights[0], activation="relu6")
    machine.choose_isa(second)
    spatial = fastpw.DepthwiseConv2d(weights[1], padding=1)
    machine.choose_isa(before)
    chain = fastpw.Chain([pointwise, spatial])
    assert chain(x).tobytes() == one_by_one(chain, x).tobytes()


class Meddler:
    """A residual that, when it is looked at, reshapes the input."""

    def __init__(self, target, shape, residual):
        self.target, self.shape, self.residual = target, shape, residual

    def __array__(self, *args, **kwargs):
        self.target.shape = self.shape
        return self.residual


@pytest.mark.usefixtures("isa", "threads")
@pytest.mark.parametrize("shape", [(1, 10, 40, 12), (1, 50, 8, 12), (1, 400, 1, 12)], ids=str)
def test_the_input_is_reshaped_meanwhile(shape, dtype, monkeypatch):
    """Nothing is read or written where an array of its new shape would lie."""
    monkeypatch.setattr(_fusion, "SMALL_BETWEEN", 0)
    monkeypatch.setattr(_fusion, "MOST_REPEATED", 1)
    layers = (
        fastpw.Conv1x1(np.ones((72, 12), dtype)),
        fastpw.DepthwiseConv2d(np.ones((3, 3, 72), dtype), padding=1),
    )
    chain = fastpw.Chain(layers)
    x, canvas = np.ones((1, 40, 10, 12), dtype), np.full((200, 10, 72), -7, dtype)
    assert chain.describe(x.shape)[0].way == "bands"
    residual = np.ones((1, 40, 10, 72), dtype)
    with pytest.raises(ValueError, match="changed meanwhile"):
        chain(x, residual=Meddler(x, shape, residual), out=canvas[np.newaxis, 80:120])
    assert np.all(canvas == -7)


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
