"""Calls on all CPUs while other processes keep some of them busy: the mean, and how slow the slow calls are.

    python bench/busy.py              256 -> 256 at 14 x 14: fastpw with a thread for each CPU, and with one
    python bench/busy.py --peers      and LiteRT, torch and ONNX Runtime, where installed
    python bench/busy.py --networks   whole networks: a thread for each CPU beside one busy loop, as a
                                      multiple of one thread without; exit status 1 where it is above 1.3

Each implementation has a process of its own and makes a block of calls in each round; nobody else computes
then but the busy loops, each of them pinned to a CPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import fastpw
from fastpw.bench import implementations, peers
from fastpw.bench.layers import Layer
from fastpw.bench.networks import catalogue
from fastpw.bench.networks.command import Built
from fastpw.bench.networks.run import OWN, ModelWorker
from fastpw.bench.setting import Setting
from fastpw.bench.worker import PeerError, Worker

LAYER = Layer("busy", 1, 14, 14, 256, 256, 1)
PEERS = ["litert", "torch onednn", "ort conv"]
MOST = 1.3  # times the time on one thread: of a network beside a busy loop
LOOP = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


def fastpw_layer(problem):
    """What a worker times, and how it reads the result."""
    fastpw.set_num_threads(problem.setting.threads)
    run = implementations.fastpw_layer(problem)
    return run, run


@contextmanager
def busy(cpus):
    """Each of these CPUs has a busy loop."""
    with ExitStack() as stack:
        for cpu in cpus:
            command = [sys.executable, "-c", LOOP, str(cpu)]
            loop = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(loop.kill)
            loop.stdout.readline()
        yield


def main(arguments=None):
    options = parse(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    if options.networks is not None:
        return networks(options.networks or list(catalogue.NETWORKS), cpus, options)
    setting = Setting(threads=len(cpus))
    loops = {"quiet": [], "one CPU busy": cpus[-1:], "all CPUs busy": cpus}
    with ExitStack() as stack:
        workers = start(stack, options.peers, setting)
        calls = {(state, name): [] for state in loops for name in workers}
        for _ in range(options.rounds):
            for state, name in calls:
                with busy(loops[state]):
                    calls[state, name] += workers[name].burst(options.seconds)
    Console(width=None if sys.stdout.isatty() else 100).print(table(calls, setting))
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(description="Measure calls beside busy loops.")
    parser.add_argument("--peers", action="store_true", help=f"with {', '.join(PEERS)}, where installed")
    parser.add_argument("--networks", nargs="*", choices=catalogue.NETWORKS, metavar="NAME",
                        help="whole networks: all, or those named")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each block of calls")
    return parser.parse_args(arguments)


def start(stack, with_peers, setting):
    """The workers by name, ready to compute."""
    one = replace(setting, threads=1)
    targets = {"fastpw": ("busy:fastpw_layer", setting), "fastpw, 1 thread": ("busy:fastpw_layer", one)}
    absent = peers.absent(setting)
    if with_peers:
        targets |= {name: (peers.FORWARD[name].target, setting) for name in PEERS if name not in absent}
    workers = {}
    for name, (target, its_setting) in targets.items():
        worker = stack.enter_context(closing(Worker(name, target)))
        try:
            worker.prepare(LAYER, its_setting)
        except PeerError as error:
            print(error)
            continue
        workers[name] = worker
    return workers


def table(calls, setting):
    shown = Table(title=f"{LAYER.C} -> {LAYER.K} at {LAYER.H} x {LAYER.W}, {setting}; µs", box=box.SIMPLE)
    for column in ("", "", "calls", "mean", "median", "99 %", "longest"):
        shown.add_column(column, justify="right" if column else "left")
    last = None
    for (state, name), seconds in calls.items():
        micros = 1e6 * np.array(seconds)
        figures = [micros.mean(), *np.percentile(micros, [50, 99, 100])]
        numbers = [f"{number:.0f}" for number in (micros.size, *figures)]
        shown.add_row(state if state != last else "", name, *numbers)
        last = state
    return shown


# ---- networks --------------------------------------------------------------------------------------------


def networks(names, cpus, options):
    """A line for each; returns the exit status."""
    print(
        f"{'network':20}{'1 thread':>10}{f'{len(cpus)}, one CPU busy':>20}{'ratio':>8}   ms, means of calls"
    )
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        for model in Built(names, Path(folder), as_onnx=False):
            alone, beside = (1e3 * np.mean(calls) for calls in beside_a_loop(model, cpus, options))
            print(f"{model.name:20}{alone:10.2f}{beside:20.2f}{beside / alone:8.2f}", flush=True)
            if beside > MOST * alone:
                slow.append(model.name)
    if slow:
        print(f"more than {MOST} times the time on one thread: {', '.join(slow)}")
    return 1 if slow else 0


def beside_a_loop(model, cpus, options):
    """The seconds of calls on one thread without the loop, and on a thread for each CPU beside it."""
    settings = [Setting(threads=n, new_arrays=True, kind="network") for n in (1, len(cpus))]
    states, calls = ([], cpus[-1:]), ([], [])
    with ExitStack() as stack:
        workers = [
            stack.enter_context(closing(ModelWorker("fastpw", OWN["fastpw"].target))) for _ in settings
        ]
        for worker, setting in zip(workers, settings, strict=True):
            worker.prepare(model, setting)
        for _ in range(options.rounds):
            for worker, busy_cpus, seconds in zip(workers, states, calls, strict=True):
                with busy(busy_cpus):
                    seconds.extend(worker.burst(options.seconds))
    return calls


if __name__ == "__main__":
    sys.exit(main())
