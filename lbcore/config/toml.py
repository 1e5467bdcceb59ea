"""TOML 1.1, which Traefik reads, by the parser of TOML 1.0 in Python's library. No I/O.

1.1 allows line ends, comments and a last comma in inline tables, and the escapes `\\e` and `\\xHH`.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

_TOKEN = re.compile(
    r'''
    (?P<text>"""(?:\\.|[^\\])*?"{3,5}|"(?:\\.|[^"\\\n])*")  # with escapes
    | \'\'\'.*?\'{3,5} | '[^'\n]*'
    | (?P<comment>\#[^\n]*)
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | (?P<comma>,)
    | (?P<end>\n)
    | [^"'\#\[\]{},\n]+ | .
    ''',
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(e)|.)", re.DOTALL)


def loads(text: str) -> dict[str, Any]:
    """The content of a file. Raises tomllib.TOMLDecodeError, with the line of the text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        older = _as_1_0(text)
        if older == text:
            raise
    return tomllib.loads(older)


def _as_1_0(text: str) -> str:
    """A text of TOML 1.1 in TOML 1.0, on as many lines: the line ends within an inline table follow it."""
    done: list[str] = []
    around: list[str] = []  # the brackets that are open
    owed = 0  # line ends
    last = ""  # what is not space
    comma = -1  # where a comma is that may be the last one of an inline table
    for token in _TOKEN.finditer(text):
        kind, part = token.lastgroup, token[0]
        inline = around[-1:] == ["{"]
        if kind == "text":
            part = _ESCAPE.sub(_escaped, part)
        elif kind == "open":
            around.append(part)
        elif kind == "close" and around:
            if part == "}" and comma >= 0:
                done[comma] = " "
            around.pop()
        elif kind == "comment" and inline:
            continue
        elif kind == "end" and inline:
            owed, part = owed + 1, " "
        elif kind == "end":
            part, owed = "\n" * (1 + owed), 0
        if not part.isspace():
            comma = len(done) if kind == "comma" and inline and last != "{" else -1
            last = part
        done.append(part)
    return "".join(done) + "\n" * owed


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        return f"\\u00{found[1]}"
    return "\\u001B" if found[2] else found[0]
