"""Inception V3's modules: branches that look at one input with kernels of several sizes, side by side.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception Architecture for
Computer Vision", 2015, arXiv:1512.00567: figure 5 shows the module whose 5x5 is also done by two 3x3, figure
10 the one that halves the image. Names and channels are those of the authors' program (Mixed_5b to Mixed_6a).
Each convolution is followed by a batch normalization without a factor gamma, which is folded into its
weights, and by relu.

One sees a module as a Concat of Chains, each of which writes its own channels of the result, so that nothing
is copied together; and three such modules and the halving one as a Chain.
"""

import math

import numpy as np

import fastpw


def trained(random, C, K, size=1):
    """A weight, no bias; no gamma, but beta, mean and variance of K channels."""
    weight = random.standard_normal((K, size, size, C), np.float32) * math.sqrt(2 / (size * size * C))
    return weight, None, None, *random.uniform(0.5, 1.5, (3, K)).astype(np.float32)


def convolution(parameters, **options):
    """One with its normalization folded in. (A Conv2d of one pixel is a Conv1x1.)"""
    folded = fastpw.fold_batch_norm(*parameters, epsilon=1e-3, weight_layout="OHWI")
    return fastpw.Conv2d(*folded, activation="relu", **options)


def draw_module(random, C, pooled):
    """The parameters of a module for C channels, `pooled` being those that its pool's branch gives."""
    return {
        "1x1": trained(random, C, 64),
        "5x5 reduce": trained(random, C, 48),
        "5x5": trained(random, 48, 64, 5),
        "3x3 reduce": trained(random, C, 64),
        "3x3 first": trained(random, 64, 96, 3),
        "3x3 second": trained(random, 96, 96, 3),
        "pool": trained(random, C, pooled),
    }


def module(parameters):
    """Mixed_5b, 5c or 5d. The pool divides by the pixels that exist."""
    wide = [
        convolution(parameters["5x5 reduce"]),
        convolution(parameters["5x5"], padding=2),
    ]
    double = [
        convolution(parameters["3x3 reduce"]),
        convolution(parameters["3x3 first"], padding=1),
        convolution(parameters["3x3 second"], padding=1),
    ]
    pool = [
        fastpw.AveragePool2d(3, stride=1, padding=1),
        convolution(parameters["pool"]),
    ]
    branches = [convolution(parameters["1x1"]), *map(fastpw.Chain, (wide, double, pool))]
    return fastpw.Concat(branches)


def draw_reduction(random, C):
    return {
        "3x3": trained(random, C, 384, 3),
        "double reduce": trained(random, C, 64),
        "double first": trained(random, 64, 96, 3),
        "double second": trained(random, 96, 96, 3),
    }


def reduction(parameters):
    """Mixed_6a: the image is halved by convolutions and by a pool alike. Nothing is padded at its edge."""
    double = [
        convolution(parameters["double reduce"]),
        convolution(parameters["double first"], padding=1),
        convolution(parameters["double second"], stride=2),
    ]
    return fastpw.Concat(
        [
            convolution(parameters["3x3"], stride=2),
            fastpw.Chain(double),
            fastpw.MaxPool2d(3, stride=2),
        ]
    )


def main():
    random = np.random.default_rng(0)
    modules = {
        "Mixed_5b": module(draw_module(random, 192, pooled=32)),
        "Mixed_5c": module(draw_module(random, 256, pooled=64)),
        "Mixed_5d": module(draw_module(random, 288, pooled=64)),
        "Mixed_6a": reduction(draw_reduction(random, 288)),
    }
    x = random.random((1, 35, 35, 192), np.float32)
    y = x
    print(f"input     {y.shape}")
    for name, layer in modules.items():
        widths = [branch.output_shape(y.shape)[-1] for branch in layer.layers]
        y = layer(y)
        print(f"{name}  {y.shape}, channels {' + '.join(map(str, widths))}")

    whole = fastpw.Chain(modules.values())
    assert np.array_equal(whole(x), y)
    print("All four as one Chain give the same bits.")


if __name__ == "__main__":
    main()
