"""A pipeline of threads: some read images, some compute, and all use the same layers.

A layer does not change, so threads share it without locks. A call releases the GIL, so they compute at the
same time. Each call works alone (`num_threads(1)`): the images run side by side, and a team of threads for
each of them would only make them wait for one another.

One sees how many images each way takes in a second, and that the results are the same bits.
"""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastpw

IMAGES, SIZE = 40, 192


def network(random):
    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32) / math.sqrt(math.prod(shape[1:]))

    return fastpw.Chain(
        [
            fastpw.Conv2d(normal(32, 3, 3, 3), stride=2, padding="same", activation="relu"),
            fastpw.DepthwiseConv2d(normal(3, 3, 32), padding=1, activation="relu"),
            fastpw.Conv1x1(normal(64, 32), activation="relu"),
            fastpw.GlobalAveragePool(),
            fastpw.Conv1x1(normal(10, 64)),
        ]
    )


def read(number):
    """Stands for a file: an image (H, W, 3) of bytes."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def scores(layers, number):
    """One image through the pipeline: read, made floats, computed."""
    x = read(number).astype(np.float32) / 255
    with fastpw.num_threads(1):  # holds for this thread
        return layers(x[np.newaxis])[0]


def main():
    layers = network(np.random.default_rng(0))
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    started = time.perf_counter()
    one_by_one = [scores(layers, number) for number in range(IMAGES)]
    alone = time.perf_counter() - started

    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        together = list(pool.map(lambda number: scores(layers, number), range(IMAGES)))
        side_by_side = time.perf_counter() - started

    assert all(map(np.array_equal, one_by_one, together))
    print(f"one by one: {IMAGES / alone:.0f} images in a second")
    print(f"by {workers} threads: {IMAGES / side_by_side:.0f} images in a second")
    print("The results have the same bits.")


if __name__ == "__main__":
    main()
