"""Conditions over what was measured, of circuitBreaker and buffering: `NetworkErrorRatio() > 0.3 && !(...)`. No I/O.

The grammar is Go's, with its precedence: `||`, `&&`, comparisons, `!`, calls, numbers, texts, parentheses, comments.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_BLANK = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_TOKEN = re.compile(
    r"(?:(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r'|(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!(),]))'
)
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MOST_CHARACTERS = 4096
MOST_NESTED = 50

Value = Callable[[Any], Any]


@dataclass(frozen=True)
class Function:
    """What a condition may call.

    kind        of its value: float, int, str or bool.
    parameters  kinds of its arguments, which are constants.
    make        from the arguments to what returns the value for a measurement.
    """

    kind: type
    parameters: tuple[type, ...]
    make: Callable[..., Value]


def compile_condition(text: str, functions: Mapping[str, Function]) -> Callable[[Any], bool]:
    """The condition that a text says, to be called with a measurement.

    Raises ValueError with what is wrong, and where.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the expression has more than {MOST_CHARACTERS} characters")
    return _Parser(text, functions).whole()


class _Parser:
    def __init__(self, text: str, functions: Mapping[str, Function]) -> None:
        self.text = text
        self.functions = functions
        self.nested = 0
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        end = len(text.rstrip())
        while (at := self.behind_blanks(at)) < end:
            found = _TOKEN.match(text, at)
            if not found:
                raise self.error("is not understood", at)
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)], found.start(str(found.lastgroup))))
            at = found.end()
        self.tokens.append(("end", "", end))
        self.at = 0

    def behind_blanks(self, at: int) -> int:
        blank = _BLANK.match(self.text, at)
        return blank.end() if blank else at

    def error(self, what: str, at: int | None = None) -> ValueError:
        place = self.tokens[self.at][2] if at is None else at
        return ValueError(f"the expression {self.text!r} {what} at {self.text[place : place + 20]!r}")

    def takes(self, *signs: str) -> str:
        """The next token if it is one of these signs, else nothing."""
        kind, text, _ = self.tokens[self.at]
        if kind != "sign" or text not in signs:
            return ""
        self.at += 1
        return text

    def needs(self, sign: str) -> None:
        if not self.takes(sign):
            raise self.error(f"lacks {sign!r}")

    def whole(self) -> Callable[[Any], bool]:
        found = self.condition()
        if self.tokens[self.at][0] != "end":
            raise self.error("is not understood")
        return found

    def condition(self) -> Value:
        kind, found = self.either()
        if kind is not bool:
            raise self.error("is a value, not a condition, that ends")
        return found

    def either(self) -> tuple[type, Value]:
        return self.joined("||", self.both)

    def both(self) -> tuple[type, Value]:
        return self.joined("&&", self.comparison)

    def joined(self, sign: str, part: Callable[[], tuple[type, Value]]) -> tuple[type, Value]:
        kind, first = part()
        if not self.takes(sign):
            return kind, first
        parts = [(kind, first), part()]
        while self.takes(sign):
            parts.append(part())
        if any(kind is not bool for kind, _ in parts):
            raise self.error(f"joins values that are no conditions by {sign}, before the end")
        conditions = [found for _, found in parts]
        if sign == "||":
            return bool, lambda seen: any(found(seen) for found in conditions)
        return bool, lambda seen: all(found(seen) for found in conditions)

    def comparison(self) -> tuple[type, Value]:
        kind, left = self.operand()
        sign = self.takes(*_COMPARE)
        if not sign:
            return kind, left
        other, right = self.operand()
        numbers = {kind, other} <= {int, float}
        if not numbers and (kind is not other or sign not in ("==", "!=")):
            raise self.error(f"compares {kind.__name__} and {other.__name__} by {sign}, before the end")
        compare = _COMPARE[sign]
        return bool, lambda seen: compare(left(seen), right(seen))

    def operand(self) -> tuple[type, Value]:
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise self.error("is nested too deep")
        try:
            if self.takes("!"):
                kind, found = self.operand()
                if kind is not bool:
                    raise self.error("negates what is no condition, before the end")
                return bool, lambda seen: not found(seen)
            if self.takes("("):
                inner = self.either()
                self.needs(")")
                return inner
            return self.call() if self.tokens[self.at][0] == "name" else self.constant()
        finally:
            self.nested -= 1

    def call(self) -> tuple[type, Value]:
        name = self.tokens[self.at][1]
        function = self.functions.get(name)
        if function is None:
            raise self.error(f"has an unknown function (known: {', '.join(sorted(self.functions))})")
        self.at += 1
        self.needs("(")
        arguments: list[tuple[type, Value]] = []
        while not self.takes(")"):
            if arguments:
                self.needs(",")
                if self.takes(")"):
                    break
            arguments.append(self.constant())
        wanted = function.parameters
        fits = [kind is other or (kind is int and other is float) for (kind, _), other in zip(arguments, wanted)]  # noqa: B905
        if len(arguments) != len(wanted) or not all(fits):
            kinds = ", ".join(kind.__name__ for kind in wanted)
            raise self.error(f"calls {name} with other arguments than ({kinds}), before")
        return function.kind, function.make(*(value(None) for _, value in arguments))

    def constant(self) -> tuple[type, Value]:
        kind, text, _ = self.tokens[self.at]
        if kind == "number":
            number: int | float = int(text) if text.lstrip("-").isdigit() else float(text)
            self.at += 1
            return type(number), lambda seen: number
        if kind == "text":
            self.at += 1
            content = text[1:-1] if text[0] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1])
            return str, lambda seen: content
        raise self.error("lacks a value")
