"""A photograph from RGB to YCbCr, which is a 1x1 convolution, against Pillow's own conversion."""

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")

pytestmark = pytest.mark.usefixtures("isa", "threads")

# ITU-R BT.601-7, section 2.5: luma, and the scaled differences of blue and red from it, to which JPEG files
# (JFIF 1.02) add 128.
LUMA = np.array([0.299, 0.587, 0.114])
RED, BLUE = np.eye(3)[[0, 2]]
WEIGHT = np.array([LUMA, (BLUE - LUMA) / 1.772, (RED - LUMA) / 1.402])
BIAS = np.array([0, 128, 128])


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_rgb_to_ycbcr(name, dtype, conv):
    rgb = datasets.load_sample_image(name)
    ycbcr = conv(rgb.astype(dtype), WEIGHT.astype(dtype), BIAS.astype(dtype))
    theirs = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    # Pillow adds three products, each off by at most 1/64, and drops the fraction.
    difference = theirs - ycbcr
    assert difference.min() > -1 - 3 / 64
    assert difference.max() < 3 / 64
