"""The windows of convolutions and pools, from a node's attributes, for an image of a given size."""

from __future__ import annotations

from typing import NamedTuple

from ..graph import Node
from ..values import Shape

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]  # ((top, bottom), (left, right))


class Geometry(NamedTuple):
    """What a node says of its window; each as (h, w). A row of pixels is an image of height 1."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: Sides
    auto_pad: str
    ceil: bool

    @property
    def reach(self) -> Pair:
        """Pixels from a window's first tap to its last."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def sides(self, size: Shape) -> Sides:
        """The padding of an image of that size, as the node means it."""
        if not self.auto_pad.startswith("SAME"):
            return self.pads
        sides = []
        for pixels, stride, reach in zip(size, self.stride, self.reach, strict=True):
            total = max((-(-pixels // stride) - 1) * stride + reach - pixels, 0)
            less, more = total // 2, total - total // 2
            sides.append((less, more) if self.auto_pad == "SAME_UPPER" else (more, less))
        return tuple(sides)

    def beyond(self, size: Shape) -> Pair:
        """With ceil_mode: pixels below and at the right of the padding that the last windows reach."""
        if not self.ceil:
            return 0, 0
        more = []
        for pixels, sides, stride, reach in zip(size, self.sides(size), self.stride, self.reach, strict=True):
            last = -(-(pixels + sum(sides) - reach) // stride) * stride
            if last >= pixels + sides[0]:  # a window that begins in the padding behind is left out
                last -= stride
            more.append(max(last + reach - pixels - sum(sides), 0))
        return more[0], more[1]


def geometry(node: Node, axes: int, kernel: Shape | None = None) -> Geometry:
    """Of a node whose input has one or two axes of pixels; `kernel` where the weights tell it."""
    get = node.attributes.get

    def pair(name: str, default: int) -> Pair:
        values = tuple(get(name) or [default] * axes)
        if len(values) != axes or min(values) < 1:
            raise ValueError(f"{name}: {axes} numbers >= 1 are needed, got {list(values)}")
        return (1, *values) if axes == 1 else values

    given = tuple(get("kernel_shape") or kernel or ())
    if len(given) != axes or min(given) < 1 or (kernel and given != tuple(kernel)):
        raise ValueError(f"kernel_shape: the weight's {kernel} is needed, got {list(given)}")
    pads = list(get("pads") or [0] * (2 * axes))
    if len(pads) != 2 * axes or min(pads) < 0:
        raise ValueError(f"pads: {2 * axes} numbers >= 0 are needed, got {pads}")
    if axes == 1:
        pads = [0, pads[0], 0, pads[1]]
    auto_pad = get("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ValueError(
            f"auto_pad: one of NOTSET, VALID, SAME_UPPER, SAME_LOWER is needed, got {auto_pad!r}"
        )
    if auto_pad == "VALID":
        pads = [0] * 4
    return Geometry(
        (1, *given) if axes == 1 else given,
        pair("strides", 1),
        pair("dilations", 1),
        ((pads[0], pads[2]), (pads[1], pads[3])),
        auto_pad,
        bool(get("ceil_mode", 0)),
    )
