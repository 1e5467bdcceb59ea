"""Cutting a YAML file into pieces, each of which means alone what it means in the file. No I/O.

A file is cut where a router, a service or another object begins, and there alone. A file is not cut if a part of it may
have a meaning elsewhere (anchors, directives, several documents), or if it is laid out in another way than nearly all
files are. A piece that ends inside of something, as a text over several lines, is no valid YAML.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

from lbcore.config.decode import is_model, plain
from lbcore.config.dynamic import HttpConfig
from lbcore.config.model import Model, Object, fields_of
from lbcore.config.tcp import TcpConfig
from lbcore.config.tree import Tree, parse
from lbcore.config.udp import UdpConfig

# One object of so many begins a piece. Its name decides: pieces stay what they are when other objects come or go.
OBJECTS_OF_A_PIECE = 32
LAYERS: dict[str, type[Model]] = {"http": HttpConfig, "tcp": TcpConfig, "udp": UdpConfig}
TLS = "tls"  # a section that is one piece
# Anchors and aliases.
_CONNECTED = re.compile(r"(?<![^\s\[{,:?])[&*][\w-]")
# Templates, tabs, and other ends of lines than `\n`.
_STRANGE = ("{{", *"\t\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_LINE = re.compile(r"^( *)[^ \n#]", re.MULTILINE)  # neither empty nor a comment
_SECTION = re.compile(r"([A-Za-z]+):[ ]*(?:#.*)?(?:\n|\Z)")
_ENTRY = re.compile(r"""(?:[A-Za-z0-9_][\w.@/-]*|"[^"\\\n]*"|'[^'\n]*')[ ]*:(?=[ \n]|\Z)""")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file.

    layer, kind  what its objects are: `http`, and an attribute of HttpConfig; `tls` has no kind.
    head         the lines of the sections around it, as they are written.
    text         its own lines.
    line         the number of the first of these, counted from 1.
    """

    layer: str
    kind: str
    head: str
    text: str
    line: int

    def tree(self, file: str) -> Tree:
        """The tree of this piece alone, with the lines that it has in the file. Raises ConfigError."""
        tree = parse(self.head + self.text, file, toml=False, templates=False)
        shift = self.line - 1 - self.head.count("\n")
        tree.lines = {path: line + shift for path, line in tree.lines.items()}
        tree.problems = [(path, text, line + shift) for path, text, line in tree.problems]
        return tree


def pieces_of(text: str) -> list[Piece] | None:
    """The pieces of a file in order; None: not to be cut. Lines end with `\\n`. Cost: one look at each line."""
    if any(each in text for each in _STRANGE) or _CONNECTED.search(text):
        return None
    try:
        return list(_Cutter(text).pieces())
    except _UncutError:
        return None


class _UncutError(Exception):
    """The file is laid out in a way that is not known here."""


class _Cutter:
    """Goes through a file once, by the lines that are neither empty nor comments.

    `_at` is the position where the next one of them begins, and `_column` the column of what it says: -1 when there is
    none.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = _LINE.finditer(text)
        self._counted = (0, 1)  # a position, and the number of its line
        self._next()

    def pieces(self) -> Iterator[Piece]:
        seen: set[str] = set()
        while self._column == 0:
            layer = self._section(seen)
            if layer in LAYERS:
                yield from self._of_layer(layer)
            elif layer == TLS:
                first = self._at
                self._element()
                yield self._piece(layer, "", "", first)
            else:
                _uncut()
        if self._column > 0:
            _uncut()

    def _of_layer(self, layer: str) -> Iterator[Piece]:
        head = self._line()
        kinds = {each.alias: (name, each.annotation) for name, each in fields_of(LAYERS[layer]).items()}
        self._next()
        column, seen = self._column, set[str]()
        if column <= 0:
            _uncut()
        while self._column == column:
            kind, annotation = kinds.get(self._section(seen)) or _uncut()
            yield from self._of_kind(layer, kind, head + self._line(), _runs_alone(annotation))
        if self._column > 0:
            _uncut()

    def _of_kind(self, layer: str, kind: str, head: str, is_divided: bool) -> Iterator[Piece]:
        around = self._column
        self._next()
        first, column = self._at, self._column
        if column <= around:
            _uncut()
        while self._column == column:
            entry = _ENTRY.match(self._text, self._at + column) or _uncut()
            if self._at > first and is_divided and zlib.crc32(entry[0].encode()) % OBJECTS_OF_A_PIECE == 0:
                yield self._piece(layer, kind, head, first)
                first = self._at
            self._element()
        if self._column > around:
            _uncut()
        yield self._piece(layer, kind, head, first)

    def _piece(self, layer: str, kind: str, head: str, first: int) -> Piece:
        """The lines from the position `first`, where one begins, to here."""
        position, line = self._counted
        self._counted = first, line + self._text.count("\n", position, first)
        return Piece(layer, kind, head, self._text[first : self._at], self._counted[1])

    def _section(self, seen: set[str]) -> str:
        """The name of the section that begins here, and has lines of its own; none may stand there twice."""
        found = _SECTION.match(self._text, self._at + self._column) or _uncut()
        if found[1] in seen:
            _uncut()
        seen.add(found[1])
        return found[1]

    def _line(self) -> str:
        end = self._text.find("\n", self._at) + 1 or len(self._text)
        return self._text[self._at : end]

    def _element(self) -> None:
        """Go behind the element that begins here, with the empty lines and the comments that follow it."""
        column = self._column
        self._next()
        # A list may stand in the column of the key whose value it is.
        while self._column > column or (
            self._column == column and self._text.startswith(("- ", "-\n"), self._at + column)
        ):
            self._next()

    def _next(self) -> None:
        found = next(self._found, None)
        if found is None:
            self._at, self._column = len(self._text), -1
        else:
            self._at = found.start()
            self._column = found.end(1) - self._at


def _runs_alone(annotation: Any) -> bool:
    """Whether objects by name have problems of their own only."""
    inner = plain(get_args(plain(annotation))[1])
    return is_model(inner) and issubclass(inner, Object) and inner.runs_alone


def _uncut() -> NoReturn:
    raise _UncutError
