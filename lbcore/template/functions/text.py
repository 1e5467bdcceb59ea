"""The functions of sprig for text. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import check_length, number_in, text_in, texts_of
from lbcore.template.values import ValueProblem, quoted, text_of
from lbcore.template.words import abbreviated, camel_case, joined, wrap


def _cut(text: Any, start: int | None, end: int | None) -> str:
    return text_in(text).encode()[start:end].decode(errors="replace")


def _substr(start: Any, end: Any, text: Any) -> str:
    first, last, length = number_in(start), number_in(end), len(text_in(text).encode())
    if first < 0:
        return _cut(text, None, max(last, 0))
    return _cut(text, first, None if last < 0 or last > length else last)


def _trunc(count: Any, text: Any) -> str:
    number, length = number_in(count), len(text_in(text).encode())
    if number < 0:
        return _cut(text, number, None) if length + number > 0 else text
    return _cut(text, None, number) if length > number else text


def _abbrev(width: Any, text: Any) -> str:
    number = number_in(width)
    return str(text) if number < 4 or len(text_in(text)) <= number else f"{text[: number - 3]}..."


def _title(text: Any) -> str:
    return re.sub(r"(?<!\w)\w", lambda found: found[0].upper(), text_in(text))


def _untitle(text: Any) -> str:
    return re.sub(r"(^|\s)(\S)", lambda found: found[1] + found[2].lower(), text_in(text))


def _repeat(count: Any, text: Any) -> str:
    if number_in(count) < 0:
        raise ValueProblem("negative Repeat count")
    check_length(count * len(text_in(text)))
    return str(text) * int(count)


def _replace(old: Any, new: Any, text: Any) -> str:
    found = text_in(text).count(text_in(old)) * len(text_in(new))
    check_length(found)
    return str(text).replace(old, new)


def _indent(count: Any, text: Any) -> str:
    check_length(max(number_in(count), 0) * (text_in(text).count("\n") + 1))
    before = " " * int(count)
    return before + str(text).replace("\n", "\n" + before)


def _split(separator: Any, text: Any) -> list[str]:
    return list(text_in(text)) if text_in(separator) == "" else text.split(separator)


def _numbered(parts: list[str]) -> dict[str, Any]:
    return {f"_{index}": part for index, part in enumerate(parts)}


def _splitn(separator: Any, count: Any, text: Any) -> dict[str, Any]:
    number = number_in(count)
    return _numbered(text_in(text).split(text_in(separator), number - 1 if number > 0 else -1) if number else [])


def _plural(one: Any, many: Any, count: Any) -> str:
    return text_in(one) if number_in(count) == 1 else text_in(many)


def _cat(*values: Any) -> str:
    return " ".join(text_of(value) for value in values if value is not None)


def _swapcase(text: Any) -> str:
    return text_in(text).swapcase()


def _sized(call: Callable[[bytes], bytes], text: Any) -> str:
    """Apply what counts bytes."""
    found = call(text_in(text).encode())
    check_length(len(found))
    return found.decode(errors="replace")


def _wrap_with(width: Any, newline: Any, text: Any) -> str:
    end, number = text_in(newline).encode(), number_in(width)
    check_length(len(text_in(text)) * (1 + len(end) // max(number, 1)))
    return _sized(lambda given: wrap(given, number, end or b"\n", True), text)


TEXT: dict[str, Callable[..., Any]] = {
    "abbrev": _abbrev,
    "abbrevboth": lambda left, width, text: _sized(
        lambda given: abbreviated(given, number_in(left), number_in(width)), text
    ),
    "camelcase": lambda text: camel_case(text_in(text)),
    "kebabcase": lambda text: joined(text_in(text), "-"),
    "snakecase": lambda text: joined(text_in(text), "_"),
    "wrap": lambda width, text: _sized(lambda given: wrap(given, number_in(width), b"\n", False), text),
    "wrapWith": _wrap_with,
    "trunc": _trunc,
    "substr": _substr,
    "trim": lambda text: text_in(text).strip(),
    "trimAll": lambda cut, text: text_in(text).strip(text_in(cut)) if cut else text_in(text),
    "trimall": lambda cut, text: text_in(text).strip(text_in(cut)) if cut else text_in(text),
    "trimPrefix": lambda prefix, text: text_in(text).removeprefix(text_in(prefix)),
    "trimSuffix": lambda suffix, text: text_in(text).removesuffix(text_in(suffix)),
    "upper": lambda text: text_in(text).upper(),
    "lower": lambda text: text_in(text).lower(),
    "title": _title,
    "untitle": _untitle,
    "swapcase": _swapcase,
    "repeat": _repeat,
    "nospace": lambda text: re.sub(r"\s", "", text_in(text)),
    "initials": lambda text: "".join(word[0] for word in text_in(text).split()),
    "contains": lambda part, text: text_in(part) in text_in(text),
    "hasPrefix": lambda prefix, text: text_in(text).startswith(text_in(prefix)),
    "hasSuffix": lambda suffix, text: text_in(text).endswith(text_in(suffix)),
    "quote": lambda *values: " ".join(quoted(text_of(value)) for value in values if value is not None),
    "squote": lambda *values: " ".join(f"'{text_of(value)}'" for value in values if value is not None),
    "cat": _cat,
    "indent": _indent,
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "replace": _replace,
    "plural": _plural,
    "toString": text_of,
    "toStrings": texts_of,
    "splitList": _split,
    "split": lambda separator, text: _numbered(_split(separator, text)),
    "splitn": _splitn,
    "join": lambda separator, items: text_in(separator).join(texts_of(items)),
    "sortAlpha": lambda items: sorted(texts_of(items)),
    "hello": lambda: "Hello!",
}
