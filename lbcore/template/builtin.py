"""The functions that every Go template has. No I/O; source: https://pkg.go.dev/text/template#hdr-Functions."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from lbcore.template.printf import sprint, sprintf, sprintln
from lbcore.template.values import Strings, ValueProblem, equal, is_true, kind_of, less, text_of, type_of


def index(value: Any, *keys: Any) -> Any:
    """The element of a list, a map or a text, key by key."""
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise ValueProblem(f"value has type {type_of(key)}; should be string")
            value = value.get(key, "" if isinstance(value, Strings) else None)
        elif isinstance(value, list | str):
            number = _position(key)
            within = value.encode() if isinstance(value, str) else value
            if not 0 <= number < len(within):
                raise ValueProblem(f"index out of range: {number}")
            value = within[number]
        elif value is None:
            raise ValueProblem("index of untyped nil")
        else:
            raise ValueProblem(f"can't index item of type {type_of(value)}")
    return value


def _position(key: Any) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise ValueProblem(f"cannot index slice/array with type {type_of(key)}")
    return key


def length(value: Any) -> int:
    """Bytes of a text, elements of a list or a map."""
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if kind_of(value) in ("slice", "map"):
        return len(value)
    raise ValueProblem(f"len of type {type_of(value)}")


def eq(first: Any, *others: Any) -> bool:
    """Whether the first equals any of the others."""
    if not others:
        raise ValueProblem("missing argument for comparison")
    found = [equal(first, other) for other in others]  # all of them, so that kinds are compared
    return any(found)


def _escaped(text: str) -> str:
    found = html.escape(text, quote=False).replace('"', "&#34;").replace("'", "&#39;")
    return found.replace("\0", "\ufffd")


def _script(text: str) -> str:
    known = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
    return "".join(known.get(each, each if ord(each) >= 32 else f"\\u{ord(each):04X}") for each in text)


def lazy(*values: Any) -> Any:
    """`and` and `or`, which the renderer evaluates itself."""
    raise AssertionError


BUILTIN: dict[str, Callable[..., Any]] = {
    "and": lazy,
    "or": lazy,
    "not": lambda value: not is_true(value),
    "eq": eq,
    "ne": lambda first, second: not equal(first, second),
    "lt": less,
    "le": lambda first, second: less(first, second) or equal(first, second),
    "gt": lambda first, second: not (less(first, second) or equal(first, second)),
    "ge": lambda first, second: not less(first, second),
    "len": length,
    "index": index,
    "print": sprint,
    "printf": lambda form, *values: sprintf(_form(form), *values),
    "println": sprintln,
    "html": lambda *values: _escaped(sprint(*values)),
    "js": lambda *values: _script(sprint(*values)),
    "urlquery": lambda *values: quote(sprint(*values), safe="").replace("%20", "+"),
}


def _form(form: Any) -> str:
    if not isinstance(form, str):
        raise ValueProblem(f"wrong type for value; expected string; got {type_of(form)}: {text_of(form)}")
    return form
