"""Chains as layers: what they say of themselves, and what they refuse before anything is written."""

import numpy as np
import pytest

import fastpw
from fastpw._fused import fused

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "threads")]

UNTOUCHED = -7


def ones(*shape, dtype="f4"):
    return np.ones(shape, dtype)


def expand(dtype="f4"):
    return fastpw.Conv1x1(ones(9, 4, dtype=dtype), activation="relu")


def spatial():
    return fastpw.DepthwiseConv2d(ones(3, 3, 9), padding=1)


def project(K=4):
    return fastpw.Conv1x1(ones(K, 9))


def small(**options):
    """(..., 4) -> (..., 4) with 9 channels between."""
    return fastpw.Chain([expand(), spatial(), project()], **options)


# ---- what it says ------------------------------------------------------------------------------------------


def test_attributes():
    layers = [expand(), spatial(), project()]
    chain = fastpw.Chain(iter(layers))
    assert type(chain.layers) is tuple
    assert all(one is other for one, other in zip(chain.layers, layers, strict=True))
    assert chain.add_input is False
    assert fastpw.Chain(layers, add_input=np.True_).add_input is True
    layers.clear()
    assert len(chain.layers) == 3


def test_it_does_not_change():
    chain = small()
    for name in ("layers", "add_input", "anything"):
        with pytest.raises(AttributeError, match="a Chain does not change; make a new one"):
            setattr(chain, name, ())
        with pytest.raises(AttributeError, match="a Chain does not change; make a new one"):
            delattr(chain, name)
    with pytest.raises(AttributeError, match="a Chain does not change; make a new one"):
        chain.__init__([project()])
    assert len(chain.layers) == 3


def test_repr():
    chain = small(add_input=True)
    assert repr(chain) == f"<Chain: {expand()!r}, {spatial()!r}, {project()!r}, input added>"
    assert repr(fastpw.Chain([fastpw.ChannelShuffle(2)])) == "<Chain: <ChannelShuffle: 2 groups>>"


def test_output_shape(block):
    for shape in ((14, 11, 12), (3, 9, 8, 12), (0, 9, 9, 12), (40, 1, 12)):
        try:
            expected = block.output_shape(shape)
        except ValueError as error:
            assert "pixels or more, padding included" in str(error)
            with pytest.raises(ValueError, match="pixels or more, padding included"):
                block(np.zeros(shape, np.float32))
        else:
            assert block.output_shape([*shape]) == expected
            of_layers = shape
            for layer in block.layers:
                of_layers = layer.output_shape(of_layers)
            assert expected == of_layers


@pytest.mark.skipif(not hasattr(fastpw.Chain, "describe"), reason="there is no Chain.describe yet")
def test_describe(block):
    """For people: of each shape that is taken, and of no other."""
    for shape in ((2, 37, 29, 12), (9, 9, 12), (0, 9, 9, 12)):
        assert str(block.describe(shape))
    for shape in ((9, 9, 11), (12,), ()):
        with pytest.raises(ValueError, match=r"^(x|shape|layers): "):
            block.describe(shape)


@pytest.mark.parametrize(
    "layer",
    [
        expand(),
        fastpw.MaxPool2d(2),
        fastpw.GlobalAveragePool(),
        fastpw.ChannelShuffle(2),
        fastpw.Concat([expand()]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_chain_of_one_layer_is_that_layer(layer, rng):
    x = rng.standard_normal((2, 5, 6, 4)).astype("f4")
    for chain in (fastpw.Chain([layer]), fastpw.Chain([fastpw.Chain([layer])])):
        assert chain.output_shape(x.shape) == layer.output_shape(x.shape)
        assert chain(x).tobytes() == layer(x).tobytes()


def test_lists_are_inputs_where_float64_is():
    chain = fastpw.Chain([expand("f8"), fastpw.Conv1x1(ones(2, 9, dtype="f8"))])
    for _ in range(2):
        assert chain([1, 2, 0, 0.5]).tolist() == [9 * 3.5] * 2
        assert chain([[1, 2, 0, 0.5]], residual=[[1.0, 2.0]]).tolist() == [[9 * 3.5 + 1, 9 * 3.5 + 2]]


# ---- what it refuses ---------------------------------------------------------------------------------------

X, Y = ones(2, 5, 6, 4), ones(2, 5, 6, 4)
DTYPE = "one dtype for all is needed, nothing is converted silently; use .astype"


class Evil:
    def __iter__(self):
        raise RuntimeError("evil")


TYPE_ERRORS = {
    "layers: a list of layers is needed, got 3": lambda: fastpw.Chain(3),
    "layers: a list of layers is needed, got None": lambda: fastpw.Chain(None),
    "layers: layers are needed, got <built-in function len>": lambda: fastpw.Chain([expand(), len]),
    "layers: layers are needed, got 'relu'": lambda: fastpw.Chain([expand(), "relu"]),
    "layers: layers are needed, got <class 'fastpw.layer.Conv1x1'>": lambda: fastpw.Chain([fastpw.Conv1x1]),
    "add_input: True or False is needed, got 1": lambda: small(add_input=1),
    "add_input: True or False is needed, got None": lambda: small(add_input=None),
    f"x is float64, weight is float32: {DTYPE}": lambda: small()(X.astype("f8")),
    f"x is float32, weight is float64: {DTYPE}": lambda: fastpw.Chain(
        [expand(), fastpw.Conv1x1(ones(3, 9, dtype="f8"))]
    )(X),
    "x: float32 or float64 in native byte order is needed, got int32; give x.astype(np.float32)": (
        lambda: small()(X.astype("i4"))
    ),
    "residual: dtype float32 is needed, as the inputs have, got float64; give residual.astype(np.float32)": (
        lambda: small()(X, residual=Y.astype("f8"))
    ),
    "out: dtype float32 is needed, as the inputs have, got float64": lambda: small()(X, out=Y.astype("f8")),
    "out: a NumPy array is needed, got a list": lambda: small()(X, out=[1.0]),
    "out: a NumPy array is needed, got a MaskedArray": lambda: small()(X, out=np.ma.ones(X.shape, "f4")),
    "shape: a tuple of integers is needed, got 3": lambda: small().output_shape(3),
}
VALUE_ERRORS = {
    "layers: at least one layer is needed, got none": lambda: fastpw.Chain([]),
    "add_input: a convolution is needed as the last layer, got <ChannelShuffle: 3 groups>": (
        lambda: fastpw.Chain([expand(), fastpw.ChannelShuffle(3)], add_input=True)
    ),
    "x: an array (..., channels) is needed, got a scalar": lambda: small()(np.float32(1)),
    "x: C = 4 channels are needed for the weight's 4 input channels, got shape (2, 5, 6, 3)": (
        lambda: small()(X[..., :3])
    ),
    "x: C = 4 channels are needed for the weight's 4 input channels, got shape (2, 4, 5, 6); channels come "
    "last: np.moveaxis(x, 1, -1)": lambda: small()(ones(2, 4, 5, 6)),
    "layers: layer 1: x: (H, W, C) or (N, H, W, C) is needed, got shape (5, 9)": lambda: small()(X[0, :, 0]),
    "layers: layer 1: x: C = 9 channels are needed for the weight's 9 input channels, got shape (5, 6, 4)": (
        lambda: fastpw.Chain([project(), project()])(ones(5, 6, 9))
    ),
    "layers: layer 2: x: an image of 3 x 3 pixels or more, padding included, is needed, "
    "got shape (2, 6, 9)": (
        lambda: fastpw.Chain([expand(), fastpw.MaxPool2d((2, 1)), fastpw.Conv2d(ones(1, 3, 3, 9))])(X[0])
    ),
    "layers: layer 1: x: an image of at least one pixel is needed, got shape (0, 6, 9)": (
        lambda: fastpw.Chain([expand(), fastpw.GlobalAveragePool()])(X[0, :0])
    ),
    "layers: layer 1: layers: layer 1: x: C = 4 channels are needed for the weight's 4 input channels, got "
    "shape (5, 6, 9)": lambda: fastpw.Chain([expand(), fastpw.Chain([spatial(), expand()])])(X[0]),
    "x: the result's shape (2, 5, 6, 3) is needed where the input is added, got (2, 5, 6, 4)": (
        lambda: fastpw.Chain([expand(), project(3)], add_input=True)(X)
    ),
    "residual: None is needed where add_input adds the input, got 1": (
        lambda: small(add_input=True)(X, residual=1)
    ),
    "residual: None is needed where no convolution adds it, got 1": (
        lambda: fastpw.Chain([expand(), fastpw.MaxPool2d(2)])(X, residual=1)
    ),
    "residual: None is needed where no convolution adds it, got 2": (
        lambda: fastpw.Chain([expand(), fastpw.Chain([project(), expand(), project()], add_input=True)])(
            X[..., :4], residual=2
        )
    ),
    "residual: the result's shape (2, 5, 6, 4) is needed, got (5, 6, 4)": lambda: small()(X, residual=Y[0]),
    "out: shape (2, 5, 6, 4) is needed, got (2, 5, 6, 3)": lambda: small()(X, out=Y[..., :3]),
    "out: a writable array is needed, got a read-only one": (
        lambda: small()(X, out=np.broadcast_to(np.float32(1), X.shape))
    ),
    "out: channels adjacent in memory (4 bytes apart) are needed, got strides (960, 192, 32, 8)": (
        lambda: small()(X, out=ones(2, 5, 6, 8)[..., ::2])
    ),
    "out: elements apart in memory are needed, got strides (0, 96, 16, 4)": (
        lambda: small()(X, out=np.lib.stride_tricks.as_strided(ones(5, 6, 4), X.shape, (0, 96, 16, 4)))
    ),
    "shape: sizes >= 0 and channels are needed, got (3, -1, 4)": lambda: small().output_shape((3, -1, 4)),
    "shape: sizes >= 0 and channels are needed, got ()": lambda: small().output_shape(()),
}


@pytest.mark.parametrize(("message", "call"), TYPE_ERRORS.items(), ids=[*TYPE_ERRORS])
def test_type_errors_name_the_argument(message, call):
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize(("message", "call"), VALUE_ERRORS.items(), ids=[*VALUE_ERRORS])
def test_value_errors_name_the_argument(message, call):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == message


def test_layers_that_cannot_be_had():
    with pytest.raises(TypeError, match=r"^layers: a list of layers is needed, got "):
        fastpw.Chain(Evil())


@pytest.mark.parametrize(
    "last",
    [fastpw.MaxPool2d(2), fastpw.GlobalAveragePool(), fastpw.Concat([expand()]), small(add_input=True)],
    ids=lambda layer: type(layer).__name__,
)
def test_what_adds_nothing(last):
    """As the last layer: neither the input nor a residual."""
    with pytest.raises(ValueError, match=r"^add_input: a convolution is needed as the last layer, got <"):
        fastpw.Chain([small(), last], add_input=True)
    chain = fastpw.Chain([fastpw.ChannelShuffle(1), last])
    with pytest.raises(ValueError, match=r"^residual: None is needed where no convolution adds it, got "):
        chain(ones(4, 4, 4), residual=ones(4, 4, 4))


SAME = np.full((2, 5, 6, 4), UNTOUCHED, "f4")
UNFIT = {
    "x of another dtype": (small(), {"x": X.astype("f8")}),
    "x of other channels": (small(), {"x": X[..., :3]}),
    "x of no pixels at all": (small(), {"x": X[0, 0]}),
    "x of other channels where it is added": (
        fastpw.Chain([fastpw.Conv1x1(ones(9, 3)), project()], add_input=True),
        {"x": X[..., :3]},
    ),
    "x that no array is made of": (small(), {"x": Evil()}),
    "a residual of another shape": (small(), {"x": X, "residual": Y[:1]}),
    "a residual of another dtype": (small(), {"x": X, "residual": Y.astype("f8")}),
    "a residual that no array is made of": (small(), {"x": X, "residual": Evil()}),
    "a residual with add_input": (small(add_input=True), {"x": X, "residual": Y}),
    "a residual with a pool": (fastpw.Chain([small(), fastpw.MaxPool2d(1)]), {"x": X, "residual": Y}),
    "a last layer of another dtype": (
        fastpw.Chain([expand(), fastpw.Conv1x1(ones(4, 9, dtype="f8"))]),
        {"x": X},
    ),
    "a last layer of other channels": (fastpw.Chain([expand(), fastpw.Conv1x1(ones(4, 8))]), {"x": X}),
    "a last layer of larger windows": (fastpw.Chain([expand(), fastpw.Conv2d(ones(4, 6, 3, 9))]), {"x": X}),
}


@pytest.mark.parametrize(("chain", "arrays"), UNFIT.values(), ids=UNFIT)
def test_nothing_is_written_before_all_is_checked(chain, arrays):
    out = SAME.copy()
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=r"^(x|residual|layers)\b.*"):
            chain(**arrays, out=out)
        assert np.all(out == UNTOUCHED)


def test_an_error_after_calls_that_fitted():
    """The program of an earlier call does not run for what it does not fit."""
    chain, out = small(), SAME.copy()
    chain(X, residual=Y)
    chain(X)
    expected = chain(X, out=out).copy()
    for arrays in (
        {"x": ones(2, 5, 6, 5)},
        {"x": X.astype("f8")},
        {"x": X, "residual": Y[..., :3]},
        {"x": X, "residual": Y.astype("f8")},
        {"x": ones(2, 5, 5, 4)},
    ):
        out.fill(UNTOUCHED)
        with pytest.raises((TypeError, ValueError), match=r"^(x|residual|out)\b"):
            chain(**arrays, out=out)
        assert np.all(out == UNTOUCHED)
        assert chain(X, out=out).tobytes() == expected.tobytes()


def test_no_other_arguments():
    for arguments in ({"out_z": SAME.copy()}, {"stride": 2}):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            small()(X, **arguments)
    with pytest.raises(TypeError, match="positional argument"):
        small()(X, Y)
    with pytest.raises(TypeError, match="positional argument"):
        fastpw.Chain([project()], True)


class Unasked(np.ndarray):
    """Fails whatever it is asked."""

    def _fail(self):
        raise RuntimeError("asked")

    shape = dtype = strides = flags = ndim = size = itemsize = nbytes = base = T = property(_fail)


def test_subclasses_are_not_asked():
    for chain, residual in ((small(), Y.view(Unasked)), (small(add_input=True), None), (small(), None)):
        out = SAME.copy().view(Unasked)
        for _ in range(2):
            assert chain(X.view(Unasked), residual=residual, out=out) is out
        expected = chain(X, residual=None if residual is None else Y)
        assert np.array_equal(np.asarray(out), expected)


def test_a_subclass_that_says_it_fits():
    class Liar(np.ndarray):
        shape = property(lambda self: (2, 5, 6, 4))

    memory = np.full((2, 5, 6, 4), UNTOUCHED, "f4")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^out: shape "):
            small()(X, out=memory[:1].view(Liar))
        with pytest.raises(ValueError, match=r"^residual: "):
            small()(X, residual=Y[:1].view(Liar), out=memory)
        with pytest.raises(ValueError, match=r"^x: the result's shape "):
            fastpw.Chain([expand(), project(3)], add_input=True)(X.view(Liar))
    assert np.all(memory == UNTOUCHED)


def test_a_program_of_many_groups_says_that_it_is_large():
    """Else a chain would keep programs of any size."""

    def nbytes(groups):
        wide = fastpw.Conv1x1(np.ones((256, 256 // groups), np.float32), groups=groups)
        deep = fastpw.DepthwiseConv2d(np.ones((3, 3, 256), np.float32), padding=1)
        image = np.ones((1, 8, 8, 256), np.float32)
        out = np.empty_like(image)
        return fused((wide, deep), image, out, None).nbytes

    assert nbytes(64) > nbytes(2) > nbytes(1)
