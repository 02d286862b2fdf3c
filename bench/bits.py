"""Do two builds compute the same bits? Thousands of random calls, the same for every build, say so.

    python bench/bits.py write before.json      the results of this build, as digests
    python bench/bits.py compare before.json    this build's against those; exit status 1 if any bit differs
    python bench/bits.py compare before.json --other TREE    by how much, from all values of the build in TREE

The build is the fastpw that Python finds (PYTHONPATH). Every instruction set that the CPU runs has a process
of its own. Which calls are made, random_calls.py says. NaN's bits and the signs of zeros count. Each call has
1 to 3 threads, or as many as --threads says, which must not matter. Without --other the largest difference is
that of the few values which the file keeps of each output.
"""

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import random_calls

import fastpw

CALLS = 4000
SEED = 1
KEPT = 32  # values of each output, evenly spread, that tell how far apart two results are
SHOWN = 40  # differences of each instruction set


# ---- one build on one instruction set --------------------------------------------------------------------


def results(seed, calls, threads):
    """What each call wrote, by its number and description, and output by output."""
    drawn = (random_calls.make(seed, number) for number in range(calls))
    return {f"{number}: {call}": written(call, threads) for number, call in enumerate(drawn)}


def written(call, threads):
    try:
        return {name: summary(array) for name, array in call.run(threads).items()}
    except Exception as error:  # (one build may refuse what the other takes)
        return {repr(error)[:200]: ["", "", ""]}


def summary(array):
    """The digest of the bits, that of the values, and some of these."""
    with np.errstate(all="ignore"):
        values = array + 0  # (which makes all zeros positive)
    values[np.isnan(values)] = np.nan
    return [digest(array), digest(values), some_of(array)]


def digest(array):
    return hashlib.blake2b(array.tobytes(), digest_size=8, person=str(array.ndim).encode()).hexdigest()


def some_of(array):
    flat = array.ravel()
    chosen = flat[np.unique(np.linspace(0, flat.size - 1, KEPT).astype(int))] if flat.size else flat
    return f"{array.dtype} {base64.b64encode(chosen.tobytes()).decode()}"


def kept(summary):
    dtype, numbers = summary[-1].split()
    return np.frombuffer(base64.b64decode(numbers), dtype)


# ---- every instruction set -------------------------------------------------------------------------------


def all_results(options):
    """By instruction set."""
    isas = fastpw.show_config("dicts")["instruction sets"]["this CPU runs"]
    return {isa: results_on(isa, options) for isa in isas}


def results_on(isa, options):
    started = time.monotonic()
    command = [sys.executable, __file__, "results", f"--seed={options.seed}", f"--calls={options.calls}"]
    command += [f"--threads={options.threads}"] if options.threads else []
    child = subprocess.run(command, env={**os.environ, "FASTPW_ISA": isa}, stdout=subprocess.PIPE, check=True)
    made = json.loads(child.stdout)
    refused = sum(["", "", ""] in outputs.values() for outputs in made.values())
    print(f"{isa}: {len(made)} calls in {time.monotonic() - started:.0f} s, {refused} refused", flush=True)
    return made


def compare(theirs, ours, options):
    """Prints what differs; the number of calls that do, or that only one of the two made."""
    differing = 0
    for isa in {**theirs, **ours}:
        one, other = theirs.get(isa, {}), ours.get(isa, {})
        pairs = {call: differing_outputs(one.get(call), other.get(call)) for call in {**one, **other}}
        differ = {call: outputs for call, outputs in pairs.items() if outputs}
        print(f"{isa}: {len(differ)} calls differ, {len(pairs) - len(differ)} agree")
        show(isa, dict([*differ.items()][:SHOWN]), options)
        if len(differ) > SHOWN:
            print(f"  and {len(differ) - SHOWN} more")
        differing += len(differ)
    return differing


def differing_outputs(one, other):
    """By name, the summaries in both builds; None in one that did not make it."""
    one, other = ({"call": None} if outputs is None else outputs for outputs in (one, other))
    pairs = {name: (one.get(name), other.get(name)) for name in {**one, **other}}
    return {name: pair for name, pair in pairs.items() if None in pair or pair[0][0] != pair[1][0]}


def show(isa, differ, options):
    numbers = [call.split(":")[0] for call in differ]
    trees = (options.other, None) if options.other and numbers else ()
    values = [values_of(isa, numbers, options.seed, tree) for tree in trees]
    for number, (call, outputs) in zip(numbers, differ.items(), strict=True):
        print(f"  {call}")
        for name, pair in outputs.items():
            print(f"    {name}: {what_differs(pair, [made.get(f'{number} {name}') for made in values])}")


def what_differs(pair, values):
    """Of an output's summaries in both builds, with all of its values or those that are kept."""
    one, other = pair
    if one is None or other is None:
        return "in one of the two builds only"
    if one[1] == other[1]:
        return "NaN's bits or the signs of zeros, no more"
    if values and all(a is not None for a in values):
        return how_far(*values)
    return f"{how_far(kept(one), kept(other))}, which are kept"


def values_of(isa, numbers, seed, tree):
    """All that these calls write, made again with a build: in this folder, or the one that Python finds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.npz"
        command = [sys.executable, __file__, "values", file, f"--seed={seed}", "--numbers", *numbers]
        there = {} if tree is None else {"PYTHONPATH": str(tree.resolve())}
        subprocess.run(command, env={**os.environ, **there, "FASTPW_ISA": isa}, check=True)
        with np.load(file) as made:
            return dict(made)


def save_values(file, seed, numbers):
    made = {}
    for number in numbers:
        with suppress(Exception):  # (what a build refuses has no values)
            outputs = random_calls.make(seed, number).run()
            made |= {f"{number} {name}": array for name, array in outputs.items()}
    np.savez(file, **made)


def how_far(a, b):
    if a.shape != b.shape:
        return f"shapes {a.shape} and {b.shape}"
    a, b = a.astype(float), b.astype(float)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    largest = np.max(np.abs(a[np.isfinite(a)]), initial=0)
    return f"up to {np.max(apart, initial=0):.3g} apart in {a.size} values of up to {largest:.3g}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["write", "compare", "results", "values"])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.json")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--threads", type=int, help="of all calls")
    parser.add_argument("--other", type=Path, metavar="TREE", help="compare: a folder with the other build")
    parser.add_argument("--numbers", type=int, nargs="+", help="values: of the calls to make")
    options = parser.parse_args()
    if options.action == "results":
        json.dump(results(options.seed, options.calls, options.threads), sys.stdout)
        return 0
    if options.action == "values":
        save_values(options.file, options.seed, options.numbers)
        return 0
    print(f"{Path(fastpw.__file__).parent}, seed {options.seed}")
    made = all_results(options)
    if options.action == "write":
        options.file.write_text(json.dumps(made))
        return 0
    return 1 if compare(json.loads(options.file.read_text()), made, options) else 0


if __name__ == "__main__":
    sys.exit(main())
