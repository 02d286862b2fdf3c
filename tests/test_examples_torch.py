"""The examples are what their papers say: torch, without folding and fusing, gives the same in float64."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install fastpw[torch]")

F = torch.nn.functional
EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_double(parameters):
    """The same arrays in float64, in the same tuples, lists and dicts."""
    if isinstance(parameters, dict):
        return {name: in_double(value) for name, value in parameters.items()}
    if isinstance(parameters, (list, tuple)):
        return [in_double(value) for value in parameters]
    return None if parameters is None else parameters.astype(np.float64)


def convolve(x, parameters, *, groups=1, epsilon=1e-5, **options):
    """A convolution of images (N, C, H, W), and the normalization after it, one after the other.

    The number of axes tells the layout of the weight: OI, HWC, OHWI.
    """
    weight, bias, *normalization = (None if a is None else torch.tensor(a) for a in parameters)
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    elif weight.ndim == 3:
        weight, groups = weight.permute(2, 0, 1)[:, None], weight.shape[-1]
    else:
        weight = weight.permute(0, 3, 1, 2)
    z = F.conv2d(x, weight, bias, groups=groups, **options)
    if not normalization:
        return z
    gamma, beta, mean, variance = normalization
    return F.batch_norm(z, mean, variance, gamma, beta, eps=epsilon)


def channels_first(x):
    return torch.tensor(np.ascontiguousarray(x)).movedim(-1, 1)


def assert_same(ours, theirs):
    theirs = theirs.movedim(1, -1).detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11 * np.abs(theirs).max())


def bottleneck(x, parameters, stride, shortcut):
    y = F.relu(convolve(x, parameters["reduce"], stride=stride))
    y = F.relu(convolve(y, parameters["spatial"], padding=1))
    return F.relu(convolve(y, parameters["expand"]) + shortcut)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)], ids=str)
def test_resnet_bottleneck(size, rng):
    module = example("resnet_bottleneck")
    first, second = (in_double(module.draw(rng, C, 8)) for C in (24, 32))
    x = rng.standard_normal((2, *size, 24))
    t = channels_first(x)
    y = module.bottleneck(first, stride=2, identity=False)(x, residual=module.projection(first, 2)(x))
    t = bottleneck(t, first, 2, convolve(t, first["shortcut"], stride=2))
    assert_same(y, t)
    assert_same(module.bottleneck(second)(y), bottleneck(t, second, 1, t))


def inception(x, parameters, **options):
    return F.relu(convolve(x, parameters, epsilon=1e-3, **options))


@pytest.mark.parametrize("C, pooled", [(192, 32), (256, 64)])
def test_inception_module(C, pooled, rng):
    module = example("inception_module")
    p = in_double(module.draw_module(rng, C, pooled))
    x = rng.standard_normal((1, 9, 8, C))
    t = channels_first(x)
    double = inception(inception(t, p["3x3 reduce"]), p["3x3 first"], padding=1)
    branches = [
        inception(t, p["1x1"]),
        inception(inception(t, p["5x5 reduce"]), p["5x5"], padding=2),
        inception(double, p["3x3 second"], padding=1),
        inception(F.avg_pool2d(t, 3, stride=1, padding=1, count_include_pad=False), p["pool"]),
    ]
    assert_same(module.module(p)(x), torch.cat(branches, dim=1))


@pytest.mark.parametrize("size", [(9, 9), (8, 7)], ids=str)
def test_inception_reduction(size, rng):
    module = example("inception_module")
    p = in_double(module.draw_reduction(rng, 48))
    x = rng.standard_normal((2, *size, 48))
    t = channels_first(x)
    double = inception(inception(t, p["double reduce"]), p["double first"], padding=1)
    branches = [
        inception(t, p["3x3"], stride=2),
        inception(double, p["double second"], stride=2),
        F.max_pool2d(t, 3, stride=2),
    ]
    assert_same(module.reduction(p)(x), torch.cat(branches, dim=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_mobilenet_v1_block(stride, rng):
    module = example("mobilenet_v1_block")
    depthwise, pointwise = p = in_double(module.draw(rng, 16, 24))
    x = rng.standard_normal((2, 10, 8, 16))
    before = 1 if stride == 1 else 0  # TensorFlow's "same" pads an even image with stride 2 at one side only
    t = F.pad(channels_first(x), (before, 1, before, 1))
    t = F.relu(convolve(F.relu(convolve(t, depthwise, stride=stride)), pointwise))
    assert_same(module.block(p, stride)(x), t)


@pytest.mark.parametrize("C, K, stride", [(16, 16, 1), (16, 24, 1), (16, 16, 2)])
def test_mobilenet_v2_block(C, K, stride, rng):
    module = example("mobilenet_v2_block")
    expand, depthwise, project = p = in_double(module.draw(rng, C, K))
    x = rng.standard_normal((2, 9, 8, C))
    t = channels_first(x)
    wide = F.relu6(convolve(F.relu6(convolve(t, expand)), depthwise, stride=stride, padding=1))
    y = convolve(wide, project)
    assert_same(module.inverted_residual(p, stride)(x), y + t if (C, stride) == (K, 1) else y)


def test_shufflenet_v1_unit(rng):
    module = example("shufflenet_v1_unit")
    compress, depthwise, expand = p = in_double(module.draw(rng, 24, 24, 12))
    x = rng.standard_normal((2, 9, 8, 24))
    t = channels_first(x)
    y = F.channel_shuffle(F.relu(convolve(t, compress, groups=3)), 3)
    y = convolve(convolve(y, depthwise, padding=1), expand, groups=3)
    assert_same(module.unit(p)(x), F.relu(t + y))


@pytest.mark.parametrize("groups", [1, 3])
def test_shufflenet_v1_halving_unit(groups, rng):
    module = example("shufflenet_v1_unit")
    compress, depthwise, expand = p = in_double(module.draw(rng, 24, 36, 12, groups))
    x = rng.random((2, 9, 8, 24))  # what a relu may have given
    t = channels_first(x)
    y = F.channel_shuffle(F.relu(convolve(t, compress, groups=groups)), 3)
    y = convolve(convolve(y, depthwise, stride=2, padding=1), expand, groups=3)
    y = F.relu(torch.cat([F.avg_pool2d(t, 3, stride=2, padding=1), y], dim=1))
    assert_same(module.halving_unit(p, groups)(x), y)


def test_shufflenet_v2_unit(rng):
    module = example("shufflenet_v2_unit")
    first, spatial, last = p = in_double(module.draw(rng, 12, 12))
    x = rng.standard_normal((2, 9, 8, 24))
    passing, t = channels_first(x).chunk(2, dim=1)
    t = F.relu(convolve(convolve(F.relu(convolve(t, first)), spatial, padding=1), last))
    joined = torch.cat([passing, t], dim=1)
    assert_same(module.unit(x, module.branch(p)), F.channel_shuffle(joined, 2))


def test_shufflenet_v2_halving_unit(rng):
    module = example("shufflenet_v2_unit")
    shortcut, p = in_double((module.draw_shortcut(rng, 10, 12), module.draw(rng, 10, 12)))
    x = rng.standard_normal((2, 9, 8, 10))
    t = channels_first(x)
    left = F.relu(convolve(convolve(t, shortcut[0], stride=2, padding=1), shortcut[1]))
    right = convolve(F.relu(convolve(t, p[0])), p[1], stride=2, padding=1)
    joined = torch.cat([left, F.relu(convolve(right, p[2]))], dim=1)
    assert_same(module.halving_unit(shortcut, p)(x), F.channel_shuffle(joined, 2))


def test_convnext_block(rng):
    module = example("convnext_block")
    p = in_double(module.draw(rng, 12))
    x = rng.standard_normal((2, 9, 8, 12))
    y = convolve(channels_first(x), p["depthwise"], padding=3).movedim(1, -1)
    y = F.layer_norm(y, (12,), *map(torch.tensor, p["normalization"]), eps=1e-6)
    y = F.linear(y, *map(torch.tensor, p["expand"]))
    y = F.linear(F.gelu(y), *map(torch.tensor, p["project"]))
    y = torch.tensor(x) + torch.tensor(p["layer scale"]) * y
    assert_same(module.Block(p)(x), y.movedim(-1, 1))


def test_classifier_head(rng):
    module = example("classifier_head")
    weight, bias, x = (rng.standard_normal(shape) for shape in ((10, 32), 10, (3, 7, 7, 32)))
    t = F.linear(channels_first(x).mean(dim=(2, 3)), torch.tensor(weight), torch.tensor(bias))
    scores = module.head(weight, bias)(x)
    assert_same(scores, t)
    assert_same(module.softmax(scores), F.softmax(t, dim=1))


def test_series(rng):
    module = example("series")
    convolutions, (weight, bias) = p = in_double(module.draw(rng, 3, 4))
    recording = rng.standard_normal((80, 3))
    series = module.windows(recording, length=40, step=10)
    assert series.shape == (5, 40, 3)
    assert np.array_equal(series[3], recording[30:70])
    t = channels_first(series)  # N, C, L
    for left, right, (kernel, _, gamma, beta, *statistics) in zip(
        (3, 2, 1), (4, 2, 1), convolutions, strict=True
    ):
        z = F.conv1d(F.pad(t, (left, right)), torch.tensor(kernel[:, 0]).movedim(-1, 1))
        t = F.relu(F.batch_norm(z, *map(torch.tensor, (*statistics, gamma, beta))))
    t = F.linear(t.mean(dim=2), torch.tensor(weight), torch.tensor(bias))
    assert_same(module.scores(module.network(p), series), t)


def test_network_in_network_learns_as_with_autograd(rng):
    """The losses of some steps, and what the network has become."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    module = example("network_in_network")
    network = module.Network(rng)
    layers = [*network.first.layers, *network.last.layers]
    for layer in layers:
        for name in ("weight", "bias", "weight_velocity", "bias_velocity"):
            setattr(layer, name, getattr(layer, name).astype(np.float64))
    weights = [channels_first(layer.weight).clone().requires_grad_() for layer in layers]
    biases = [torch.tensor(layer.bias, requires_grad=True) for layer in layers]
    descent = torch.optim.SGD([*weights, *biases], lr=module.RATE, momentum=module.MOMENTUM)

    def forward(t):
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            t = F.conv2d(t, weight, bias, padding=weight.shape[-1] // 2)
            t = F.relu(t) if number < 5 else t
            t = F.avg_pool2d(t, 2) if number == 2 else t
        return t.mean(dim=(2, 3))

    images, labels = rng.random((12, 8, 8, 1)), rng.integers(0, 10, 12)
    for _ in range(4):
        loss = F.cross_entropy(forward(channels_first(images)), torch.tensor(labels))
        assert abs(network.step(images, labels) - loss.item()) <= 1e-11
        descent.zero_grad()
        loss.backward()
        descent.step()
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        assert_same(layer.weight, weight)
        np.testing.assert_allclose(layer.bias, bias.detach().numpy(), rtol=1e-9, atol=1e-11)
    assert_same(network.frozen()(images), forward(channels_first(images)))
