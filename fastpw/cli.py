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
from fastpw.commands import convert, info, run
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
    commands = parser.add_subparsers(required=True, metavar="command", title="commands")

    run.add_to(commands)
    convert.add_to(commands)
    _add_bench(commands)
    info.add_to(commands)

    command = commands.add_parser(
        "verify",
        help="check this installation against the float64 reference",
        description="Compare every instruction set that this CPU runs with the reference, in float32, "
        "float64 and int8. It takes some seconds, on a board a minute or two. The exit status is 1 if a "
        "value is wrong.",
    )
    command.set_defaults(run=lambda options: verify.main())
    return parser


def _add_bench(commands):
    command = commands.add_parser(
        "bench",
        help="time fastpw and others on real networks' layers, on blocks, on whole networks",
        description="Measure how fast fastpw, NumPy and, with --peers, other libraries compute layers of "
        "real networks. --blocks, --networks or --model measure something else instead.",
        epilog="Two environment variables choose the instruction set: FASTPW_ISA=avx2 that of fastpw, "
        "ONEDNN_MAX_CPU_ISA=AVX2 that of torch's oneDNN.",
    )
    names = list(dict.fromkeys([*layers.all_networks(), *catalogue.networks()]))
    command.add_argument("--kind", choices=layers.KINDS, default="pointwise",
                         help="which convolutions; default: pointwise (1x1)")  # fmt: skip
    command.add_argument("--blocks", nargs="*", metavar="NAME",
                         help="measure blocks of several layers: all, or those whose name or network "
                         "contains a NAME")  # fmt: skip
    command.add_argument("--networks", nargs="*", choices=zoo.NETWORKS, metavar="NAME",
                         help="measure whole networks, with random weights: all, or those named, of "
                         f"{', '.join(zoo.NETWORKS)}")  # fmt: skip
    command.add_argument("--model", metavar="FILE", type=Path,
                         help="measure the network in an .onnx file, or in an .npz file that fastpw has "
                         "saved: times, memory, and the nodes that take longest")  # fmt: skip
    command.add_argument("--shape", action="append", type=shape, metavar="[NAME=]N,C,H,W",
                         help="the shape of the model's input, where its file leaves sizes open; default: a "
                         "batch of 1, and images of 224 x 224")  # fmt: skip
    which = command.add_mutually_exclusive_group()
    which.add_argument("--network", action="append", choices=names, metavar="NAME",
                       help="only the layers of one network; may be repeated. One of "
                       f"{', '.join(names)}")  # fmt: skip
    which.add_argument("--layers", metavar="FILE.csv",
                       help=f"the layers in a file with the columns {','.join(layers.COLUMNS)}, and for "
                       f"the kinds dense and depthwise {','.join(layers.WINDOW_COLUMNS)}, too")  # fmt: skip
    which.add_argument("--all", action="store_true",
                       help="all 60 pointwise layers, not only 20 that have the same means")  # fmt: skip
    command.add_argument("--threads", type=positive, metavar="N",
                         help="the most threads that each library uses; default: what fastpw info "
                         "says")  # fmt: skip
    command.add_argument("--backward", action="store_true",
                         help="measure gradients, beside torch's where it is installed")  # fmt: skip
    command.add_argument("--peers", action="store_true",
                         help="measure LiteRT, torch, ONNX Runtime and OpenVINO, too, if they are installed "
                         "(networks and models: the last two)")  # fmt: skip
    command.add_argument("--numpy-to-numpy", action="store_true",
                         help="each call makes a new array; otherwise it writes into the same array "
                         "again")  # fmt: skip
    command.add_argument("--dtype", choices=["float32", "float64", "int8"], default="float32",
                         help="the type of the numbers; default: float32")  # fmt: skip
    command.add_argument("--dynamic", action="store_true",
                         help="with --dtype int8: inputs are float32, and each row is quantized by "
                         "itself")  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    command.add_argument("--plot", metavar="FILE.png", nargs="?", const="bench.png",
                         help="draw a picture: a roofline with a dot for each layer; bars for blocks and "
                         "networks; the time of each node of a model; default: bench.png")  # fmt: skip
    command.set_defaults(run=_bench)


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
