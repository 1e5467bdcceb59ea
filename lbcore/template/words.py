"""Names in other forms (`some_name`, `some-name`, `someName`), and text that is wrapped, as in sprig. No I/O."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

CONNECTORS = "-_"


def _is_connector(letter: str) -> bool:
    return letter in CONNECTORS or letter.isspace()


def camel_case(text: str) -> str:
    """`some_name` as `someName`. Connectors at the beginning stay; of several in a row, one is left out."""
    start = 0
    while start < len(text) and _is_connector(text[start]):
        start += 1
    found, rest = list(text[:start]), text[start:]
    if not rest:
        return text + text[-1:]  # as sprig
    capital = rest[0].isupper()  # whether the word has had capitals alone so far
    found.append(rest[0].lower())
    for before, letter in pairwise(rest):
        if _is_connector(letter):
            if _is_connector(before):
                found.append(before)
            continue
        if _is_connector(before):
            capital = letter.isupper()
            found.append(letter.upper())
        elif capital and letter.isupper():
            found.append(letter.lower())
        else:
            capital = False
            found.append(letter)
    if _is_connector(rest[-1]) and len(rest) > 1:
        found.append(rest[-1])
    return "".join(found)


def joined(text: str, connector: str) -> str:
    """`SomeName` as `some_name`: words in lower case with a connector between them."""
    found = ""
    words = _words(text)
    at = 0
    while at < len(words):
        kind, word = words[at]
        if kind == "connector":
            found += connector * len(word)
        else:
            found += word.lower() if kind == "upper" else word
        at += 1
        following = words[at][0] if at < len(words) else ""
        if kind in ("upper", "lower", "other") and following == "number":
            # A number belongs to the word before it, unless small letters follow it.
            belongs = at + 1 == len(words) or words[at + 1][0] != "lower"
            found += "" if belongs else connector
            found += words[at][1]
            at += 1
            if not belongs:
                while at < len(words) and words[at][0] in ("lower", "number"):
                    found += words[at][1]
                    at += 1
            following = words[at][0] if at < len(words) else ""
        elif kind == "number":
            while following in ("lower", "number"):
                found += words[at][1]
                at += 1
                following = words[at][0] if at < len(words) else ""
        elif kind in ("connector", "mark"):
            continue
        if following and following not in ("connector", "mark"):
            found += connector
    return found


def _kind(letter: str) -> str:
    if _is_connector(letter):
        return "connector"
    category = unicodedata.category(letter)
    if category.startswith("P"):
        return "mark"
    if category.startswith("N"):
        return "number"
    if letter.isupper():
        return "upper"
    if category.startswith("L") and not "\u4e00" <= letter <= "\u9fcc":
        return "lower"
    return "other"


def _words(text: str) -> list[tuple[str, str]]:
    """Words with their kinds. `HTTPStatus` is `HTTP` and `Status`: a capital belongs to the small letters behind it."""
    runs: list[tuple[str, str]] = []
    for letter in text:
        kind = _kind(letter)
        if runs and runs[-1][0] == kind:
            runs[-1] = kind, runs[-1][1] + letter
        else:
            runs.append((kind, letter))
    found: list[tuple[str, str]] = []
    for kind, run in runs:
        if kind == "lower" and found and found[-1][0] == "upper":
            capitals = found.pop()[1]
            if capitals[:-1]:
                found.append(("upper", capitals[:-1]))
            found.append(("upper", capitals[-1] + run))
        else:
            found.append((kind, run))
    return found


def wrap(text: bytes, width: int, newline: bytes, breaks: bool) -> bytes:
    """Text with a line end in place of a space in front of each `width` bytes.

    breaks  whether a longer word is broken.
    """
    width = max(width, 1)
    found, at = b"", 0
    while len(text) - at > width:
        if text[at : at + 1] == b" ":
            at += 1
            continue
        space = text.rfind(b" ", at, at + width + 1)
        if space < 0 and breaks:
            found += text[at : at + width] + newline
            at += width
            continue
        if space < 0:
            space = text.find(b" ", at + width)
        if space < 0:
            break
        found += text[at:space] + newline
        at = space + 1
    return found + text[at:]


def abbreviated(text: bytes, left: int, width: int) -> bytes:
    """At most `width` bytes of a text, from `left` on, with dots for what is missing on each side."""
    if width < 4 or (left > 0 and width < 7) or len(text) <= width:
        return text
    left = min(left, len(text), len(text) - (width - 3))
    if left <= 4:
        return text[: width - 3] + b"..."
    if left + width - 3 < len(text):
        return b"..." + abbreviated(text[left:], 0, width - 3)
    return b"..." + text[len(text) - (width - 3) :]


def is_name(text: str) -> bool:
    """Whether a text may be the name of a user in a file of passwords."""
    return re.search(r"[:\n]", text) is None
