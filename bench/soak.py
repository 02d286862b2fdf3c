"""Random calls for minutes on end: every result is checked, and neither memory nor threads may grow.

    python bench/soak.py              ten minutes
    python bench/soak.py --seconds 60 --seed 7
    python bench/soak.py --networks      calls of networks with images of random sizes instead

Shapes, dtypes, strides, options, instruction sets, teams and entrances are drawn at random, in several Python
threads at once; the reference decides. A failure prints the seed of its call: --call SEED makes it again.
"""

import argparse
import ctypes
import sys
import threading
import time
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

import fastpw
from fastpw import _activations, _bounds
from fastpw.bench.networks import catalogue
from fastpw.core import machine
from fastpw.network import Network
from fastpw.network.memory import Budget, machine_memory
from fastpw.network.simplify import simplify

ISAS = list(dict.fromkeys(row["isa"] for row in machine.kernel_sets() if row["runs"]))
MOST_GROWTH = 16 << 20  # bytes, after the first quarter: holes that allocators keep


class Call:
    """One random call, the same for the same seed."""

    def __init__(self, seed):
        self.draw = np.random.default_rng(seed)
        choose = self.draw.choice
        self.dtype = np.dtype(str(choose(["float32", "float64"])))
        groups = int(choose([1, 1, 1, 2, 4]))
        channels, filters = (groups * int(choose([1, 3, 8, 24, 50, 130])) for _ in range(2))
        groups = channels if self.draw.random() < 0.1 else groups
        filters = channels if groups == channels else filters
        self.shape = [int(size) for size in choose([1, 2, 3, 7, 12], self.draw.integers(1, 5))]
        self.row = _activations.TABLE[self.draw.integers(len(_activations.TABLE))]
        self.options = {"groups": groups, "activation": self.row.spec}
        if len(self.shape) in (2, 3):
            self.options |= {"stride": int(choose([1, 1, 2, 3])), "padding": int(choose([0, 0, 1]))}
        self.x = self.array(*self.shape, channels)
        self.weight, self.bias = self.array(filters, channels // groups), self.array(filters)
        self.threads = int(choose([1, 2, 3]))

    def array(self, *shape):
        """Normal numbers; one array in three is a view of a larger one, reversed."""
        if self.draw.random() < 2 / 3:
            return self.draw.standard_normal(shape).astype(self.dtype)
        wide = self.draw.standard_normal([size + 2 for size in shape]).astype(self.dtype)
        view = wide[tuple(slice(1, -1) for _ in shape)]
        return view[::-1] if len(shape) > 1 else view

    def check(self):
        """Makes the call through every entrance; returns what was wrong."""
        arrays = self.x, self.weight, self.bias
        with fastpw.num_threads(self.threads):
            z = np.empty_like(y := fastpw.conv1x1(*arrays, **self.options))
            layer = fastpw.Conv1x1(*arrays[1:], **self.options)
            again = [layer(self.x), layer(self.x), fastpw.conv1x1(*arrays, **self.options, out_z=z)]
            dy = self.draw.standard_normal(y.shape).astype(self.dtype)
            grads = fastpw.conv1x1_backward(dy, *arrays, y=y, z=z, **self.options)
        if _bounds.excess(y, *_bounds.promise(*arrays, **self.options)) > 1:
            return "y"
        if differ := [i for i, other in enumerate(again) if not np.array_equal(other, y)]:
            return f"entrance {differ}"
        exact, allowed = _bounds.promise_gradients(dy, *arrays, **self.options)
        for name, grad, *of_one in zip(grads._fields, grads, exact, allowed, strict=True):
            if grad is not None and _bounds.excess(grad, *of_one) > 1:
                return name
        return None

    def __str__(self):
        shapes = f"x {self.x.shape}, weight {self.weight.shape}, {self.dtype}"
        return f"{shapes}, {self.options}, {self.threads} threads"


class NetworkCall:
    """One call of a small network with a random batch of images, the same for the same seed."""

    NAMES = (
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "resnet50",
        "squeezenet",
    )

    def __init__(self, seed):
        draw = np.random.default_rng(seed)
        self.name = str(draw.choice(self.NAMES))
        shape = int(draw.integers(1, 4)), 3, *map(int, draw.integers(40, 120, 2))
        self.x = draw.standard_normal(shape, dtype=np.float32)
        self.threads = [int(n) for n in draw.permutation([1, 2, 3])]

    def check(self):
        """Makes the call with two teams, and on one image of the batch; returns what was wrong."""
        net, answers = open_network(self.name), []
        for threads in self.threads[:2]:
            with fastpw.num_threads(threads):
                answers.append(net(self.x))
        if not np.array_equal(*answers):
            return "the bits on other threads"
        largest = np.abs(answers[0]).max()
        if not np.isfinite(largest) or np.abs(net(self.x[-1:])[0] - answers[0][-1]).max() > 1e-4 * largest:
            return "the answer to one image alone"
        return None

    def __str__(self):
        return f"{self.name}, x {self.x.shape}, {self.threads} threads"


@cache
def open_network(name):
    """A small one for images of any size."""
    graph = catalogue.build_small(name, open_sizes=True)
    simplify(graph, Budget(machine_memory()))
    return Network(graph, None, machine_memory())


def status(field):
    """A number of /proc/self/status; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def one_arena():
    """All threads allocate from one heap (glibc): several keep holes that look like growth."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(-8, 1)  # M_ARENA_MAX


def resident():
    """Bytes of memory in use, after free memory has gone back to the system (glibc)."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return status("VmRSS") << 10


def work(seeds, until, failed, kind):
    """One thread's calls; where one goes wrong, its seed and what it was."""
    while time.monotonic() < until and not failed:
        seed = next(seeds)
        try:
            wrong = kind(seed).check()
        except Exception as error:
            wrong = repr(error)
        if wrong:
            failed.append((seed, wrong))


def soak(seconds, first_seed, callers, kind):
    """Rounds of new threads, each round on another instruction set."""
    start, seeds, failed, settled = time.monotonic(), count(first_seed), [], None
    for number in count():
        machine.choose_isa(ISAS[number % len(ISAS)])
        until = time.monotonic() + seconds / 40
        threads = [threading.Thread(target=work, args=(seeds, until, failed, kind)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.monotonic() - start
        if settled is None and elapsed > seconds / 4:
            settled = resident()
        if failed or elapsed > seconds:
            break
    growth = resident() - (settled or 0)
    print(f"{next(seeds) - first_seed} calls in {elapsed:.0f} s; {status('Threads')} threads; ", end="")
    print(
        f"memory {growth / 2**20:+.1f} MiB since a quarter of the time" if settled else "too short for memory"
    )
    for seed, wrong in failed:
        print(f"--call {seed}: {wrong} is wrong: {kind(seed)}")
    return 1 if failed or (settled and growth > MOST_GROWTH) else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callers", type=int, default=3, help="Python threads")
    parser.add_argument(
        "--call", type=int, metavar="SEED", help="make one call again, on each instruction set"
    )
    parser.add_argument("--networks", action="store_true", help="calls of networks instead")
    given = parser.parse_args()
    kind = NetworkCall if given.networks else Call
    if given.networks:
        for name in NetworkCall.NAMES:
            open_network(name)
    if given.call is None:
        one_arena()
        return soak(given.seconds, given.seed, given.callers, kind)
    print(kind(given.call))
    wrong = {}
    for isa in ISAS:
        machine.choose_isa(isa)
        wrong[isa] = kind(given.call).check()
        print(f"{isa}: {wrong[isa] or 'right'}")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
