"""Measures fastpw with other constants than those in fastpw/core/partition.py.

    python bench/sweep.py                          every constant, on every layer: an hour or so
    python bench/sweep.py SMALL_WORK MOST_ROWS --network nin --threads 2

Each constant is tried at a few multiples of its present value, the others as they are; the values take turns
on each layer. Another value deserves the place if it is better by more than the noise, which the present
value against itself ("again") shows.
"""

import argparse
import statistics
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table

import fastpw
from fastpw import _programs
from fastpw.bench import implementations, layers
from fastpw.bench.contestant import local
from fastpw.bench.roofs import FmaPeak
from fastpw.bench.runner import SECONDS, threads_held
from fastpw.bench.setting import Setting
from fastpw.bench.timing import interleave
from fastpw.core import partition

CONSTANTS = [name for name in vars(partition) if name.isupper()]
FACTORS = [0.25, 0.5, 2.0, 4.0]
WIDTH = 120  # of the tables where the output is no terminal
PRESENT, AGAIN = "present", "again"


def main(arguments=None):
    options = parse(arguments)
    chosen = [layer for layer in layers.load(options.layers) if options.network in (None, layer.network)]
    setting = Setting(options.threads, options.backward, dtype=options.dtype)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(f"{setting}; {len(chosen)} layers, {options.rounds} rounds")
    with threads_held(setting.threads):
        for name in options.constants or CONSTANTS:
            console.print(sweep(name, values(name, options.factors), chosen, setting, options.rounds))


def parse(arguments):
    parser = argparse.ArgumentParser(description="Measure other values of the constants in partition.py.")
    parser.add_argument("constants", nargs="*", metavar="CONSTANT", help=f"any of {', '.join(CONSTANTS)}")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS, help="of the present value")
    parser.add_argument("--backward", action="store_true", help="the gradients")
    parser.add_argument("--threads", type=int, default=fastpw.get_num_threads())
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--network", choices=layers.networks(), help="only its layers")
    parser.add_argument("--layers", metavar="FILE.csv", help="other layers")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    unknown = set(options.constants) - set(CONSTANTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: a constant of partition.py is needed")
    return options


def values(name, factors):
    """What to try, by the label of its row; the present value twice, which shows the noise."""
    now = getattr(partition, name)
    others = sorted({max(1, round(now * factor)) for factor in factors} - {now})
    return {PRESENT: now, AGAIN: now, **{str(value): value for value in others}}


@contextmanager
def held(name, value):
    """A constant at another value; what was derived from it is derived anew."""
    before = getattr(partition, name)
    set_constant(name, value)
    try:
        yield
    finally:
        set_constant(name, before)


def set_constant(name, value):
    setattr(partition, name, value)
    for function in vars(partition).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    _programs.forward.forget()
    _programs.backward.forget()


class Variant:
    """fastpw with one constant at one value, as a Contestant."""

    def __init__(self, label, name, value, setting):
        self._contestant = local(label, implementations.table(setting)["fastpw"])
        self._held = name, value

    def prepare(self, layer, setting):
        with held(*self._held):
            self._contestant.prepare(layer, setting)

    def burst(self, seconds):
        with held(*self._held):
            # (a layer keeps what it derived from the constants, so every burst begins with a new one)
            self._contestant.start()
            return self._contestant.burst(seconds)


def sweep(name, tried, chosen, setting, rounds):
    """One constant's table."""
    variants = {label: Variant(label, name, value, setting) for label, value in tried.items()}
    peak = FmaPeak(setting.threads, setting.dtype)
    bursts = {"peak": peak.burst, **{label: variant.burst for label, variant in variants.items()}}
    seconds = {label: [] for label in bursts}
    for layer in chosen:
        for variant in variants.values():
            variant.prepare(layer, setting)
        for label, timing in interleave(bursts, rounds, SECONDS).items():
            seconds[label].append(timing.best)
    flops_per_second = peak.flops / min(seconds.pop("peak"))
    table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("value", "of peak", "× present", "worst layer", "", "best layer", ""):
        table.add_column(column, justify="right" if column.startswith(("value", "of", "×")) else "left")
    for label, best in seconds.items():
        value = f"{tried[label]} {label}" if label in (PRESENT, AGAIN) else label
        table.add_row(value, *figures(best, seconds[PRESENT], chosen, setting, flops_per_second))
    return table


def figures(best, present, chosen, setting, flops_per_second):
    """A row's cells."""
    peaks = [setting.flops(layer) / time / flops_per_second for layer, time in zip(chosen, best, strict=True)]
    ratios = [now / time for now, time in zip(present, best, strict=True)]
    yield f"{statistics.geometric_mean(peaks):.3f}"
    yield f"{statistics.geometric_mean(ratios):.3f}"
    for extreme in (min, max):
        yield f"{extreme(ratios):.3f}"
        yield chosen[ratios.index(extreme(ratios))].name


if __name__ == "__main__":
    main()
