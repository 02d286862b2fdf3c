"""What `fastpw run` gives to a network: photographs, .npy and .npz files, as arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpw.network import Network, NetworkPort

ARRAYS = (".npy", ".npz")


class Preparation(NamedTuple):
    """What becomes of a photograph.

    Attributes
    ----------
    size : int or None
        Height and width after the crop; None: those of the network, or the photograph's own.
    resize : int or None
        Length of the short side before the crop; None: `size`.
    mean, std : list of float
        Of each channel, or one of all.
    """

    size: int | None = None
    resize: int | None = None
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)


def read(net: Network, texts: Iterable[str], preparation: Preparation) -> dict[str, NDArray[Any]]:
    """The arrays of a call.

    Parameters
    ----------
    net : Network
    texts : list of str
        Each "FILE" or "NAME=FILE".
    preparation : Preparation

    Raises
    ------
    ImportError
        A photograph takes Pillow, which is not installed.
    OSError, TypeError, ValueError
        A file cannot be read, or the network does not have such an input.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for text in texts:
        for name, array in _arrays(net, text, preparation).items():
            if name in arrays:
                raise ValueError(f"input {name!r}: one file is needed, got two")
            arrays[name] = array
    return arrays


def _arrays(net, text, preparation):
    """Those that one argument stands for."""
    name, path = _named(net, text)
    suffix = path.suffix.lower()
    if suffix not in ARRAYS:
        port = _port(net, name, path)
        return {port.name: photograph(path, port, preparation)}
    try:
        loaded = np.load(path, allow_pickle=False)
        if suffix == ".npy":
            return {_port(net, name, path).name: _fitting(loaded, _port(net, name, path))}
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (EOFError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: no arrays, or damaged ones: {error}") from error
    if len(arrays) == 1 and (name or len(net.inputs) == 1):
        arrays = dict.fromkeys([_port(net, name, path).name], *arrays.values())
    elif name:
        raise ValueError(f"{path}: one array is needed for input {name!r}, got {', '.join(arrays)}")
    return {key: _fitting(array, _port(net, key, path)) for key, array in arrays.items()}


def _named(net, text):
    """The name of an input, "" where there is none, and the path."""
    name, equals, rest = text.partition("=")
    if equals and (name in [port.name for port in net.inputs] or not Path(text).exists()):
        return name, Path(rest)
    return "", Path(text)


def _port(net: Network, name: str, path: Path) -> NetworkPort:
    names = [port.name for port in net.inputs]
    if not name and len(names) == 1:
        return net.inputs[0]
    if name not in names:
        came = repr(name) if name else f"no name for {path}: use NAME={path}"
        raise ValueError(f"an input is needed, one of {', '.join(names)}; got {came}")
    return net.inputs[names.index(name)]


def _fitting(array, port):
    """Numbers of the same kind are converted; of another shape or kind, the network complains."""
    if array.dtype != port.dtype and np.can_cast(array.dtype, port.dtype, "same_kind"):
        return array.astype(port.dtype)
    return array


# ---- photographs -----------------------------------------------------------------------------------------


def photograph(path: Path, port: NetworkPort, preparation: Preparation) -> NDArray[Any]:
    """A photograph as a batch of one for an input, (1, channels, H, W) or (1, H, W, channels)."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - arrays do without
    except ImportError as error:
        raise ImportError(f'{path}: Pillow is needed to read it: pip install "fastpw[images]"') from error
    first, channels = _channels(port)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ValueError(f"{path}: no photograph that Pillow reads: {error}") from error
    size = (preparation.size,) * 2 if preparation.size else _size(port, first)
    if size is not None:
        image = cropped(image, size, preparation.resize)
    pixels = np.asarray(image, np.float32).reshape(image.height, image.width, channels)
    pixels = _normalized(pixels, port.dtype, preparation)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if first else pixels)[np.newaxis].astype(port.dtype)


def _channels(port):
    """Whether the channels come before the pixels, and how many they are."""
    if len(port.shape) == 4:
        for first, axis in ((True, 1), (False, 3)):
            if port.shape[axis] in (1, 3):
                return first, port.shape[axis]
    raise ValueError(f"input {port.name!r}: photographs have shape (1, 3, H, W), it has {port.shape}")


def _size(port, first):
    """Height and width, where the network says which."""
    size = port.shape[2:] if first else port.shape[1:3]
    return None if None in size else size


def cropped(image: Any, size: tuple[int, int], resize: int | None) -> Any:  # PIL.Image.Image
    """As torchvision's Resize and CenterCrop: the short side gets a length, then the middle is cut out."""
    height, width = size
    short = resize or max(size)
    if short < max(size):
        raise ValueError(f"--resize: at least {max(size)} is needed, as large as the crop, got {short}")
    if image.width <= image.height:
        wanted = short, int(short * image.height / image.width)
    else:
        wanted = int(short * image.width / image.height), short
    bilinear = 2  # PIL.Image.Resampling.BILINEAR, which smooths when it makes an image smaller
    image = image.resize(wanted, bilinear)
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def _normalized(pixels, dtype, preparation):
    """From 0 to 1, minus the mean, over the standard deviation; integers stay from 0 to 255."""
    mean, std = (np.asarray(numbers, np.float32) for numbers in (preparation.mean, preparation.std))
    for name, numbers in (("--mean", mean), ("--std", std)):
        if numbers.size not in (1, pixels.shape[-1]):
            raise ValueError(f"{name}: 1 or {pixels.shape[-1]} numbers are needed, got {numbers.size}")
    if np.any(std == 0):
        raise ValueError("--std: numbers other than 0 are needed")
    if dtype.kind == "f":
        return (pixels / np.float32(255) - mean) / std
    if np.any(mean != 0) or np.any(std != 1):
        raise ValueError(f"--mean and --std: an input of floats is needed, got one of {dtype}")
    return pixels
