"""Builds and loads extensions of the benchmarks, once per change of them or of the declarations they use.

Files go to build/bench/.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"yardstick": ROOT / "bench/micro/yardstick.pyx", "datagrams": ROOT / "bench/datagrams.pyx"}
BUILT = ROOT / "build/bench"


def built(name: str) -> Path | None:
    """The extension, when it is newer than all it depends on."""
    depends = [SOURCES[name]]
    for package in ("http", "routing", "selection", "transport"):
        depends += (ROOT / "lbcore" / package).glob("*.pxd")
    newest = max(path.stat().st_mtime for path in depends)
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    for path in BUILT.glob(f"{name}.{tag}*.so"):
        if path.stat().st_mtime > newest:
            return path
    return None


def build(name: str) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension(name, [str(SOURCES[name])], extra_compile_args=["-O2"])
    directives = {"language_level": "3", "boundscheck": False, "wraparound": False, "cdivision": True}
    modules = cythonize(
        [extension],
        compiler_directives=directives,
        include_path=[str(ROOT)],
        build_dir=str(BUILT),
        force=True,
        quiet=True,
    )
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(BUILT)
    command.ensure_finalized()
    command.run()


def load(name: str = "yardstick") -> ModuleType:
    if (path := built(name)) is None:
        build(name)
        path = built(name)
    assert path is not None, f"no extension in {BUILT}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
