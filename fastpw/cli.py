"""The command line: fastpw info | verify | bench."""

import argparse
import sys

import fastpw
from fastpw import verify
from fastpw.bench import layers


def main(arguments=None):
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

    command = commands.add_parser("bench", help="time fastpw, NumPy and einsum on real networks' layers")
    names = layers.networks()
    command.add_argument("--network", action="append", choices=names, metavar="NAME",
                         help=f"only its layers; may be repeated. One of {', '.join(names)}")  # fmt: skip
    command.add_argument("--threads", type=_positive, metavar="N", help="default: what fastpw would use")
    command.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    command.add_argument("--plot", metavar="FILE.png", help="draw a roofline with a dot per layer")
    command.set_defaults(run=_bench)
    return parser


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
    return command.main(options.network, options.threads, options.json, options.plot)
