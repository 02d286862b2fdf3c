"""The accumulators of the hot loops stay in registers: read from the machine code.

A tile that is indexed lane by lane, or whose bounds are not constant, spills all its accumulators in every
step and computes the right values at a fraction of the speed; no other test would notice.

Looks at the built module; FASTPW_ASSEMBLY names another one (a wheel's, a cross-compiled one) and OBJDUMP the
disassembler that reads it, in place of objdump.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest

from fastpw.core import machine

OBJDUMP = os.environ.get("OBJDUMP", "objdump")
BINARY = os.environ.get("FASTPW_ASSEMBLY", machine.__file__)

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
# x86-64 and AArch64. SSE has no fused multiply-add: there a multiplication and an addition are two.
ARITHMETIC = re.compile(r"v?(fn?madd\d*|mul|add)p[sd]|fmla")
# What an activation needs and a sum of products does not: comparisons, divisions, bounds, bits.
ACTIVATION = re.compile(
    r"v?(cmp|div|min|max|and|andn|or|rndscale|cvt)\w*p[sd]"
    r"|f(cm|div|min|max|rint|cvt).*|b(sl|it|if)"
)
JUMP = re.compile(r"j[a-z]+|b(\..*)?|cbn?z|tbn?z")
TARGET = re.compile(r"(?:.*,)?\s*(?:0x)?([0-9a-f]+)(?: <.*)?$")
# A frame lies below rbp; above it, rbp is a pointer like any other.
STACK_STORE = re.compile(
    r"v?mov[a-z0-9]+\s+%[xyz]mm\d+,([^,]*\(%rsp|-[^,]*\(%rbp).*"  # AT&T: the target comes last
    r"|st[pr]\s+[qd]\d+,.*\[(sp|x29).*"
)
# The registers and operations of one kernel set's hot loops.
X86_SETS = {
    "baseline float32": r"mulps\s.*%xmm",
    "baseline float64": r"mulpd\s.*%xmm",
    "avx2 float32": r"vfmadd\d+ps\s.*%ymm",
    "avx2 float64": r"vfmadd\d+pd\s.*%ymm",
    "avx512 float32": r"vfmadd\d+ps\s.*%zmm",
    "avx512 float64": r"vfmadd\d+pd\s.*%zmm",
}
ARM_SETS = {"neon float32": r"fmla\s+v\d+\.4s", "neon float64": r"fmla\s+v\d+\.2d"}


# The products of small integers, each as one kernel set computes it.
DOTS = re.compile(r"v?pmaddwd|vpdpbusd|sdot|sadalp")
X86_INTEGER_SETS = {
    "baseline": r"pmaddwd\s.*%xmm",
    "avx2": r"vpmaddwd\s.*%ymm",
    "avx512": r"vpmaddwd\s.*%zmm",
    "avx_vnni": r"vpdpbusd\s.*%ymm",
    "avx512_vnni": r"vpdpbusd\s.*%zmm",
}
ARM_INTEGER_SETS = {"neon": r"sadalp\s", "neon_dot": r"sdot\s"}


@dataclass
class Loop:
    function: str
    body: list[str]  # operation and operands

    def count(self, operation):
        return sum(operation.fullmatch(line.split()[0]) is not None for line in self.body)

    @property
    def arithmetic(self):
        return self.count(ARITHMETIC)

    @property
    def is_hot(self):
        """The depth loop of a tile is mostly multiply-adds; its tail and the activations are not."""
        return self.arithmetic >= max(4, len(self.body) / 4) and not self.count(ACTIVATION)


def disassembled(binary):
    """(function, [(address, instruction)...]) of each function."""
    command = [OBJDUMP, "-d", "--no-show-raw-insn", binary]
    functions = []
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        if match := FUNCTION.match(line):
            functions.append((match[1], []))
        elif functions and (match := INSTRUCTION.match(line)):
            # (a prefix of AVX-VNNI's instructions says how they are encoded)
            text = f"{match[2]} {match[3]}".strip().removeprefix("{vex} ")
            functions[-1][1].append((int(match[1], 16), text))
    return functions


def innermost_loops(function, instructions):
    """The backward jumps that hold no other."""
    place = {address: index for index, (address, _) in enumerate(instructions)}
    spans = set()
    for index, (_, text) in enumerate(instructions):
        operation, _, operands = text.partition(" ")
        target = TARGET.match(operands) if JUMP.fullmatch(operation) else None
        start = place.get(int(target[1], 16)) if target else None
        if start is not None and start <= index:
            spans.add((start, index))
    first_end = len(instructions)
    for start, end in sorted(spans, key=lambda span: (-span[0], span[1])):
        if end < first_end:
            yield Loop(function, [text for _, text in instructions[start : end + 1]])
            first_end = end


@pytest.fixture(scope="module")
def loops():
    if shutil.which(OBJDUMP) is None:
        pytest.skip(f"{OBJDUMP} is absent")
    return [loop for function in disassembled(BINARY) for loop in innermost_loops(*function)]


@pytest.fixture(scope="module")
def hot_loops(loops):
    return [loop for loop in loops if loop.is_hot]


@pytest.fixture(scope="module")
def integer_loops(loops):
    return [loop for loop in loops if loop.count(DOTS)]


def kernel_sets_of(loops):
    is_arm = any("fmla" in line for loop in loops for line in loop.body)
    return ARM_SETS if is_arm else X86_SETS


def test_every_kernel_set_has_hot_loops(hot_loops):
    """So that the test below looks at something."""
    for name, operation in kernel_sets_of(hot_loops).items():
        of_set = [loop for loop in hot_loops if any(re.match(operation, line) for line in loop.body)]
        widest = max((loop.arithmetic for loop in of_set), default=0)
        assert len(of_set) >= 4, f"{name}: {len(of_set)} hot loops"
        assert widest >= 12, f"{name}: at most {widest} multiply-adds in a loop"


def spills(loops):
    lines = [(loop.function, line) for loop in loops for line in loop.body]
    return [(function, line) for function, line in lines if STACK_STORE.fullmatch(line)]


def test_hot_loops_store_no_vector_to_the_stack(hot_loops):
    assert not spills(hot_loops)


def test_every_integer_set_has_loops_of_a_whole_tile(integer_loops):
    """So that the tests below look at something: the products of 12 accumulators or more in one loop."""
    is_arm = any(re.match("sdot|sadalp", line) for loop in integer_loops for line in loop.body)
    for name, operation in (ARM_INTEGER_SETS if is_arm else X86_INTEGER_SETS).items():
        of_set = [loop for loop in integer_loops if any(re.match(operation, line) for line in loop.body)]
        assert max((loop.count(DOTS) for loop in of_set), default=0) >= 12, name


def test_integer_loops_store_no_vector(integer_loops):
    if any(re.match("sdot|sadalp", line) for loop in integer_loops for line in loop.body):
        pytest.skip("GCC 12 stores some vectors in the integer loops of NEON, also with fewer rows")
    assert not spills(integer_loops)
    stored = re.compile(r"v?mov\S+\s+%[xyz]mm\d+,\S*\(.*|st[pr]\s+[qd]\d+.*")
    assert not [
        (loop.function, line) for loop in integer_loops for line in loop.body if stored.fullmatch(line)
    ]


def test_no_instruction_saturates_sums(integer_loops):
    """vpdpbusds and vpmaddubsw would, the one at 32 bits and the other at 16."""
    names = {line.split()[0] for _, instructions in disassembled(BINARY) for _, line in instructions}
    assert not names & {"vpdpbusds", "vpdpwssds", "vpmaddubsw", "pmaddubsw"}
