"""Do two builds compute the same bits? Thousands of random calls, the same for every build, say so.

    python bench/bits.py write before.json      the results of this build, as digests
    python bench/bits.py compare before.json    this build's against those; exit status 1 if any bit differs

The build is the fastpw that Python finds (PYTHONPATH). Every instruction set that the CPU runs has a process
of its own. Which calls are made, random_calls.py says. NaN's bits and the signs of zeros count. Each call has
1 to 3 threads, or as many as --threads says, which must not matter.
"""

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import time
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
        return {"error": [repr(error)[:200]] * 3}


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


def values_of(text):
    dtype, numbers = text.split()
    return np.frombuffer(base64.b64decode(numbers), dtype).astype(float)


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
    refused = sum("error" in outputs for outputs in made.values())
    print(f"{isa}: {len(made)} calls in {time.monotonic() - started:.0f} s, {refused} refused", flush=True)
    return made


def compare(theirs, ours):
    """Prints what differs; the number of calls that do, or that only one of the two made."""
    differing = 0
    for isa in {**theirs, **ours}:
        one, other = theirs.get(isa, {}), ours.get(isa, {})
        differ = {call: difference(one.get(call), other.get(call)) for call in {**one, **other}}
        differ = {call: said for call, said in differ.items() if said}
        print(f"{isa}: {len(differ)} calls differ, {len({**one, **other}) - len(differ)} agree")
        for call, said in [*differ.items()][:SHOWN]:
            print(f"  {call}\n    {'; '.join(said)}")
        if len(differ) > SHOWN:
            print(f"  and {len(differ) - SHOWN} more")
        differing += len(differ)
    return differing


def difference(one, other):
    """What differs in a call's outputs, each in a few words."""
    if one is None or other is None:
        return ["only one of the two builds made this call"]
    pairs = {name: (one.get(name), other.get(name)) for name in {**one, **other}}
    return [f"{name} {how_far(a, b)}" for name, (a, b) in pairs.items() if a != b]


def how_far(one, other):
    """From the values that are kept of an output: of the others only the digest is."""
    if one is None or other is None:
        return f"in one of the two builds only: {(one or other)[2][:200]}"
    if one[1] == other[1]:
        return "in NaN's bits or the signs of zeros only"
    a, b = values_of(one[2]), values_of(other[2])
    if a.shape != b.shape:
        return "in shape"
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    largest = np.max(np.abs(a[np.isfinite(a)]), initial=0)
    return f"by up to {np.max(apart, initial=0):.3g} in {len(a)} values of up to {largest:.3g}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["write", "compare", "results"])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.json")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--threads", type=int, help="of all calls")
    options = parser.parse_args()
    if options.action == "results":
        json.dump(results(options.seed, options.calls, options.threads), sys.stdout)
        return 0
    print(f"{Path(fastpw.__file__).parent}, seed {options.seed}")
    made = all_results(options)
    if options.action == "write":
        options.file.write_text(json.dumps(made))
        return 0
    return 1 if compare(json.loads(options.file.read_text()), made) else 0


if __name__ == "__main__":
    sys.exit(main())
