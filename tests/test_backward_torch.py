"""Gradients against torch's autograd, in float64."""

import numpy as np
import pytest

import fastpw
from fastpw import _activations

torch = pytest.importorskip("torch", reason="torch is not installed: pip install fastpw[torch]")

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

F = torch.nn.functional
THEIRS = {
    "linear": lambda z: z,
    "relu": F.relu,
    "relu6": F.relu6,
    "clip": torch.clamp,
    "leaky_relu": F.leaky_relu,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
}
SLACK = {"hard_sigmoid": 1e-6}  # torch's sixth is a float32's, even in float64
GEOMETRIES = [
    {},
    {"stride": 2},
    {"stride": (1, 3), "padding": 1},
    {"stride": (3, 2), "padding": (2, 1), "groups": 2},
    {"padding": (0, 2), "groups": 4},
    {"stride": 2, "padding": 1, "groups": 12},
]


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_as_autograd(row, options, rng):
    _, parameters = _activations.find(row.spec)
    x = torch.tensor(3 * rng.standard_normal((2, 12, 7, 9)), requires_grad=True)
    weight = torch.tensor(rng.standard_normal((12, 12 // options.get("groups", 1), 1, 1)), requires_grad=True)
    bias = torch.tensor(rng.standard_normal(12), requires_grad=True)
    z = F.conv2d(x, weight, bias, **options)
    residual = torch.tensor(rng.standard_normal(z.shape), requires_grad=True)
    y = THEIRS[row.name](z + residual, *parameters)
    dy = torch.tensor(rng.standard_normal(y.shape))
    theirs = torch.autograd.grad(y, (x, weight, bias, residual), dy)

    def last(tensor):
        """N, C, H, W as N, H, W, C: a view whose channels are apart."""
        return tensor.detach().numpy().transpose(0, 2, 3, 1)

    options = options | {"residual": last(residual), "weight_layout": "OIHW", "activation": row.spec}
    ours = fastpw.conv1x1_backward(
        last(dy), last(x), weight.detach().numpy(), bias.detach().numpy(), y=last(y),
        wrt=("x", "weight", "bias", "residual"), **options,
    )  # fmt: skip
    for name, a, b in zip(ours._fields, ours, theirs, strict=True):
        expected = last(b) if name in ("dx", "dresidual") else b.numpy()
        assert np.allclose(a, expected, rtol=1e-11, atol=SLACK.get(row.name, 1e-11)), name
