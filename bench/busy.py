"""Calls on all CPUs while other processes keep some of them busy: the mean, and how slow the slow calls are.

    python bench/busy.py              256 -> 256 at 14 x 14: fastpw with a thread for each CPU, and with one
    python bench/busy.py --peers      and LiteRT, torch and ONNX Runtime, where installed

Each implementation has a process of its own and makes a block of calls in each round; nobody else computes
then but the busy loops, each of them pinned to a CPU.
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import fastpw
from fastpw.bench import implementations, peers
from fastpw.bench.layers import Layer
from fastpw.bench.setting import Setting
from fastpw.bench.worker import PeerError, Worker

LAYER = Layer("busy", 1, 14, 14, 256, 256, 1)
PEERS = ["litert", "torch onednn", "ort conv"]
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


def parse(arguments):
    parser = argparse.ArgumentParser(description="Measure calls beside busy loops.")
    parser.add_argument("--peers", action="store_true", help=f"with {', '.join(PEERS)}, where installed")
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


if __name__ == "__main__":
    main()
