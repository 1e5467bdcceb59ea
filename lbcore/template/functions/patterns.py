"""The functions of sprig for regular expressions, which are those of Go. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from lbcore.template.functions.arguments import number_in, text_in
from lbcore.template.values import ValueProblem


def _regex(expression: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text_in(expression), options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueProblem(f"error parsing regexp: {reason}") from None


def _matches(expression: Any, text: Any, count: int = -1) -> list[Any]:
    """The matches as Go finds them: none that is empty follows another one immediately."""
    found: list[Any] = []
    for match in _regex(expression).finditer(text_in(text)):
        if match.start() == match.end() and found and found[-1].end() == match.start():
            continue
        if 0 <= count <= len(found):
            break
        found.append(match)
    return found


def _expanded(match: Any, by: str) -> str:
    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, re2.error):
            return ""

    return re.sub(r"\$(?:\{(\w+)\}|(\w+)|\$)", group, by)


def _replaced(expression: Any, text: Any, by: Any, literal: bool = False) -> str:
    found, at = [], 0
    for match in _matches(expression, text):
        found += [text[at : match.start()], by if literal else _expanded(match, text_in(by))]
        at = match.end()
    return "".join([*found, text[at:]])


def _regex_split(expression: Any, text: Any, count: Any) -> list[str]:
    number = number_in(count)
    if number == 0:
        return []
    if expression and not text:
        return [""]
    parts: list[str] = []
    begin, end = 0, 0
    for match in _matches(expression, text, number):
        if 0 < number == len(parts) + 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(text[begin:end])
        begin = match.end()
    if end != len(text):
        parts.append(text[begin:])
    return parts


def _find(expression: Any, text: Any) -> str:
    found = _regex(expression).search(text_in(text))
    return found.group(0) if found else ""


PATTERNS: dict[str, Callable[..., Any]] = {
    "regexMatch": lambda expression, text: bool(_regex(expression).search(text_in(text))),
    "regexFind": _find,
    "regexFindAll": lambda expression, text, count: [
        match.group(0) for match in _matches(expression, text, number_in(count))
    ],
    "regexReplaceAll": _replaced,
    "regexReplaceAllLiteral": lambda expression, text, by: _replaced(expression, text, text_in(by), literal=True),
    "regexSplit": _regex_split,
    "regexQuoteMeta": lambda text: re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text_in(text)),
}
PATTERNS |= {f"must{name[0].upper()}{name[1:]}": call for name, call in PATTERNS.items()}
del PATTERNS["mustRegexQuoteMeta"]
