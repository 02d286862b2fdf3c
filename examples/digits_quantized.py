"""A network that has learnt handwritten digits, in integers: quantized after training, on 200 images.

scikit-learn's network has three layers, of 64, 32 and 10 outputs. Each becomes a fastpw.QConv1x1 by the
ranges of the numbers that go in and come out, as they are on 200 of the images that it was trained on
(Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, arXiv:1806.08342).
What one layer gives out is what the next one takes in: between the layers there are integers alone.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastpw

CALIBRATED = 200  # images whose ranges are taken


def trained(digits, labels):
    """scikit-learn's network as layers of fastpw."""
    model = MLPClassifier((64, 32), learning_rate_init=0.005, tol=1e-3, n_iter_no_change=3, random_state=0)
    model.fit(digits, labels)
    weights = zip(model.coefs_, model.intercepts_, strict=True)
    return [
        fastpw.Conv1x1(
            weight.astype(np.float32),
            bias.astype(np.float32),
            activation="relu" if number < 2 else None,
            weight_layout="IO",
        )
        for number, (weight, bias) in enumerate(weights)
    ]


def quantized(layers, images):
    """The layers in int8, by the least and the largest number before and after each on these images."""
    made, x = [], images
    for layer in layers:
        y = layer(x)
        ends = {"x_range": (x.min(), x.max()), "y_range": (y.min(), y.max())}
        made.append(fastpw.QConv1x1.from_float(layer, **ends))
        x = y
    return made


def run(layers, x):
    for layer in layers:
        x = layer(x)
    return x


digits, labels = load_digits(return_X_y=True)
digits = (digits / 16).astype(np.float32)
seen, unseen, of_seen, of_unseen = train_test_split(digits, labels, random_state=0)
layers = trained(seen, of_seen)
integers = quantized(layers, seen[:CALIBRATED])

first, last = integers[0], integers[-1]
pixels = fastpw.quantize(unseen, first.x_scale, first.x_zero_point)
scores = fastpw.dequantize(run(integers, pixels), last.y_scale, last.y_zero_point)
in_floats = run(layers, unseen)

right = np.mean(in_floats.argmax(axis=1) == of_unseen), np.mean(scores.argmax(axis=1) == of_unseen)
error = np.abs(scores - in_floats).max() / np.abs(in_floats).max()
for name, share, made in zip(("float32", "int8"), right, (layers, integers), strict=True):
    held = sum(layer.weight.nbytes for layer in made)
    print(f"{name:8} {share:.2%} of {len(unseen)} unseen digits, {held:,} bytes of weights")
print(f"the scores differ by {error:.2%} of the largest")
assert right[0] - right[1] <= 0.005, right
