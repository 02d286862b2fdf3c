"""Which instruction set is chosen, and what the configuration shows."""

from fresh import run

import fastpw
from fastpw.core import machine


def test_isa_by_environment(isa):
    code = "import fastpw; print(fastpw.show_config('dicts')['instruction sets']['chosen'])"
    for name in (isa, isa.upper(), isa.title()):
        assert run(code, FASTPW_ISA=name) == str({"float32": isa, "float64": isa})


def test_isa_that_is_not_there():
    error = run("import fastpw", FASTPW_ISA="avx1024")
    assert error.startswith("ValueError: FASTPW_ISA=avx1024: ")
    for row in machine.kernel_sets():
        assert row["isa"] in error


def test_show_config(capsys, isa, threads):
    config = fastpw.show_config("dicts")
    assert config["fastpw"]["version"] == fastpw.__version__
    assert config["instruction sets"]["chosen"] == {"float32": isa, "float64": isa}
    assert config["threads"]["number"] == threads
    assert fastpw.show_config() is None
    shown = capsys.readouterr().out
    for said in (fastpw.__version__, config["compiler"], isa, config["threads"]["why"]):
        assert str(said) in shown
