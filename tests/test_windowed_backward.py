"""The gradients of dense and depthwise convolutions: against the reference, torch and central differences."""

import numpy as np
import pytest

import fastpw
from fastpw import reference

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa")]

WRT = ("x", "weight", "bias", "residual")
GEOMETRIES = [
    {},
    {"padding": 1},
    {"padding": "same", "stride": 2},
    {"padding": (3, 2), "stride": (2, 3), "dilation": (1, 2)},
    {"padding": ((0, 9), (8, 1)), "stride": (1, 4)},
    {"padding": 4, "dilation": 3, "stride": 2},
    {"stride": 5},
]
DENSE = fastpw.conv2d, fastpw.conv2d_backward, reference.conv2d, reference.conv2d_backward
DEPTHWISE = (
    fastpw.depthwise_conv2d,
    fastpw.depthwise_conv2d_backward,
    reference.depthwise_conv2d,
    reference.depthwise_conv2d_backward,
)
EVERY_SIZE = [
    *(
        {"size": (k, k), "stride": stride, "padding": k // 2 * dilation, "dilation": dilation}
        for k in range(1, 8)
        for stride, dilation in ((1, 1), (2, 1), (3, 2))
    ),
    {"size": (3, 5), "padding": ((4, 0), (7, 2))},
    {"size": (5, 3), "padding": "same", "stride": (2, 1)},
    {"size": (7, 3), "padding": 20},
]
PROBLEMS = [
    (DENSE, (7, 3, 3, 12), {}),
    (DENSE, (20, 3, 2, 6), {"groups": 2}),
    (DENSE, (5, 1, 5, 12), {}),
    (DENSE, (5, 1, 1, 12), {}),
    (DEPTHWISE, (3, 3, 12), {}),
    (DEPTHWISE, (4, 2, 12), {}),
    (DEPTHWISE, (3, 3, 12, 2), {"weight_layout": "HWIO"}),
]


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("kind", "shape", "options"), PROBLEMS, ids=lambda value: str(value)[:20])
def test_integers_are_exact(kind, shape, options, geometry, dtype, rng):
    """Of z, which is written, and of relu, whose derivative is read from y, from z, or recomputed."""
    forward, backward, exact, exact_backward = kind
    given = {**options, **geometry}
    for image in ((2, 9, 13, 12), (11, 8, 12)):
        x, weight = integers(rng, dtype, *image), integers(rng, dtype, *shape)
        K = exact(x, weight, **given).shape[-1]
        bias, dy = integers(rng, dtype, K), integers(rng, dtype, *exact(x, weight, **given).shape)
        expected = exact_backward(dy, x, weight, bias, activation="relu", **given)
        z = np.empty_like(dy)
        y = forward(x, weight, bias, activation="relu", out_z=z, **given)
        for source in ({"y": y}, {"z": z}, {}):
            grads = backward(dy, x, weight, bias, wrt=WRT, activation="relu", **source, **given)
            for name, got, wanted in zip(WRT, grads, expected, strict=True):
                assert np.array_equal(got, wanted), name


@pytest.mark.parametrize("layout", ["OHWI", "OIHW", "HWIO"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("K", "C"), [(6, 70), (70, 6), (132, 98), (96, 256), (200, 148)])
def test_weights_are_packed_from_any_layout(K, C, groups, layout, dtype, rng):
    """Of more depths and panels than are packed at a time, the last of them narrow or not."""
    x, weight = integers(rng, dtype, 5, 6, C), integers(rng, dtype, K, 3, 2, C // groups)
    axes = ["OHWI".index(axis) for axis in layout]
    given = np.ascontiguousarray(weight.transpose(axes))
    for stride in (1, 2):
        options = {"padding": 1, "stride": stride, "groups": groups}
        y = reference.conv2d(x, weight, **options)
        dy = integers(rng, dtype, *y.shape)
        exact = reference.conv2d_backward(dy, x, weight, **options)
        for threads in (1, 2):
            with fastpw.num_threads(threads):
                assert np.array_equal(fastpw.conv2d(x, given, weight_layout=layout, **options), y)
                grads = fastpw.conv2d_backward(dy, x, given, weight_layout=layout, **options)
                assert np.array_equal(grads.dx, exact.dx)
                assert np.array_equal(grads.dweight, exact.dweight.transpose(axes))


@pytest.mark.parametrize("geometry", EVERY_SIZE, ids=str)
def test_depthwise_windows_of_every_size(geometry, dtype, rng):
    """Channels with and without some left over; few outputs and more than are summed at once."""
    size, given = geometry["size"], {name: value for name, value in geometry.items() if name != "size"}
    for image in ((1, 5, 6, 70), (3, 23, 21, 16), (1, 13, 90, 3)):
        x, weight = integers(rng, dtype, *image), integers(rng, dtype, *size, image[-1])
        dy = integers(rng, dtype, *reference.depthwise_conv2d(x, weight, **given).shape)
        expected = reference.depthwise_conv2d_backward(dy, x, weight, **given)
        for threads in (1, 3):
            with fastpw.num_threads(threads):
                grads = fastpw.depthwise_conv2d_backward(dy, x, weight, **given)
            for got, wanted in zip(grads[:3], expected, strict=False):
                assert np.array_equal(got, wanted)


def test_taps_beyond_an_edge_do_not_count():
    """Not even against an infinite dz."""
    x, weight, dy = np.ones((4, 5, 8)), np.ones((3, 3, 8)), np.ones((4, 5, 8))
    dy[0, 0] = np.inf
    dweight = fastpw.depthwise_conv2d_backward(dy, x, weight, padding=1, wrt="weight").dweight
    assert np.all(np.isfinite(dweight[0]))
    assert np.all(np.isfinite(dweight[:, 0]))
    assert np.all(np.isinf(dweight[1:, 1:]))


@pytest.mark.parametrize(("kind", "shape", "options"), PROBLEMS, ids=lambda value: str(value)[:20])
def test_bits_of_sums_do_not_depend_on_threads(kind, shape, options, rng):
    """Of many rows, which are shared out in bands."""
    _, backward, exact, _ = kind
    x, weight = rng.standard_normal((3, 40, 70, 12)).astype("f4"), rng.standard_normal(shape).astype("f4")
    dy = rng.standard_normal(exact(x, weight, **options).shape).astype("f4")
    with fastpw.num_threads(1):
        wanted = backward(dy, x, weight, **options)
    for threads in (2, 3):
        with fastpw.num_threads(threads):
            for got, grad in zip(backward(dy, x, weight, **options)[:3], wanted, strict=False):
                assert got.tobytes() == grad.tobytes()


@pytest.mark.parametrize(("kind", "shape", "options"), PROBLEMS, ids=lambda value: str(value)[:20])
def test_accumulate_and_out(kind, shape, options, dtype, rng):
    _, backward, exact, _ = kind
    given = {"padding": 1, "stride": 2, **options}
    x, weight = integers(rng, dtype, 2, 9, 8, 12), integers(rng, dtype, *shape)
    dy = integers(rng, dtype, *exact(x, weight, **given).shape)
    new = backward(dy, x, weight, wrt=WRT, **given)
    before = [integers(rng, dtype, *grad.shape) for grad in new]
    out = tuple(array.copy() for array in before)
    grads = backward(dy, x, weight, wrt=WRT, out=out, accumulate=True, **given)
    for array, into, grad, old in zip(grads, out, new, before, strict=True):
        assert array is into
        assert np.array_equal(array, old + grad)
    for name, number in zip(WRT, range(4), strict=True):
        alone = backward(dy, x, weight, wrt=name, **given)
        assert np.array_equal(alone[number], new[number])
        assert sum(grad is not None for grad in alone) == 1


@pytest.mark.parametrize(("kind", "shape", "options"), PROBLEMS, ids=lambda value: str(value)[:20])
def test_bits_do_not_depend_on_threads_or_views(kind, shape, options, rng):
    _, backward, exact, _ = kind
    given = {"padding": 1, "activation": "silu", **options}
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((2, 31, 29, 12), shape))
    bias = rng.standard_normal(exact(x[:1], weight, **given).shape[-1]).astype(np.float32)
    dy = rng.standard_normal(exact(x, weight, **given).shape).astype(np.float32)
    with fastpw.num_threads(1):
        grads = backward(dy, x, weight, bias, **given)
    for threads in (1, 2, 3):
        with fastpw.num_threads(threads):
            wide = np.repeat(np.repeat(dy, 2, axis=1), 2, axis=-1)
            wide[:, ::2, :, : dy.shape[-1]] = dy
            view = wide[:, ::2, :, : dy.shape[-1]]
            for got, wanted in zip(backward(view, x, weight, bias, **given), grads, strict=True):
                assert (got is None) == (wanted is None)
                assert got is None or got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("activation", ["relu6", "silu", "gelu", "tanh", ("leaky_relu", 0.1), "hard_swish"])
def test_against_torch(activation, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    functions = {
        "relu6": functional.relu6,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "tanh": torch.tanh,
        "hard_swish": functional.hardswish,
    }
    act = functions.get(activation, lambda z: functional.leaky_relu(z, 0.1))
    x, dense, bias, depthwise = (rng.standard_normal(s) for s in ((2, 9, 8, 6), (4, 3, 3, 6), 4, (3, 3, 6)))
    for forward, weight, its_bias, groups in (
        (fastpw.Conv2d, dense.transpose(0, 3, 1, 2), bias, 1),
        (fastpw.DepthwiseConv2d, depthwise.transpose(2, 0, 1)[:, None], None, 6),
    ):
        layer = forward(weight, its_bias, stride=2, padding=1, activation=activation, weight_layout="OIHW")
        y = layer(x)
        dy = rng.standard_normal(y.shape)
        tensors = [torch.tensor(a).requires_grad_() for a in (x.transpose(0, 3, 1, 2), weight)]
        offset = None if its_bias is None else torch.tensor(its_bias)
        result = act(functional.conv2d(*tensors, offset, stride=2, padding=1, groups=groups))
        result.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(y, result.detach().permute(0, 2, 3, 1).numpy(), rtol=1e-9, atol=1e-9)
        grads = layer.backward(dy, x)
        np.testing.assert_allclose(grads.dx, tensors[0].grad.permute(0, 2, 3, 1), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(grads.dweight, tensors[1].grad, rtol=1e-9, atol=1e-9)


def test_central_differences(rng):
    """Of the sum of squares, along random directions."""
    x, weight, bias = (rng.standard_normal(s) for s in ((1, 6, 5, 4), (3, 3, 3, 4), 3))
    options = {"padding": "same", "stride": 2, "dilation": 2, "activation": "tanh"}

    def loss(*arrays):
        return 0.5 * (fastpw.conv2d(*arrays, **options) ** 2).sum()

    y = fastpw.conv2d(x, weight, bias, **options)
    grads = fastpw.conv2d_backward(y, x, weight, bias, **options)
    for number, grad in enumerate(grads[:3]):
        arrays = [x, weight, bias]
        direction, step = rng.standard_normal(arrays[number].shape), 1e-6
        there, back = list(arrays), list(arrays)
        there[number] = arrays[number] + step * direction
        back[number] = arrays[number] - step * direction
        slope = (loss(*there) - loss(*back)) / (2 * step)
        assert abs(slope - (grad * direction).sum()) <= 1e-6 * (1 + abs(slope))


def test_gradients_may_overlap_with_inputs(rng):
    x, weight = (integers(rng, np.float32, *s) for s in ((2, 7, 7, 8), (8, 3, 3, 8)))
    dy = integers(rng, np.float32, 2, 7, 7, 8)
    expected = fastpw.conv2d_backward(dy, x, weight, padding=1, wrt=WRT)
    mine = x.copy(), weight.copy(), dy.copy()
    grads = fastpw.conv2d_backward(
        mine[2], mine[0], mine[1], padding=1, wrt=WRT, out=(mine[0], mine[1], None, mine[2])
    )
    for got, wanted in zip(grads, expected, strict=True):
        assert np.array_equal(got, wanted)


ERRORS = [
    ({"x": None}, "x: float32 or float64"),
    ({"dy": np.ones((3, 3, 2), np.float32)}, "dy: the result's shape (3, 3, 3) is needed"),
    ({"wrt": "w"}, "wrt: some of"),
    ({"accumulate": 1}, "accumulate: True or False"),
    ({"y": np.ones((3, 3, 3), np.float32), "activation": "silu"}, "z: the activation's derivative"),
    ({"out": (None, np.ones((3, 3, 2), np.float32), None, None)}, "out.dweight: shape (3, 3, 3, 2)"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS, ids=[message[:30] for _, message in ERRORS])
def test_errors_name_the_argument(change, message):
    arrays = {name: np.ones(shape, np.float32) for name, shape in
              (("dy", (3, 3, 3)), ("x", (5, 5, 2)), ("weight", (3, 3, 3, 2)))}  # fmt: skip
    with pytest.raises((TypeError, ValueError)) as raised:
        fastpw.conv2d_backward(**{**arrays, **change})
    assert message in str(raised.value)
