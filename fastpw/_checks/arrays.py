"""Rules on arrays: what is read and what is written, where they lie, and the weight's layouts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import combinations

import numpy as np

from .options import WRT, shown

FLOATS = np.dtype(np.float32), np.dtype(np.float64)
INPUTS = "as the inputs have"  # why a result has a dtype


def array(name: str, value) -> np.ndarray:
    """The argument as a plain ndarray of native float32 or float64, without a copy where it is one."""
    given = value
    if type(value) is not np.ndarray:
        value = as_ndarray(name, value)
    if value.dtype not in FLOATS:
        raise _other_numbers(name, value.dtype, type(given))
    return value


def _other_numbers(name: str, dtype: np.dtype, kind: type) -> TypeError:
    """What came, and where it is real numbers, how to make floats of them."""
    came, better = str(dtype), "float64" if dtype.kind == "f" and dtype.itemsize >= 8 else "float32"
    if issubclass(kind, np.ndarray):
        floats = f"{name}.astype(np.{better})"
    else:
        came, floats = f"{came} from a {kind.__name__}", f"np.asarray({name}, np.{better})"
    hint = f"; give {floats}" if np.can_cast(dtype, np.float64, "same_kind") else ""
    return TypeError(f"{name}: float32 or float64 in native byte order is needed, got {came}{hint}")


def dtype(name: str, value) -> np.dtype:
    """One of those that arrays may have."""
    try:
        wanted = np.dtype(value)
    except Exception:
        wanted = np.dtype(object)
    if wanted not in FLOATS:
        raise TypeError(f"{name}: float32 or float64 is needed, got {shown(value)}")
    return wanted


def as_ndarray(name: str, value) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: a masked array is not supported, give {name}.filled(...) or {name}.data")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(f"{name}: NumPy makes no array of a {type(value).__name__}: {error}") from error


def with_channels(name: str, value) -> np.ndarray:
    """The argument as an array whose last axis is adjacent in memory."""
    if type(value) is not np.ndarray or value.dtype not in FLOATS:
        value = array(name, value)
    if value.ndim == 0:
        raise ValueError(f"{name}: an array (..., channels) is needed, got a scalar")
    if value.flags.c_contiguous or channels_adjacent(value):
        return value
    return np.ascontiguousarray(value)


def channels_adjacent(value: np.ndarray) -> bool:
    return value.shape[-1] <= 1 or value.strides[-1] == value.itemsize


def mixed_dtypes(**arrays: np.ndarray | None) -> TypeError:
    """Says which is which."""
    came = ", ".join(f"{name} is {value.dtype}" for name, value in arrays.items() if value is not None)
    return TypeError(f"{came}: one dtype for all is needed, nothing is converted silently; use .astype")


def output(
    name: str, value, shape: tuple[int, ...], dtype: np.dtype, of_pixels: bool = True, why: str = INPUTS
) -> np.ndarray:
    """An array to write to: a plain view of the caller's array. Pixels have adjacent channels."""
    if type(value) is not np.ndarray:
        value = _plain_view(name, value)
    if value.dtype != dtype:
        raise TypeError(f"{name}: dtype {dtype} is needed, {why}, got {value.dtype}")
    if value.shape != shape:
        raise ValueError(f"{name}: shape {shape} is needed, got {value.shape}")
    flags = value.flags
    if not flags.writeable:
        raise ValueError(f"{name}: a writable array is needed, got a read-only one")
    if not flags.c_contiguous:
        if of_pixels and not channels_adjacent(value):
            raise ValueError(
                f"{name}: channels adjacent in memory ({value.itemsize} bytes apart) are needed, "
                f"got strides {value.strides}"
            )
        if _overlaps_itself(value):
            raise ValueError(f"{name}: elements apart in memory are needed, got strides {value.strides}")
    return value


def _plain_view(name: str, value) -> np.ndarray:
    """A subclass may answer what it likes when it is asked for its shape; its view as an ndarray cannot."""
    kind = type(value)
    if not issubclass(kind, np.ndarray) or issubclass(kind, np.ma.MaskedArray):
        raise TypeError(f"{name}: a NumPy array is needed, got a {kind.__name__}")
    return np.asarray(value)


def _overlaps_itself(value: np.ndarray) -> bool:
    """Whether two elements may share memory: whether the axes, shortest stride first, do not nest."""
    reach = value.itemsize
    for stride, size in sorted((abs(s), n) for s, n in zip(value.strides, value.shape, strict=True) if n > 1):
        if stride < reach:
            return value.size > 0
        reach += stride * (size - 1)
    return False


# What NumPy's solver may spend on deciding whether two views overlap. Channel slices and crops of one array
# need far less; where it gives up, an input is copied that need not be.
OVERLAP_WORK = 1000


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return np.may_share_memory(a, b) and np.may_share_memory(a, b, OVERLAP_WORK)


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether each element of one lies exactly where the other has it."""
    return a is b or (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    )


def unwritten(a: np.ndarray, written: Iterable[np.ndarray], in_time: Iterable[np.ndarray] = ()) -> np.ndarray:
    """An input as it is before the outputs are written: a copy if it shares memory with one of them.

    With an output `in_time` it may share all of it: there each element is read before it is written.
    """
    for out in written:
        if overlap(a, out) and not (any(out is one for one in in_time) and same_memory(a, out)):
            return a.copy()
    return a


def apart(x, residual, y, z) -> tuple[np.ndarray, np.ndarray | None]:
    """x and residual as they are before y and z are written."""
    if z is not None and overlap(y, z):
        raise outputs_overlap("out_z", "out")
    written = (y,) if z is None else (y, z)
    return unwritten(x, written), None if residual is None else unwritten(residual, written, in_time=(y,))


def outputs_overlap(one: str, other: str) -> ValueError:
    return ValueError(f"{one}: memory apart from that of {other} is needed, got arrays that overlap")


# The convolution

# weight_layout -> the weight's shape, and the index that takes its ones away
LAYOUTS = {
    "OI": ("(K, C // groups)", ()),
    "IO": ("(C // groups, K)", ()),
    "OIHW": ("(K, C // groups, 1, 1)", (slice(None), slice(None), 0, 0)),
    "HWIO": ("(1, 1, C // groups, K)", (0, 0)),
    "OHWI": ("(K, 1, 1, C // groups)", (slice(None), 0, 0)),
}


def layout(value) -> str:
    if type(value) is str and value == "OI":
        return value
    if not isinstance(value, str) or str(value) not in LAYOUTS:
        allowed = ", ".join(map(repr, LAYOUTS))
        raise ValueError(f"weight_layout: one of {allowed} is needed, got {shown(value)}")
    return str(value)


def weight(value, layout: str) -> np.ndarray:
    """The weights as a view (K, C // groups)."""
    return weight_matrix(array("weight", value), layout)


def weight_matrix(value: np.ndarray, layout: str) -> np.ndarray:
    """The same of an array of any numbers."""
    if layout == "OI" and value.ndim == 2:
        return value
    axes, _ = LAYOUTS[layout]
    if not _fits(value.shape, layout):
        message = f"weight: shape {axes} is needed for weight_layout={layout!r}, got {value.shape}"
        fitting = [repr(name) for name in LAYOUTS if _fits(value.shape, name)]
        raise ValueError(f"{message}, which fits {' and '.join(fitting)}" if fitting else message)
    return matrix(value, layout)


def _fits(shape, layout: str) -> bool:
    """Whether a weight of that shape can have the layout: as many axes, and a kernel of one pixel."""
    return len(layout) == len(shape) and all(
        size == 1 for axis, size in zip(layout, shape, strict=True) if axis in "HW"
    )


def matrix(value: np.ndarray, layout: str) -> np.ndarray:
    """A view (K, C // groups) of weights, or of their gradient."""
    view = value[LAYOUTS[layout][1]]
    return view.T if layout in ("IO", "HWIO") else view


def bias(value, weight: np.ndarray) -> np.ndarray:
    return per_filter("bias", value, weight)


def per_filter(name: str, value, weight: np.ndarray) -> np.ndarray:
    """An array of one number for each of the weight's K."""
    return bias_of(name, value, weight.shape[0], weight)


def bias_of(name: str, value, filters: int, weight: np.ndarray) -> np.ndarray:
    """The same for weights with a height and a width."""
    value = array(name, value)
    if value.shape != (filters,):
        raise ValueError(f"{name}: shape (K,) = ({filters},) is needed, got {value.shape}")
    if value.dtype != weight.dtype:
        raise mixed_dtypes(weight=weight, **{name: value})
    return value


def not_negative(name: str, value: np.ndarray) -> np.ndarray:
    negative = value[value < 0]
    if negative.size:
        raise ValueError(f"{name}: numbers >= 0 are needed, got {negative[0]}")
    return value


def wrong_channels(shape: tuple[int, ...], channels: int, groups: int) -> ValueError:
    of_weight = f"the weight's {channels // groups} input channels"
    if groups > 1:
        of_weight += f" times {groups} groups"
    hint = _channels_last("x", shape, lambda moved: moved[-1] == channels)
    return ValueError(f"x: C = {channels} channels are needed for {of_weight}, got shape {shape}{hint}")


def _channels_last(name: str, shape: tuple[int, ...], fits: Callable[[tuple[int, ...]], bool]) -> str:
    """What helps where the channels come second, as in NCHW, or first, as in CHW."""
    for axis in (1, 0) if len(shape) < 4 else (1,):
        if axis < len(shape) - 1 and fits((*shape[:axis], *shape[axis + 1 :], shape[axis])):
            return f"; channels come last: np.moveaxis({name}, {axis}, -1)"
    return ""


def like_result(name: str, value, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """residual, dy, y, z: an array over the result's pixels and channels."""
    value = with_channels(name, value)
    if value.shape != shape:
        hint = _channels_last(name, value.shape, lambda moved: moved == shape)
        raise ValueError(f"{name}: the result's shape {shape} is needed, got {value.shape}{hint}")
    if value.dtype != dtype:
        came = f"{value.dtype}; give {name}.astype(np.{dtype})"
        raise TypeError(f"{name}: dtype {dtype} is needed, as the inputs have, got {came}")
    return value


# Gradients


def four(value) -> tuple:
    """What `out` holds, in the order of WRT; it is asked only once."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"out: Gradients or a tuple of four is needed, got a {type(value).__name__}")
    try:
        arrays = tuple(value)
    except Exception as error:
        raise TypeError(f"out: Gradients or a tuple of four is needed, got {shown(value)}") from error
    if len(arrays) != len(WRT):
        raise ValueError(f"out: Gradients or a tuple of four is needed, got {len(arrays)} elements")
    return arrays


def gradients(out: tuple, wanted: Collection[str], shapes: tuple, dtype: np.dtype) -> list[np.ndarray | None]:
    """The arrays of the four in `out`, as plain ones."""
    arrays: list[np.ndarray | None] = [None] * len(WRT)
    for number, given in enumerate(out):
        if given is None:
            continue
        name = WRT[number]
        if name not in wanted:
            raise ValueError(f"out.d{name}: None is needed as wrt has no {name!r}, got an array")
        of_pixels = name in ("x", "residual")
        arrays[number] = output(f"out.d{name}", given, shapes[number], dtype, of_pixels)
    return arrays


def gradients_apart(arrays: Collection[np.ndarray | None]) -> None:
    """Given in the order of WRT, and written to."""
    present = [(name, a) for name, a in zip(WRT, arrays, strict=True) if a is not None]
    for (one, a), (other, b) in combinations(present, 2):
        if overlap(a, b):
            raise outputs_overlap(f"out.d{other}", f"out.d{one}")
