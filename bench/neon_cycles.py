"""What the NEON tiles would reach on a Cortex-A72, A76 or Neoverse N1, told without one by llvm-mca.

    python bench/neon_cycles.py MODULE      the compiled fastpw.core.machine of a 64-bit ARM build

For each dtype the hottest loop of every kind of tile, against the loop of the kernel set's `peak`, which does
nothing but independent multiply-adds, in the same model. The loops of integers, with sdot and without (smull
and sadalp), stand against as many independent instructions of theirs; the last column says how many times
float32's limit of multiply-adds a cycle they reach. An estimate of the core alone, with every load in the
first-level cache. LLVM takes its model of the Cortex-A57 for A72 and A76: one multiply-add a cycle. The
A76's core is the Neoverse N1's, of which LLVM has a model since version 17: two a cycle.
Fails if a wide tile reaches less than LEAST of the limit.

OBJDUMP and LLVM_MCA name the tools if they are not aarch64-linux-gnu-objdump and llvm-mca.
"""

import os
import re
import subprocess
import sys

OBJDUMP = os.environ.get("OBJDUMP", "aarch64-linux-gnu-objdump")
LLVM_MCA = os.environ.get("LLVM_MCA", "llvm-mca")
CORES = ["cortex-a72", "cortex-a76", "neoverse-n1"]
WITHOUT_SDOT = "cortex-a72"
# What multiplies and adds: how many numbers at once, and the instruction.
FLOATS = {"float32": (4, re.compile(r"fmla.*\.4s")), "float64": (2, re.compile(r"fmla.*\.2d"))}
INTEGERS = {"int8 sdot": (16, re.compile("sdot")), "int8 smull": (8, re.compile("sadalp"))}
# Independent ones, enough of them that none waits for the one before.
LIMITS = {
    "int8 sdot": [f"sdot v{i}.4s, v30.16b, v31.16b" for i in range(24)],
    "int8 smull": [
        line
        for i in range(12)
        for line in (f"smull v{i}.8h, v30.8b, v31.8b", f"sadalp v{i + 12}.4s, v{i}.8h")
    ],
}
INTEGER_TILE = "integer_wide_"
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


def multiply_adds(loop, instruction):
    return sum(instruction.match(line) is not None for line in loop)


def hottest_loop(body, instruction):
    """The innermost loop with the most multiply-adds in a turn, or nothing."""
    best, innermost_begin = [], 0
    for address, line in body.items():
        match = BRANCH.match(line)
        if match is None or not innermost_begin <= (start := int(match[2], 16)) <= address:
            continue
        innermost_begin = start + 1
        loop = [body[at] for at in body if start <= at < address] + [f"{match[1]}loop"]
        if multiply_adds(loop, instruction) > multiply_adds(best, instruction):
            best = loop
    return best


def cycles(loop, core):
    """Cycles per iteration, or None where llvm-mca does not know the core."""
    command = [LLVM_MCA, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod", f"-iterations={ITERATIONS}"]
    text = "\n".join(["loop:", *loop])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode or "not a recognized processor" in done.stderr:
        return None
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / ITERATIONS


def hottest_of(bodies, pattern, instruction):
    """(name, loop) of the function with the most multiply-adds in a turn."""
    loops = [
        (name, hottest_loop(body, instruction)) for name, body in bodies if name and re.match(pattern, name)
    ]
    return max(loops, key=lambda found: multiply_adds(found[1], instruction))


def show(core, dtype, name, figures):
    """A line of the table; figures: instructions, multiply-adds, cycles, shares."""
    instructions, work, taken, *shares = figures
    numbers = f"{instructions:12}{work:14}{taken:8.1f}" + "".join(f"{share:9.2f}" for share in shares)
    print(f"{core:12}{dtype:11}{name:16}{numbers}")


def floats(bodies, core):
    """The tiles of floats: whether wide ones come close enough to the limit, and that of float32 a cycle."""
    wide_enough, limits = True, {}
    for dtype, (lanes, instruction) in FLOATS.items():
        for pattern in LOOPS:
            name, loop = hottest_of(bodies, pattern, instruction)
            taken, work = cycles(loop, core), multiply_adds(loop, instruction) * lanes
            limit = limits.setdefault(dtype, work / taken)
            share = work / taken / limit
            wide_enough &= pattern != WIDE or share >= LEAST
            show(core, dtype, name, (len(loop), work, taken, share))
    return wide_enough, limits["float32"]


def integers(bodies, core, of_float32):
    """The tiles of integers, which have no limit in the kernel sets."""
    for dtype, (lanes, instruction) in INTEGERS.items():
        if core == WITHOUT_SDOT and "sdot" in dtype:
            continue
        independent = LIMITS[dtype]
        limit = multiply_adds(independent, instruction) * lanes / cycles(independent, core)
        name, loop = hottest_of(bodies, INTEGER_TILE, instruction)
        taken, work = cycles(loop, core), multiply_adds(loop, instruction) * lanes
        show(core, dtype, name, (len(loop), work, taken, work / taken / limit, work / taken / of_float32))


def main(module):
    bodies = list(functions(module))
    wide_enough = True
    print(f"{'core':12}{'dtype':11}{'loop':16}instructions multiply-adds  cycles of limit  × float32")
    for core in CORES:
        if cycles(["nop"], core) is None:
            print(f"{core:12}is unknown to this {LLVM_MCA}")
            continue
        core_wide_enough, of_float32 = floats(bodies, core)
        integers(bodies, core, of_float32)
        wide_enough &= core_wide_enough
    return 0 if wide_enough else f"a wide tile reaches less than {LEAST} of the limit"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
