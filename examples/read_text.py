"""Draws a line of text, finds and reads it with the networks of PP-OCRv4, and prints what they read.

Du et al. 2020, PP-OCR: A Practical Ultra Lightweight OCR System, arXiv:2009.09941; here version 4 of it.

pip install "fastpw[onnx]" pillow
pip install --no-deps rapidocr-onnxruntime     # for its networks: they are .onnx files in the package
python examples/read_text.py "The quick brown fox"
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from PIL import Image, ImageDraw, ImageFont

import fastpw

Network = Callable[[np.ndarray], np.ndarray]
Box = tuple[int, int, int, int]  # left, top, right, bottom

# What the networks were trained with: (x / 255 - MEAN) / DEVIATION, in the order of the channels.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
STEP = 32  # pixels: what the detection's sides are multiples of
HEIGHT = 48  # of a line, for the recognition


def drawn(text: str) -> Image.Image:
    """A line of text on paper."""
    font = ImageFont.load_default(size=36)
    left, top, right, bottom = font.getbbox(text)
    width, height = (-(-(side + 80) // STEP) * STEP for side in (right - left, bottom - top))
    image = Image.new("RGB", (int(width), int(height)), "white")
    ImageDraw.Draw(image).text((40, 40 - top), text, font=font, fill="black")
    return image


def runs(marked: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where neighbours are marked: from, to."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def found(image: Image.Image, detect: Network) -> Iterator[Box]:
    """The boxes of lines. The network says of each pixel how likely it lies in the middle of a line."""
    pixels = (np.asarray(image, np.float32) / 255 - MEAN) / DEVIATION
    inside = detect(np.ascontiguousarray(pixels[np.newaxis]))[0, ..., 0] > 0.3
    for top, bottom in runs(inside.any(axis=1)):
        columns = np.flatnonzero(inside[top:bottom].any(axis=0))
        around = int((bottom - top) * 0.8)  # the middle of a line is about half as high as the line
        left, right = int(columns[0]) - around, int(columns[-1]) + around
        yield max(left, 0), max(top - around, 0), min(right, image.width), min(bottom + around, image.height)


def read(line: Image.Image, recognise: Network, characters: list[str]) -> str:
    """The text of a line: for each column the likeliest character, without repetitions and blanks (CTC)."""
    width = max(line.width * HEIGHT // line.height, HEIGHT)
    pixels = np.asarray(line.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
    best = recognise((pixels[np.newaxis] / 255 - 0.5) / 0.5)[0].argmax(axis=-1)
    kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return "".join(characters[number] for number in kept if number)


def characters(path: Path) -> list[str]:
    """What the recognition's outputs mean, as its file says: a blank, the characters, a space."""
    properties = {
        entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props
    }
    return ["", *properties["character"].splitlines(), " "]


def by_onnxruntime(path: Path) -> Network:
    """The same network on ONNX Runtime, for those who have it."""
    import onnxruntime  # noqa: PLC0415 - only --peer takes it

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: np.ndarray) -> np.ndarray:
        y = session.run(None, {name: x.transpose(0, 3, 1, 2)})[0]
        return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y

    return run


def models() -> Path:
    """The folder with the networks."""
    package = importlib.util.find_spec("rapidocr_onnxruntime")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("pip install --no-deps rapidocr-onnxruntime, or give --models FOLDER")
    return Path(package.submodule_search_locations[0]) / "models"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", default="Nothing here but NumPy, 2026")
    parser.add_argument("--models", type=Path, help="where the .onnx files are")
    parser.add_argument("--image", type=Path, help="keep the drawn image here")
    parser.add_argument("--peer", action="store_true", help="read with ONNX Runtime, too")
    arguments = parser.parse_args()
    folder = arguments.models or models()
    detection, recognition = (next(folder.glob(f"*_{kind}_infer.onnx")) for kind in ("det", "rec"))
    image = drawn(arguments.text)
    if arguments.image:
        image.save(arguments.image)

    def load(path: Path) -> Network:
        return fastpw.load(path, layout="NHWC")

    names = characters(recognition)
    print("drawn:", arguments.text)
    for make in (load, by_onnxruntime) if arguments.peer else (load,):
        detect, recognise = make(detection), make(recognition)
        for box in found(image, detect):
            print("found:", *box)
            print("read: ", read(image.crop(box), recognise, names))


if __name__ == "__main__":
    main()
