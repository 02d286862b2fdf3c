"""A weight's layout is that of the library it comes from: its own weights give its own results."""

import numpy as np
import pytest

import fastpw
from fastpw import _checks, reference

pytestmark = pytest.mark.usefixtures("isa", "threads")


def test_every_layout_has_a_reference():
    assert _checks.arrays.LAYOUTS.keys() == reference.LAYOUTS.keys()


def test_numpy(conv, dtype, rng):
    """Square, so that no other order would raise an error."""
    x, weight = rng.integers(-8, 9, (9, 6)).astype(dtype), rng.integers(-8, 9, (6, 6)).astype(dtype)
    assert np.array_equal(conv(x, weight, weight_layout="IO"), x @ weight)
    assert np.array_equal(conv(x, weight), x @ weight.T)
    grads = fastpw.conv1x1_backward(x, x, weight, weight_layout="IO")
    assert np.array_equal(grads.dx, x @ weight.T)
    assert np.array_equal(grads.dweight, x.T @ x)


def test_scikit_learn(conv, rng):
    network = pytest.importorskip("sklearn.neural_network")
    x, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 3))
    mlp = network.MLPRegressor(hidden_layer_sizes=(6, 8), max_iter=2, random_state=0)
    with pytest.warns(match="Maximum iterations"):
        mlp.fit(x, y)
    rows, last = x, len(mlp.coefs_) - 1
    for number, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        activation = None if number == last else "relu"
        rows = conv(rows, weight, bias, activation=activation, weight_layout="IO")
    assert np.allclose(rows, mlp.predict(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_torch(conv, groups, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 5, 4, 6))
    layer = torch.nn.Conv2d(6, 8, 1, groups=groups, dtype=torch.float64)
    y = layer(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert np.allclose(conv(x, weight, bias, groups=groups, weight_layout="OIHW"), y, rtol=1e-12, atol=1e-12)
    if groups == 1:
        layer = torch.nn.Linear(6, 8, bias=False, dtype=torch.float64)
        y = layer(torch.from_numpy(x)).detach().numpy()
        assert np.allclose(conv(x, layer.weight.detach().numpy()), y, rtol=1e-12, atol=1e-12)
