"""Build the Cython extensions: every `lbcore/**/*.pyx` becomes one module.

LBCORE_ONLY=lbcore/http,lbcore/proxy   build only modules under these paths (for development).
LBCORE_LINETRACE=1                     build with line tracing, so that coverage sees `.pyx` lines.
LBCORE_SANITIZE=1                      build with the address and undefined-behaviour sanitizers, and with Cython's own
                                       checks of list indexes and of None (`ci/sanitize.py`).
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

LINETRACE = os.environ.get("LBCORE_LINETRACE") == "1"
SANITIZE = os.environ.get("LBCORE_SANITIZE") == "1"
ONLY = tuple(filter(None, os.environ.get("LBCORE_ONLY", "").split(",")))

# A request runs through more code than the first-level instruction cache holds: no padding before jumps and loops, no
# stubs between modules and libraries (so symbols are bound when a module is loaded).
DENSE = ["-falign-jumps=1", "-falign-loops=1", "-falign-labels=1", "-fno-plt"]
FLAGS = ["-O2", *DENSE, "-fno-semantic-interposition", "-fvisibility=hidden"]
FLAGS += ["-Wno-unused-function", "-Wno-sign-compare"]
# Python's own flags ask for debug symbols, which cost time of the build and most of the size.
SMALL = ["-g0"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# -fno-wrapv: Python's own flags make signed overflow defined, which would hide it.
SANITIZED = [*SANITIZERS, "-O1", "-g1", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", "-fno-wrapv"]
SANITIZED.append("-Wno-maybe-uninitialized")
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": SANITIZE,
    "nonecheck": SANITIZE,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "annotation_typing": False,  # annotations are for readers and tools; a wrong type is an error, not a conversion
    "linetrace": LINETRACE,
}


# Indexes of lists are checked here: one beyond the end is an error of one exchange (500), not a read of foreign memory.
# 0.3 % of the instructions of a request.
CHECKED = ("lbcore.proxy.", "lbcore.routing.")


def extensions() -> list[Extension]:
    sources = sorted(Path("lbcore").rglob("*.pyx"))
    if ONLY:
        sources = [path for path in sources if path.as_posix().startswith(ONLY)]
    macros = [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")] if LINETRACE else []
    return [
        Extension(
            ".".join(path.with_suffix("").parts),
            [path.as_posix()],
            define_macros=macros,
            extra_compile_args=[*FLAGS, *(SANITIZED if SANITIZE else SMALL)],
            extra_link_args=["-Wl,-O1", "-Wl,--as-needed", "-Wl,-z,now", *(SANITIZERS if SANITIZE else [])],
        )
        for path in sources
    ]


def modules() -> list[Extension]:
    """`selection` needs no GIL: its selectors take critical sections. The rest of lbcore is written for one thread."""
    found = extensions()
    free = [extension for extension in found if extension.name.startswith("lbcore.selection.")]
    checked = [extension for extension in found if extension.name.startswith(CHECKED)]
    rest = [extension for extension in found if extension not in free and extension not in checked]
    threads = os.cpu_count() or 1
    # Its classes say their signatures themselves, in the form that `inspect` reads.
    directives = {**DIRECTIVES, "freethreading_compatible": True, "embedsignature": False, "auto_pickle": False}
    return [
        *cythonize(free, compiler_directives=directives, nthreads=threads),
        *cythonize(checked, compiler_directives={**DIRECTIVES, "boundscheck": True}, nthreads=threads),
        *cythonize(rest, compiler_directives=DIRECTIVES, nthreads=threads),
    ]


setup(
    ext_modules=modules(),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    zip_safe=False,
)
