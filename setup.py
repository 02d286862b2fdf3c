"""What to compile and with which flags; everything else about the package is in pyproject.toml."""

import os
import shlex
import subprocess
import sysconfig
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PLATFORM = sysconfig.get_platform()  # the target's when _PYTHON_HOST_PLATFORM is set for a cross build
MACOS = PLATFORM.startswith("macosx")
X86 = PLATFORM.endswith(("x86_64", "amd64"))
ARM = PLATFORM.endswith(("aarch64", "arm64"))
# A free-threaded interpreter has no limited API: its wheel serves that one version.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Fused multiply-adds wherever the source allows one, no errno and no trap to keep the vectoriser away. Never
# -ffast-math: linking with it puts code in the module that sets flush-to-zero for the whole process.
COMPILE = ["-std=gnu11", "-O2", "-g0", "-fvisibility=hidden"]
COMPILE += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
# A function that no header declares ends the build, as with GCC 14, and not the first import.
COMPILE += ["-Werror=implicit-function-declaration"]
# Where a tile's loop lies in its cache lines is worth a tenth of its speed: code before it must not move it.
COMPILE += ["-falign-functions=64"]
# Nothing here throws: the tables by which exceptions find their way take a fiftieth of the wheel.
COMPILE += ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
if not MACOS:
    # Calls of functions elsewhere read the address where they stand: a jump less, and 1 kB of each module.
    COMPILE += ["-fno-plt"]
    # A section for each function, which the linker may put in order (below).
    COMPILE += ["-ffunction-sections"]
# The user's flags have the last word.
USERS = shlex.split(os.environ.get("CFLAGS", ""))
CLANG = ["-O3"]  # with less it leaves loops that it is told to unroll
CLANG_X86 = ["-mprefer-vector-width=512"]  # it halves 512-bit vectors unless told
OPENMP = ["-Xpreprocessor", "-fopenmp"] if MACOS else ["-fopenmp"]
# At once: all of OpenMP's functions come from one runtime, also when the next import brings another.
LINK = ["-lomp"] if MACOS else ["-fopenmp", "-Wl,-z,now"]


def kernel_sources():
    """The kernel sets of the target: one C file per instruction set and dtype, and the one that chooses."""
    if X86:
        isas = ["baseline", "avx2", "avx512"]
        of_integers = [*isas, "avx_vnni", "avx512_vnni"]
    elif ARM:
        isas = ["neon"]
        of_integers = [*isas, "neon_dot"]
    else:
        raise SystemExit(
            f"fastpw has kernels for x86-64 and 64-bit ARM, not for {PLATFORM!r}. (With a universal Python "
            "on macOS set _PYTHON_HOST_PLATFORM=macosx-11.0-arm64 and ARCHFLAGS='-arch arm64'.)"
        )
    names = [f"{isa}_{dtype}" for isa in isas for dtype in ("f32", "f64")]
    names += [f"{isa}_i8" for isa in of_integers]
    return [f"fastpw/kernels/{name}.c" for name in [*names, "dispatch"]]


class BuildExt(build_ext):
    """build_ext that asks the compiler who it is, and lets the user's CFLAGS have the last word."""

    def build_extensions(self):
        version = subprocess.check_output([self.compiler.compiler_so[0], "--version"], text=True)
        flags = COMPILE + OPENMP
        if "clang" in version:
            flags += CLANG + (CLANG_X86 if X86 else [])
        for extension in self.extensions:
            extension.extra_compile_args = flags + extension.extra_compile_args + USERS
        super().build_extensions()


# The tiles of all kernel sets side by side, by name: those of float32 and float64, or of AVX2 and AVX-512,
# differ in a few bits, and what is alike within 32 kB costs next to nothing in a wheel: 22 kB less.
BY_NAME = [] if MACOS else ["-Wl,--sort-section=name"]
# Functions' names take a twentieth of a module. Debuggers want them, and a test reads those of the kernels.
WITHOUT_NAMES = [] if MACOS or "-g" in USERS else ["-Wl,-s"]


# Where little is done between kernels, small code is as fast: 40 % of each such module.
SMALL = ["-Os"]


def extension(module, sources, link=LINK, flags=()):
    """A compiled module of core/; the kernels are linked into one of them."""
    return Extension(
        f"fastpw.core.{module}",
        sources=[f"fastpw/core/{module}.pyx", *sources],
        depends=sorted(glob("fastpw/kernels/*.h") + glob("fastpw/core/*.h") + glob("fastpw/core/*.pxd")),
        include_dirs=["fastpw/kernels", "fastpw/core", numpy.get_include()],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
        py_limited_api=LIMITED_API,
        extra_compile_args=list(flags),
        extra_link_args=link,
    )


FLOAT_STATE = ["fastpw/kernels/float_state.c"]

setup(
    ext_modules=cythonize(
        [
            extension("machine", kernel_sources(), LINK + BY_NAME),
            extension("forward", FLOAT_STATE, LINK + WITHOUT_NAMES),
            extension("backward", FLOAT_STATE, LINK + WITHOUT_NAMES, SMALL),
            extension("stencil", FLOAT_STATE, LINK + WITHOUT_NAMES),
            extension("chain", FLOAT_STATE, LINK + WITHOUT_NAMES, SMALL),
            extension("quantized", FLOAT_STATE, LINK + WITHOUT_NAMES, SMALL),
            extension("stencil_gradient", FLOAT_STATE, LINK + WITHOUT_NAMES, SMALL),
        ],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "binding": False,  # only fastpw calls the functions of core: nobody asks for signatures
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
