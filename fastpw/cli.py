"""The command line: fastpw run | convert | bench | verify | info."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import fastpw
from fastpw import verify
from fastpw.bench import layers
from fastpw.bench.blocks import catalogue
from fastpw.bench.networks import catalogue as zoo
from fastpw.bench.setting import Setting
from fastpw.commands import convert, run
from fastpw.commands.options import positive, shape


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    return options.run(options)


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastpw", description="Fused 1x1 convolutions, and whole networks, for NumPy arrays."
    )
    parser.add_argument("--version", action="version", version=f"fastpw {fastpw.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    run.add_to(commands)
    convert.add_to(commands)
    _add_bench(commands)
    command = commands.add_parser("info", help="version, compiler, instruction sets, threads")
    command.set_defaults(run=_info)

    command = commands.add_parser("verify", help="check this installation against the float64 reference")
    command.set_defaults(run=_verify)
    return parser


def _add_bench(commands):
    command = commands.add_parser(
        "bench",
        help="time fastpw and others on real networks' layers, on blocks, on whole networks",
        description="Time fastpw, NumPy, einsum and peers on real networks' layers, or what is asked for "
        "instead: blocks, networks, a model.",
        epilog="The environment chooses instruction sets: FASTPW_ISA=avx2 those of fastpw, "
        "ONEDNN_MAX_CPU_ISA=AVX2 those of torch's oneDNN.",
    )
    names = list(dict.fromkeys([*layers.all_networks(), *catalogue.networks()]))
    command.add_argument("--kind", choices=layers.KINDS, default="pointwise",
                         help="of the convolutions; default: pointwise (1x1)")  # fmt: skip
    command.add_argument("--blocks", nargs="*", metavar="NAME",
                         help="blocks of networks, and two whole networks, instead of layers: all, or those "
                         "with a NAME in their own name or their family's; float32, forward")  # fmt: skip
    command.add_argument("--networks", nargs="*", choices=zoo.NETWORKS, metavar="NAME",
                         help="whole networks with seeded weights, NumPy array in, NumPy array out: all, or "
                         f"those named, of {', '.join(zoo.NETWORKS)}")  # fmt: skip
    command.add_argument("--model", metavar="FILE", type=Path,
                         help="the network in an .onnx file, or in one that fastpw has saved: times, memory, "
                         "and the nodes that take longest")  # fmt: skip
    command.add_argument("--shape", action="append", type=shape, metavar="[NAME=]N,C,H,W",
                         help="of a model's input, where its file leaves sizes open; default: a batch of 1, "
                         "and images of 224 x 224")  # fmt: skip
    which = command.add_mutually_exclusive_group()
    which.add_argument("--network", action="append", choices=names, metavar="NAME",
                       help=f"only its layers; may be repeated. One of {', '.join(names)}")  # fmt: skip
    which.add_argument("--layers", metavar="FILE.csv",
                       help=f"other layers, in the columns {','.join(layers.COLUMNS)}; "
                       f"of the other kinds {','.join(layers.WINDOW_COLUMNS)}, too")  # fmt: skip
    which.add_argument("--all", action="store_true",
                       help="all 60 pointwise layers, not only the 20 that stand for them")  # fmt: skip
    command.add_argument("--threads", type=positive, metavar="N", help="default: what fastpw would use")
    command.add_argument("--backward", action="store_true",
                         help="the gradients; with torch, where installed")  # fmt: skip
    command.add_argument("--peers", action="store_true",
                         help="with LiteRT, torch, ONNX Runtime and OpenVINO, where installed; networks "
                         "and models with the last two")  # fmt: skip
    command.add_argument("--numpy-to-numpy", action="store_true",
                         help="each call makes new arrays for its results")  # fmt: skip
    command.add_argument("--dtype", choices=["float32", "float64", "int8"], default="float32")
    command.add_argument("--dynamic", action="store_true",
                         help="of int8: each row of float32 is quantized on its way in")  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    command.add_argument("--plot", metavar="FILE.png", nargs="?", const="bench.png",
                         help="draw a roofline with a dot per layer; of blocks and networks bars, of a model "
                         "the time of each node; default: bench.png")  # fmt: skip
    command.set_defaults(run=_bench)


def _info(options):
    fastpw.show_config()
    return 0


def _verify(options):
    return verify.main()


def _bench(options):
    try:
        from fastpw.bench import command  # noqa: PLC0415 - all that needs the extra lies behind it
    except ModuleNotFoundError as error:
        package = error.name.partition(".")[0]
        if package not in ("matplotlib", "rich", "threadpoolctl"):
            raise
        print(f'fastpw bench needs {package}: pip install "fastpw[bench]"', file=sys.stderr)
        return 2
    if options.networks is not None or options.model is not None:
        return _bench_networks(options)
    if options.blocks is not None:
        return _bench_blocks(options)
    if options.shape:
        print("fastpw bench --shape: it goes with --model", file=sys.stderr)
        return 2
    if complaint := _complaint_of_integers(options):
        print(f"fastpw bench --dtype: {complaint}", file=sys.stderr)
        return 2
    try:
        chosen = layers.load(options.layers, options.kind)
    except (OSError, ValueError) as error:
        print(f"fastpw bench --layers: {error}", file=sys.stderr)
        return 2
    if options.network:
        chosen = [layer for layer in chosen if layer.network in options.network]
        if not chosen:
            came = ", ".join(options.network)
            print(
                f"fastpw bench --network: one with {options.kind} layers is needed, got {came}",
                file=sys.stderr,
            )
            return 2
    wanted = options.all or options.layers or options.network
    chosen, note = (chosen, "") if wanted else layers.representative(chosen)
    setting = Setting(
        threads=_threads(options),
        backward=options.backward,
        new_arrays=options.numpy_to_numpy,
        dtype=options.dtype,
        kind=options.kind,
        dynamic=options.dynamic,
    )
    peers = options.peers or options.backward
    command.main(chosen, setting, peers, options.json, options.plot, note)
    if setting == Setting(threads=setting.threads) and not options.layers:
        from fastpw.bench.networks.command import one_line  # noqa: PLC0415 - as above

        print(one_line(_of_networks(options)))
    return 0


def _complaint_of_integers(options):
    if options.dtype != "int8":
        return f"int8 is needed for --dynamic, got {options.dtype}" if options.dynamic else None
    for name, given in {"--backward": options.backward, "--kind": options.kind != "pointwise"}.items():
        if given:
            return f"int8 is measured of pointwise layers, forward, and does not go with {name}"
    return None


def _threads(options):
    return options.threads or fastpw.get_num_threads()


def _bench_blocks(options):
    from fastpw.bench.blocks import command  # noqa: PLC0415 - as above

    chosen = catalogue.chosen(options.blocks, options.network)
    complaint = _complaint_of_blocks(options, chosen)
    if complaint:
        print(f"fastpw bench --blocks: {complaint}", file=sys.stderr)
        return 2
    setting = Setting(threads=_threads(options), new_arrays=options.numpy_to_numpy, kind="block")
    return command.main(chosen, setting, options.peers, options.json, options.plot)


def _bench_networks(options):
    from fastpw.bench.networks import command  # noqa: PLC0415 - as above

    asked = "--networks" if options.model is None else "--model"
    complaint = _complaint(options, "networks are", ("--blocks", "--network", "--shape"))
    if asked == "--model":
        complaint = _complaint(options, "a model is", ("--blocks", "--network", "--networks"))
    if complaint:
        print(f"fastpw bench {asked}: {complaint}", file=sys.stderr)
        return 2
    rest = _of_networks(options), options.peers, options.json, options.plot
    if options.model is None:
        return command.of_networks(options.networks or list(zoo.NETWORKS), *rest)
    try:
        return command.of_model(options.model, options.shape or [], *rest)
    except (ImportError, OSError, TypeError, ValueError, MemoryError, ArithmeticError) as error:
        print(f"fastpw bench --model: {error}", file=sys.stderr)
        return 2


def _of_networks(options):
    return Setting(threads=_threads(options), new_arrays=True, kind="network")


def _complaint_of_blocks(options, chosen):
    complaint = _complaint(options, "blocks are", ("--shape",))
    if complaint or chosen:
        return complaint
    known = ", ".join(block.name for block in catalogue.load())
    came = ", ".join([*options.blocks, *(options.network or [])])
    return f"a part of one of {known}, or of its family, is needed, got {came}"


def _complaint(options, subject, also):
    """What was asked for that does not go together with blocks, networks or models."""
    others = {
        "--kind": options.kind != "pointwise",
        "--layers": options.layers is not None,
        "--backward": options.backward,
        "--dtype": options.dtype != "float32",
        "--dynamic": options.dynamic,
        **{name: getattr(options, name[2:]) is not None for name in also},
    }
    for name, given in others.items():
        if given:
            return f"{subject} measured in float32, forward, and do not go with {name}"
    return None
