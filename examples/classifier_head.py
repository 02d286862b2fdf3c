"""A classifier's head: the average over the image, and a last layer that gives each class a score.

M. Lin, Q. Chen and S. Yan, "Network In Network", 2013, arXiv:1312.4400, section 3.2, for the average in place
of large layers; K. He et al., 2015, arXiv:1512.03385, table 1, for the sizes, which are ResNet-50's. The
average and the layer are linear, so they may change places: then there is a score for each class at each
pixel, which shows where in the image a class was seen (B. Zhou et al., "Learning Deep Features for
Discriminative Localization", 2015, arXiv:1512.04150).

One sees the best classes of an image, and where their evidence lies: above all where the features were made
to look like those of the best one.
"""

import numpy as np

import fastpw


def head(weight, bias):
    """The weight is (classes, C), that of torch's Linear; Keras' Dense has the weight_layout "IO"."""
    return fastpw.Chain([fastpw.GlobalAveragePool(), fastpw.Conv1x1(weight, bias)])


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def main():
    random = np.random.default_rng(0)
    weight = random.standard_normal((1000, 2048), np.float32) / 45
    bias = np.zeros(1000, np.float32)
    features = random.random((2, 7, 7, 2048), np.float32)  # of two images, as the layers before leave them
    features[0, 1:4, 3:6] += 100 * np.maximum(weight[281], 0)  # the first shows class 281, at the top right

    classify = head(weight, bias)
    probabilities = softmax(classify(features))
    print(f"features {features.shape}, probabilities {probabilities.shape}")
    best = np.argsort(-probabilities[0])[:3]
    print("the first image's best classes:", ", ".join(f"{k} ({probabilities[0, k]:.0%})" for k in best))

    maps = classify.layers[-1](features)  # the same layer, pixel by pixel
    assert np.allclose(maps.mean(axis=(1, 2)), classify(features), atol=1e-4)
    print(f"the scores of class {best[0]}, pixel by pixel:")
    for row in maps[0, :, :, best[0]]:
        print("".join(f"{score:7.1f}" for score in row))


if __name__ == "__main__":
    main()
