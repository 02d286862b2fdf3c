"""Damaged files of networks: an error or a right answer, and never a crash, a hang or too much memory.

    python bench/fuzz_networks.py                        ten thousand files
    python bench/fuzz_networks.py --count 300 --first 7
    python bench/fuzz_networks.py --only 1234            one of them, with what it leads to

Small networks are written as .npz files and, where onnx is installed, as .onnx files. Bytes are changed, or
the end is cut off; what `fastpw.load` makes of the file is called. A saved network must give the bits of the
whole one: its numbers have checksums. Of an .onnx file onnx's reference tells what is right, where it can. A
child process does it, whose memory the system limits, and which the system ends if one file takes a minute.
"""

import argparse
import importlib.util
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import fastpw
from fastpw.bench.networks import files
from fastpw.bench.networks.builder import Builder

LIMIT = 32 << 20  # memory_limit of the networks
SLACK = 256 << 20  # what the process may take besides: stacks, the parsers, the other answer
SECONDS = 60  # for one file
HAS_ONNX = importlib.util.find_spec("onnx") is not None
FAR = 1e-3  # of the largest output: further from the reference is wrong


# ---- the networks ----------------------------------------------------------------------------------------


def convolutions():
    """A bottleneck with a sum, squeeze and excitation, pools, a classifier."""
    b = Builder(9, classes=5)
    x = b.convolution(b.x, 8, 3, 2, activation="relu6")
    y = b.convolution(b.convolution(x, 16), 16, 3, groups=16, activation="hard_swish")
    y = b.multiply(y, b.activation(b.convolution(b.mean(y), 16, activation="silu"), "hard_sigmoid"))
    x = b.add(x, b.convolution(y, 8, activation=None))
    x = b.together(b.pool(x, "Max", 3, 1, 1), b.pool(x, "Average", 3, 1, 1))
    return b.graph(b.linear(b.flat(b.mean(x)), b.classes))


def shuffles():
    """Channels split and shuffled, layer normalizations, GELU, a softmax."""
    b = Builder(6, classes=5)
    kept, used = b.halves(b.convolution(b.x, 8, 1))
    x = b.shuffled(b.together(kept, b.convolution(used, 4)), 2)
    last = b.normalized(b.turned(x, 0, 2, 3, 1))
    x = b.turned(b.of_pixels(b.of_pixels(last, 16, "gelu"), 8), 0, 3, 1, 2)
    scores = b.linear(b.flat(b.mean(x)), b.classes)
    return b.graph(b.node("Softmax", [scores.name], b.classes, None, 2, axis=1))


def shapes():
    """Sizes that are computed: a resize, padding, slices, a reshape; any size of the image."""
    b = Builder(None, classes=8)
    padded = b.node("Pad", [b.x.name, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)], 3, None)
    x = b.convolution(padded, 8, 3, padding=0)
    scales = b.constant([1, 1, 2, 2])
    x = b.node("Resize", [x.name, "", scales], 8, None, mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    bounds = (b.constant([number], np.int64) for number in (1, 1000, 2))
    x = b.node("Slice", [x.name, *bounds], 8, None)
    size = b.node("Shape", [x.name], 1, None, 1)
    batch = b.node("Gather", [size.name, b.constant([0], np.int64)], 1, None, 1, axis=0)
    wanted = b.node("Concat", [batch.name, b.constant([8, -1], np.int64)], 3, None, 1, axis=0)
    rows = b.node("Reshape", [x.name, wanted.name], 8, None, 3)
    turned = b.node("Transpose", [rows.name], 8, None, 3, perm=[0, 2, 1])
    mean = b.node("ReduceMean", [turned.name], 8, None, 2, axes=[1], keepdims=0)
    return b.graph(mean)


NETWORKS = (convolutions, shuffles, shapes)


def whole(folder):
    """The undamaged files, each with the answer of its network."""
    made = []
    for build in NETWORKS:
        if HAS_ONNX:
            files.write_onnx(build(), folder / f"{build.__name__}.onnx")
            fastpw.load(folder / f"{build.__name__}.onnx").save(folder / f"{build.__name__}.npz")
        elif build is not shapes:  # (it is of an older opset, from which onnx_file.py renews it)
            files.write_saved(build(), folder / f"{build.__name__}.npz")
    for path in sorted(folder.iterdir()):
        net = fastpw.load(path)
        made.append((path.suffix, path.read_bytes(), net.run(feeds(net))))
    return made


# ---- one file --------------------------------------------------------------------------------------------


def damaged(content, draw):
    """Some bytes others, or the end cut off, or both."""
    content = bytearray(content)
    if draw.random() < 0.3:
        del content[draw.integers(len(content)) :]
    if content and (draw.random() < 0.8):
        for place in draw.integers(len(content), size=draw.choice([1, 1, 2, 8])):
            content[place] = draw.choice(
                [content[place] ^ (1 << draw.integers(8)), draw.integers(256), 0, 255]
            )
    return bytes(content)


def feeds(net):
    """An input; None if it would be larger than what the network may take."""
    arrays = {}
    for port in net.inputs:
        shape = [7 if size is None else size for size in port.shape]
        if np.prod([float(size) for size in shape]) * 8 > LIMIT:
            return None
        numbers = np.random.default_rng(0).standard_normal(shape)
        arrays[port.name] = numbers.astype(port.dtype)
    return arrays


def attempt(seed, made, folder):
    """What a damaged file leads to: "error", "right", "alone" (nobody else tells), or what is wrong."""
    draw = np.random.default_rng(seed)
    suffix, content, answer = made[draw.integers(len(made))]
    path = folder / f"damaged{suffix}"
    path.write_bytes(damaged(content, draw))
    try:
        net = fastpw.load(path, memory_limit=LIMIT)
        inputs = feeds(net)
        if inputs is None:
            return "alone"
        results = net.run(inputs)
    # An .npz file that is no archive any more is taken for an .onnx file: without onnx, an ImportError.
    except (ImportError, OSError, TypeError, ValueError) as error:
        return "error" if str(error) else f"{type(error).__name__} without a message"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if suffix == ".npz":
        same = [*results] == [*answer] and all(np.array_equal(results[name], answer[name]) for name in answer)
        return "right" if same else "a saved network with other bits"
    return compared(results, reference(path, inputs))


def reference(path, inputs):
    """The answer of onnx's reference; None if it does not give one."""
    import onnx.reference  # noqa: PLC0415 - where it is installed

    try:
        return onnx.reference.ReferenceEvaluator(str(path)).run(None, inputs)
    except Exception:  # whatever it raises for what it does not know
        return None


def compared(results, wanted):
    """Whether results are right, where the reference tells, in numbers that float32 holds."""
    if wanted is None or len(wanted) != len(results):
        return "alone"
    for (name, result), array in zip(results.items(), map(np.asarray, wanted), strict=True):
        if array.dtype.kind != "f" or not np.isfinite(array).all() or np.abs(array).max(initial=0) > 1e30:
            return "alone"
        if result.shape != array.shape:
            return f"output {name!r}: shape {result.shape}, the reference has {array.shape}"
        difference = np.abs(result - array).max(initial=0)
        if not difference <= FAR * max(np.abs(array).max(initial=0), 1e-30):
            return f"output {name!r} differs by {difference}, of {np.abs(array).max(initial=0)}"
    return "right"


# ---- many files ------------------------------------------------------------------------------------------


def child(first, count):
    """A line for each file: its seed, and when it is done, what it led to."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        made = whole(Path(name))
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else None
        if pages is not None:
            most = pages * resource.getpagesize() + LIMIT + SLACK
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for seed in range(first, first + count):
            print(seed, end=" ", flush=True)
            signal.alarm(SECONDS)
            with np.errstate(all="ignore"):
                outcome = attempt(seed, made, Path(name))
            signal.alarm(0)
            print(" ".join(outcome.split()), flush=True)


def fuzz(first, count):
    """The outcomes of that many files, and the seeds of those that went wrong."""
    outcomes, failed, seed = Counter(), {}, first
    while seed < first + count:
        command = [sys.executable, __file__, "--child", str(seed), str(first + count - seed)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        done = subprocess.run(command, text=True, check=False, **pipes)
        for line in done.stdout.splitlines():
            number, _, outcome = line.partition(" ")
            seed = int(number) + 1
            if outcome in ("error", "right", "alone"):
                outcomes[outcome] += 1
            else:
                failed[seed - 1] = outcome or f"the process ended with status {done.returncode}"
        if done.returncode and not done.stdout:
            raise RuntimeError(f"the first file cannot be made: exit status {done.returncode}")
    return outcomes, failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--only", type=int, metavar="SEED", help="one file, in this process")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    if options.only is not None:
        with tempfile.TemporaryDirectory() as name:
            print(attempt(options.only, whole(Path(name)), Path(name)))
        return 0
    outcomes, failed = fuzz(options.first, options.count)
    told = f"{outcomes['error']} errors, {outcomes['right']} right answers"
    told += f", {outcomes['alone']} that nobody else tells, {len(failed)} wrong"
    print(f"{options.count} files: {told}")
    for seed, outcome in failed.items():
        print(f"--only {seed}: {outcome}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
