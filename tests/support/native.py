"""Builds and loads the middlewares of tests (`*.pyx` in this folder), once per change of what they depend on."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lbcore.routing.compile as compiling

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build/tests"


def built(name: str) -> Path | None:
    """The extension, when it is newer than all it depends on."""
    depends = [ROOT / f"tests/support/{name}.pyx"]
    for package in ("http", "middleware", "proxy", "routing"):
        depends += (ROOT / "lbcore" / package).glob("*.pxd")
    newest = max(path.stat().st_mtime for path in depends)
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    return next((path for path in BUILT.rglob(f"{name}.{tag}*.so") if path.stat().st_mtime > newest), None)


def build_extension(name: str) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    source = ROOT / f"tests/support/{name}.pyx"
    extension = Extension(f"tests.support.{name}", [str(source)], extra_compile_args=["-O1"])
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
def native(name: str) -> Any:
    """The module of that name."""
    if (path := built(name)) is None:
        build_extension(name)
        path = built(name)
    assert path is not None, f"no extension in {BUILT}"
    spec = importlib.util.spec_from_file_location(f"tests.support.{name}", path)
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
        return found.setdefault(short, native("steps").Step(name))

    monkeypatch.setattr(compiling, "build", replaced)
    return found


def with_asking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the middleware `asking` of a configuration is: it asks the service `auth`."""
    return replaced_by(monkeypatch, native("asking").Asking("asking@file", "auth@file"))


def with_filters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the middleware `tap` of a configuration is: its filters see both bodies."""
    return replaced_by(monkeypatch, native("filters").Tap("tap@file"))


def with_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the middlewares `plus` and `times` of a configuration are: plus makes x + 1 of each byte, times 3 x."""
    for name, factor, summand in (("plus", 1, 1), ("times", 3, 0)):
        replaced_by(monkeypatch, native("filters").Arithmetic(f"{name}@file", factor, summand))


def replaced_by(monkeypatch: pytest.MonkeyPatch, middleware: Any) -> Any:
    """Have this middleware stand for that of its name in every configuration from now on."""
    build = compiling.build
    monkeypatch.setattr(
        compiling, "build", lambda name, *more: middleware if name == middleware.name else build(name, *more)
    )
    return middleware
