"""Constraints: expressions over labels or tags that choose which containers and services are exposed. No I/O.

    Label(`region`, `eu`) && !(LabelRegex(`tier`, `^test`) || Tag(`old`))

Strings are Go's, expressions are RE2's and match anywhere. A label that is not there counts as empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import re2

from lbcore.config.rule import unescaped

DEPTH_LIMIT = 50


class ConstraintError(ValueError):
    """No valid expression."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an expression is applied to."""

    labels: Mapping[str, str]
    tags: Collection[str] = ()


Predicate = Callable[[Subject], bool]
_TOKEN = re.compile(r"\s*(?:(&&|\|\||[!(),])|(`[^`]*`|\"(?:[^\"\\]|\\.)*\")|([A-Za-z]\w*)|$)")


def parse_constraints(text: str, functions: Collection[str]) -> Predicate:
    """The predicate of an expression; an empty one is true of everything. Raises ConstraintError.

    functions  those that may be used: Label and LabelRegex, or Tag and TagRegex.
    """
    if not text.strip():
        return lambda subject: True
    parser = _Parser(_tokens(text), functions)
    found = parser.either()
    if parser.here:
        raise ConstraintError(f"unexpected {parser.here}")
    return found


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ConstraintError(f"unexpected {text[at:].strip()[:1]}")
        if token[0].strip():
            found.append(token[0].strip())
        if token.end() == at:
            break
        at = token.end()
    return found


class _Parser:
    def __init__(self, tokens: list[str], functions: Collection[str]) -> None:
        self.tokens = tokens
        self.functions = functions
        self.depth = 0

    @property
    def here(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, wanted: str = "") -> str:
        if not self.tokens or (wanted and self.here != wanted):
            raise ConstraintError(f"unexpected {self.here or 'end'}" + (f", needs {wanted}" if wanted else ""))
        return self.tokens.pop(0)

    def either(self) -> Predicate:
        found = self.both()
        while self.here == "||":
            self.take()
            found = _any(found, self.both())
        return found

    def both(self) -> Predicate:
        found = self.one()
        while self.here == "&&":
            self.take()
            found = _all(found, self.one())
        return found

    def one(self) -> Predicate:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise ConstraintError("nested too deeply")
        try:
            if self.here == "!":
                self.take()
                inner = self.one()
                return lambda subject: not inner(subject)
            if self.here == "(":
                self.take()
                found = self.either()
                self.take(")")
                return found
            return self.call()
        finally:
            self.depth -= 1

    def call(self) -> Predicate:
        name = self.take()
        if name not in self.functions:
            raise ConstraintError(f"{name} is no function here, use {' or '.join(self.functions)}")
        self.take("(")
        arguments = [self.string()]
        if name.startswith("Label"):
            self.take(",")
            arguments.append(self.string())
        if self.here == ",":  # Go allows one more
            self.take()
        self.take(")")
        return _predicate(name, *arguments)

    def string(self) -> str:
        token = self.take()
        if token[0] == "`":
            return token[1:-1]
        if token[0] != '"':
            raise ConstraintError(f"{token}: needs a text in backquotes or quotes")
        try:
            return unescaped(token[1:-1])
        except ValueError as error:
            raise ConstraintError(f"{token}: {error}; a text in backquotes has no escapes") from None


def _any(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) or second(subject)


def _all(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) and second(subject)


def _predicate(name: str, first: str, second: str = "") -> Predicate:
    if name == "Label":
        return lambda subject: subject.labels.get(first, "") == second
    if name == "Tag":
        return lambda subject: first in subject.tags
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(second if name == "LabelRegex" else first, options=options)
    except re2.error:
        raise ConstraintError(f"{second or first}: no valid regular expression") from None
    if name == "LabelRegex":
        return lambda subject: expression.search(subject.labels.get(first, "")) is not None
    return lambda subject: any(expression.search(tag) for tag in subject.tags)
