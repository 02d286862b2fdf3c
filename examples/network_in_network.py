"""Network in Network: a small network of 1x1 convolutions slides over the image, in place of single kernels.

M. Lin, Q. Chen and S. Yan, "Network In Network", 2013, arXiv:1312.4400: figure 2 shows such an mlpconv layer,
a convolution and two 1x1 after it, each with relu; section 3.2 the average over the image, which takes the
last layer's channels for the classes. The pool between two mlpconvs is an average here, not a maximum: its
gradient is one line.

One sees such a network learn scikit-learn's handwritten digits in a few seconds. Then it is frozen as a Chain
of Chains, which packs the weights once and gives the same bits.
"""

import numpy as np
from sklearn.datasets import load_digits

import fastpw

RATE, MOMENTUM, BATCH, EPOCHS = 0.05, 0.9, 32, 30


def descend(parameter, velocity, gradient):
    velocity *= MOMENTUM
    velocity -= RATE * gradient
    parameter += velocity


class Convolution:
    """One that learns, by gradient descent with momentum. (conv2d with a 1x1 kernel is conv1x1.)"""

    def __init__(self, random, size, C, K, activation="relu"):
        deviation = np.sqrt(2 / (size * size * C))
        self.weight = random.normal(0, deviation, (K, size, size, C)).astype(np.float32)
        self.bias = np.zeros(K, np.float32)
        self.weight_velocity, self.bias_velocity = np.zeros_like(self.weight), np.zeros_like(self.bias)
        self.options = {"padding": size // 2, "activation": activation}

    def forward(self, x):
        self.x, self.y = x, fastpw.conv2d(x, self.weight, self.bias, **self.options)
        return self.y

    def backward(self, dy):
        gradients = fastpw.conv2d_backward(dy, self.x, self.weight, self.bias, y=self.y, **self.options)
        descend(self.weight, self.weight_velocity, gradients.dweight)
        descend(self.bias, self.bias_velocity, gradients.dbias)
        return gradients.dx

    def frozen(self):
        return fastpw.Conv2d(self.weight, self.bias, **self.options)


class MlpConv:
    """A convolution, and two 1x1 after it."""

    def __init__(self, random, C, hidden, K, activation="relu"):
        self.layers = [
            Convolution(random, 3, C, hidden),
            Convolution(random, 1, hidden, hidden),
            Convolution(random, 1, hidden, K, activation),
        ]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def frozen(self):
        return fastpw.Chain([layer.frozen() for layer in self.layers])


class Network:
    """Two mlpconvs with a pool between them, for images (N, 8, 8, 1) of ten classes."""

    def __init__(self, random):
        self.first = MlpConv(random, 1, 24, 24)
        self.last = MlpConv(random, 24, 48, 10, activation=None)
        self.halve, self.average = fastpw.AveragePool2d(2), fastpw.GlobalAveragePool()

    def forward(self, images):
        """The score of each class, (N, 10)."""
        return self.average(self.last.forward(self.halve(self.first.forward(images))))

    def backward(self, dscores):
        dy = np.broadcast_to(dscores[:, None, None] / 16, (len(dscores), 4, 4, 10))  # each of 4 x 4 pixels
        dy = self.last.backward(dy)
        self.first.backward(dy.repeat(2, axis=1).repeat(2, axis=2) / 4)

    def frozen(self):
        return fastpw.Chain([self.first.frozen(), self.halve, self.last.frozen(), self.average])

    def step(self, images, labels):
        """One of gradient descent; the loss before it is the mean of -log(probability of the right class)."""
        scores = self.forward(images)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        right = np.arange(len(labels)), labels
        loss = -np.log(p[right]).mean()
        p[right] -= 1
        self.backward(p / len(labels))
        return loss


def show(image):
    for row in image[..., 0]:
        print("   ", "".join(" .:+*#"[int(5 * shade)] * 2 for shade in row))


def main():
    fastpw.set_num_threads(1)  # these layers take microseconds
    random = np.random.default_rng(0)
    digits = load_digits()
    images, labels = digits.images.astype(np.float32)[..., None] / 16, digits.target
    unseen, seen = np.split(random.permutation(len(labels)), [len(labels) // 5])

    network = Network(random)
    for epoch in range(EPOCHS):
        batches = np.array_split(random.permutation(seen), len(seen) // BATCH)
        loss = np.mean([network.step(images[batch], labels[batch]) for batch in batches])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss:.4f}")

    frozen = network.frozen()
    scores = frozen(images[unseen])
    assert np.array_equal(scores, network.forward(images[unseen]))
    answers = scores.argmax(axis=1)
    accuracy = np.mean(answers == labels[unseen])
    print(f"Of {len(unseen)} digits that it never saw it knows {accuracy:.1%}. The first is a {answers[0]}:")
    show(images[unseen[0]])
    assert accuracy >= 0.96


if __name__ == "__main__":
    main()
