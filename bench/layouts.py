"""Arrays of random numbers that lie in memory in every way that fastpw takes: for random_calls.py."""

import math
import random
from functools import lru_cache
from typing import NamedTuple

import numpy as np

CACHE_LINE = 64

# How an array lies in memory, and how often.
TIDY = {"plain": 8, "offset": 2}
ANYHOW = {"plain": 30, "offset": 10, "unaligned": 8, "slice": 15, "crop": 12, "reversed": 8, "steps": 6}
READ = {**ANYHOW, "repeated": 6, "transposed": 5}
WRITTEN = ANYHOW
SUMMED = {**ANYHOW, "transposed": 20, "scattered": 15}  # dweight, dbias: their last axis may have any stride


class Draw(random.Random):
    """A random.Random, which gives the same numbers on every version of Python."""

    def often(self, share):
        return self.random() < share

    def pick(self, weights):
        return self.choices([*weights], [*weights.values()])[0]

    def log(self, least, most):
        """An integer, as likely between 1 and 10 as between 10 and 100."""
        return round(math.exp(self.uniform(math.log(least), math.log(most))))


@lru_cache(maxsize=2)
def pool(dtype):
    """Normal numbers, drawn once: calls take theirs from anywhere in it."""
    return np.random.default_rng(0).standard_normal(1 << 21).astype(dtype)


class Memory(NamedTuple):
    """An array, and all of the memory that it lies in."""

    array: np.ndarray
    flat: np.ndarray


def numbers(draw, count, dtype, offset=0):
    """Random numbers, so many bytes behind the beginning of a cache line."""
    room = np.empty(count * dtype.itemsize + 2 * CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE + offset
    flat = room[start : start + count * dtype.itemsize].view(dtype)
    source, first = pool(dtype), draw.randrange(1 << 20)
    for done in range(0, count, 1 << 20):
        part = flat[done : done + (1 << 20)]
        part[:] = source[first : first + len(part)]
    return flat


class Layout(NamedTuple):
    """Where an array's elements lie: per axis, what is before and after it, and its step; 0 repeats one."""

    name: str
    shape: tuple
    around: tuple
    steps: tuple
    backwards: bool = False  # whether the axes lie in memory in reverse order
    offset: int = 0  # bytes

    def make(self, draw, dtype):
        inner = [size * abs(step) if step else 1 for size, step in zip(self.shape, self.steps, strict=True)]
        starts = [before for before, _ in self.around]
        sizes = [size + sum(around) for size, around in zip(inner, self.around, strict=True)]
        flat = numbers(draw, math.prod(sizes), dtype, self.offset)
        block = flat.reshape(sizes[::-1]).T if self.backwards else flat.reshape(sizes)
        block = block[tuple(slice(b, b + size) for b, size in zip(starts, inner, strict=True))]
        view = block[tuple(slice(None, None, step or 1) for step in self.steps)]
        return Memory(np.broadcast_to(view, self.shape) if 0 in self.steps else view, flat)


def layout(draw, shape, weights, dtype):
    """One of the ways in `weights` that an array of that shape may lie."""
    name, axes = draw.pick(weights) if shape else "plain", len(shape)
    around, steps, backwards, offset = [(0, 0)] * axes, [1] * axes, False, 0
    pixels = range(max(1, axes - 1)) if weights is SUMMED else range(axes - 1)
    if name == "offset":
        offset = dtype.itemsize * draw.randrange(CACHE_LINE // dtype.itemsize)
    elif name == "unaligned":
        offset = draw.randrange(CACHE_LINE)
    elif name == "slice":
        around[-1] = draw.randrange(9), draw.randrange(9)
    elif name == "crop":
        around = [(draw.randrange(3), draw.randrange(4)) for _ in shape]
    elif name == "reversed":
        steps = [draw.choice((-1, -1, 1, -2)) if axis in pixels else 1 for axis in range(axes)]
    elif name == "steps":
        steps = [draw.choice((1, 2, 3)) if axis in pixels else 1 for axis in range(axes)]
    elif name == "scattered":
        steps = [draw.choice((2, -2, 3, -1)) for _ in shape]
    elif name == "repeated":
        steps = [draw.choice((0, 1)) if axis in pixels else 1 for axis in range(axes)]
    elif name == "transposed":
        backwards = True
    return Layout(name, tuple(shape), tuple(around), tuple(steps), backwards, offset)
