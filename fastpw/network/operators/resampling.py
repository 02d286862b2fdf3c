"""Which pixels make a pixel of another size, and their shares: cubic, and both ways against aliasing."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..plan import Bound
from .regions import cubic_shares


def pixels_and_shares(
    node: Node, places: np.ndarray, old: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """For new pixels that lie at these places among the old ones, each as (taps, new pixels)."""
    get = node.attributes.get
    a, cubic = get("cubic_coeff_a", -0.75), get("mode") == "cubic"
    low = np.floor(places.astype(np.float64))
    t = places - low
    if get("antialias", 0):
        # The window is as much wider as the image becomes smaller.
        wide = min(scale, 1.0)
        first = int(np.floor((-2 if cubic else -1) / wide)) + 1
        taps = np.arange(first, 2 - first)[:, np.newaxis]
        away = np.abs((taps - t) * wide)
        shares = _cubic(away, a) if cubic else np.clip(1 - away, 0, 1)
        shares /= shares.sum(axis=0)
    else:
        taps = np.arange(-1, 3)[:, np.newaxis]
        shares = np.stack(cubic_shares(t, a))
    pixels = low.astype(np.int64) + taps
    if get("exclude_outside", 0):
        shares = np.where((pixels < 0) | (pixels >= old), 0, shares)
        shares /= shares.sum(axis=0)
    return np.clip(pixels, 0, old - 1), shares


def _cubic(away: np.ndarray, a: float) -> np.ndarray:
    """Of a pixel that lies so far away."""
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


def weighing(x: np.ndarray, pixels: np.ndarray, shares: np.ndarray, y: np.ndarray) -> Bound:
    """Rows of y as sums of rows of x."""
    shares = shares.astype(y.dtype if y.dtype.kind == "f" else np.float64)

    def run() -> None:
        for target, rows, weights in zip(y, pixels.T, shares.T, strict=True):
            total = x[rows[0]] * weights[0]
            for row, weight in zip(rows[1:], weights[1:], strict=True):
                if weight:
                    total += x[row] * weight
            np.copyto(target, total, casting="unsafe")

    return run
