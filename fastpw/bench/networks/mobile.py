"""MobileNets, EfficientNet and ShuffleNets, as their papers have them; of any width and depth."""

from __future__ import annotations

from fastpw.bench.networks.builder import Builder, Image


def _classified(b: Builder, x: Image) -> Image:
    """The mean of all pixels, and a score for each class."""
    return b.linear(b.flat(b.mean(x)), b.classes)


def _excited(b: Builder, x: Image, squeezed: int, activation: str, gate: str) -> Image:
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507, figure 3)."""
    inner = b.convolution(b.mean(x), squeezed, activation=activation)
    factors = b.activation(b.convolution(inner, x.channels, activation=None), gate)
    return b.multiply(x, factors)


def mobilenet_v1(b: Builder) -> Image:
    """Howard et al. 2017, arXiv:1704.04861, table 1."""
    x = b.convolution(b.x, b.channels(32), 3, 2)
    for filters, stride, times in ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2)):
        for number in range(b.times(times)):
            x = b.convolution(x, x.channels, 3, 1 if number else stride, groups=x.channels)
            x = b.convolution(x, b.channels(filters))
    return _classified(b, x)


def mobilenet_v2(b: Builder) -> Image:
    """Sandler et al. 2018, arXiv:1801.04381, table 2."""
    x = b.convolution(b.x, b.channels(32), 3, 2, activation="relu6")
    for factor, filters, times, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
        (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for number in range(b.times(times)):
            inner, hidden, step = x, x.channels * factor, 1 if number else stride
            if factor > 1:
                inner = b.convolution(inner, hidden, activation="relu6")
            inner = b.convolution(inner, hidden, 3, step, groups=hidden, activation="relu6")
            inner = b.convolution(inner, b.channels(filters), activation=None)
            adds = step == 1 and x.channels == inner.channels
            x = b.add(x, inner) if adds else inner
    return _classified(b, b.convolution(x, b.channels(1280), activation="relu6"))


# kernel, hidden, filters, squeezed, activation, stride
_V3_LARGE = (
    (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1),
    (5, 72, 40, 24, "relu", 2), (5, 120, 40, 32, "relu", 1), (5, 120, 40, 32, "relu", 1),
    (3, 240, 80, 0, "hard_swish", 2), (3, 200, 80, 0, "hard_swish", 1), (3, 184, 80, 0, "hard_swish", 1),
    (3, 184, 80, 0, "hard_swish", 1), (3, 480, 112, 120, "hard_swish", 1),
    (3, 672, 112, 168, "hard_swish", 1), (5, 672, 160, 168, "hard_swish", 2),
    (5, 960, 160, 240, "hard_swish", 1), (5, 960, 160, 240, "hard_swish", 1),
)  # fmt: skip


def mobilenet_v3_large(b: Builder) -> Image:
    """Howard et al. 2019, arXiv:1905.02244, table 1."""
    x = b.convolution(b.x, b.channels(16), 3, 2, activation="hard_swish")
    for kernel, count, filters, squeezed, activation, stride in _V3_LARGE:
        inner, hidden = x, b.channels(count)
        if hidden != x.channels:
            inner = b.convolution(inner, hidden, activation=activation)
        inner = b.convolution(inner, hidden, kernel, stride, groups=hidden, activation=activation)
        if squeezed:
            inner = _excited(b, inner, b.channels(squeezed), "relu", "hard_sigmoid")
        inner = b.convolution(inner, b.channels(filters), activation=None)
        x = b.add(x, inner) if stride == 1 and x.channels == inner.channels else inner
    x = b.convolution(x, b.channels(960), activation="hard_swish")
    return b.linear(b.linear(b.flat(b.mean(x)), b.channels(1280), "hard_swish"), b.classes)


def efficientnet_b0(b: Builder) -> Image:
    """Tan and Le 2019, arXiv:1905.11946, table 1."""
    x = b.convolution(b.x, b.channels(32), 3, 2, activation="silu")
    for factor, kernel, stride, filters, times in (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
    ):  # fmt: skip
        for number in range(b.times(times)):
            inner, hidden, step = x, x.channels * factor, 1 if number else stride
            if factor > 1:
                inner = b.convolution(inner, hidden, activation="silu")
            inner = b.convolution(inner, hidden, kernel, step, groups=hidden, activation="silu")
            inner = _excited(b, inner, max(x.channels // 4, 1), "silu", "sigmoid")
            inner = b.convolution(inner, b.channels(filters), activation=None)
            x = b.add(x, inner) if step == 1 and x.channels == inner.channels else inner
    return _classified(b, b.convolution(x, b.channels(1280), activation="silu"))


def shufflenet_v1(b: Builder) -> Image:
    """Zhang et al. 2017, arXiv:1707.01083, table 1, with three groups; figure 2."""
    groups = 3
    x = b.pool(b.convolution(b.x, 24, 3, 2), "Max", padding=1)
    for stage, (count, times) in enumerate(((240, 4), (480, 8), (960, 4))):
        filters = b.channels(count, 24)
        for number in range(b.times(times)):
            stride, inner = 1 if number else 2, filters // 4
            first = 1 if stage == number == 0 else groups
            y = b.shuffled(b.convolution(x, inner, groups=first), groups)
            y = b.convolution(y, inner, 3, stride, groups=inner, activation=None)
            last = filters - x.channels if stride == 2 else filters
            y = b.convolution(y, last, groups=groups, activation=None)
            y = b.together(b.pool(x, "Average", padding=1), y) if stride == 2 else b.add(x, y)
            x = b.activation(y, "relu")
    return _classified(b, x)


def shufflenet_v2(b: Builder) -> Image:
    """Ma et al. 2018, arXiv:1807.11164, table 5; figure 3 (c) and (d)."""
    x = b.pool(b.convolution(b.x, 24, 3, 2), "Max", padding=1)
    for count, times in ((116, 4), (232, 8), (464, 4)):
        half = b.channels(count, 4) // 2
        for number in range(b.times(times)):
            stride = 1 if number else 2
            if stride == 2:
                left = b.convolution(x, x.channels, 3, 2, groups=x.channels, activation=None)
                left, entering = b.convolution(left, half), x
            else:
                left, entering = b.halves(x)
            right = b.convolution(entering, half)
            right = b.convolution(right, half, 3, stride, groups=half, activation=None)
            x = b.shuffled(b.together(left, b.convolution(right, half)), 2)
    return _classified(b, b.convolution(x, b.channels(1024)))
