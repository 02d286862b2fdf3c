"""scikit-learn's MLPClassifier, computed by fastpw's layers: the same predictions.

A multi-layer perceptron is a chain of 1x1 convolutions whose pixels are the samples. scikit-learn keeps the
weights as (inputs, outputs), which is the weight_layout "IO", and in float64.

One sees how often both are right about digits that they never saw, that they agree on each of them, and how
long each takes.
"""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastpw


def chain_of(model, dtype=np.float32):
    """The layers of a trained MLPClassifier or MLPRegressor; its last activation is left out."""
    activation = {"identity": None, "logistic": "sigmoid"}.get(model.activation, model.activation)
    layers = []
    for number, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        last = number == len(model.coefs_)
        layer = fastpw.Conv1x1(
            weight.astype(dtype),
            bias.astype(dtype),
            activation=None if last else activation,
            weight_layout="IO",
        )
        layers.append(layer)
    return fastpw.Chain(layers)


def milliseconds(call, count=20):
    """Of the fastest of some calls."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e3


def main():
    digits, labels = load_digits(return_X_y=True)
    parts = train_test_split(digits / 16, labels, test_size=0.25, random_state=0)
    seen, unseen, seen_labels, unseen_labels = parts
    model = MLPClassifier((64, 32), tol=1e-2, n_iter_no_change=3, random_state=0).fit(seen, seen_labels)

    mlp = chain_of(model)
    x = unseen.astype(np.float32)
    ours, theirs = mlp(x).argmax(axis=1), model.predict(unseen)
    print(f"fastpw is right about {np.mean(ours == unseen_labels):.1%} of {len(x)} digits")
    print(f"scikit-learn is right about {np.mean(theirs == unseen_labels):.1%}")
    assert np.array_equal(ours, theirs)
    print("They agree on every digit.")
    print(f"fastpw takes {milliseconds(lambda: mlp(x)):.2f} ms, ", end="")
    print(f"scikit-learn {milliseconds(lambda: model.predict(unseen)):.2f} ms")


if __name__ == "__main__":
    main()
