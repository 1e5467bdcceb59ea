"""Files as trees of text with lines: YAML, TOML, and what neither may contain. No I/O."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from lbcore.config.scalars import Plain
from lbcore.config.toml import loads
from lbcore.errors import ConfigError, Problem

Path = tuple[str | int, ...]
NODE_LIMIT = 1_000_000  # elements of one file, aliases counted as often as they are used
DEPTH_LIMIT = 100
FLOW_LIMIT = 1000  # open brackets, those in texts counted too; columns of indentation
_LINE = r"(?:^|[\x85\u2028\u2029])"  # where a line of YAML begins
_BOTTOMLESS = re.compile(rf"{_LINE}(?:[ \t]*(?:[-?:][ \t]+){{{DEPTH_LIMIT}}}| {{{FLOW_LIMIT}}})", re.MULTILINE)
MERGE = "tag:yaml.org,2002:merge"
NULL = "tag:yaml.org,2002:null"


MAX_TEXTS = 1000


@dataclass(slots=True)
class Tree:
    """The content of a file: mappings, lists, and scalars as text (None = empty), as Traefik reads them.

    lines     the line of each element, counted from 1, by its path.
    problems  problems of elements, with their lines, after which the rest of the file is readable.
    fatal     problems of the file as a whole; its content is checked nevertheless, so that all problems are reported.
    warnings  warnings about the file as a whole.
    prefix, separator  of keys in messages: `traefik.` and `.` of labels, `traefik/` and `/` of a store.
    """

    content: dict[str, Any]
    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[Path, str, int]] = field(default_factory=list)
    fatal: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    prefix: str = ""
    separator: str = "."

    def key(self, path: Path) -> str:
        """An element as it is written."""
        if self.separator == ".":
            return self.prefix + dotted(path)
        return self.prefix + self.separator.join(map(str, path))

    def value_at(self, path: Path) -> Any:
        """The value of an element, by its path as written."""
        value: Any = self.content
        for key in path:
            value = value[key]
        return value

    def line(self, path: Path) -> int | None:
        """The line of an element, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def texts_in(value: Any) -> tuple[str, ...]:
    """All texts in what stands for an object, its keys among them, in order; so many at most."""
    found: dict[str, None] = {}
    ahead = [value]
    while ahead and len(found) < MAX_TEXTS:
        part = ahead.pop()
        if isinstance(part, dict):
            ahead += [each for item in reversed(part.items()) for each in reversed(item)]
        elif isinstance(part, list):
            ahead += reversed(part)
        elif part is not None:
            found[str(part).strip()] = None
    return tuple(found)


def dotted(path: Path) -> str:
    """`http.services.web.loadBalancer.servers[0].url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def parse(text: str, file: str, *, toml: bool, templates: bool = True) -> Tree:
    """Parse a file's text. Raises ConfigError.

    templates  whether Traefik renders Go templates in such a file; otherwise they are plain text. Lines are those of
               the template.
    """
    parse_plain = _parse_toml if toml else _parse_yaml
    if not templates or "{{" not in text:
        return parse_plain(text, file)
    from lbcore.template.engine import TemplateError, render_file

    try:
        rendered = render_file(text)
    except TemplateError as error:
        raise ConfigError([Problem("", f"template: {error.problem}", error.hint, file, error.line)]) from None
    try:
        tree = parse_plain(rendered.text, file)
    except ConfigError as error:
        raise ConfigError([_in_template(problem, rendered.lines) for problem in error.problems]) from None
    tree.lines = {path: _line_of(line, rendered.lines) for path, line in tree.lines.items()}
    tree.problems = [(path, text, _line_of(line, rendered.lines)) for path, text, line in tree.problems]
    tree.fatal = [_in_template(problem, rendered.lines) for problem in tree.fatal]
    tree.warnings = [_in_template(problem, rendered.lines) for problem in tree.warnings]
    return tree


def _in_template(problem: Problem, lines: list[int]) -> Problem:
    return problem if problem.line is None else replace(problem, line=_line_of(problem.line, lines))


def _line_of(line: int, lines: list[int]) -> int:
    """The line of the template from which a line of its text comes."""
    return lines[min(line, len(lines)) - 1] if lines else line


def _parse_toml(text: str, file: str) -> Tree:
    try:
        content = loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        problem = re.sub(r" \(at .*\)$", "", str(error))
        line = int(found[1]) if found else len(text.splitlines()) or 1
        raise ConfigError([Problem("", f"no valid TOML: {problem}", "", file, line)]) from None
    except RecursionError:
        raise ConfigError([Problem("", "nested too deeply", "", file)]) from None
    tree = Tree(as_text(content), file)
    for path, number in _toml_lines(text):
        tree.lines.setdefault(path, number)
    return tree


def as_text(value: Any) -> Any:
    """The values of TOML or JSON as a tree has them: scalars as text, None = empty."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if value is None or isinstance(value, str):
        return value
    return Plain(str(value).lower() if isinstance(value, bool) else value)


def _toml_lines(text: str) -> Iterator[tuple[Path, int]]:
    """The lines of tables and keys, found by their headers and by the beginnings of `key = value`."""
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
            for length in range(1, len(table) + 1):
                yield table[:length], number
        elif found := key.match(line):
            yield (*table, *_split_key(found[1])), number


def _split_key(text: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", text)]


def _is_bottomless(text: str) -> bool:
    """Whether YAML may be nested so deeply that the parser, which recurses in C, would run out of stack."""
    depth = 0
    for found in re.finditer(r"[\[{]|[\]}]", text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > FLOW_LIMIT:
            return True
    return _BOTTOMLESS.search(text) is not None


class _Recomposed(yaml.composer.Composer, yaml.resolver.Resolver):
    """The nodes of a text in which an anchor has the name of an earlier one: from there on it counts, as in Traefik.

    Three times slower than the composer in C, which refuses such a text.
    """

    def __init__(self, text: str) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self._parser = yaml.CSafeLoader(text)

    def check_event(self, *kinds: Any) -> bool:
        return bool(self._parser.check_event(*kinds))

    def peek_event(self) -> Any:
        return self._parser.peek_event()

    def get_event(self) -> Any:
        return self._parser.get_event()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def dispose(self) -> None:
        self._parser.dispose()


def _documents(loader: Any) -> tuple[Any, Any]:
    """The first two documents of a text, or None; a mistake behind the first one does not matter."""
    try:
        first = loader.get_node() if loader.check_node() else None
        second = None
        with contextlib.suppress(yaml.YAMLError):
            second = loader.get_node() if loader.check_node() else None
        return first, second
    finally:
        loader.dispose()


def _parse_yaml(text: str, file: str) -> Tree:
    """The first document, as Traefik reads it."""
    if _is_bottomless(text):
        raise ConfigError([Problem("", "nested too deeply", "", file)])
    tree = Tree({}, file)
    try:
        try:
            node, second = _documents(yaml.CSafeLoader(text))
        except yaml.composer.ComposerError as error:
            if "duplicate anchor" not in str(error.context or error.problem):
                raise
            node, second = _documents(_Recomposed(text))
        if second is not None and second.tag != NULL:
            line = second.start_mark.line + 1
            note = Problem("", "a second document, ignored", "only the first is read", file, line, "warning")
            tree.warnings.append(note)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_no_yaml(error, text, file)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([Problem("", f"no valid YAML: {error}".replace("\n", " "), "", file)]) from None
    except RecursionError:
        raise ConfigError([Problem("", "nested too deeply", "", file)]) from None
    if node is None or node.tag == NULL:
        return tree
    reader = _YamlReader(tree)
    content = reader.value(node, ())
    if isinstance(content, dict):
        tree.content = content
    elif not reader.too_much:
        tree.fatal.append(Problem("", "the file does not hold keys and values", "", file, node.start_mark.line + 1))
    return tree


def _no_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(filter(None, (error.context, error.problem)))
    line, hint = mark.line + 1 if mark else None, ""
    lines = text.splitlines()
    if mark and mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
        problem, hint = "a tab", "indent with spaces"
    return Problem("", f"no valid YAML: {problem}", hint, file, line)


class _YamlReader:
    """Turns YAML nodes into the tree, and collects problems."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.count = 0
        self.too_much = False

    def problem(self, path: Path, text: str, node: Any) -> None:
        self.tree.problems.append((path, text, node.start_mark.line + 1))

    def value(self, node: Any, path: Path) -> Any:
        self.count += 1
        if self.count > NODE_LIMIT or len(path) > DEPTH_LIMIT:
            if not self.too_much:
                text, line = "too many elements, or nested too deeply", node.start_mark.line + 1
                self.tree.fatal.append(Problem(dotted(path[:3]), text, "", self.tree.file, line))
                self.too_much = True
            return None
        self.tree.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.tag == NULL:
            return None
        return Plain(node.value) if not node.style else node.value

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
