"""Promise 1 for gradients: exact where the arithmetic is, within Higham's bound elsewhere."""

from itertools import product

import numpy as np
import pytest

import fastpw
from fastpw import _activations, _bounds, reference
from fastpw.core import machine

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

ALL = ("x", "weight", "bias", "residual")
UNTOUCHED = -77


def integers(rng, dtype, *shape):
    """So small that all partial sums are exact in float32."""
    return rng.integers(-8, 9, shape).astype(dtype)


def normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def assert_equal(got, expected, what=None):
    for name, a, b in zip(got._fields, got, expected, strict=True):
        assert np.array_equal(a, b), (name, what)


def assert_within_promise(got, *arrays, **options):
    exact, allowed = _bounds.promise_gradients(*arrays, **options)
    for name, *of_one in zip(got._fields, got, exact, allowed, strict=True):
        assert _bounds.excess(*of_one) <= 1, name


def framed(shape, dtype):
    """An array inside a larger one, whose frame nobody may write to."""
    canvas = np.full([size + 2 for size in shape], UNTOUCHED, dtype)
    return canvas[tuple(slice(1, -1) for _ in shape)]


def assert_frame_untouched(view):
    view[...] = UNTOUCHED
    assert np.all(view.base == UNTOUCHED)


def largest_edges(isa, dtype):
    """2·MR and 2·NR + 1 of the largest tiles of a kernel set."""
    tiles = next(row["tiles"] for row in machine.kernel_sets() if (row["isa"], row["dtype"]) == (isa, dtype))
    rows, columns, *_ = map(max, zip(*tiles, strict=True))
    return 2 * rows, 2 * columns + 1


@pytest.mark.parametrize("short", ["K", "C"])
def test_integers_at_all_edge_sizes_are_exact(short, isa, dtype, rng):
    """Tiles of dx have C columns, those of dweight C columns or, laid across, K; both have all edges."""
    rows, columns = largest_edges(isa, dtype)
    for m, long, other in product(
        (1, 2, rows - 1, rows + 1), range(1, columns + 1), (1, 2, 5, rows // 2 + 1)
    ):
        C, K = (long, other) if short == "K" else (other, long)
        dy, x, weight = integers(rng, dtype, m, K), integers(rng, dtype, m, C), integers(rng, dtype, K, C)
        y = integers(rng, dtype, m, K)
        out = fastpw.Gradients(*(framed(shape, dtype) for shape in ((m, C), (K, C), (K,), (m, K))))
        fastpw.conv1x1_backward(dy, x, weight, y=y, activation="relu", wrt=ALL, out=out)
        dz = np.where(y > 0, dy, 0)
        assert_equal(out, (dz @ weight, dz.T @ x, dz.sum(axis=0), dz), (m, C, K))
        for view in out:
            assert_frame_untouched(view)


# Slices and blocks of pixels, past and before the threshold for two threads, weights across and along.
LARGE = [
    (1, 3000, 700),
    (49, 512, 1030),
    (50, 33, 2048),
    (784, 16, 256),
    (1000, 130, 70),
    (1537, 256, 520),
    (3137, 24, 145),
    (20000, 3, 5),
]


@pytest.mark.parametrize(("m", "K", "C"), LARGE)
@pytest.mark.parametrize("given", ["y", "z", None])
def test_large_integers_are_exact(m, K, C, given, dtype, rng):
    x, weight, bias = integers(rng, dtype, m, C), integers(rng, dtype, K, C), integers(rng, dtype, K)
    residual, dy = integers(rng, dtype, m, K), rng.integers(-2, 3, (m, K)).astype(dtype)
    z = x.astype(float) @ weight.T.astype(float) + bias + residual
    dz = np.where((z > -40) & (z < 60), dy, 0).astype(float)
    options = {"y": np.clip(z, -40, 60).astype(dtype)} if given == "y" else {}
    options |= {"z": z.astype(dtype)} if given == "z" else {}
    got = fastpw.conv1x1_backward(
        dy, x, weight, bias, residual=residual, activation=("clip", -40, 60), wrt=ALL, **options
    )
    assert_equal(got, (dz @ weight, dz.T @ x, dz.sum(axis=0), dz))


GROUPED = [(12, 12, 12), (100, 100, 100), (12, 24, 12), (12, 18, 3), (64, 64, 2)]


@pytest.mark.parametrize(("C", "K", "groups"), GROUPED)
@pytest.mark.parametrize("given", ["y", None])
@pytest.mark.parametrize("accumulate", [False, True])
def test_integers_in_groups_are_exact(C, K, groups, given, accumulate, dtype, rng):
    x, weight = integers(rng, dtype, 2, 23, 17, C), integers(rng, dtype, K, C // groups)
    bias, residual = integers(rng, dtype, K), integers(rng, dtype, 2, 23, 17, K)
    dy = integers(rng, dtype, *residual.shape)
    options = {"groups": groups, "activation": ("clip", -20, 30), "residual": residual}
    exact = reference.conv1x1_backward(dy, x, weight, bias, **options)
    if given:
        options["y"] = fastpw.conv1x1(x, weight, bias, **options)
    out = fastpw.Gradients(*(integers(rng, dtype, *a.shape) for a in exact))
    expected = [a + accumulate * b for a, b in zip(exact, out, strict=True)]
    options |= {"wrt": ALL, "out": out, "accumulate": accumulate}
    assert_equal(fastpw.conv1x1_backward(dy, x, weight, bias, **options), expected)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_every_stride_and_padding_is_exact(batch, groups, dtype, rng):
    weight, bias = integers(rng, dtype, 6, 6 // groups), integers(rng, dtype, 6)
    for size, stride, padding in product(
        ((0, 3), (1, 1), (2, 7), (5, 4)),
        (1, 2, (1, 3), (5, 2)),
        (0, 1, (0, 2), ((3, 0), (1, 2)), "valid", "same"),
    ):
        x = integers(rng, dtype, *batch, *size, 6)
        options = {"stride": stride, "padding": padding, "groups": groups, "activation": "relu"}
        y = fastpw.conv1x1(x, weight, bias, **options)
        dy = integers(rng, dtype, *y.shape)
        exact = reference.conv1x1_backward(dy, x, weight, bias, **options)
        for given in ({"y": y}, {}):
            got = fastpw.conv1x1_backward(dy, x, weight, bias, wrt=ALL, **given, **options)
            assert_equal(got, exact, (size, options))
        for accumulate in (False, True):
            out = fastpw.Gradients(*(integers(rng, dtype, *a.shape) for a in exact))
            expected = [a + accumulate * b for a, b in zip(exact, out, strict=True)]
            fastpw.conv1x1_backward(dy, x, weight, bias, wrt=ALL, out=out, accumulate=accumulate, **options)
            assert_equal(out, expected, (size, options, accumulate))


LAYOUTS = {
    "OI": lambda w: w,
    "OIHW": lambda w: w[:, :, None, None],
    "HWIO": lambda w: w.T[None, None],
    "IO": lambda w: w.T,
    "OHWI": lambda w: w[:, None, None, :],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("groups", [1, 2, 10])
@pytest.mark.parametrize("accumulate", [False, True])
def test_dweight_has_the_weights_layout(layout, groups, accumulate, dtype, rng):
    x, dy, weight = (integers(rng, dtype, *s) for s in ((900, 10), (900, 10), (10, 10 // groups)))
    before = integers(rng, dtype, *weight.shape)
    expected = reference.conv1x1_backward(dy, x, weight, groups=groups).dweight + accumulate * before
    given, dweight = LAYOUTS[layout](weight), LAYOUTS[layout](before).copy()
    options = {"weight_layout": layout, "groups": groups, "wrt": "weight", "accumulate": accumulate}
    got = fastpw.conv1x1_backward(dy, x, given, out=(None, dweight, None, None), **options)
    assert got.dweight is dweight
    assert np.array_equal(dweight, LAYOUTS[layout](expected))
    new = fastpw.conv1x1_backward(dy, x, given, **options).dweight
    assert new.shape == given.shape
    assert np.array_equal(new, LAYOUTS[layout](expected - accumulate * before))


def test_only_what_is_wanted_is_returned(dtype, rng):
    dy, x, weight = integers(rng, dtype, 9, 4), integers(rng, dtype, 9, 3), integers(rng, dtype, 4, 3)
    exact = reference.conv1x1_backward(dy, x, weight)
    subsets = [
        [name for name, on in zip(ALL, flags, strict=True) if on] for flags in product((0, 1), repeat=4)
    ]
    for wrt in (*subsets, *map(set, subsets), *ALL):
        got = fastpw.conv1x1_backward(dy, x, weight, wrt=wrt)
        assert isinstance(got, fastpw.Gradients)
        for name, a, b in zip(ALL, got, exact, strict=True):
            wanted = name in ([wrt] if isinstance(wrt, str) else wrt)
            assert (a is not None) == wanted, (name, wrt)
            assert a is None or (a.dtype == dtype and np.array_equal(a, b)), (name, wrt)
    assert fastpw.conv1x1_backward(dy, x, weight).dresidual is None


def test_out_may_be_given_in_part(dtype, rng):
    dy, x, weight = integers(rng, dtype, 9, 4), integers(rng, dtype, 9, 3), integers(rng, dtype, 4, 3)
    exact = reference.conv1x1_backward(dy, x, weight)
    dx = np.ones((9, 3), dtype)
    got = fastpw.conv1x1_backward(dy, x, weight, out=(dx, None, None, None), accumulate=True)
    assert got.dx is dx
    assert_equal(got._replace(dresidual=exact.dresidual), exact._replace(dx=exact.dx + 1))


def test_gradients_may_be_summed_over_parts(dtype, rng):
    """As when a batch is walked in parts: the last call's result is the next one's out."""
    dy, x, weight = integers(rng, dtype, 90, 4), integers(rng, dtype, 90, 3), integers(rng, dtype, 4, 3)
    exact = reference.conv1x1_backward(dy, x, weight)
    sums = None
    for part in (slice(0, 20), slice(20, 21), slice(21, 90)):
        sums = fastpw.conv1x1_backward(
            dy[part], x[part], weight, wrt=("weight", "bias"), out=sums, accumulate=True
        )
    assert np.array_equal(sums.dweight, exact.dweight)
    assert np.array_equal(sums.dbias, exact.dbias)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_x_may_be_none_where_nothing_is_read_from_it(groups, dtype, rng):
    x, weight, dy = (integers(rng, dtype, *s) for s in ((2, 30, 6), (6, 6 // groups), (2, 30, 6)))
    for options in (
        {},
        {"activation": "relu", "y": integers(rng, dtype, *dy.shape)},
        {"activation": "relu", "z": integers(rng, dtype, *dy.shape)},
        {"activation": "gelu", "z": integers(rng, dtype, *dy.shape)},
    ):
        options |= {"groups": groups, "wrt": ("x", "bias", "residual")}
        got = fastpw.conv1x1_backward(dy, None, weight, **options)
        expected = fastpw.conv1x1_backward(dy, x, weight, **options)
        for name in ("dx", "dbias", "dresidual"):
            assert getattr(got, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (2, 0, 4, 5), (0,), (0, 0), (0, 3, 5)])
@pytest.mark.parametrize("K", [0, 4])
@pytest.mark.parametrize("padding", [0, 1])
def test_empty_arrays(shape, K, padding, dtype, rng):
    padding = padding if len(shape) > 2 else 0
    x, weight, bias = np.ones(shape, dtype), np.ones((K, shape[-1]), dtype), integers(rng, dtype, K)
    options = {"activation": "relu", "padding": padding}
    dy = integers(rng, dtype, *fastpw.conv1x1(x, weight, bias, **options).shape)
    exact = reference.conv1x1_backward(dy, x, weight, bias, **options)
    assert_equal(fastpw.conv1x1_backward(dy, x, weight, bias, wrt=ALL, **options), exact)
    ones = fastpw.Gradients(*(np.ones(a.shape, dtype) for a in exact))
    fastpw.conv1x1_backward(dy, x, weight, bias, wrt=ALL, out=ones, accumulate=True, **options)
    assert_equal(ones, [a + 1 for a in exact])


@pytest.mark.parametrize("row", _activations.TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize(("m", "K", "C"), [(7, 70, 31), (1100, 50, 30)])
@pytest.mark.parametrize("given", [(), ("y",), ("z",)], ids="".join)
def test_error_bound(m, K, C, row, given, dtype, rng):
    dy, x, weight, bias = (normal(rng, dtype, *s) for s in ((m, K), (m, C), (K, C), (K,)))
    options = {"activation": row.spec, "residual": normal(rng, dtype, m, K)}
    z = np.empty((m, K), dtype)
    made = {"y": fastpw.conv1x1(x, weight, bias, out_z=z, **options), "z": z}
    got = fastpw.conv1x1_backward(
        dy, x, weight, bias, wrt=ALL, **{name: made[name] for name in given}, **options
    )
    assert_within_promise(got, dy, x, weight, bias, **options)


@pytest.mark.parametrize(
    "options", [{"stride": 2}, {"padding": (0, 2)}, {"groups": 4, "padding": 1}], ids=str
)
def test_error_bound_in_any_geometry(options, dtype, rng):
    x, weight, bias = normal(rng, dtype, 2, 9, 8, 12), normal(rng, dtype, 20, 12), normal(rng, dtype, 20)
    weight = weight[:, : 12 // options.get("groups", 1)]
    options |= {"activation": "silu"}
    dy = normal(rng, dtype, *fastpw.conv1x1(x, weight, bias, **options).shape)
    got = fastpw.conv1x1_backward(dy, x, weight, bias, wrt=ALL, **options)
    assert_within_promise(got, dy, x, weight, bias, **options)
