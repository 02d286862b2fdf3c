"""Draws the pictures of how_it_works.md, from the constants that the code computes with."""

from itertools import pairwise

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

import fastpw
from fastpw import _fused
from fastpw.bench import layers
from fastpw.core import fusing, machine, partition

INK, PAPER, SHADE, MARK, SECOND = "#22303c", "#ffffff", "#e8edf2", "#f2a541", "#5b8fb9"

LAYER = "resnet50.c2.expand"
THREADS = 2

# MobileNetV2's third block at 56 x 56: 24 channels, 144 between, a 3x3 per channel.
ROWS, NARROW, WIDE, TAPS = 56, 24, 144, 3
FLOAT = 4  # bytes


def draw_all(folder):
    """Every picture into a file of its name."""
    for draw in (road, tiles, bands):
        figure = draw()
        FigureCanvasSVG(figure)
        figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})


def _canvas(width, height):
    """An empty picture whose coordinates are tenths of inches, from the top left."""
    figure = Figure(figsize=(width / 10, height / 10))
    figure.patch.set_facecolor(PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def _box(axes, x, y, width, height, text, face=SHADE):
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1", fc=face, ec=INK, lw=1)
    )
    _say(axes, x + width / 2, y + height / 2, text)


def _say(axes, x, y, text, **options):
    options = {"ha": "center", "va": "center", "fontsize": 9, "color": INK, **options}
    axes.text(x, y, text, **options)


def _arrow(axes, start, end):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0})


def _rectangle(axes, x, y, width, height, face=PAPER, edge=INK, line=0.8):
    axes.add_patch(Rectangle((x, y), width, height, fc=face, ec=edge, lw=line))


def _line(axes, *points, width=0.6, style="-"):
    axes.plot(*zip(*points, strict=True), color=INK, lw=width, ls=style)


def _power(number):
    return f"$2^{{{number.bit_length() - 1}}}$"


# ---- the road of a call ----------------------------------------------------------------------------------


def road():
    figure, axes = _canvas(76, 48)
    _box(axes, 2, 3, 20, 7, "layer(x)\nor conv1x1(x, weight)")
    _box(axes, 28, 3, 20, 7, "Is there a program of\nan earlier call?")
    _box(axes, 54, 3, 20, 7, "bind: are these arrays laid\nout as those were?")
    _box(axes, 54, 34, 20, 11, "", MARK)
    _say(axes, 64, 37, "run", weight="bold")
    _say(axes, 64, 41.4, f"one thread below {_power(partition.SMALL_WORK)}\nmultiply-adds, the GIL\n"
         f"is held below {_power(partition.BRIEF_WORK)}", fontsize=8)  # fmt: skip
    _box(axes, 28, 18, 20, 7, "check every argument;\nerrors are raised here")
    _box(axes, 28, 34, 20, 11, "")
    _say(axes, 38, 37, "describe", weight="bold")
    _say(axes, 38, 41.2, "views of the arrays, how they\nare cut: a new program", fontsize=8)
    _arrow(axes, (22, 6.5), (28, 6.5))
    _arrow(axes, (48, 6.5), (54, 6.5))
    _say(axes, 51, 5, "yes", fontsize=8)
    _arrow(axes, (64, 10), (64, 34))
    _say(axes, 65, 22, "yes: no other\ncheck is needed", fontsize=8, ha="left")
    _arrow(axes, (38, 10), (38, 18))
    _say(axes, 36, 14, "no", fontsize=8)
    _line(axes, (57, 10), (57, 21.5), width=1)
    _arrow(axes, (57, 21.5), (48, 21.5))
    _say(axes, 55.4, 14, "no", fontsize=8)
    _arrow(axes, (38, 25), (38, 34))
    _arrow(axes, (48, 39.5), (54, 39.5))
    return figure


# ---- tiles and panels ------------------------------------------------------------------------------------


def _tile():
    """The instruction set that is drawn, and rows and columns of its widest tile."""
    kernels = next(row for row in machine.kernel_sets() if row["dtype"] == "float32")
    rows, columns, *_ = kernels["tiles"][0]
    return kernels["isa"], rows, columns


def tiles():
    figure, axes = _canvas(86, 60)
    isa, high, wide = _tile()
    layer = next(layer for layer in layers.load() if layer.name == LAYER)
    panels = -(-layer.K // wide)
    cut = partition.blocks(layer.P, panels, layer.C, high, wide, FLOAT, THREADS)
    left, top, depth, height, width = 8, 26, 14, 30, 34
    columns, rows = width / panels, height / -(-layer.P // cut.rows)
    at = left + depth + 6

    _rectangle(axes, left, top, depth, height, SHADE)
    _rectangle(axes, at, top - depth - 4, width, depth, SHADE)
    _rectangle(axes, at, top, width, height, SHADE)
    first = 4 * rows
    _rectangle(axes, left, top + first, depth, rows, SECOND)
    _rectangle(axes, at + 2 * columns, top - depth - 4, columns, depth, MARK)
    _rectangle(axes, at, top + first, width, rows, SECOND, line=0)
    _rectangle(axes, at + 2 * columns, top + first, columns, rows, MARK)
    for panel in range(1, panels):
        _line(axes, (at + panel * columns, top - depth - 4), (at + panel * columns, top - 4))
        _line(axes, (at + panel * columns, top), (at + panel * columns, top + height))
    _say(axes, left + depth / 2, top - 1.5, f"x: {layer.P} pixels × {layer.C}", fontsize=8)
    _say(
        axes,
        at + width / 2,
        top - depth - 7.2,
        f"weights, packed: {panels} panels of {wide} outputs",
        fontsize=8,
    )
    _say(axes, at + width / 2, top - 1.8, f"y: {layer.P} × {layer.K}", fontsize=8)
    _say(axes, left - 1, top + first + rows / 2, f"a block:\n{cut.rows} rows", fontsize=8, ha="right")
    _say(axes, left + depth / 2, top + height + 2.3, "read in place,\nnever copied", fontsize=8)
    _say(axes, at + width / 2, top + height + 2,
         f"{cut.threads} threads share the blocks; a block meets all panels in turn", fontsize=8)  # fmt: skip
    _zoom(axes, isa, high, wide, (at + 3 * columns, top + first + rows / 2))
    return figure


def _zoom(axes, isa, high, wide, source):
    """One tile, with a cell for each of its sums."""
    x, y, width = 66, 16, 18
    cell = width / wide
    _line(axes, source, (x, y), width=0.6, style=":")
    _line(axes, source, (x, y + high * cell), width=0.6, style=":")
    for row in range(high):
        for column in range(wide):
            _rectangle(axes, x + column * cell, y + row * cell, cell, cell, MARK, PAPER, 0.5)
    _say(
        axes,
        x + width / 2,
        y - 4.5,
        f"a tile of it: {high} × {wide} sums,\nheld in registers ({isa})",
        fontsize=8,
    )
    _say(axes, x + width / 2, y + high * cell + 7,
         "over the whole depth:\n+= x[row, c] · weight[c, column]\nthen bias, residual, activation,\n"
         "and one store", fontsize=8)  # fmt: skip


# ---- bands and line buffers ------------------------------------------------------------------------------


def _stages():
    """The block as core cuts it."""
    ones = np.ones((WIDE, NARROW), np.float32)
    block = (
        fastpw.Conv1x1(ones),
        fastpw.DepthwiseConv2d(np.ones((TAPS, TAPS, WIDE), np.float32), padding=TAPS // 2),
        fastpw.Conv1x1(ones, weight_layout="IO"),
    )
    return _fused.stages(block, [(1, ROWS, ROWS, channels) for channels in (NARROW, WIDE, WIDE, NARROW)])


def bands():
    figure, axes = _canvas(90, 56)
    stages = _stages()
    cut = fusing.by_bands(stages, 1, FLOAT, THREADS)
    rows = -(-ROWS // cut.bands)
    unit, top, middle = 44 / ROWS, 7, 5 * rows
    between = cut.rooms
    kilobytes = fusing.scratch(stages, cut.bands, FLOAT) / 1024
    above = TAPS // 2
    places = [
        (6, 10, middle - above, between[0], f"input\n{ROWS} rows × {NARROW} channels", "read"),
        (28, 16, None, between[0], f"line buffer\n{between[0]} rows × {WIDE}", "1x1"),
        (52, 16, None, between[1], f"line buffer\n{between[1]} rows × {WIDE}", "3x3"),
        (76, 10, middle, rows, f"result\na band: {rows} rows", "1x1"),
    ]
    for x, width, start, count, text, _ in places:
        _say(axes, x + width / 2, 3, text, fontsize=8)
        if start is None:
            y = top + (middle + rows / 2 - count / 2) * unit
        else:
            _rectangle(axes, x, top, width, ROWS * unit, SHADE)
            y = top + start * unit
        for row in range(count):
            _rectangle(axes, x, y + row * unit, width, unit, MARK if start is None else SECOND)
        if start is not None:
            for band in range(1, cut.bands):
                _line(axes, (x, top + band * rows * unit), (x + width, top + band * rows * unit), width=0.4)
    level = top + (middle + rows / 2) * unit
    for (x, width, *_), (following, *_, name) in pairwise(places):
        _arrow(axes, (x + width + 0.5, level), (following - 0.5, level))
        _say(axes, (x + width + following) / 2, level - 1.6, name, fontsize=8)
    saved = sum(ROWS * ROWS * stage.channels for stage in stages[:-1]) * FLOAT / 2**20
    _say(axes, 48, top + 40,
         f"{cut.bands} bands for {cut.threads} threads. A thread works in {kilobytes:.0f} KiB of its cache;\n"
         f"{saved:.1f} MiB between the layers are never written to memory.\n"
         f"Of a 3x3, {TAPS - 1} rows are kept for the next band.", fontsize=8)  # fmt: skip
    return figure
