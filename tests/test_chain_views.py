"""Chains read and write where the arrays lie: views of any strides, shared memory, nothing beside it."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastpw

pytestmark = [pytest.mark.pairwise, pytest.mark.usefixtures("isa", "team", "machine_size")]

UNTOUCHED = -7


@pytest.fixture
def team():
    """Each thread reads rows that another reads, too: of small images, on the tiny machine alone."""
    fastpw.set_num_threads(2)
    yield
    fastpw.set_num_threads(None)


@pytest.fixture
def image(dtype, rng):
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


def assert_bits(y, expected, case=None):
    assert y.shape == expected.shape, case
    assert np.ascontiguousarray(y).tobytes() == expected.tobytes(), case


def slices(array):
    """Where a result may go in an array that is `array` with something around it: channels, and a crop."""
    *lead, K = array.shape
    beside = np.full((*lead, K + 5), UNTOUCHED, array.dtype)
    yield beside, beside[..., 2 : K + 2]
    if len(lead) >= 2:
        around = np.full((*lead[:-2], lead[-2] + 3, lead[-1] + 2, K), UNTOUCHED, array.dtype)
        yield around, around[..., 1:-2, 1:-1, :]
        apart = np.full((*lead[:-2], 2 * lead[-2], 3 * lead[-1], K + 1), UNTOUCHED, array.dtype)
        yield apart, apart[..., ::-2, 1::3, 1:]
    if len(lead) >= 3:
        images = np.full((3 * lead[0], *lead[1:], K), UNTOUCHED, array.dtype)
        yield images, images[1::3]
        turned = np.full((*lead[::-1], K), UNTOUCHED, array.dtype)
        yield turned, turned.transpose(2, 1, 0, 3)


def rest_of(memory, view):
    """What lies beside `view` in its memory."""
    rest = memory.copy()
    start = view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    flat = rest.reshape(-1)
    as_strided(flat[start // view.itemsize :], view.shape, view.strides)[...] = UNTOUCHED
    return rest.tobytes()


def fill(view, contents):
    view[...] = contents
    return view


# ---- out ---------------------------------------------------------------------------------------------------


def test_out_is_a_part_of_a_larger_array(block, image, one_by_one):
    x = [image(2, 15, 13, 12) for _ in range(2)]
    expected = [one_by_one(block, a) for a in x]
    for number, (canvas, out) in enumerate(slices(expected[0])):
        for a, e in zip((*x, x[0]), (*expected, expected[0]), strict=True):
            assert block(a, out=out) is out
            assert_bits(out, e, number)
            assert rest_of(canvas, out) == np.full_like(canvas, UNTOUCHED).tobytes(), number


def test_out_lies_in_the_memory_of_the_input(block, image, one_by_one):
    """From wholly apart to wholly the same; each call sees the input as it was."""
    for shape in ((2, 12, 11, 12), (9, 14, 12)):
        contents = image(*shape)
        expected = one_by_one(block, contents)
        size = max(contents.size, expected.size)
        for at in (0, 1, 12, 50, size // 2, size - 1, size + 3):
            memory = np.full(3 * size + 10, UNTOUCHED, contents.dtype)
            x = fill(memory[size:][: contents.size].reshape(shape), contents)
            out = memory[at:][: expected.size].reshape(expected.shape)
            with_x = memory.copy()
            as_strided(with_x[at:], out.shape, out.strides)[...] = UNTOUCHED
            assert block(x, out=out) is out
            assert_bits(out, expected, (shape, at))
            assert rest_of(memory, out) == with_x.tobytes(), (shape, at)


@pytest.mark.parametrize("name", ["inverted_residual", "mlp", "inception"])
def test_out_is_the_input(name, blocks, dtype, image, one_by_one):
    """Of one shape: so that the result replaces the input."""
    block = blocks[name](dtype)
    for _ in range(2):
        x = image(2, 17, 14, 12)
        expected = one_by_one(block, x.copy())
        assert block(x, out=x) is x
        assert_bits(x, expected)


def test_out_is_read_only_after_it_was_used(block, image):
    """The program of an earlier call does not write there."""
    x = image(10, 9, 12)
    out = block(x).copy()
    block(x, out=out)
    out.fill(UNTOUCHED)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"^out: a writable array is needed"):
        block(x, out=out)
    assert np.all(out == UNTOUCHED)


# ---- x -----------------------------------------------------------------------------------------------------


def views_of(wide):
    """Inputs in `wide`, (6, 22, 20, 26); each has 12 channels."""
    yield "crop", wide[1:3, 3:17, 2:14, :12]
    yield "channels", wide[:2, :13, :11, 5:17]
    yield "rows backwards", wide[:2, 13::-1, :11, :12]
    yield "columns backwards", wide[:2, :13, 11::-1, 1:13]
    yield "all backwards", wide[3:1:-1, ::-1, ::-1, :12]
    yield "channels backwards", wide[:2, :9, :8, 12:0:-1]
    yield "every other channel", wide[:2, :9, :8, 1:25:2]
    yield "images apart", wide[::4, :13, :11, :12]
    yield "pixels apart", wide[:2, ::2, 1::3, 3:15]
    yield "columns for rows", wide[:2, :12, :9, :12].swapaxes(1, 2)
    yield "images for rows", wide[:, :3, :9, :12].swapaxes(0, 1)
    yield "one row", np.broadcast_to(wide[:2, :1, :9, :12], (2, 13, 9, 12))
    yield "one column", np.broadcast_to(wide[:2, :9, 3:4, :12], (2, 9, 13, 12))
    yield "one image", np.broadcast_to(wide[1, :11, :9, :12], (3, 11, 9, 12))
    yield "one pixel", np.broadcast_to(wide[1, 1, 1, :12], (2, 11, 9, 12))
    yield "one number", np.broadcast_to(wide[1, 1, 1, 1], (2, 9, 9, 12))
    yield (
        "rows that overlap",
        as_strided(wide, (2, 9, 8, 12), (wide.strides[0], *2 * wide.strides[2:3], wide.itemsize)),
    )
    yield "one of a batch", wide[2, :13, :11, 4:16]
    yield "Fortran's order", np.asfortranarray(wide[:2, :9, :8, :12])


def test_the_input_is_any_view(block, image, one_by_one):
    wides = [image(6, 22, 20, 26) for _ in range(2)]
    for (name, x), (_, other) in zip(*map(views_of, wides), strict=True):
        before = x.copy()
        expected = one_by_one(block, before), one_by_one(block, other)
        assert_bits(block(x), expected[0], name)
        assert_bits(block(other), expected[1], name)
        assert_bits(x, before, name)


def test_the_input_is_read_only_unaligned_or_no_plain_array(block, image, one_by_one):
    contents = image(2, 9, 8, 12)
    expected = one_by_one(block, contents)
    unaligned = np.ndarray(contents.shape, contents.dtype, np.empty(contents.nbytes + 1, np.uint8), 1)
    fixed = contents.copy()
    fixed.flags.writeable = False
    for x in (fill(unaligned, contents), fixed, np.ascontiguousarray(contents).view(np.recarray)):
        assert_bits(block(x), expected)
        assert type(block(x)) is np.ndarray
    out = np.ndarray(expected.shape, expected.dtype, np.empty(expected.nbytes + 1, np.uint8), 1)
    assert_bits(block(contents, out=out), expected)


def test_a_view_after_another(block, image, one_by_one):
    """One shape, in turn with other strides: no call takes an earlier one's."""
    wide = image(6, 22, 20, 26)
    views = [x for _, x in views_of(wide) if x.shape == (2, 13, 11, 12)]
    views += [wide[1:3, 2:15, 4:15, 3:15], wide[2:4, 13:0:-1, :11, :12], image(2, 13, 11, 12)]
    expected = [one_by_one(block, x) for x in views]
    for _ in range(2):
        for x, e in zip(views, expected, strict=True):
            assert_bits(block(x), e, x.strides)
            assert_bits(block(x, out=np.empty_like(e)), e, x.strides)


# ---- residual ----------------------------------------------------------------------------------------------

WITH_RESIDUAL = ["separable", "bottleneck", "shuffled", "classifier", "inception"]


@pytest.fixture(params=WITH_RESIDUAL)
def open_block(request, blocks, dtype):
    """A chain whose last layer adds a residual."""
    return blocks[request.param](dtype)


def test_the_residual_is_any_view(open_block, image, one_by_one):
    x = image(2, 15, 13, 12)
    contents = image(*open_block.output_shape(x.shape))
    expected = one_by_one(open_block, x, contents)
    for number, (canvas, residual) in enumerate(slices(contents)):
        fill(residual, contents)
        before = canvas.copy()
        assert_bits(open_block(x, residual=residual), expected, number)
        assert canvas.tobytes() == before.tobytes(), number
    backwards = contents[..., ::-1].copy()[..., ::-1]  # of channels that are not adjacent
    assert_bits(open_block(x, residual=backwards), expected)
    once = np.broadcast_to(contents[:1], contents.shape)
    assert_bits(open_block(x, residual=once), one_by_one(open_block, x, once.copy()))


def test_with_a_residual_and_without(open_block, image, one_by_one):
    """No call takes that of an earlier one."""
    x = [image(2, 15, 13, 12) for _ in range(2)]
    shape = open_block.output_shape(x[0].shape)
    residuals = None, image(*shape), None, image(*shape)
    for a, residual in zip((*x, *x), residuals, strict=True):
        expected = one_by_one(open_block, a, residual)
        for _ in range(2):
            assert_bits(open_block(a, residual=residual), expected)


def test_the_residual_is_the_output(open_block, image, one_by_one):
    x = image(2, 15, 13, 12)
    contents = image(*open_block.output_shape(x.shape))
    expected = one_by_one(open_block, x, contents)
    for number, (canvas, y) in enumerate(slices(contents)):
        fill(y, contents)
        assert open_block(x, residual=y, out=y) is y
        assert_bits(y, expected, number)
        assert rest_of(canvas, y) == np.full_like(canvas, UNTOUCHED).tobytes(), number


def test_the_residual_overlaps_the_output(open_block, image, one_by_one):
    """By a few numbers, by a row, by half: it is read as it was before the call."""
    x = image(2, 15, 13, 12)
    contents = image(*open_block.output_shape(x.shape))
    expected = one_by_one(open_block, x, contents)
    row = expected[0, 0].size if expected.ndim == 4 else expected[0].size
    for apart in (1, -1, contents.shape[-1], -contents.shape[-1], row, -row, contents.size // 2):
        memory = np.full(3 * contents.size, UNTOUCHED, contents.dtype)
        at = contents.size
        residual = fill(memory[at:][: contents.size].reshape(contents.shape), contents)
        out = memory[at + apart :][: contents.size].reshape(contents.shape)
        assert open_block(x, residual=residual, out=out) is out
        assert_bits(out, expected, apart)


def test_all_in_one_memory(open_block, image, rng, one_by_one):
    """x, the residual and the output, each somewhere; what lies beside the output stays."""
    shape = 2, 9, 8, 12
    result = open_block.output_shape(shape)
    for case in range(12):
        memory = image(9000)
        views = []
        for size in (shape, result, result):
            gaps = rng.integers(0, 4, len(size))
            strides, reach = [], 1
            for n, gap in zip(size[::-1], (0, *gaps[1:]), strict=True):
                strides.append(reach * memory.itemsize)
                reach = reach * n + int(gap)
            start = int(rng.integers(0, memory.size - reach))
            views.append(as_strided(memory[start:], size, strides[::-1]))
        x, residual, out = views
        expected = one_by_one(open_block, x.copy(), residual.copy())
        before = rest_of(memory, out)
        assert open_block(x, residual=residual, out=out) is out
        assert_bits(out, expected, case)
        assert rest_of(memory, out) == before, case


# ---- add_input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inverted_residual", "mlp"])
def test_the_input_that_is_added_is_any_view(name, blocks, dtype, image, one_by_one):
    """And the output lies in its array: beside it, partly over it, wholly."""
    block = blocks[name](dtype)
    for at, gap in ((12, 12), (3, 12), (0, 12), (-12, 12), (0, 0), (12, 0), (144, 0), (-300, 5)):
        memory = np.full((5000,), UNTOUCHED, dtype)
        pixel = 12 + gap
        strides = [n * memory.itemsize for n in (9 * 8 * pixel, 8 * pixel, pixel, 1)]
        x = fill(as_strided(memory[300:], (2, 9, 8, 12), strides), image(2, 9, 8, 12))
        out = as_strided(memory[300 + at :], x.shape, strides)
        expected, before = one_by_one(block, x.copy()), rest_of(memory, out)
        assert block(x, out=out) is out
        assert_bits(out, expected, (at, gap))
        assert rest_of(memory, out) == before, (at, gap)


def test_the_input_is_added_inside_only(image, normal, one_by_one):
    """A chain in a chain adds its own input, and not that of the chain around it."""
    inner = fastpw.Chain([fastpw.Conv1x1(normal(20, 12)), fastpw.Conv1x1(normal(12, 20))], add_input=True)
    spatial = fastpw.DepthwiseConv2d(normal(3, 3, 12), padding=1, activation="relu")
    x, residual = image(2, 9, 8, 12), image(2, 9, 8, 12)
    once, twice = (
        fastpw.Chain([spatial, inner]),
        fastpw.Chain([spatial, inner, inner, spatial], add_input=True),
    )
    assert_bits(once(x), inner(spatial(x)))
    assert_bits(twice(x), spatial(inner(inner(spatial(x))), residual=x))
    assert_bits(twice(x, out=x.copy()), one_by_one(twice, x))
    around = fastpw.Chain([once, spatial])
    assert_bits(around(x, residual=residual), spatial(once(x), residual=residual))


@pytest.fixture
def normal(dtype):
    rng = np.random.default_rng(3)
    return lambda *shape: rng.standard_normal(shape).astype(dtype)
