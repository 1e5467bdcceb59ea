"""Copy the docstrings of the built modules of lbcore.selection into their stubs, which editors read.

`stubs.py` rewrites the stubs; `stubs.py --check` prints the stubs that differ, and exits with 1 if there are any.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "lbcore/selection"


def docstrings(body: list[ast.stmt], owner: Any) -> Iterator[tuple[ast.Expr, str]]:
    """The docstring nodes of a stub, each with its text at run time. `owner`: the module or class of `body`."""
    for node in body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        found = inspect.getattr_static(owner, node.name)
        if isinstance(node, ast.ClassDef):
            yield from docstrings(node.body, getattr(owner, node.name))
            text = inspect.cleandoc(getattr(owner, node.name).__dict__["__doc__"] or "")
        else:
            text = inspect.getdoc(found) or ""
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield first, text


def rewritten(path: Path) -> str:
    """A stub with the docstrings of its module. Raises AttributeError where the module lacks what the stub names."""
    text = path.read_text()
    lines = text.splitlines()
    module = importlib.import_module(f"lbcore.selection.{path.stem}")
    for node, doc in sorted(docstrings(ast.parse(text).body, module), key=lambda found: -found[0].lineno):
        margin = " " * node.col_offset
        new = [line and margin + line for line in f'"""{doc}'.splitlines()]
        if len(new) == 1:
            new[0] += '"""'
        else:
            new.append(margin + '"""')
        lines[node.lineno - 1 : node.end_lineno] = new
    return "\n".join(lines) + "\n"


def main() -> int:
    check = "--check" in sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    stale = 0
    for path in sorted(FOLDER.glob("*.pyi")):
        new = rewritten(path)
        if new != path.read_text():
            stale += 1
            print(path.relative_to(ROOT))
            if not check:
                path.write_text(new)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
