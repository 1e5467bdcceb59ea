"""Files as trees of text with line marks: YAML, TOML, and what both must not hold. No I/O."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lbcore.errors import ConfigError, Problem

Path = tuple[str | int, ...]
NODE_LIMIT = 1_000_000  # elements of one file, aliases counted as often as they are used
DEPTH_LIMIT = 100
FLOW_LIMIT = 1000  # open brackets, those in texts counted too; columns of indentation
_BOTTOMLESS = re.compile(rf"(?:[-?:][ \t]+){{{DEPTH_LIMIT}}}|^ {{{FLOW_LIMIT}}}", re.MULTILINE)
MERGE = "tag:yaml.org,2002:merge"
NULL = "tag:yaml.org,2002:null"


@dataclass(slots=True)
class Tree:
    """A file's content: mappings, lists, and scalars as text (None where there is nothing), as Traefik reads them.

    lines  where each element stands, counted from 1, by its path.
    """

    content: dict[str, Any]
    file: str
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """The line of an element, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def dotted(path: Path) -> str:
    """`http.services.web.loadBalancer.servers[0].url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def parse(text: str, file: str, *, toml: bool) -> Tree:
    """Read a file's text. Raises ConfigError."""
    templates = [
        Problem("", "Go templates are not supported by this version of lbcore", "write the value itself", file, number)
        for number, line in enumerate(text.splitlines(), 1)
        if "{{" in line.partition("#")[0]
    ]
    if templates:
        raise ConfigError(templates)
    return _parse_toml(text, file) if toml else _parse_yaml(text, file)


def _parse_toml(text: str, file: str) -> Tree:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        problem = re.sub(r" \(at .*\)$", "", str(error))
        line = int(found[1]) if found else len(text.splitlines()) or 1
        raise ConfigError([Problem("", f"no valid TOML: {problem}", "", file, line)]) from None
    except RecursionError:
        raise ConfigError([Problem("", "nested too deeply", "", file)]) from None
    tree = Tree(_as_text(content), file)
    tree.lines.update(_toml_lines(text))
    return tree


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _toml_lines(text: str) -> Iterator[tuple[Path, int]]:
    """Lines of tables and keys, found by reading headers and the beginnings of `key = value`."""
    table: Path = ()
    seen: dict[Path, int] = {}
    key = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$", line)
        if header and "=" not in header[2]:
            table = ()
            for part in _split_key(header[2]):
                table += (part,)
                if table in seen:
                    table += (seen[table],)
            if header[1] == "[[":
                base = table[:-1] if isinstance(table[-1], int) else table
                seen[base] = seen.get(base, -1) + 1
                table = (*base, seen[base])
            yield table, number
        elif found := key.match(line):
            yield (*table, *_split_key(found[1])), number


def _split_key(text: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", text)]


def _is_bottomless(text: str) -> bool:
    """Whether YAML may be nested so deep that the parser, which recurses in C, would run out of stack."""
    depth = 0
    for found in re.finditer(r"[\[{]|[\]}]", text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > FLOW_LIMIT:
            return True
    return _BOTTOMLESS.search(text) is not None


def _parse_yaml(text: str, file: str) -> Tree:
    if _is_bottomless(text):
        raise ConfigError([Problem("", "nested too deeply", "", file)])
    try:
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        line = mark.line + 1 if mark else None
        raise ConfigError([Problem("", f"no valid YAML: {problem}", "", file, line)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([Problem("", f"no valid YAML: {error}".replace("\n", " "), "", file)]) from None
    except RecursionError:
        raise ConfigError([Problem("", "nested too deeply", "", file)]) from None
    tree = Tree({}, file)
    if node is None or node.tag == NULL:
        return tree
    reader = _YamlReader(tree)
    content = reader.value(node, ())
    if not isinstance(content, dict):
        reader.problem((), "the file does not hold keys and values", node)
    if reader.problems:
        raise ConfigError(reader.problems)
    tree.content = content
    return tree


class _YamlReader:
    """Turns YAML nodes into the tree and collects what is wrong with them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self.count = 0

    def problem(self, path: Path, text: str, node: Any) -> None:
        self.problems.append(Problem(dotted(path), text, "", self.tree.file, node.start_mark.line + 1))

    def value(self, node: Any, path: Path) -> Any:
        self.count += 1
        if self.count > NODE_LIMIT or len(path) > DEPTH_LIMIT:
            if self.count != -1 and not self.problems:
                self.problem(path[:3], "too many elements, or nested too deeply", node)
            return None
        self.tree.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return None if node.tag == NULL else node.value

    def mapping(self, node: Any, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == MERGE:
                for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                    extra = self.value(source, path)
                    if isinstance(extra, dict):
                        merged = {**extra, **merged}
                    else:
                        self.problem(path, "a merge key needs a mapping", key)
                continue
            if not isinstance(key, yaml.ScalarNode):
                self.problem(path, "a key has to be text", key)
                continue
            if key.value in found:
                self.problem((*path, key.value), "the key stands here twice", key)
                continue
            self.tree.lines[(*path, key.value)] = key.start_mark.line + 1
            found[key.value] = self.value(item, (*path, key.value))
        return {**merged, **found}
