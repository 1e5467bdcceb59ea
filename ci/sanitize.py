"""Run tests with the address and undefined-behaviour sanitizers: `python ci/sanitize.py [--short] [arguments]`.

The sources are built in a copy of the tree, so that the usual build stays. Memory pools and freelists are off in that
build (`lbcore/http/sanitizer.pxd`), and Python takes its objects from the C heap: what is used after it was freed is
seen.

--short    build all but the selection library with the sanitizers, from the C code of the usual build, without
           optimisation and Cython's checks of list indexes and of None, and run the tests named in SHORT
arguments  pytest's: files to run, options
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHORT_RUN = sys.argv[1:2] == ["--short"]
COPY = ROOT / "build" / ("sanitized-short" if SHORT_RUN else "sanitized")
COPIED = (
    "setup.py",
    *("lbcore", "tests", "bench", "examples", "docs", "ci", "packaging"),
    *("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"),
)
SHORT = (
    "tests/unit/http",
    "tests/unit/transport",
    "tests/unit/state",
    "tests/unit/regex",
    "tests/fuzz",
    "tests/wire/test_heads.py",
)
PLAIN = "lbcore/selection"  # not built with the sanitizers in a short run
LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so.6")
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
    "PYTHONPATH": str(COPY),
}


def synchronise() -> None:
    """Bring the copy up to date; files that did not change keep their times, so that only the rest is built."""
    wanted = set()
    for name in COPIED:
        top = ROOT / name
        for source in [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file()):
            path = source.relative_to(ROOT)
            if path.suffix == ".pyc" or (path.suffix == ".so" and not (SHORT_RUN and path.is_relative_to(PLAIN))):
                continue
            if path.suffix == ".c" and not SHORT_RUN:
                continue  # the usual build's, without the checks of lists and None
            wanted.add(path)
            copy = COPY / path
            if not copy.exists() or copy.stat().st_mtime_ns != source.stat().st_mtime_ns:
                if source == ROOT / "setup.py":
                    shutil.rmtree(COPY / "lbcore", ignore_errors=True)  # it says how everything is built
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
    for copy in COPY.rglob("*"):
        path = copy.relative_to(COPY)
        built = copy.suffix in (".so", ".c") and path.with_name(path.name.partition(".")[0] + ".pyx") in wanted
        if copy.is_file() and path.parts[0] != "build" and not built and path not in wanted:
            copy.unlink()


def preloaded() -> str:
    """The sanitizers' libraries, which have to be there before anything else."""
    found = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in LIBRARIES
    ]
    return " ".join(str(Path(name).resolve()) for name in found)


def write_python() -> Path:
    """An interpreter that runs under the sanitizers, and the command `lbcore` beside it; no other programs."""
    python = COPY / "build" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nLD_PRELOAD="{preloaded()}" exec "{sys.executable}" "$@"\n')
    command = python.with_name("lbcore")
    command.write_text(f'#!/bin/sh\nexec "{python}" -m lbcore "$@"\n')
    for program in (python, command):
        program.chmod(0o755)
    return python


def main() -> int:
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(__doc__)
        return 0
    synchronise()
    build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    packages = sorted(path.relative_to(COPY).as_posix() for path in (COPY / "lbcore").iterdir() if path.is_dir())
    kind = "short" if SHORT_RUN else "1"
    only = ",".join(name for name in packages if name != PLAIN) if SHORT_RUN else ""
    subprocess.run(build, cwd=COPY, env={**os.environ, "LBCORE_SANITIZE": kind, "LBCORE_ONLY": only}, check=True)
    python = write_python()
    environ = {**os.environ, **OPTIONS, "LBCORE_TEST_PYTHON": str(python)}
    side_by_side = ["--numprocesses", str(os.cpu_count() or 1), "--dist", "loadfile", "-p", "no:benchmark"]
    arguments = [*SHORT, *side_by_side, *sys.argv[2:]] if SHORT_RUN else sys.argv[1:]
    command = [python, "-m", "pytest", "--timeout", "900", "-s", *arguments]
    return subprocess.run(command, cwd=COPY, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
