"""Two networks, called by many threads at once: every answer has the bits that it has alone."""

import threading

import numpy as np
import pytest

import fastpw
from fastpw.bench.networks import catalogue, files

CALLERS, CALLS = 8, 100


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A MobileNet for images of any size, and a ShuffleNet."""
    folder = tmp_path_factory.mktemp("networks")
    for name, is_open in (("mobilenet_v3_large", True), ("shufflenet_v2", False)):
        files.write_saved(catalogue.build_small(name, is_open), folder / f"{name}.npz")
    return [fastpw.load(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def work(networks):
    """Calls of both, of six sizes of the open one (more than there are plans), each with its answer alone."""
    rng = np.random.default_rng(0)
    open_net, closed_net = networks
    images = [(open_net, (n, 3, 32 + 9 * n, 40)) for n in range(1, 4)]
    images += [(open_net, (1, 3, 24, 24 + k)) for k in range(3)]
    images += [(closed_net, closed_net.inputs[0].shape)] * 2
    with fastpw.num_threads(1):
        pairs = [(net, rng.standard_normal(shape, dtype=np.float32)) for net, shape in images]
        return [(net, x, net(x)) for net, x in pairs]


@pytest.mark.usefixtures("threads")
def test_a_hundred_calls_from_each_of_eight_threads(work):
    wrong = []

    def caller(first):
        for number in range(first, first + CALLS):
            net, x, y = work[number % len(work)]
            if not np.array_equal(net(x), y):
                wrong.append(number)

    callers = [threading.Thread(target=caller, args=(first,)) for first in range(CALLERS)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong
