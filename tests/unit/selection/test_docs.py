"""What docs/selection.md shows runs, and does what it says."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import lbcore.selection
from lbcore.selection import Algorithm, SmoothWRR, get_include

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/selection.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_examples_in_python() -> None:
    names: dict[str, Any] = {}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for number, block in enumerate(blocks("python")):
        runner.run(parser.get_doctest(block, names, f"block {number}", "docs/selection.md", 0), clear_globs=False)
        names |= runner.test.globs if hasattr(runner, "test") else {}
    assert runner.tries > 30
    assert runner.failures == 0


def test_example_in_cython(tmp_path: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    (block,) = blocks("cython")
    source = tmp_path / "documented.pyx"
    source.write_text(block)
    options = {"language_level": "3", "include_path": [str(ROOT)], "quiet": True}
    modules = cythonize([Extension("documented", [str(source)])], **options)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(tmp_path)
    command.ensure_finalized()
    command.run()
    (built,) = tmp_path.glob("documented.*.so")
    spec = importlib.util.spec_from_file_location("documented", built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.by_struct(7) == [0, 0, 1, 0, 2, 0, 0]
    assert module.by_class(SmoothWRR({"a": 5, "b": 1, "c": 1}), 3) == "b"


def test_example_in_c(tmp_path: Path) -> None:
    (block,) = blocks("c")
    source = tmp_path / "documented.c"
    source.write_text(block)
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{get_include()}"]
    command = [
        compiler,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-c",
        *include,
        str(source),
        "-o",
        str(tmp_path / "documented.o"),
    ]
    subprocess.run(command, check=True)


def test_every_selector_is_in_the_table() -> None:
    table = TEXT[TEXT.index("| need |") : TEXT.index("## Use")]
    for name in lbcore.selection.__all__:
        found = getattr(lbcore.selection, name)
        if isinstance(found, type) and issubclass(found, Algorithm) and found is not Algorithm:
            assert f"`{name}`" in table, name
