"""Build the Cython extensions: every `lbcore/**/*.pyx` becomes one module, on all cores, and says how far it is.

LBCORE_ONLY=lbcore/http,lbcore/proxy   build only modules under these paths (for development).
LBCORE_LINETRACE=1                     build with line tracing, so that coverage sees `.pyx` lines.
LBCORE_SANITIZE=1                      build with the address and undefined-behaviour sanitizers, and with Cython's own
                                       checks of list indexes and of None (`ci/sanitize.py`).
LBCORE_SANITIZE=short                  the same, but compiled in half the time: without optimisation.
"""

import os
import re
import sys
import threading
import time
import tomllib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

LINETRACE = os.environ.get("LBCORE_LINETRACE") == "1"
SANITIZE = os.environ.get("LBCORE_SANITIZE", "")
ONLY = tuple(filter(None, os.environ.get("LBCORE_ONLY", "").split(",")))

# A request runs through more code than the first-level instruction cache holds: no padding before jumps and loops, no
# stubs between modules and libraries (so symbols are bound when a module is loaded).
DENSE = ["-falign-jumps=1", "-falign-loops=1", "-falign-labels=1", "-fno-plt"]
FLAGS = ["-O2", *DENSE, "-fno-semantic-interposition", "-fvisibility=hidden"]
FLAGS += ["-Wno-unused-function", "-Wno-sign-compare"]
# Python's own flags ask for debug symbols, which cost time of the build and most of the size.
SMALL = ["-g0"]
# A package has no use for symbols that nothing outside of a module refers to. A build in place keeps them, for `perf`.
STRIPPED = ["-Wl,-s"]
# Nor for tables by which a debugger walks up a stack without names; no exception of C++ passes through these modules.
WITHOUT_TABLES = ["-fno-asynchronous-unwind-tables"]
# Modules through which few requests pass, or where other code takes most of the time (Python, cryptography, zlib, QUIC,
# pages of errors): a quarter smaller.
COLD = {
    *("http.reflect", "native.library", "native.ticks", "observability.header_labels", "observability.json_line"),
    *("observability.log_record", "observability.span_encoder", "proxy.explainer", "routing.rehearsal"),
    *("selection.limit", "selection.outlier", "selection.subsetting"),
    *("state.cells", "state.holdings", "state.memory", "state.region", "state.sampler", "state.totals"),
    *("tls.certificate", "tls.connector", "tls.handshake", "tls.option_set", "tls.tickets"),
    *("middleware.api_key", "middleware.buffering", "middleware.circuit_breaker", "middleware.client_cert"),
    *("middleware.compress", "middleware.content_type", "middleware.digest_auth", "middleware.encoded_characters"),
    *("middleware.errors", "middleware.grpc_web", "middleware.jwt_auth", "middleware.python", "middleware.redirect"),
    *("middleware.brotli_stream", "middleware.spool", "middleware.views"),
    *("transport.engine", "transport.listener", "transport.proxy_protocol", "transport.quic", "transport.reserve"),
    *("transport.udp_endpoint",),
}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# -fno-wrapv: Python's own flags make signed overflow defined, which would hide it.
SANITIZED = [*SANITIZERS, "-O0" if SANITIZE == "short" else "-O1", "-g1", "-fno-omit-frame-pointer"]
SANITIZED += ["-U_FORTIFY_SOURCE", "-fno-wrapv", "-Wno-maybe-uninitialized"]
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": bool(SANITIZE),
    "nonecheck": bool(SANITIZE),
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "auto_pickle": False,  # nothing of it is pickled; two methods for each class would say so
    "binding": False,  # functions are those of C, which need no code of their own in each module: an eighth of the size
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

    def flags(name: str) -> list[str]:
        if SANITIZE:
            return [*FLAGS, *SANITIZED]
        return [*FLAGS, *SMALL, *(["-Os"] if name.removeprefix("lbcore.") in COLD else [])]

    names = {path: ".".join(path.with_suffix("").parts) for path in sources}
    if sources and not ONLY and (gone := COLD - {name.removeprefix("lbcore.") for name in names.values()}):
        sys.exit(f"setup.py: COLD names modules that are not there: {', '.join(sorted(gone))}")
    return [
        Extension(
            names[path],
            [path.as_posix()],
            define_macros=macros,
            extra_compile_args=flags(names[path]),
            extra_link_args=["-Wl,-O1", "-Wl,--as-needed", "-Wl,-z,now", *(SANITIZERS if SANITIZE else [])],
        )
        for path in sources
    ]


def translated(found: list[Extension]) -> list[Extension]:
    """The modules in C. `selection` needs no GIL: its selectors take critical sections; the rest is for one thread."""
    free = [extension for extension in found if extension.name.startswith("lbcore.selection.")]
    checked = [extension for extension in found if extension.name.startswith(CHECKED)]
    rest = [extension for extension in found if extension not in free and extension not in checked]
    threads = os.cpu_count() or 1
    # Its classes say their signatures themselves, and its functions are such as Python's own: `inspect` reads both.
    directives = {**DIRECTIVES, "freethreading_compatible": True, "embedsignature": False, "binding": True}
    return [
        *cythonize(free, compiler_directives=directives, nthreads=threads),
        *cythonize(checked, compiler_directives={**DIRECTIVES, "boundscheck": True}, nthreads=threads),
        *cythonize(rest, compiler_directives=DIRECTIVES, nthreads=threads),
    ]


class Build(build_ext):
    """Translates when it builds, not for metadata; compiles the largest module first, so that no core is left idle."""

    def run(self) -> None:
        """Translate, compile and link what has changed."""
        sources = {extension.name: extension for extension in translated(self.extensions)}
        for extension in self.extensions:
            made = sources[extension.name]
            extension.sources, extension.depends, extension.language = made.sources, made.depends, made.language
            if not self.inplace and not SANITIZE:
                extension.extra_link_args = [*extension.extra_link_args, *STRIPPED]
                extension.extra_compile_args = [*extension.extra_compile_args, *WITHOUT_TABLES]
        self.extensions.sort(key=lambda extension: -Path(extension.sources[0]).stat().st_size)
        self._progress = Progress(sum(self._is_due(extension) for extension in self.extensions))
        super().run()

    def _is_due(self, extension: Extension) -> bool:
        inplace, self.inplace = self.inplace, 0
        try:
            path = self.get_ext_fullpath(extension.name)
        finally:
            self.inplace = inplace
        return self.force or newer_group([*extension.sources, *extension.depends], path, "newer")

    def build_extension(self, extension: Extension) -> None:
        """Compile and link one module."""
        due = self._is_due(extension)
        super().build_extension(extension)
        if due:
            self._progress.add(extension.name)


class Progress:
    """How many modules are compiled: one line that is written over on a terminal, else a line for every tenth."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._begun = total, 0, time.monotonic()
        self._lock = threading.Lock()
        if total:
            print(f"compiling {total} modules with {os.cpu_count()} processes", file=sys.stderr, flush=True)

    def add(self, name: str) -> None:
        """One more is compiled."""
        with self._lock:
            self._done += 1
            done, total, last = self._done, self._total, self._done == self._total
            text = f"[{done}/{total}] {time.monotonic() - self._begun:.0f} s"
            if sys.stderr.isatty():
                end = "\n" if last else ""
                print(f"\r\033[K{text} {'' if last else name}", end=end, file=sys.stderr, flush=True)
            elif last or done * 10 // total != (done - 1) * 10 // total:
                print(text, file=sys.stderr, flush=True)


def description() -> str:
    """README.md for a package index: its links to files of the repository are absolute there."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    source = f"{project['urls']['Source']}/%s/v{project['version']}/"

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found[2].endswith((".svg", ".png")) else "blob"
        return found[1] + source % kind + found[2] + found[3]

    text = Path("README.md").read_text()
    text = re.sub(r"(\]\()(?!\w+:|#)([^)\s#]+)([^)\s]*\))", absolute, text)
    return re.sub(r"((?:src|srcset|href)=\")(?!\w+:|#)([^\"#]+)([^\"]*\")", absolute, text)


setup(
    ext_modules=extensions(),
    cffi_modules=["lbcore/http/pico_build.py:ffi"],
    cmdclass={"build_ext": Build},
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    long_description=description(),
    long_description_content_type="text/markdown",
    zip_safe=False,
)
