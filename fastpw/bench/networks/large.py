"""Networks for servers, as their papers have them; of any width and depth."""

from __future__ import annotations

from fastpw.bench.networks.builder import Builder, Image


def resnet50(b: Builder) -> Image:
    """He et al. 2015, arXiv:1512.03385, table 1; the stride in the 3x3, as torchvision has it."""
    x = b.pool(b.convolution(b.x, b.channels(64), 7, 2), "Max", padding=1)
    for count, times, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        inner = b.channels(count)
        for number in range(b.times(times)):
            step = 1 if number else stride
            y = b.convolution(b.convolution(x, inner), inner, 3, step)
            y = b.convolution(y, 4 * inner, activation=None)
            if step > 1 or x.channels != y.channels:
                x = b.convolution(x, 4 * inner, 1, step, activation=None)
            x = b.activation(b.add(y, x), "relu")
    return b.linear(b.flat(b.mean(x)), b.classes)


def nin(b: Builder) -> Image:
    """Lin et al. 2013, arXiv:1312.4400: each convolution is followed by two 1x1."""
    x = b.x
    rows = ((96, 11, 4, 0, 96), (256, 5, 1, 2, 256), (384, 3, 1, 1, 384), (1024, 3, 1, 1, None))
    for number, (count, kernel, stride, padding, last) in enumerate(rows):
        filters = b.channels(count)
        x = b.pool(x, "Max") if number else x
        x = b.convolution(x, filters, kernel, stride, padding=padding)
        x = b.convolution(b.convolution(x, filters), b.channels(last) if last else b.classes)
    scores = b.flat(b.mean(x))
    return b.node("Softmax", [scores.name], b.classes, None, 2, axis=1)


def squeezenet(b: Builder) -> Image:
    """SqueezeNet 1.1, whose pools round up (Iandola et al. 2016, arXiv:1602.07360, figure 1)."""
    x = b.convolution(b.x, b.channels(64), 3, 2, padding=0)
    for number, (squeezed, expanded) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        x = b.pool(x, "Max", up=True) if number in (0, 2, 4) else x
        inner, filters = b.convolution(x, b.channels(squeezed)), b.channels(expanded)
        x = b.together(b.convolution(inner, filters), b.convolution(inner, filters, 3))
    return b.flat(b.mean(b.convolution(x, b.classes)))


# ---- Inception V3 (Szegedy et al. 2015, arXiv:1512.00567, table 1; the channels as torchvision has them)


def _line(b: Builder, x: Image, *steps: tuple) -> Image:
    """Convolutions one after the other: (filters, kernel, stride, padding), the last two may be left out."""
    for filters, kernel, *more in steps:
        stride, padding = (more + [1, None][len(more) :])[:2]
        x = b.convolution(x, b.channels(filters), kernel, stride, padding=padding)
    return x


def _module_35(b: Builder, x: Image, pooled: int) -> Image:
    return b.together(
        _line(b, x, (64, 1)),
        _line(b, x, (48, 1), (64, 5)),
        _line(b, x, (64, 1), (96, 3), (96, 3)),
        _line(b, b.pool(x, "Average", 3, 1, 1), (pooled, 1)),
    )


def _module_17(b: Builder, x: Image, inner: int) -> Image:
    wide, tall = (1, 7), (7, 1)
    return b.together(
        _line(b, x, (192, 1)),
        _line(b, x, (inner, 1), (inner, wide), (192, tall)),
        _line(b, x, (inner, 1), (inner, tall), (inner, wide), (inner, tall), (192, wide)),
        _line(b, b.pool(x, "Average", 3, 1, 1), (192, 1)),
    )


def _module_8(b: Builder, x: Image) -> Image:
    def spread(inner: Image) -> Image:
        return b.together(_line(b, inner, (384, (1, 3))), _line(b, inner, (384, (3, 1))))

    return b.together(
        _line(b, x, (320, 1)),
        spread(_line(b, x, (384, 1))),
        spread(_line(b, x, (448, 1), (384, 3))),
        _line(b, b.pool(x, "Average", 3, 1, 1), (192, 1)),
    )


def inception_v3(b: Builder) -> Image:
    """The stem, modules at 35, 17 and 8 pixels, and what halves the images between them."""
    x = b.pool(_line(b, b.x, (32, 3, 2, 0), (32, 3, 1, 0), (64, 3)), "Max")
    x = b.pool(_line(b, x, (80, 1), (192, 3, 1, 0)), "Max")
    for pooled in (32, 64, 64)[: b.times(3)]:
        x = _module_35(b, x, pooled)
    x = b.together(
        _line(b, x, (384, 3, 2, 0)),
        _line(b, x, (64, 1), (96, 3), (96, 3, 2, 0)),
        b.pool(x, "Max"),
    )
    for inner in (128, 160, 160, 192)[: b.times(4)]:
        x = _module_17(b, x, inner)
    x = b.together(
        _line(b, x, (192, 1), (320, 3, 2, 0)),
        _line(b, x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0)),
        b.pool(x, "Max"),
    )
    for _ in range(b.times(2)):
        x = _module_8(b, x)
    return b.linear(b.flat(b.mean(x)), b.classes)


# ---- ConvNeXt (Liu et al. 2022, arXiv:2201.03545)

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def _normalized(b: Builder, x: Image) -> Image:
    """A layer normalization of the channels of each pixel."""
    return b.turned(b.normalized(b.turned(x, *LAST)), *FIRST)


def _next_block(b: Builder, x: Image) -> Image:
    """Figure 4: a depthwise 7x7, and an MLP on each pixel."""
    channels = x.channels
    pixels = b.turned(b.convolution(x, channels, 7, groups=channels, activation=None), *LAST)
    pixels = b.of_pixels(b.of_pixels(b.normalized(pixels), 4 * channels, "gelu"), channels)
    factors = b.constant([0.2] * channels)
    scaled = b.node("Mul", [factors, pixels.name], channels, x.pixels)
    return b.add(x, b.turned(scaled, *FIRST))


def convnext_t(b: Builder) -> Image:
    """Table 9, ConvNeXt-T."""
    x = b.x
    for number, (count, times) in enumerate(((96, 3), (192, 3), (384, 9), (768, 3))):
        x = _normalized(b, x) if number else x
        step = 2 if number else 4
        x = b.convolution(x, b.channels(count), step, step, activation=None, padding=0)
        x = x if number else _normalized(b, x)
        for _ in range(b.times(times)):
            x = _next_block(b, x)
    return b.linear(b.flat(_normalized(b, b.mean(x))), b.classes)
