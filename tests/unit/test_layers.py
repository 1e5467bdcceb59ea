"""Which package may import which: the map of the code is kept true."""

from __future__ import annotations

import ast
import importlib
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "lbcore"
BELOW_TRANSPORT = {
    "config", "http", "http2", "http3", "middleware", "observability", "passwords", "proxy", "regex", "routing",
    "selection", "state", "tls",
}  # fmt: skip
ALLOWED = {
    "selection": set(),
    "native": set(),
    "http": set(),
    "http2": {"http", "native"},
    "http3": {"http", "native", "tls"},
    "regex": {"http", "native"},
    "state": {"selection"},
    "passwords": {"native"},
    "template": set(),
    "config": {"passwords", "template"},
    "tls": {"config", "http", "http2", "native", "selection", "state"},
    "store": {"config"},
    "middleware": {"config", "http", "passwords", "regex", "state", "store"},
    "routing": {"config", "http", "http2", "middleware", "regex", "selection", "state", "tls"},
    "observability": {"config", "http", "selection", "state"},
    "proxy": {"http", "middleware", "observability", "routing", "selection", "state"},
    "dashboard": set(),
    "api": {"config", "dashboard", "http", "observability", "routing", "state", "tls"},
    "remote": set(),
    "transport": BELOW_TRANSPORT,
    "provider": {"config", "template", "tls"},
    "health": {"config", "http", "state", "tls"},
    "integrations": {"selection"},
    "acme": {"config", "provider", "tls"},
    "ocsp": {"config", "tls"},
    "spiffe": {"config"},
    "telemetry": {"api", "config", "observability", "state", "tls"},
    "fleet": {"config", "health", "state", "store"},
    "process": BELOW_TRANSPORT
    | {"acme", "api", "fleet", "health", "native", "ocsp", "provider", "spiffe", "telemetry", "transport"},
}
# The command may import everything.
ALLOWED["cli"] = {*ALLOWED, "cli"}
# Modules of C functions and of classes that Python never handles.
INTERNAL = {
    f"lbcore.{package}.{name}"
    for package, names in {
        "http": "arena buffer cookie field_list fields heap lenient pico reflect sink spare",
        "http2": "memory nghttp2",
        "http3": "nghttp3 ngtcp2",
        "middleware": "spool told",
        "observability": "json_line log_record text",
        "proxy": "answer_way attempt attempts copies entry_point exchange explainer gates observation "
        "recording request_way tracing way_back whole",
        "regex": "shortage",
        "routing": "asker decision",
        "tls": "end key_schedule",
        "transport": "arrival ask_stream clock connect connection datagrams dial dialer encryption flow flow_client "
        "flow_socket gathering http1_body http1_client http1_server http2_client http2_server http2_session "
        "http3_client http3_session linger listener local_stream mirror_stream pool protocols quic request_stream "
        "reserve scarcity server_connection session_table socket splice tcp_client timers tunnel udp_address "
        "udp_endpoint udp_session udp_socket",
    }.items()
    for name in names.split()
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


def test_the_map_in_contributing_says_the_same() -> None:
    """But for the packages that it describes in words: they may import everything below them."""
    rows = re.findall(r"^\| `lbcore/(\w+)/` \| .* \| (.*) \|$", (ROOT.parent / "CONTRIBUTING.md").read_text(), re.M)
    told = {package: set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", others))) for package, others in rows}
    assert told.keys() == ALLOWED.keys()
    wrong = {package for package, others in ALLOWED.items() if told[package] != others}
    assert wrong == {"transport", "process", "cli"}


def test_sources_begin_with_their_contract() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*")):
        if path.suffix not in (".py", ".pyx", ".pxd"):
            continue
        lines = path.read_text().splitlines()
        if lines and not lines[0].startswith(('"""', "# ")):
            wrong.append(f"{path.relative_to(ROOT)} does not begin with what it is for")
    assert wrong == []


def test_modules_that_python_sees_have_stubs_that_name_what_is_there() -> None:
    modules = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.pyx")}
    stubs = {name: path.with_suffix(".pyi") for name, path in modules.items() if path.with_suffix(".pyi").exists()}
    assert set(modules) - set(stubs) == INTERNAL
    wrong = []
    for folder in ("lbcore", "tests", "bench", "examples"):
        for path in sorted((ROOT.parent / folder).rglob("*.py*")):
            if path.suffix in (".py", ".pyi"):
                wrong += [f"{path} imports {name}, which has no stub" for name in modules_of(path) & INTERNAL]
    for name, path in stubs.items():
        wrong += missing(importlib.import_module(name), ast.parse(path.read_text()).body, name)
    assert wrong == []


def modules_of(path: Path) -> set[str]:
    """Modules that a file of Python imports, or imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def missing(owner: object, body: list[ast.stmt], where: str) -> list[str]:
    """What a stub says `owner` has, and it has not."""
    wrong = []
    for node in body:
        names = [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        for name in names:
            if not hasattr(owner, name):
                wrong.append(f"{where} has no {name}")
            elif isinstance(node, ast.ClassDef):
                wrong += missing(getattr(owner, name), node.body, f"{where}.{name}")
    return wrong


def test_no_circle_among_the_modules_of_a_package() -> None:
    """By `import` in Python, also for types alone, and by `cimport`: a module and its declarations count as one."""
    wanted: dict[str, set[str]] = {}
    for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyx"), *ROOT.rglob("*.pxd")]):
        if path.stem != "__init__":
            name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
            others = modules_of(path) if path.suffix == ".py" else cimported(path, name)
            wanted[name] = wanted.get(name, set()) | others
    sorter = TopologicalSorter({name: others & set(wanted) for name, others in wanted.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise AssertionError("a circle: " + " -> ".join(reversed(error.args[1]))) from None


def cimported(path: Path, name: str) -> set[str]:
    """Modules of lbcore that a file of Cython cimports from."""
    pattern = r"^\s*(?:from\s+(lbcore[\w.]+)\s+cimport|cimport\s+(lbcore[\w.]+))"
    found = re.findall(pattern, path.read_text(), re.MULTILINE)
    return {first or second for first, second in found} - {name}


def test_code_without_the_interpreter_compiles_with_checks_of_none() -> None:
    """Cython then takes `self.x += y` for an operation on an object: written out, it is one on numbers."""
    wrong = []
    for path in sorted(ROOT.rglob("*.pyx")):
        free_above = -1  # the indentation of the function or block that runs without the interpreter's lock
        for number, line in enumerate(path.read_text().splitlines(), 1):
            depth = len(line) - len(line.lstrip())
            if line.strip() and depth <= free_above:
                free_above = -1
            if re.search(r"\bnogil:$", line) and free_above < 0:
                free_above = depth
            elif free_above >= 0 and re.match(r"\s+self(\.\w+)+ [-+*/|&^]+= ", line):
                wrong.append(f"{path.relative_to(ROOT.parent)}:{number}: {line.strip()}")
    assert not wrong


IMPORT = re.compile(r"^from (\S+) (?:c?import) (\([^)]*\)|[^\n(#]+)", re.MULTILINE)


def names_in(statement: re.Match[str]) -> list[str]:
    """The names that an import brings."""
    listed = re.sub(r"#.*", "", statement[2]).strip("() \n").replace("\n", " ").split(",")
    return [name.rpartition(" as ")[2].strip() for name in listed if name.strip(" *")]


def test_what_cython_imports_is_used() -> None:
    """As ruff finds it in Python. Names of a `.pxd` are those of its `.pyx`, too, and others may take them from it."""
    paths = [*ROOT.rglob("*.p[yx][xd]"), *(ROOT.parent / "tests/support").rglob("*.p[yx][xd]")]
    texts = {path: re.sub(r'"""(?:.|\n)*?"""|#.*', "", path.read_text()) for path in paths}
    taken = {(found[1], name) for text in texts.values() for found in IMPORT.finditer(text) for name in names_in(found)}
    whole = {found[1] for text in texts.values() for found in IMPORT.finditer(text) if found[2].strip() == "*"}
    wrong = []
    for path, text in texts.items():
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        rest = IMPORT.sub("", text)
        if path.suffix == ".pxd":
            rest += IMPORT.sub("", texts.get(path.with_suffix(".pyx"), ""))
        for name in [name for found in IMPORT.finditer(text) for name in names_in(found)]:
            handed_on = path.suffix == ".pxd" and (module in whole or (module, name) in taken)
            if not handed_on and not re.search(rf"(?<![\w.]){re.escape(name)}\b", rest):
                wrong.append(f"{path.relative_to(ROOT.parent)}: {name}")
    assert wrong == []
