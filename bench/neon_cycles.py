"""What the NEON tiles would reach on a Cortex-A72 and A76, told without one: llvm-mca reads their loops.

    python bench/neon_cycles.py MODULE      the compiled fastpw.core.machine of a 64-bit ARM build

For each dtype the hottest loop of every kind of tile, against the loop of the kernel set's `peak`, which does
nothing but independent multiply-adds, in the same model. An estimate of the core alone, with every load in
the first-level cache. LLVM takes its model of the Cortex-A57 for A72 and A76: one multiply-add a cycle. The
A76's core is the Neoverse N1's, of which LLVM has a model since version 17: two a cycle.
Fails if a wide tile reaches less than LEAST of the limit.

OBJDUMP and LLVM_MCA name the tools if they are not aarch64-linux-gnu-objdump and llvm-mca.
"""

import itertools
import os
import re
import subprocess
import sys

OBJDUMP = os.environ.get("OBJDUMP", "aarch64-linux-gnu-objdump")
LLVM_MCA = os.environ.get("LLVM_MCA", "llvm-mca")
CORES = ["cortex-a72", "cortex-a76", "neoverse-n1"]
DTYPES = {"float32": ".4s", "float64": ".2d"}
WIDE = "tile_WIDE_"
LOOPS = ["peak$", WIDE, "tile_[24]_", "tile_OUTER_2_"]  # the limit first
ITERATIONS = 200
LEAST = 0.9

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+([^/]+)")
BRANCH = re.compile(r"(b\.\w+\s+|cbn?z\s+\w+, )([0-9a-f]+) <")


def functions(module):
    """(name, {address: instruction}) of each function."""
    command = [OBJDUMP, "-d", "--no-show-raw-insn", module]
    name, body = None, {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        if match := FUNCTION.match(line):
            yield name, body
            name, body = match[1], {}
        elif match := INSTRUCTION.match(line):
            body[int(match[1], 16)] = match[2].strip()
    yield name, body


def multiply_adds(loop, lanes):
    return sum(line.startswith("fmla") and lanes in line for line in loop)


def hottest_loop(body, lanes):
    """The innermost loop with the most multiply-adds per instruction, or nothing."""
    best, innermost_begin = [], 0
    for address, line in body.items():
        match = BRANCH.match(line)
        if match is None or not innermost_begin <= (start := int(match[2], 16)) <= address:
            continue
        innermost_begin = start + 1
        loop = [body[at] for at in body if start <= at < address] + [f"{match[1]}loop"]
        if multiply_adds(loop, lanes) > multiply_adds(best, lanes):
            best = loop
    return best


def cycles(loop, core):
    """Cycles per iteration, or None where llvm-mca does not know the core."""
    command = [LLVM_MCA, "-mtriple=aarch64", f"-mcpu={core}", f"-iterations={ITERATIONS}"]
    text = "\n".join(["loop:", *loop])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode or "not a recognized processor" in done.stderr:
        return None
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / ITERATIONS


def hottest_of(bodies, pattern, lanes):
    """(name, loop) of the function with the most multiply-adds in a turn."""
    loops = [(name, hottest_loop(body, lanes)) for name, body in bodies if name and re.match(pattern, name)]
    return max(loops, key=lambda found: multiply_adds(found[1], lanes))


def main(module):
    bodies = list(functions(module))
    wide_enough = True
    print("core        dtype    loop            instructions multiply-adds  cycles of limit")
    for core, (dtype, lanes) in itertools.product(CORES, DTYPES.items()):
        limit = None
        for pattern in LOOPS:
            name, loop = hottest_of(bodies, pattern, lanes)
            taken, work = cycles(loop, core), multiply_adds(loop, lanes)
            if taken is None:
                print(f"{core:12}is unknown to this {LLVM_MCA}")
                break
            limit = limit or work / taken
            share = work / taken / limit
            wide_enough &= pattern != WIDE or share >= LEAST
            print(f"{core:12}{dtype:9}{name:16}{len(loop):12}{work:14}{taken:8.1f}{share:9.2f}")
    return 0 if wide_enough else f"a wide tile reaches less than {LEAST} of the limit"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
