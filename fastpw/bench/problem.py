"""One layer's arrays, and the check of a result against the reference."""

import numpy as np

from fastpw import bounds

CHECKED_PIXELS = 64  # of a result, spread evenly: the reference takes float64 and its time


class Problem:
    """Random float32 arrays in the sizes of a layer; the same ones each time."""

    def __init__(self, layer):
        self.layer = layer
        random = np.random.default_rng(0)
        self.x = random.random((layer.N, layer.H, layer.W, layer.C), dtype=np.float32) - np.float32(0.5)
        self.weight = random.random((layer.K, layer.C), dtype=np.float32) - np.float32(0.5)
        self.bias = random.random(layer.K, dtype=np.float32) - np.float32(0.5)
        self.pixels = self.x[:, :: layer.stride, :: layer.stride]  # those the layer computes from
        self._sample = np.unique(np.linspace(0, layer.P - 1, CHECKED_PIXELS).astype(int))
        n, h, w, _ = layer.output_shape
        rows = self.pixels[np.unravel_index(self._sample, (n, h, w))]
        self._promise = bounds.promise(rows, self.weight, self.bias, activation="relu")

    def new_output(self):
        """An array for the result, full of NaN so that a pixel left out is noticed."""
        return np.full(self.layer.output_shape, np.nan, np.float32)

    def check(self, y, name):
        """Raise ArithmeticError if the result `y` of implementation `name` is not the layer's."""
        if not np.isfinite(y).all():
            raise ArithmeticError(f"{self.layer.name}: {name} left pixels out or made them NaN or infinite")
        excess = bounds.excess(y.reshape(-1, self.layer.K)[self._sample], *self._promise)
        if excess > 1:
            raise ArithmeticError(
                f"{self.layer.name}: the result of {name} lies {excess:.3g} times further from the reference "
                "than rounding allows"
            )
