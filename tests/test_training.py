"""A network of pointwise convolutions learns handwritten digits, and as the reference implementation does."""

import numpy as np
import pytest

import fastpw
from fastpw import reference

datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")

# In the manner of Network in Network (Lin et al. 2013, arXiv:1312.4400), with a space-to-depth in place of
# pooling, and at the end the mean over the last 2 x 2 pixels: (space to depth first, channels in, out).
LAYERS = (True, 4, 32), (False, 32, 32), (True, 128, 64), (False, 64, 64), (False, 64, 10)
RATE, MOMENTUM, BATCH = 0.05, 0.9, 32


def space_to_depth(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).swapaxes(2, 3).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(x):
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).swapaxes(2, 3).reshape(n, 2 * h, 2 * w, c // 4)


class Network:
    """Trained by plain SGD with momentum."""

    def __init__(self, forward, backward, dtype):
        rng = np.random.default_rng(1)
        self.forward, self.backward = forward, backward
        self.parameters = []
        for _, c, k in LAYERS:
            self.parameters += [rng.standard_normal((k, c)) * np.sqrt(2 / c), np.zeros(k)]
        self.parameters = [p.astype(dtype) for p in self.parameters]
        self.velocities = [np.zeros_like(p) for p in self.parameters]

    def layers(self):
        """Space to depth first or not, weight, bias, activation."""
        weights, biases = self.parameters[::2], self.parameters[1::2]
        activations = ["relu"] * (len(weights) - 1) + [None]
        return [*zip((fold for fold, _, _ in LAYERS), weights, biases, activations, strict=True)]

    def outputs(self, x):
        """What every layer is given, and what the last one gives."""
        inputs = []
        for fold, weight, bias, activation in self.layers():
            inputs.append(space_to_depth(x) if fold else x)
            x = self.forward(inputs[-1], weight, bias, activation=activation)
        return inputs, x

    def classify(self, x):
        return self.outputs(x)[1].mean(axis=(1, 2)).argmax(axis=1)

    def step(self, x, labels):
        """One step of gradient descent; the loss before it."""
        inputs, y = self.outputs(x)
        logits = y.mean(axis=(1, 2))
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        one_hot = np.eye(10, dtype=x.dtype)[labels]
        dy = np.broadcast_to(
            ((probabilities - one_hot) / (len(x) * y[0, ..., 0].size))[:, None, None], y.shape
        )
        gradients = []
        for (fold, weight, bias, activation), given in reversed([*zip(self.layers(), inputs, strict=True)]):
            grads = self.backward(dy, given, weight, bias, activation=activation)
            dy = depth_to_space(grads.dx) if fold else grads.dx
            gradients += [grads.dbias, grads.dweight]
        for p, v, gradient in zip(self.parameters, self.velocities, reversed(gradients), strict=True):
            np.subtract(MOMENTUM * v, RATE * gradient, out=v)
            np.add(p, v, out=p)
        return -np.log((probabilities * one_hot).sum(axis=1)).mean()

    def train(self, x, labels, epochs):
        """The loss of every step."""
        rng = np.random.default_rng(2)
        return [
            self.step(x[part], labels[part])
            for _ in range(epochs)
            for part in np.array_split(rng.permutation(len(x)), len(x) // BATCH)
        ]


@pytest.fixture(scope="module")
def digits():
    """Images (N, 8, 8, 1) and labels: four fifths to train with, then one held out."""
    data = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images, labels = data.images[order, :, :, None] / 16, data.target[order]
    fifth = len(labels) // 5
    return images[fifth:], labels[fifth:], images[:fifth], labels[:fifth]


@pytest.fixture(autouse=True)
def one_thread():
    """Layers of microseconds: a team gains nothing, and waits for each other where CPUs are busy."""
    with fastpw.num_threads(1):
        yield


def test_digits_are_learnt(digits):
    images, labels, unseen, their_labels = digits
    network = Network(fastpw.conv1x1, fastpw.conv1x1_backward, np.float32)
    network.train(images.astype(np.float32), labels, epochs=30)
    assert np.mean(network.classify(unseen.astype(np.float32)) == their_labels) >= 0.96


@pytest.mark.usefixtures("isa")
def test_the_loss_falls_as_with_the_reference(digits, dtype):
    images, labels, _, _ = digits
    ours = Network(fastpw.conv1x1, fastpw.conv1x1_backward, dtype)
    theirs = Network(reference.conv1x1, reference.conv1x1_backward, np.float64)
    for mine, its in zip(ours.parameters, theirs.parameters, strict=True):
        its[...] = mine
    curve = theirs.train(images, labels, epochs=3)
    our_curve = ours.train(images.astype(dtype), labels, epochs=3)
    assert np.allclose(our_curve, curve, rtol=500 * np.finfo(dtype).eps)  # each step's rounding goes on
    assert np.mean(curve[-10:]) < np.mean(curve[:10]) / 4
