"""Pixels of a hyperspectral image, classified by the workers of a dask cluster, piece by piece.

A hyperspectral camera measures hundreds of bands for each pixel, and its images are larger than the memory.
A `dask.array` holds one in chunks. A classifier of pixels is a chain of 1x1 convolutions, and `map_blocks`
calls it for each chunk, wherever that is: the layers pickle, as their plain weights, and are packed once
where they arrive.

One sees which classes the pixels have, and that each pixel has the same bits as in one call for the whole
image.

pip install "fastpw[dask]"
"""

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import fastpw

BANDS, CLASSES = 200, 5


def classifier(random, spectra):
    """Scores of the classes; each class has a spectrum, which the first layer looks for."""
    first = np.vstack([spectra, -spectra]).astype(np.float32) / BANDS
    last = random.standard_normal((CLASSES, 2 * CLASSES)) / 10
    last[:, :CLASSES] += np.eye(CLASSES)
    return fastpw.Chain(
        [
            fastpw.Conv1x1(first, activation="relu"),
            fastpw.Conv1x1(last.astype(np.float32)),
        ]
    )


def measured(fields, spectra, block_id):
    """Stands for a piece of a file: the spectra of some pixels, with noise."""
    noise = np.random.default_rng(block_id).standard_normal((*fields.shape, BANDS), dtype=np.float32)
    return spectra[fields] + 0.3 * noise


def image(random, spectra, height, width):
    """Fields of one class each, and a dask.array (height, width, BANDS), a pixel in one chunk."""
    fields = random.integers(0, CLASSES, (height // 20, width // 20)).repeat(20, axis=0).repeat(20, axis=1)
    pieces = da.from_array(fields, chunks=(height // 4, width // 2))
    chunks = (*pieces.chunks, (BANDS,))
    pixels = pieces.map_blocks(measured, spectra, new_axis=2, chunks=chunks, dtype=np.float32)
    return fields, pixels


def scores(pixels, layers):
    """A dask.array (height, width, CLASSES), computed when it is asked for."""
    return pixels.map_blocks(layers, chunks=(*pixels.chunks[:2], (CLASSES,)), dtype=np.float32)


def main():
    random = np.random.default_rng(0)
    spectra = random.standard_normal((CLASSES, BANDS), dtype=np.float32)
    layers = classifier(random, spectra)
    fields, pixels = image(random, spectra, 160, 120)
    print(f"an image {pixels.shape} in {pixels.npartitions} chunks of {pixels.chunksize}")

    # One thread for each worker: the workers are what runs side by side.
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster):
        found = scores(pixels, layers).compute()

    print(f"{np.mean(found.argmax(axis=-1) == fields):.1%} of the pixels have the class of their field")
    assert np.array_equal(found, layers(pixels.compute()))
    print("Each pixel has the same bits as in one call for the whole image.")


if __name__ == "__main__":
    main()
