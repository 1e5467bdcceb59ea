"""Builds and loads `steps.pyx`, the middleware that tests steer; once per change of what it is made of."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lbcore.routing.compile as compiling

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/support/steps.pyx"
BUILT = ROOT / "build/tests"


def built() -> Path | None:
    """The extension, when it is newer than all it depends on."""
    depends = [SOURCE]
    for package in ("http", "middleware"):
        depends += (ROOT / "lbcore" / package).glob("*.pxd")
    newest = max(path.stat().st_mtime for path in depends)
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    return next((path for path in BUILT.rglob(f"steps.{tag}*.so") if path.stat().st_mtime > newest), None)


def build_extension() -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension("tests.support.steps", [str(SOURCE)], extra_compile_args=["-O1"])
    modules = cythonize(
        [extension],
        compiler_directives={"language_level": "3"},
        include_path=[str(ROOT)],
        build_dir=str(BUILT),
        force=True,
        quiet=True,
    )
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(BUILT)
    command.ensure_finalized()
    command.run()


@cache
def steps() -> Any:
    """The module."""
    if (path := built()) is None:
        build_extension()
        path = built()
    assert path is not None, f"no extension in {BUILT}"
    spec = importlib.util.spec_from_file_location("tests.support.steps", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By name: what the middlewares `one`, `two` and `three` of a configuration are. They live over reloads."""
    found: dict[str, Any] = {}
    build = compiling.build

    def replaced(name: str, *more: Any) -> Any:
        short = name.partition("@")[0]
        if short not in ("one", "two", "three"):
            return build(name, *more)
        return found.setdefault(short, steps().Step(name))

    monkeypatch.setattr(compiling, "build", replaced)
    return found
