"""The speed of two builds, in turn: the fastpw that Python finds, and the one in another folder.

    python bench/versus.py OTHER_TREE               layers of real networks, as `fastpw bench`
    python bench/versus.py OTHER_TREE --backward    their gradients
    python bench/versus.py OTHER_TREE --kind dense  kernels of several taps; or depthwise
    python bench/versus.py OTHER_TREE --small       what a call costs besides its arithmetic, and the import

Each build has a process of its own, which keeps its arrays and its layer. On each layer they take turns, in
the order A B B A, and no thread of one is awake while the other is timed. A ratio above 1 means that this
build is faster than the other one. Compare a tree with itself to see the noise.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import fastpw
from fastpw.bench import implementations, layers
from fastpw.bench.runner import ROUNDS, SECONDS
from fastpw.bench.setting import Setting
from fastpw.bench.timing import Timing
from fastpw.bench.worker import Worker, serve

WIDTH = 120  # of the tables where the output is no terminal
WORST = 5
CALLS = 100  # of a small function, timed as one
IMPORTS = 20  # of each build
HERE = Path(fastpw.__file__).resolve().parents[1]
IMPORT = "import numpy, time; t = time.perf_counter(); import fastpw; print(time.perf_counter() - t)"


# ---- what is timed, in a process of each build -----------------------------------------------------------


def of_layer(problem):
    return implementations.table(problem.setting)["fastpw"](problem)


def layer_into(problem):
    layer = fastpw.Conv1x1(problem.weight, problem.bias, activation="relu")
    x, y = (a.reshape(-1, a.shape[-1]) for a in (problem.x, problem.out()))
    return lambda: layer(x, out=y)


def function_into(problem):
    x, y = (a.reshape(-1, a.shape[-1]) for a in (problem.x, problem.out()))
    weight, bias = problem.weight, problem.bias
    return lambda: fastpw.conv1x1(x, weight, bias, activation="relu", out=y)


def layer_anew(problem):
    layer, x = fastpw.Conv1x1(problem.weight, problem.bias, activation="relu"), problem.x
    return lambda: layer(x)


def gradients_added(problem):
    arrays = problem.dy, problem.x, problem.weight, problem.bias
    out = (*(np.zeros_like(a) for a in arrays[1:]), None)
    options = {"y": problem.y, "activation": "relu", "out": out, "accumulate": True}
    return lambda: fastpw.conv1x1_backward(*arrays, **options)


@dataclass(frozen=True)
class Small:
    """A call whose arithmetic takes next to no time."""

    layer: layers.Layer
    prepare: object  # of a Problem: the function to time
    backward: bool = False


SMALL = {
    small.layer.name: small
    for small in (
        Small(layers.Layer("layer(x, out=y)", 1, 1, 1, 8, 8, 1), layer_into),
        Small(layers.Layer("conv1x1(x, w, b, out=y)", 1, 1, 1, 8, 8, 1), function_into),
        Small(layers.Layer("layer(x)", 1, 14, 14, 64, 64, 1), layer_anew),
        Small(layers.Layer("conv1x1_backward", 1, 7, 7, 32, 32, 1), of_layer, backward=True),
        Small(layers.Layer("the same, accumulated", 1, 7, 7, 32, 32, 1), gradients_added, backward=True),
    )
}


def prepare(problem):
    """As a peer's: the function to time, and one that says what it computes."""
    fastpw.set_num_threads(problem.setting.threads)
    small = SMALL.get(problem.layer.name)
    if small is None:
        run = of_layer(problem)
        return run, run
    call = small.prepare(problem)

    def run():
        for _ in range(CALLS):
            call()

    return run, of_layer(problem) if small.prepare is gradients_added else call


def serve_build(connection, tree):
    """What a build's process does."""
    found = Path(fastpw.__file__).resolve().parents[1]
    if found != tree:
        raise ImportError(f"fastpw: that of {tree} is needed, got that of {found}")
    serve(connection, "fastpw", f"{__name__}:prepare", Build.kind)


# ---- in turn ---------------------------------------------------------------------------------------------


class Build(Worker):
    """A build's Contestant, in a process that finds its fastpw first."""

    def __init__(self, tree):
        self._tree = tree
        super().__init__("fastpw", None)

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve_build, args=(theirs, self._tree), daemon=True)
        with first_on_path(self._tree):  # (which the new process gets from this one)
            self._process.start()
        theirs.close()


@contextmanager
def first_on_path(tree):
    sys.path.insert(0, str(tree))
    try:
        yield
    finally:
        sys.path.remove(str(tree))


class Pair:
    """What was measured of both builds."""

    def __init__(self, name, what):
        self.name, self.what = name, what
        self.timings = Timing(), Timing()  # this build's, the other's

    @property
    def ratio(self):
        this, other = self.timings
        return other.best / this.best


def in_turn(pair, timed, rounds):
    """A B, B A, A B, ...: the functions that time a build return the seconds of its calls."""
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            pair.timings[which].calls += timed[which]()
    return pair


def on_layer(builds, layer, setting, rounds):
    for build in builds:
        build.prepare(layer, setting)
    pair = Pair(layer.name, sizes(layer))
    in_turn(pair, [lambda build=build: build.burst(SECONDS) for build in builds], rounds)
    for build in builds:
        build.check()
    if layer.name in SMALL:
        for timing in pair.timings:
            timing.calls = [seconds / CALLS for seconds in timing.calls]
    return pair


def sizes(layer):
    batch = f"{layer.N}×" if layer.N > 1 else ""
    stride = f" /{layer.stride}" if layer.stride > 1 else ""
    kernel = f", {layer.kh}×{layer.kw}" if layer.kernel != (1, 1) else ""
    return f"{batch}{layer.H}×{layer.W}{stride}{kernel}, {layer.C} → {layer.K}"


def imported(trees):
    """Of new processes, which have NumPy already."""
    pair = Pair("import fastpw", "after NumPy")
    return in_turn(pair, [lambda tree=tree: [import_seconds(tree)] for tree in trees], IMPORTS)


def import_seconds(tree):
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-P", "-c", IMPORT]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout)


def measure(options):
    trees = HERE, options.other
    with ExitStack() as stack:
        builds = [stack.enter_context(closing(Build(tree))) for tree in trees]
        if not options.small:
            setting = Setting(options.threads, options.backward, kind=options.kind)
            known = layers.load(options.layers, options.kind)
            chosen = [one for one in known if options.network in (None, one.network)]
            return [on_layer(builds, layer, setting, options.rounds) for layer in chosen]
        pairs = [
            on_layer(builds, small.layer, Setting(options.threads, small.backward), options.rounds)
            for small in SMALL.values()
        ]
    return [*pairs, imported(trees)]


# ---- what is shown ---------------------------------------------------------------------------------------


def table(title, pairs):
    rows = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("layer", "what", "this µs", "other µs", "ratio", "of medians"):
        rows.add_column(column, justify="left" if column in ("layer", "what") else "right")
    for pair in pairs:
        this, other = pair.timings
        times = (f"{timing.best * 1e6:.2f}" for timing in (this, other))
        rows.add_row(pair.name, pair.what, *times, f"{pair.ratio:.3f}", f"{other.median / this.median:.3f}")
    return rows


def main(arguments=None):
    options = parse(arguments)
    pairs = measure(options)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(f"this: {HERE}\nother: {options.other}\nthreads: {options.threads}")
    console.print(table("in turn", pairs))
    ratios = [pair.ratio for pair in pairs]
    if not options.small:
        console.print(table("the worst", sorted(pairs, key=lambda pair: pair.ratio)[:WORST]))
    mean = statistics.geometric_mean(ratios)
    console.print(
        f"geometric mean {mean:.4f}, from {min(ratios):.3f} to {max(ratios):.3f}; above 1 this is faster"
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", metavar="OTHER_TREE", type=Path, help="a folder with another fastpw, built")
    parser.add_argument("--layers", metavar="FILE.csv", help="other layers")
    parser.add_argument("--kind", choices=layers.KINDS, default="pointwise", help="of the convolutions")
    parser.add_argument("--network", choices=layers.all_networks(), help="only its layers")
    parser.add_argument("--backward", action="store_true", help="the gradients")
    parser.add_argument("--small", action="store_true", help="small calls and the import instead")
    parser.add_argument("--threads", type=int, default=fastpw.get_num_threads())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    options.other = options.other.resolve()
    if not (options.other / "fastpw" / "__init__.py").exists():
        parser.error(f"OTHER_TREE: a folder that holds fastpw is needed, got {options.other}")
    return options


if __name__ == "__main__":
    main()
