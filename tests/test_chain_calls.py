"""Chains that are called again: on other shapes, by other threads, as copies, with layers that others use."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from itertools import cycle, islice

import numpy as np
import pytest

import fastpw
from fastpw.core import machine

pytestmark = pytest.mark.pairwise

ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))

# Of 12 channels: more than a layer keeps programs for. Some differ in one size only, one is that of a batch.
SHAPES = (
    (2, 15, 13, 12), (15, 13, 12), (3, 15, 13, 12), (2, 13, 15, 12), (1, 37, 29, 12), (2, 14, 13, 12),
    (2, 15, 12, 12), (0, 15, 13, 12), (30, 13, 12),
)  # fmt: skip


@pytest.fixture
def problems(dtype, rng):
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def same(y, expected):
    return y.dtype == expected.dtype and y.shape == expected.shape and y.tobytes() == expected.tobytes()


# ---- again -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa", "threads", "machine_size")
def test_more_shapes_than_programs(block, problems, one_by_one):
    """In turn, and each several times."""
    expected = [one_by_one(block, x) for x in problems]
    order = [*range(len(problems))] * 2 + [0, 1, 0, 1, 2, 2, 2, *reversed(range(len(problems)))]
    for number in order:
        assert same(block(problems[number]), expected[number]), (number, SHAPES[number])


@pytest.mark.usefixtures("isa")
def test_other_numbers_of_threads(block, problems, one_by_one):
    expected = [one_by_one(block, x) for x in problems]
    for threads in (1, 2, 1, 5, 3, 3, 1, 7):
        fastpw.set_num_threads(threads)
        try:
            wrong = [x.shape for x, y in zip(problems, expected, strict=True) if not same(block(x), y)]
        finally:
            fastpw.set_num_threads(None)
        assert not wrong, threads


@pytest.mark.usefixtures("threads", "machine_size")
def test_another_instruction_set(block, problems, one_by_one):
    """The bits are those of the layers on the instruction set that is in use when the chain is called."""
    try:
        for isa in (*ISAS, *ISAS):
            machine.choose_isa(isa)
            for x in problems[:3]:
                assert same(block(x), one_by_one(block, x)), isa
    finally:
        machine.choose_isa()


@pytest.mark.usefixtures("isa", "threads")
def test_one_layer_in_several_chains_and_alone(dtype, rng):
    """What one keeps of a call is not what another needs."""

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    square = fastpw.Conv1x1(normal(12, 12) / 4, normal(12), activation="silu")
    spatial = fastpw.DepthwiseConv2d(normal(3, 3, 12), padding=1, activation="relu6")
    twice, thrice = fastpw.Chain([square, square]), fastpw.Chain([square, spatial, square, spatial, square])
    within = fastpw.Chain([twice, spatial, twice], add_input=False)
    adding = fastpw.Chain([spatial, square], add_input=True)
    for shape in SHAPES[:4]:
        x = normal(*shape)
        alone = square(x)
        for _ in range(2):
            assert same(twice(x), square(alone))
            assert same(square(x), alone)
            assert same(thrice(x), square(spatial(square(spatial(alone)))))
            assert same(spatial(x), spatial(x.copy()))
            assert same(within(x), square(square(spatial(square(alone)))))
            assert same(adding(x), square(spatial(x), residual=x))
            assert same(square(alone, residual=x), square(alone, residual=x.copy()))
            assert same(twice(x, residual=x), square(alone, residual=x))


@pytest.mark.usefixtures("isa", "threads")
def test_a_result_is_new_each_time(block, problems):
    """No call writes what an earlier one returned, and nothing writes the input."""
    x, other = problems[0], problems[2][:2]
    before = x.copy()
    y = block(x)
    kept = y.copy()
    results = [block(other), block(x), block(other)]
    assert same(y, kept)
    assert same(x, before)
    assert not any(np.may_share_memory(a, b) for a in (y, x) for b in results)


@pytest.mark.usefixtures("isa", "threads")
def test_a_chain_that_failed(block, problems, one_by_one):
    """Goes on as if nothing had been."""
    for x in problems[:3]:
        expected = one_by_one(block, x)
        for bad in (x[..., :11], x.astype("i4"), x[..., None]):
            with pytest.raises((TypeError, ValueError)):
                block(bad)
        assert same(block(x), expected)


# ---- many callers ------------------------------------------------------------------------------------------


def run_together(targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("isa", "machine_size")
def test_many_threads_call_one_chain(block, problems, one_by_one):
    """At once, on different inputs and shapes, from the first call on."""
    expected = [one_by_one(block, x) for x in problems]
    wrong, work = [], list(zip(problems, expected, strict=True))
    fresh, begin = copy.copy(block), threading.Barrier(6)

    def caller(first):
        begin.wait()
        for x, y in islice(cycle(work), first, first + len(work)):
            if not same(fresh(x), y):
                wrong.append(x.shape)

    fastpw.set_num_threads(2)
    try:
        run_together([lambda first=first: caller(first) for first in range(6)])
    finally:
        fastpw.set_num_threads(None)
    assert not wrong


@pytest.mark.usefixtures("isa", "machine_size")
def test_threads_come_and_go_while_others_call(block, problems, one_by_one):
    """Of those of each caller and of the whole process."""
    expected = [one_by_one(block, x) for x in problems]
    wrong, done, work = [], threading.Event(), list(zip(problems, expected, strict=True))

    def caller(threads):
        with fastpw.num_threads(threads):
            while True:
                wrong.extend(x.shape for x, y in work if not same(block(x), y))
                if done.is_set():
                    break

    def free_caller():
        for x, y in work:
            if not same(block(x), y):
                wrong.append(x.shape)

    def limiter():
        for n in range(12):
            fastpw.set_num_threads(1 + n % 4)
            block(problems[n % len(problems)])
        fastpw.set_num_threads(None)
        done.set()

    run_together([lambda: caller(2), lambda: caller(3), free_caller, limiter])
    assert not wrong


# ---- copies ------------------------------------------------------------------------------------------------

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"protocol {p}": lambda c, p=p: pickle.loads(pickle.dumps(c, p))
        for p in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_compute_the_same(duplicate, block, problems):
    """Of a chain that was called and of one that was not; the copies' copies, too."""
    x, y = problems[0], block(problems[0])
    for again in (duplicate(block), duplicate(duplicate(block))):
        assert type(again) is fastpw.Chain
        assert repr(again) == repr(block)
        assert again.add_input is block.add_input
        assert len(again.layers) == len(block.layers)
        assert same(again(x), y)
        assert same(again(problems[1]), block(problems[1]))


def test_a_pickle_is_the_weights_and_little_else():
    """Whatever was called before."""
    layers = fastpw.Conv1x1(np.ones((64, 64), "f4")), fastpw.Conv1x1(np.ones((32, 64), "f4"))
    chain = fastpw.Chain(layers)
    for rows in range(1, 9):
        chain(np.ones((rows, 64), "f4"))
    assert len(pickle.dumps(chain)) < sum(layer.weight.nbytes for layer in layers) + 1000


@pytest.mark.parametrize("theirs", ISAS)
def test_from_a_process_with_another_instruction_set(theirs):
    """A chain that has computed there computes here what its layers do here, to the bit."""
    code = (
        "import pickle, sys, numpy as np, fastpw\n"
        "rng = np.random.default_rng(5)\n"
        "expand = fastpw.Conv1x1(rng.standard_normal((70, 33)).astype('f4'), activation='gelu')\n"
        "project = fastpw.Conv1x1(rng.standard_normal((33, 70)).astype('f4'))\n"
        "chain = fastpw.Chain([expand, project], add_input=True)\n"
        "chain(np.ones((9, 33), 'f4'))\n"
        "sys.stdout.buffer.write(pickle.dumps(chain))"
    )
    environment = {**os.environ, "FASTPW_ISA": theirs}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    loaded = pickle.loads(done.stdout)
    x = np.random.default_rng(6).standard_normal((100, 33)).astype("f4")
    expand, project = loaded.layers
    assert same(loaded(x), project(expand(x), residual=x))


LAYERS = (fastpw.Conv1x1(np.ones((3, 2))), fastpw.ChannelShuffle(3))
GOOD = {"version": 1, "layers": LAYERS, "add_input": False}
CORRUPT = {
    "no dictionary": [1, 2],
    "nothing": None,
    "empty": {},
    "one missing": {"version": 1, "layers": LAYERS},
    "one more": {**GOOD, "programs": ()},
    "no layers": {**GOOD, "layers": ()},
    "layers that are none": {**GOOD, "layers": (3,)},
    "layers of another type": {**GOOD, "layers": 3},
    "a flag of another type": {**GOOD, "add_input": 1},
    "nothing to add to": {**GOOD, "add_input": True},
    "one of a later version": {**GOOD, "version": 2},
}


@pytest.mark.parametrize("state", CORRUPT.values(), ids=CORRUPT)
def test_corrupt_state_is_refused(state):
    with pytest.raises(ValueError, match=r"^state: "):
        fastpw.Chain.__new__(fastpw.Chain).__setstate__(state)


def test_good_state_is_taken():
    chain = fastpw.Chain.__new__(fastpw.Chain)
    chain.__setstate__(GOOD)
    assert np.array_equal(chain(np.ones((1, 2))), [[2, 2, 2]])
