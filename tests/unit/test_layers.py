"""Which package may import which: the map of the code is kept true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "lbcore"
BELOW_TRANSPORT = {
    "config", "http", "middleware", "observability", "proxy", "regex", "routing", "selection", "state",
}  # fmt: skip
ALLOWED = {
    "selection": set(),
    "http": set(),
    "regex": {"http"},
    "state": {"selection"},
    "config": set(),
    "middleware": {"http", "regex", "config"},
    "routing": {"config", "http", "middleware", "regex", "selection", "state"},
    "observability": {"config", "http", "selection", "state"},
    "proxy": {"http", "middleware", "observability", "routing", "state"},
    "api": {"config", "http", "observability", "routing", "state"},
    "remote": set(),
    "transport": BELOW_TRANSPORT,
    "provider": {"config"},
    "health": {"config", "http", "state"},
    "process": BELOW_TRANSPORT | {"api", "health", "provider", "transport"},
}
CIMPORT = re.compile(r"^\s*(?:from\s+lbcore\.(\w+)[\w.]*\s+c?import|c?import\s+lbcore\.(\w+))", re.MULTILINE)


def imported(path: Path) -> set[str]:
    """Packages of lbcore that a file imports, anywhere in it."""
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd"):
        return {first or second for first, second in CIMPORT.findall(text)}
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("lbcore.")}
    return found


def test_packages_import_only_what_their_layer_may() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*")):
        if path.suffix not in (".py", ".pyi", ".pyx", ".pxd") or path.parent == ROOT:
            continue
        package = path.relative_to(ROOT).parts[0]
        for other in imported(path) - ALLOWED[package] - {package, "errors"}:
            wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == []


def test_sources_have_a_contract_and_stay_small() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*")):
        if path.suffix not in (".py", ".pyx", ".pxd"):
            continue
        lines = path.read_text().splitlines()
        if len(lines) > 600:
            wrong.append(f"{path.relative_to(ROOT)} has {len(lines)} lines")
        if lines and not lines[0].startswith(('"""', "# ")):
            wrong.append(f"{path.relative_to(ROOT)} does not begin with what it is for")
    assert wrong == []
