"""The house: imports go down the list only, and what is public says what it does."""

import ast
import doctest
import inspect
import re
from pathlib import Path

import pytest

import fastpw

HOUSE = Path(__file__).parents[1] / "fastpw"  # the source: a wheel does not hold the kernels'

# Top first. A module imports from the rows below its own (and, in folders, from its neighbours).
FLOORS = [
    ["__main__"],
    ["cli"],
    ["bench", "commands", "verify"],
    ["__init__"],
    ["network"],
    ["quantized_layer"],
    ["chain", "concat", "conv2d", "depthwise", "layer", "pool", "shuffle"],
    ["_fusion"],
    ["_fused"],
    ["_layer"],
    ["_window_gradients"],
    ["batch_norm", "gradients", "quantize"],
    ["conv"],
    ["_backward"],
    ["_gradient_call"],
    ["_quantized"],
    ["_convolution", "_windowed"],
    ["_operation"],
    ["_steps"],
    ["_programs"],
    ["runtime"],
    ["_checks"],
    ["_geometry"],
    ["_bounds", "quantized_reference"],
    ["reference"],
    ["_activations"],
    ["core"],
    ["_frozen", "_typing", "_version"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def modules():
    return sorted(HOUSE.rglob("*.py"))


def room(path):
    """The name in FLOORS of a module's file."""
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def imported_rooms(path):
    """The names in FLOORS that a module imports, each with its line."""
    package = ["fastpw", *path.relative_to(HOUSE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            origin = (base + (node.module or "")).rstrip(".")
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for first, *rest in (name.split(".") for name in names):
            if first == "fastpw":
                yield rest[0] if rest and rest[0] in FLOOR else "__init__", node.lineno


def test_every_module_has_its_floor():
    assert {room(path) for path in modules()} == set(FLOOR)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down(path):
    here = room(path)
    for other, line in imported_rooms(path):
        inside = here == other and here in ("bench", "commands", "_checks", "core", "network")
        assert inside or FLOOR[other] > FLOOR[here], f"line {line} imports {other}, which is not below {here}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_modules_say_what_they_are(path):
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("name", [name for name in fastpw.__all__ if name != "__version__"])
def test_public_names_say_what_they_do(name):
    assert len(inspect.getdoc(getattr(fastpw, name))) > 60


@pytest.mark.parametrize("name", [name for name in fastpw.__all__ if name != "__version__"])
def test_public_examples_are_right(name):
    for example in doctest.DocTestFinder(recurse=False).find(getattr(fastpw, name), name):
        assert doctest.DocTestRunner().run(example).failed == 0


# ---- network -------------------------------------------------------------------------------------------

# Top first. A module uses those of the rows below its own.
NETWORK = [
    ["__init__"],
    ["loading"],
    ["network"],
    ["onnx_file", "saved", "simplify", "tables"],
    ["chains", "constants", "ends", "folding", "functions", "norms", "opsets", "quantization", "ties"],
    ["lowering"],
    ["arena", "planning"],
    ["fallback", "fusing"],
    ["operators"],
    ["plan"],
    ["graph"],
    ["archive", "entering"],
    ["memory", "values"],
]
OPERATORS = [
    ["__init__"],
    ["attention", "chains", "control", "linear_quantization"],
    [
        *["activations", "convolutions", "elementwise", "facts", "norms", "picking"],
        *["products", "quantized", "recurrent", "reductions", "resize", "scattering", "shapes", "transposed"],
    ],
    ["group_norms", "pools", "resampling", "scaling"],
    ["joins", "regions", "rows", "volumes"],
    ["images", "whole"],
    ["registry", "windows"],
]


def used_within(path, folder, rows):
    """The modules of a folder that one of them imports, each with its line."""
    row = {name: number for number, names in enumerate(rows) for name in names}
    package = list(path.relative_to(HOUSE.parent).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = list(folder.relative_to(HOUSE.parent).parts)
            inside = [part for part in parts[len(base) :] if part] if parts[: len(base)] == base else None
            if inside is not None:
                names = inside[:1] or [alias.name for alias in node.names]
                yield from ((name, node.lineno) for name in names if name in row)


@pytest.mark.parametrize(
    ("path", "folder", "rows"),
    [
        pytest.param(path, folder, rows, id=str(path.relative_to(HOUSE)))
        for folder, rows in ((HOUSE / "network", NETWORK), (HOUSE / "network" / "operators", OPERATORS))
        for path in sorted(folder.rglob("*.py"))
    ],
)
def test_modules_of_networks_use_those_below(path, folder, rows):
    row = {name: number for number, names in enumerate(rows) for name in names}
    here = path.relative_to(folder).with_suffix("").parts[0]
    assert here in row
    for other, line in used_within(path, folder, rows):
        own = other == here and len(path.relative_to(folder).parts) > 1
        assert own or row[other] > row[here], f"line {line} imports {other}, which is not below {here}"


# ---- core ----------------------------------------------------------------------------------------------

# Top first. A file uses those of the rows below its own.
CORE = [
    ["__init__"],
    ["chain"],
    ["chained"],
    ["stages", "quantized"],
    ["backward", "stencil", "stencil_gradient"],
    ["forward"],
    ["workspace", "sweep", "tap_sums", "forming"],
    ["walk", "walk_layout"],
    ["outer", "finish", "clear"],
    ["steps"],
    ["gradients", "parts"],
    ["schedule", "planes", "rowwise", "shuffle", "integer_gemm"],
    ["staged"],
    ["by_taps"],
    ["gemm", "weights"],
    ["segments"],
    ["ahead", "binding", "tap_panels", "gemm_window", "windows"],
    ["machine", "panels", "pixels", "layout", "sums"],
    ["bands", "fusing"],
    ["ndarray", "integers", "shares", "team", "partition", "edges", "kept"],
    ["kernels"],
    ["caches"],
]
CORE_ROW = {name: row for row, names in enumerate(CORE) for name in names}
CYTHON = sorted((HOUSE / "core").glob("*.p[xy]*"))
USES = re.compile(r"^\s*(?:from fastpw\.core(?:\.(\w+))? c?import \(?([\w, ]+)|include)", re.MULTILINE)


def used_by(path):
    """The files of core that one uses, by cimport or import; "include" for one that is included as text."""
    for module, names in USES.findall(path.read_text()):
        if not names:
            yield "include"
        elif module:
            yield module
        else:
            yield from (name.split(" as ")[0].strip() for name in names.split(","))


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: path.name)
def test_files_of_core_use_those_below(path):
    here = path.stem
    for other in used_by(path):
        assert other == here or CORE_ROW[other] > CORE_ROW[here], f"{here} uses {other}, which is not below"


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: path.name)
def test_core_knows_nothing_above(path):
    """Neither the modules above nor the height and width of an image."""
    text = path.read_text()
    assert not re.search(r"from fastpw (c?import)|from fastpw\.(?!core\b)", text)
    code = re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.DOTALL)
    assert not re.search(r"\b(image|images|padding)\b", code)


# ---- kernels -------------------------------------------------------------------------------------------

HEADERS = sorted((HOUSE / "kernels").glob("*.h"))
C_FILES = HEADERS + sorted((HOUSE / "kernels").glob("*.c"))
ISA_CONDITION = re.compile(r"\s*#\s*(el)?if\w*\b.*(ISA_|__x86_64__|__aarch64__|__AVX|__SSE|__ARM)")
DEFINITION = re.compile(r"[A-Za-z]\w*[ *].*\b\w+\([^;{]*(\{.*)?$")


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_kernels_know_no_python_and_no_openmp(path):
    text = path.read_text()
    assert "Python.h" not in text
    assert "pragma omp" not in text
    assert "omp.h" not in text


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.name)
def test_one_header_asks_for_the_instruction_set(path):
    asks = [line for line in path.read_text().splitlines() if ISA_CONDITION.match(line)]
    assert bool(asks) == (path.name == "vec.h"), asks


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.name)
def test_functions_in_headers_are_static(path):
    """Else the linker keeps one copy for all instruction sets, perhaps the one that this CPU lacks."""
    for line in path.read_text().splitlines():
        if DEFINITION.match(line) and not line.startswith("typedef"):
            assert line.startswith(("static ", "INLINE ", "NOINLINE ")), line
