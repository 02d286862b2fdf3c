"""The command line: fastpw info | verify | bench."""

import argparse
import sys
from collections.abc import Sequence

import fastpw
from fastpw import verify
from fastpw.bench import layers
from fastpw.bench.blocks import catalogue
from fastpw.bench.setting import Setting


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    return options.run(options)


def _parser():
    parser = argparse.ArgumentParser(prog="fastpw", description="Fused 1x1 convolution for NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastpw {fastpw.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("info", help="version, compiler, instruction sets, threads")
    command.set_defaults(run=_info)

    command = commands.add_parser("verify", help="check this installation against the float64 reference")
    command.set_defaults(run=_verify)

    _add_bench(commands)
    return parser


def _add_bench(commands):
    command = commands.add_parser(
        "bench",
        help="time fastpw, NumPy, einsum and peers on real networks' layers",
        epilog="The environment chooses instruction sets: FASTPW_ISA=avx2 those of fastpw, "
        "ONEDNN_MAX_CPU_ISA=AVX2 those of torch's oneDNN.",
    )
    names = list(dict.fromkeys([*layers.all_networks(), *catalogue.networks()]))
    command.add_argument("--kind", choices=layers.KINDS, default="pointwise",
                         help="of the convolutions; default: pointwise (1x1)")  # fmt: skip
    command.add_argument("--blocks", nargs="*", metavar="NAME",
                         help="blocks of networks, and two whole networks, instead of layers: all, or those "
                         "with a NAME in their own name or their family's; float32, forward")  # fmt: skip
    which = command.add_mutually_exclusive_group()
    which.add_argument("--network", action="append", choices=names, metavar="NAME",
                       help=f"only its layers; may be repeated. One of {', '.join(names)}")  # fmt: skip
    which.add_argument("--layers", metavar="FILE.csv",
                       help=f"other layers, in the columns {','.join(layers.COLUMNS)}; "
                       f"of the other kinds {','.join(layers.WINDOW_COLUMNS)}, too")  # fmt: skip
    command.add_argument("--threads", type=_positive, metavar="N", help="default: what fastpw would use")
    command.add_argument("--backward", action="store_true",
                         help="the gradients; with torch, where installed")  # fmt: skip
    command.add_argument("--peers", action="store_true",
                         help="with LiteRT, torch, ONNX Runtime and OpenVINO, where installed")  # fmt: skip
    command.add_argument("--numpy-to-numpy", action="store_true",
                         help="each call makes new arrays for its results")  # fmt: skip
    command.add_argument("--dtype", choices=["float32", "float64", "int8"], default="float32")
    command.add_argument("--dynamic", action="store_true",
                         help="of int8: each row of float32 is quantized on its way in")  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    command.add_argument(
        "--plot", metavar="FILE.png", help="draw a roofline with a dot per layer; of blocks bars"
    )
    command.set_defaults(run=_bench)


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


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
    if options.blocks is not None:
        return _bench_blocks(options)
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
    setting = Setting(
        threads=_threads(options),
        backward=options.backward,
        new_arrays=options.numpy_to_numpy,
        dtype=options.dtype,
        kind=options.kind,
        dynamic=options.dynamic,
    )
    return command.main(chosen, setting, options.peers or options.backward, options.json, options.plot)


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


def _complaint_of_blocks(options, chosen):
    others = {
        "--kind": options.kind != "pointwise",
        "--layers": options.layers is not None,
        "--backward": options.backward,
        "--dtype": options.dtype != "float32",
        "--dynamic": options.dynamic,
    }
    for name, given in others.items():
        if given:
            return f"blocks are measured in float32, forward, and do not go with {name}"
    if not chosen:
        known = ", ".join(block.name for block in catalogue.load())
        came = ", ".join([*options.blocks, *(options.network or [])])
        return f"a part of one of {known}, or of its family, is needed, got {came}"
    return None
