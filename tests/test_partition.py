"""How a GEMM is cut and shared out: blocks that fit the caches, and about as much for each thread."""

from itertools import product

import pytest

from fastpw.bench import layers
from fastpw.core import partition

HEIGHT, WIDTH, ELEMENT = 12, 32, 4  # AVX-512, float32


def shares(m, panels, blocks):
    """For each thread the (row, panel) pairs of its tasks, numbered as in core/schedule.pxd."""
    row_blocks, panel_blocks = -(-m // blocks.rows), -(-panels // blocks.panels)
    unit = HEIGHT if blocks.threads == 1 else 1
    edges = [min(m, block * -(-m // unit) // row_blocks * unit) for block in range(row_blocks + 1)]
    tasks = row_blocks * panel_blocks
    for member in range(blocks.threads):
        pairs = []
        for task in range(tasks * member // blocks.threads, tasks * (member + 1) // blocks.threads):
            panel, row = divmod(task, row_blocks)
            if not blocks.by_panels:
                row, panel = divmod(task, panel_blocks)
            rows = range(edges[row], edges[row + 1])
            assert 0 < len(rows) <= blocks.rows
            columns = range(panel * blocks.panels, min((panel + 1) * blocks.panels, panels))
            pairs += product(rows, columns)
        yield pairs


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("k", [1, 64, 20_000])
@pytest.mark.parametrize("panels", [1, 2, 5, 33])
@pytest.mark.parametrize("m", [1, 11, 49, 196, 1000])
def test_blocks_fit_the_caches(m, panels, k, threads):
    blocks = partition.blocks(m, panels, k, HEIGHT, WIDTH, ELEMENT, threads)
    most = max(HEIGHT, min(partition.MOST_SHARED_ROWS, partition.SHARED_A_BYTES // (k * ELEMENT)))
    assert 1 <= blocks.rows <= min(m, -(-most // HEIGHT) * HEIGHT)
    assert 1 <= blocks.panels <= panels
    assert blocks.threads in (1, threads)


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("layer", layers.load(), ids=lambda layer: layer.name)
def test_no_thread_of_a_real_layer_has_much_more_to_do(layer, threads):
    m, panels = layer.P, -(-layer.K // WIDTH)
    blocks = partition.blocks(m, panels, layer.C, HEIGHT, WIDTH, ELEMENT, threads)
    work = [len(share) for share in shares(m, panels, blocks)]
    assert max(work) <= 1.12 * m * panels / blocks.threads


def test_rows_are_shared_out_evenly():
    """49 rows of 232 columns for two threads: 24 and 25."""
    work = [len(share) for share in shares(49, 8, partition.blocks(49, 8, 232, HEIGHT, WIDTH, ELEMENT, 2))]
    assert work == [24 * 8, 25 * 8]


SHAPES = [(784, 256, 128), (12544, 96, 16), (49, 2048, 512), (1225, 64, 192), (5, 3, 2)]


@pytest.mark.parametrize("forms", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_slices_and_their_blocks_cover_the_rows(shape, forms):
    slices = partition.slices(*shape, HEIGHT, ELEMENT, forms)
    assert (slices.slices - 1) * slices.rows < shape[0] <= slices.slices * slices.rows
    assert 1 <= slices.block <= max(HEIGHT, slices.rows)
    assert slices.slices == 1 or slices.slices in range(partition.LEAST_SLICES, partition.MOST_SLICES + 1, 2)


TILES = ((32, 0), (24, 16), (16, 0), (8, 16), (4, 10), (1, 4))  # columns, least depth


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [
        (32, 3, (1, 0)),
        (40, 64, (2, 3)),
        (40, 3, (2, 2)),
        (53, 16, (2, 1)),
        (53, 15, (2, 0)),
        (2, 64, (1, 4)),
        (2, 9, (1, 2)),
        (4, 10, (1, 4)),
        (1, 4, (1, 5)),
        (1, 3, (1, 2)),
    ],
)
def test_the_last_panel_is_the_narrowest_that_is_worth_it(n, k, expected):
    assert partition.column_panels(n, k, TILES) == expected


@pytest.mark.parametrize(
    ("more", "part", "expected"), [(-4, 1, False), (0, 3 / 4, True), (0, 1 / 4, True), (0, 1 / 5, False)]
)
def test_large_results_leave_the_caches(more, part, expected):
    touched = partition.STREAMED_BYTES + more
    assert partition.leaves_caches(int(part * touched), touched) == expected


@pytest.mark.parametrize(
    "n, channels, by_taps",
    [(16, 3, True), (64, 3, True), (4, 3, True), (1, 64, False), (24, 64, True), (65, 64, True)],
)
def test_windows_are_copied_for_the_sake_of_a_narrow_tile(n, channels, by_taps):
    assert partition.by_taps(n, 9 * channels, 9, TILES, 16) == by_taps


def test_rows_of_a_window_share_what_they_read():
    """A block may have as many rows as if each read a tap or so, not all of them."""
    depth = partition.SHARED_A_BYTES // (40 * ELEMENT)  # 40 rows fill a block
    few = partition.blocks(49, 32, depth, HEIGHT, WIDTH, ELEMENT, 1)
    assert few.rows < partition.blocks(49, 32, depth, HEIGHT, WIDTH, ELEMENT, 1, 9.0).rows == 49


def test_few_rows_of_large_weights_are_shared_out():
    """They are fetched by both; a single panel is one thread's."""
    assert partition.blocks(1, 5, 4096, HEIGHT, WIDTH, ELEMENT, 2).threads == 2
    assert partition.blocks(1, 5, 64, HEIGHT, WIDTH, ELEMENT, 2).threads == 1
    assert partition.blocks(1, 1, 1 << 16, HEIGHT, WIDTH, ELEMENT, 2).threads == 1
