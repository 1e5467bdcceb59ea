"""Builds and loads the middlewares of tests (`*.pyx` in this folder), once per change of what they depend on."""

from __future__ import annotations

import fcntl
import importlib.util
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lbcore.routing.compile_middlewares as compiling

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build/tests"


def is_current(extension: Path, source: Path) -> bool:
    """Whether an extension is there, and newer than all it depends on."""
    newest = max(path.stat().st_mtime for path in (source, *(ROOT / "lbcore").rglob("*.pxd")))
    return extension.exists() and extension.stat().st_mtime > newest


def build_extension(module: str, source: Path, extension: Path) -> None:
    """In a folder of its own, and put where it belongs when it is whole: a process may have loaded the one before."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        modules = cythonize(
            [Extension(module, [str(source)], extra_compile_args=["-O1"])],
            compiler_directives={"language_level": "3"},
            include_path=[str(ROOT)],
            build_dir=folder,
            force=True,
            quiet=True,
        )
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_lib = command.build_temp = folder
        command.ensure_finalized()
        command.run()
        Path(command.get_ext_fullpath(module)).replace(extension)


@cache
def native(name: str) -> Any:
    """The module of that name. One process builds it at a time; the others wait and take what it has built."""
    module_name, source = f"tests.support.{name}", ROOT / f"tests/support/{name}.pyx"
    extension = BUILT / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(extension, source):
            build_extension(module_name, source, extension)
    spec = importlib.util.spec_from_file_location(module_name, extension)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By name: what the middlewares `one`, `two` and `three` of a configuration are. They live over reloads."""
    found: dict[str, Any] = {}
    build = compiling.build
    native("steps")  # here, since building it may take longer than a proxy may take to start

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
