"""Series in place of images: a network that classifies windows of a recording, an electrocardiogram perhaps.

Z. Wang, W. Yan and T. Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong
Baseline", 2016, arXiv:1611.06455: the fully convolutional network of figure 1 (b), whose three layers of
kernels 8, 5 and 3 are each followed by a batch normalization, which is folded into the weights, and by relu.
The average over time is what the last layer sees.

A series is an image of one row: kernels are (1, k), and arrays (N, L, C) are seen as (N, 1, L, C) without a
copy. One sees the scores of overlapping windows of one long recording, which are not copied apart either, and
that each window has the same bits alone as among the others.
"""

import math

import numpy as np

import fastpw

LAYERS = (8, 128), (5, 256), (3, 128)  # the kernel's length, channels


def trained(random, shape, K):
    """As files of trained weights hold them: a weight, no bias; gamma, beta, mean, variance of K channels."""
    weight = random.standard_normal(shape, np.float32) * math.sqrt(2 * K / math.prod(shape))
    return weight, None, *random.uniform(0.5, 1.5, (4, K)).astype(np.float32)


def draw(random, C, classes):
    """The parameters of the three layers, and weight and bias of the last."""
    convolutions = []
    for length, K in LAYERS:
        convolutions.append(trained(random, (K, 1, length, C), K))
        C = K
    weight = random.standard_normal((classes, C), np.float32) / math.sqrt(C)
    return convolutions, (weight, np.zeros(classes, np.float32))


def network(parameters):
    convolutions, last = parameters
    layers = []
    for convolution in convolutions:
        folded = fastpw.fold_batch_norm(*convolution, weight_layout="OHWI")
        layers.append(fastpw.Conv2d(*folded, padding="same", activation="relu"))
    return fastpw.Chain([*layers, fastpw.GlobalAveragePool(), fastpw.Conv1x1(*last)])


def scores(layers, series):
    """Of series (N, L, C)."""
    return layers(series[:, np.newaxis])


def windows(recording, length, step):
    """Those of a recording (T, C), as an array (N, length, C) that shares its memory."""
    view = np.lib.stride_tricks.sliding_window_view(recording, length, axis=0)[::step]  # N, C, length
    return view.swapaxes(1, 2)


def main():
    random = np.random.default_rng(0)
    recording = random.standard_normal((2000, 12), np.float32)  # twelve leads
    series = windows(recording, length=256, step=64)
    assert np.shares_memory(series, recording)
    print(f"a recording {recording.shape} as windows {series.shape}")

    layers = network(draw(random, 12, classes=5))
    together = scores(layers, series)
    print(f"scores {together.shape}; the best class of each window: {together.argmax(axis=1)}")
    for number, window in enumerate(series):
        assert np.array_equal(scores(layers, window[np.newaxis])[0], together[number])
    print("Each window has the same bits alone.")


if __name__ == "__main__":
    main()
