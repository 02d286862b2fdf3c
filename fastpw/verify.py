"""fastpw verify: does this installation compute the right values on this CPU?

Every check runs for every instruction set that the CPU has, in every dtype. A check is a generator that
yields its findings: a name, and how much of the allowed error was used (0 where the result must be exact).
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np

import fastpw
from fastpw import _activations, _bounds, quantized_reference, reference
from fastpw.core import machine

KernelSet: TypeAlias = dict[str, Any]  # a row of machine.kernel_sets()
Findings: TypeAlias = Iterator[tuple[str, float]]


def main() -> int:
    """Run all checks and print a line for each; returns 1 at the first that fails, else 0."""
    in_use = next(row["isa"] for row in machine.integer_sets() if row["chosen"])
    _say("set", "numbers", "check", "result", "error")
    try:
        for kernel_set in machine.kernel_sets():
            if not kernel_set["runs"]:
                _say(kernel_set["isa"], kernel_set["dtype"], "not run: this CPU lacks it")
            elif not _verify(kernel_set):
                print("fastpw is NOT right on this machine.")
                return 1
        for integer_set in machine.integer_sets():
            if not integer_set["runs"]:
                _say(integer_set["isa"], "int8", "not run: this CPU lacks it")
            elif not _verify_integers(integer_set):
                print("fastpw is NOT right on this machine.")
                return 1
    finally:
        machine.choose_isa(in_use)
    print("(error: the largest one, as a part of what is allowed)")
    print("All right.")
    return 0


def _say(isa, dtype, name, verdict="", error=""):
    """A line, on at most 80 columns, at once: a slow CPU takes a while for the next one."""
    print(f"{isa:11}  {dtype:7}  {name:39}  {verdict:6}  {error}".rstrip(), flush=True)


def _verify(kernel_set):
    machine.choose_isa(kernel_set["isa"])
    for check in CHECKS:
        for name, used in check(kernel_set):
            verdict = "ok" if used <= 1 else "FAILED"
            how = f"{used:.2g}" if used else "exact"
            _say(kernel_set["isa"], kernel_set["dtype"], name, verdict, how)
            if used > 1:
                return False
    return True


# ---- arrays -------------------------------------------------------------------------------------------


def _random(seed, dtype, *shapes):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape).astype(dtype) for shape in shapes]


def _integers(seed, dtype, *shapes):
    """Small enough that every partial sum is exact."""
    generator = np.random.default_rng(seed)
    return [generator.integers(-8, 9, shape).astype(dtype) for shape in shapes]


def _edges(sizes, most):
    """Just below, at and above one and two of each size."""
    near = {multiple * size + off for size in sizes for multiple in (1, 2) for off in (-1, 0, 1)}
    return sorted(size for size in near | {1} if 0 < size <= most)


def _used(result, *arrays, **options):
    """The share of the allowed error in a result of conv1x1."""
    return _bounds.excess(result, *_bounds.promise(*arrays, **options))


# ---- checks -------------------------------------------------------------------------------------------


def edge_sizes(kernel_set: KernelSet) -> Findings:
    """Rows, columns and depths at the edges of every register tile."""
    rows, columns, steps, least_depths = zip(*kernel_set["tiles"], strict=True)
    depths = {*_edges(steps, 9), *(depth + 1 for depth in least_depths)}
    worst = 0
    for m, n, k in product(_edges(rows, 30), _edges(columns, 130), sorted(depths)):
        x, weight, bias = _integers(m * n * k, kernel_set["dtype"], (m, k), (n, k), n)
        y, _ = _bounds.promise(x, weight, bias)
        if not np.array_equal(fastpw.conv1x1(x, weight, bias), y):
            worst = np.inf
    yield "integers at the tiles' edges", worst


def each_activation(kernel_set: KernelSet) -> Findings:
    """Each activation of a convolution's values, and of a sweep that ends in the specials."""
    dtype = np.dtype(kernel_set["dtype"])
    x, weight, bias = _random(1, dtype, (37, 19), (67, 19), 67)
    limits = np.finfo(dtype)
    ends = np.array([0, limits.smallest_subnormal, limits.tiny, 100, 1e4, 1e30, limits.max, np.inf], dtype)
    sweep = np.concatenate([np.linspace(-30, 30, 4001, dtype=dtype), ends, -ends, [np.nan]]).astype(dtype)
    ones = np.ones((67, 1), dtype)
    for row in _activations.TABLE:
        y = fastpw.conv1x1(x, weight, bias, activation=row.spec)
        swept = fastpw.conv1x1(sweep[:, None], ones, activation=row.spec)
        yield (
            f"activation {row.name}",
            max(
                _used(y, x, weight, bias, activation=row.spec),
                _used(swept, sweep[:, None], ones, activation=row.spec),
            ),
        )


def geometry(kernel_set: KernelSet) -> Findings:
    """Which input pixel feeds which output pixel."""
    x, weight, bias = _random(2, kernel_set["dtype"], (2, 13, 11, 24), (40, 24), 40)
    for options in (
        {"stride": 2},
        {"stride": (1, 3), "padding": ((0, 2), (1, 0))},
        {"padding": 1, "activation": "relu"},
    ):
        name = ", ".join(f"{key} {value}" for key, value in options.items())
        yield name, _used(fastpw.conv1x1(x, weight, bias, **options), x, weight, bias, **options)
    for groups, K in ((4, 40), (24, 24)):
        part, rest = weight[:K, : 24 // groups], bias[:K]
        yield (
            f"groups {groups}",
            _used(fastpw.conv1x1(x, part, rest, groups=groups), x, part, rest, groups=groups),
        )


def residual_and_views(kernel_set: KernelSet) -> Findings:
    """A residual in place; views in, a channel slice out; the pre-activation."""
    x, weight, bias, residual = _random(3, kernel_set["dtype"], (9, 14, 20), (33, 20), 33, (9, 7, 33))
    view = x[::-1, ::2]
    y = residual.copy()
    fastpw.conv1x1(view, weight, bias, residual=y, out=y, activation="relu")
    yield "residual in place", _used(y, view, weight, bias, residual=residual, activation="relu")

    wide = np.zeros((9, 7, 50), y.dtype)
    z = np.empty_like(y)
    fastpw.conv1x1(view, weight, bias, out=wide[..., 10:43], out_z=z, activation="silu")
    untouched = not (wide[..., :10].any() or wide[..., 43:].any())
    yield (
        "out a channel slice",
        (_used(wide[..., 10:43], view, weight, bias, activation="silu") if untouched else np.inf),
    )
    yield "out_z", _used(z, view, weight, bias)


def same_bits(kernel_set: KernelSet) -> Findings:
    """Whatever the number of threads, and from the layer as from the function."""
    x, weight, bias = _random(4, kernel_set["dtype"], (3000, 96), (200, 96), 200)
    with fastpw.num_threads(1):
        y = fastpw.conv1x1(x, weight, bias, activation="gelu")
    different = not np.array_equal(y, fastpw.Conv1x1(weight, bias, activation="gelu")(x))
    for threads in (2, 3, fastpw.get_num_threads()):
        with fastpw.num_threads(threads):
            different |= not np.array_equal(y, fastpw.conv1x1(x, weight, bias, activation="gelu"))
    yield "same bits of function, layer, threads", np.inf if different else 0
    yield "many pixels", _used(y, x, weight, bias, activation="gelu")


WRT = ("x", "weight", "bias", "residual")


def _used_by_gradients(dy, x, weight, bias, sources=({},), **options):
    """The largest share of the allowed error, over what the derivative may be read from."""
    exact, allowed = _bounds.promise_gradients(dy, x, weight, bias, **options)
    return max(
        max(map(_bounds.excess, grads, exact, allowed))
        for source in sources
        for grads in [fastpw.conv1x1_backward(dy, x, weight, bias, wrt=WRT, **source, **options)]
    )


def gradients(kernel_set: KernelSet) -> Findings:
    """Of each activation, from y, from z and recomputed; in any geometry."""
    dy, x, weight, bias = _random(5, kernel_set["dtype"], (2, 9, 7, 24), (2, 9, 7, 24), (24, 24), 24)
    z = fastpw.conv1x1(x, weight, bias)
    for row in _activations.TABLE:
        y = fastpw.conv1x1(x, weight, bias, activation=row.spec)
        yield (
            f"gradients of {row.name}",
            _used_by_gradients(dy, x, weight, bias, ({"y": y}, {"z": z}, {}), activation=row.spec),
        )
    for options in ({"stride": 2, "padding": (1, 0)}, {"groups": 4}, {"groups": 24}):
        part = weight[:, : 24 // options.get("groups", 1)]
        (dy,) = _random(6, z.dtype, fastpw.conv1x1(x, part, **options).shape)
        name = ", ".join(f"{key} {value}" for key, value in options.items())
        yield f"gradients, {name}", _used_by_gradients(dy, x, part, bias, activation="silu", **options)


def edge_sizes_of_gradients(kernel_set: KernelSet) -> Findings:
    """Few pixels and many, rows and columns of dweight at the edges of every register tile."""
    rows, columns, *_ = zip(*kernel_set["tiles"], strict=True)
    worst = 0
    for m, short, long in product((1, 600), _edges(rows, 30), _edges(columns, 70)):
        for K, C in ((short, long), (long, short)):
            dy, x, weight = _integers(m + K * C, kernel_set["dtype"], (m, K), (m, C), (K, C))
            grads = fastpw.conv1x1_backward(dy, x, weight)
            if not all(map(np.array_equal, grads, (dy @ weight, dy.T @ x, dy.sum(axis=0)))):
                worst = np.inf
    yield "integer gradients at the tiles' edges", worst


def windows(kernel_set: KernelSet) -> Findings:
    """Integers through kernels of each size that has code of its own, and others; pools."""
    (x,) = _integers(7, kernel_set["dtype"], (2, 13, 11, 40))
    convolutions = (
        ("dense", fastpw.conv2d, reference.conv2d, lambda size: (24, *size, 40)),
        ("depthwise", fastpw.depthwise_conv2d, reference.depthwise_conv2d, lambda size: (*size, 40)),
    )
    for (kind, call, exact, shape), stride in product(convolutions, (1, 2)):
        wrong = False
        for size in ((2, 2), (3, 3), (5, 5), (7, 7), (1, 7), (4, 1)):
            (weight,) = _integers(sum(size), kernel_set["dtype"], shape(size))
            options = {"stride": stride, "padding": "same", "activation": "relu"}
            wrong |= not np.array_equal(call(x, weight, **options), exact(x, weight, **options))
        yield f"{kind} kernels, stride {stride}", np.inf if wrong else 0
    wrong = not np.array_equal(fastpw.MaxPool2d(3, stride=2, padding=1)(x), reference.max_pool2d(x, 3, 2, 1))
    wrong |= not np.allclose(fastpw.AveragePool2d(2)(x), reference.average_pool2d(x, 2), rtol=1e-6)
    yield "pools", np.inf if wrong else 0


def gradients_of_windows(kernel_set: KernelSet) -> Findings:
    """The same for gradients."""
    (x,) = _integers(8, kernel_set["dtype"], (2, 9, 8, 12))
    for kind, call, exact, shape in (
        ("dense", fastpw.conv2d_backward, reference.conv2d_backward, (20, 3, 3, 12)),
        ("depthwise", fastpw.depthwise_conv2d_backward, reference.depthwise_conv2d_backward, (3, 3, 12)),
    ):
        wrong = False
        for stride in (1, 2):
            filters = shape[0] if kind == "dense" else shape[-1]
            size = (2, -(-9 // stride), -(-8 // stride), filters)
            weight, dy = _integers(9, kernel_set["dtype"], shape, size)
            options = {"stride": stride, "padding": "same"}
            grads = call(dy, x, weight, wrt=WRT, **options)
            wrong |= not all(map(np.array_equal, grads, exact(dy, x, weight, **options)))
        yield f"gradients of {kind} kernels", np.inf if wrong else 0


# ---- integers -----------------------------------------------------------------------------------------


def _verify_integers(integer_set):
    machine.choose_isa(integer_set["isa"])
    for name, right in integers(integer_set):
        verdict = "ok" if right else "FAILED"
        _say(integer_set["isa"], "int8", name, verdict, "exact" if right else "")
        if not right:
            return False
    return True


def integers(integer_set: KernelSet) -> Iterator[tuple[str, bool]]:
    """Static and dynamic results at the tiles' edges, with any integers: the bits of the reference."""
    rows, columns, step = integer_set["tile"]
    generator = np.random.default_rng(10)
    static: dict[str, Any] = {"x_scale": 0.05, "x_zero_point": 3, "y_scale": 0.7, "y_zero_point": -5}
    ways: dict[str, dict[str, Any]] = {
        "int8": static,
        "uint8": static | {"y_zero_point": 5, "activation": "relu6"},
        "accumulators": {"x_scale": 0.05, "x_zero_point": 3, "out_dtype": np.int32},
        "results in float32": {"x_scale": 0.05, "x_zero_point": 3, "activation": ("leaky_relu", 0.3)},
        "dynamic": {"activation": "relu"},
    }
    for name, options in ways.items():
        right = True
        for m, n, k in product(_edges([rows], 14), _edges([columns], 40), (1, step - 1, step, 4, 7, 64, 131)):
            weight = generator.integers(-128, 127, (n, max(k, 1)), np.int8, endpoint=True)
            arrays = (
                _quantized_input(generator, name, (m, max(k, 1))),
                weight,
                _quantized_bias(generator, name, n),
            )
            scale = generator.uniform(0.001, 0.02, n).astype(np.float32)
            y = fastpw.qconv1x1(*arrays, weight_scale=scale, **options)
            right &= np.array_equal(y, quantized_reference.qconv1x1(*arrays, weight_scale=scale, **options))
        yield name, right


def _quantized_input(generator, way, shape):
    if way == "dynamic":
        return generator.standard_normal(shape, np.float32)
    kind = np.uint8 if way == "uint8" else np.int8
    return generator.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)


def _quantized_bias(generator, way, filters):
    if way in ("dynamic", "results in float32"):
        return generator.standard_normal(filters, np.float32)
    return generator.integers(-5000, 5000, filters, np.int32)


CHECKS: tuple[Callable[[KernelSet], Findings], ...] = (
    edge_sizes,
    each_activation,
    geometry,
    residual_and_views,
    same_bits,
    gradients,
    edge_sizes_of_gradients,
    windows,
    gradients_of_windows,
)
