"""Go's fmt: print, println and printf. No I/O; source: https://pkg.go.dev/fmt."""

from __future__ import annotations

import re
from typing import Any

from lbcore.template.values import ValueProblem, general, quoted, text_of, type_of

WIDEST = 10_000  # of a field
_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?(?:\[(\d+)\])?(.|$)", re.DOTALL)


def sprint(*values: Any) -> str:
    """The texts, with spaces between neighbours of which neither is a string."""
    found = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            found.append(" ")
        found.append(text_of(value))
    return "".join(found)


def sprintln(*values: Any) -> str:
    """The texts with spaces between them, and a line feed."""
    return " ".join(map(text_of, values)) + "\n"


def sprintf(form: str, *values: Any) -> str:
    """`form` with its verbs replaced. Mistakes show in the text, as in Go."""
    found, at, used = [], 0, 0
    reordered = False

    def star(given: str | None) -> int | None:
        nonlocal used
        if given != "*":
            return int(given) if given else None
        value = values[used] if used < len(values) else None
        used += 1
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    for verb in _VERB.finditer(form):
        found.append(form[at : verb.start()])
        at = verb.end()
        flags, wide, exact, number, letter = verb.groups()
        if not letter:
            found.append("%!(NOVERB)")
            continue
        if letter == "%":
            found.append("%")
            continue
        width = star(wide)
        precision = star(exact)
        if "." in verb[0] and precision is None:
            precision = 0
        if max(abs(width or 0), precision or 0) > WIDEST:
            raise ValueProblem(f"a width above {WIDEST}")
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        if number:
            used, reordered = int(number) - 1, True
            if not 0 <= used < len(values):
                found.append(f"%!{letter}(BADINDEX)")
                continue
        if used >= len(values):
            found.append(f"%!{letter}(MISSING)")
            continue
        found.append(_padded(_formatted(letter, flags, precision, values[used]), flags, width, letter, values[used]))
        used += 1
    found.append(form[at:])
    if used < len(values) and not reordered:
        extra = ", ".join(f"{type_of(value)}={text_of(value)}" for value in values[used:])
        found.append(f"%!(EXTRA {extra})")
    return "".join(found)


def _padded(text: str, flags: str, width: int | None, letter: str, value: Any) -> str:
    if width is None or len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and isinstance(value, int | float | str) and letter != "q":
        sign = text[:1] if text[:1] in ("-", "+") and not isinstance(value, str) else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _formatted(letter: str, flags: str, precision: int | None, value: Any) -> str:
    if letter == "T":
        return type_of(value)
    if letter == "v":
        if "#" in flags:
            return quoted(value) if isinstance(value, str) else text_of(value)
        if isinstance(value, float) and precision is not None:
            return _signed(general(value, precision or 1), flags)
        return _signed(text_of(value), flags) if _is_number(value) else text_of(value)
    if value is None:
        return f"%!{letter}(<nil>)"
    if isinstance(value, list):
        return "[" + " ".join(_formatted(letter, flags, precision, item) for item in value) + "]"
    if isinstance(value, dict):
        parts = (f"{_formatted(letter, flags, precision, key)}:{_formatted(letter, flags, precision, value[key])}"
                 for key in sorted(value))  # fmt: skip
        return "map[" + " ".join(parts) + "]"
    if isinstance(value, bool):
        return text_of(value) if letter == "t" else _wrong(letter, value)
    if isinstance(value, str):
        return _text(letter, flags, precision, value)
    if isinstance(value, int):
        return _whole(letter, flags, precision, value)
    return _float(letter, flags, precision, value)


def _text(letter: str, flags: str, precision: int | None, value: str) -> str:
    value = value if precision is None else value[:precision]
    if letter == "s":
        return value
    if letter == "q":
        return f"`{value}`" if "#" in flags and "`" not in value else quoted(value)
    if letter in "xX":
        return value.encode(errors="surrogatepass").hex() if letter == "x" else value.encode().hex().upper()
    return _wrong(letter, value)


def _whole(letter: str, flags: str, precision: int | None, value: int) -> str:
    if letter in "cU":
        code = value if 0 <= value <= 0x10FFFF else 0xFFFD
        return chr(code) if letter == "c" else f"U+{value:04X}"
    if letter == "q":
        return "'" + chr(value) + "'" if 32 <= value <= 0x10FFFF else _wrong(letter, value)
    forms = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X", "O": "o"}
    if letter not in forms:
        return _wrong(letter, value)
    digits = format(abs(value), forms[letter]).rjust(precision or 0, "0")
    before = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(letter, "") if "#" in flags else ""
    before = "0o" if letter == "O" else before
    return _signed(("-" if value < 0 else "") + before + digits, flags)


def _float(letter: str, flags: str, precision: int | None, value: float) -> str:
    if letter in "gG":
        text = general(value, -1 if precision is None else precision or 1)
        return _signed(text if letter == "g" else text.upper(), flags)
    if letter in "eEfF":
        kind = "f" if letter == "F" else letter
        return _signed(format(value, f".{6 if precision is None else precision}{kind}"), flags)
    return _wrong(letter, value)


def _signed(text: str, flags: str) -> str:
    if text[:1] in ("-", "+"):
        return text
    return "+" + text if "+" in flags else " " + text if " " in flags else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(letter: str, value: Any) -> str:
    return f"%!{letter}({type_of(value)}={text_of(value)})"
