"""The rule language of routers, version 3: parsing to a tree, with all arguments checked. No I/O.

    rule   = and { "||" and }        and  = not { "&&" not }        not = "!" not | "(" rule ")" | call
    call   = Name "(" [ text { "," text } ] ")"                     text = `raw` | "escaped"

Names are accepted as `PathPrefix`, `pathprefix`, `PATHPREFIX` or `Pathprefix`. White space and comments (Go's) between
tokens have no meaning.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import re2

RULE_LIMIT_BYTES = 65536
DEPTH_LIMIT = 200  # of parentheses and negations
REMEMBERED, REMEMBERED_LENGTH = 1 << 14, 256  # parsed rules that are kept, and the length of their texts


class RuleError(ValueError):
    """An invalid rule. `position` is an offset into its text."""

    def __init__(self, problem: str, position: int) -> None:
        self.position = position
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One call: `name` in its canonical spelling."""

    name: str
    args: tuple[str, ...]
    position: int = 0

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(quote, self.args))})"


def matchers_in(rule: Rule) -> list[Matcher]:
    """All matchers of a rule, in order."""
    found: list[Matcher] = []
    below = [rule]
    while below:
        part = below.pop()
        if isinstance(part, Matcher):
            found.append(part)
        elif isinstance(part, Not):
            below.append(part.rule)
        else:
            below += (part.right, part.left)
    return found


@dataclass(frozen=True, slots=True)
class Not:
    rule: Rule

    def __str__(self) -> str:
        return f"!{_inner(self.rule)}"


@dataclass(frozen=True, slots=True)
class And:
    left: Rule
    right: Rule

    def __str__(self) -> str:
        right = f"({self.right})" if isinstance(self.right, And) else _inner(self.right)
        return f"{self.left if isinstance(self.left, And) else _inner(self.left)} && {right}"


@dataclass(frozen=True, slots=True)
class Or:
    left: Rule
    right: Rule

    def __str__(self) -> str:
        return f"{self.left} || {f'({self.right})' if isinstance(self.right, Or) else self.right}"


Rule = Matcher | Not | And | Or


def _inner(rule: Rule) -> str:
    return str(rule) if isinstance(rule, (Matcher, Not)) else f"({rule})"


def quote(text: str) -> str:
    """A text as a literal of the language."""
    if "`" not in text:
        return f"`{text}`"
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def host_of(value: str) -> str:
    """The argument of `Host` for comparison: in lower case, without a trailing dot and the brackets of IPv6."""
    host = value.lower().removesuffix(".")
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def hosts_in(rule: Rule, matcher: str = "Host") -> list[str]:
    """The hosts that the `Host` (or `HostSNI`) matchers of a rule name, in order; `*` is none."""
    found = [host_of(argument) for part in matchers_in(rule) if part.name == matcher for argument in part.args]
    return [host for host in dict.fromkeys(found) if host != "*"]


def _path(value: str) -> None:
    if not value.startswith("/"):
        raise ValueError(f"path {value!r} does not start with a '/'")


def _host(value: str) -> None:
    if not value.isascii():
        raise ValueError(f"invalid value {value!r} for Host matcher, non-ASCII characters are not allowed")


def _regex(value: str) -> None:
    try:
        re2.compile(value, _QUIET)
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"invalid regular expression {value!r}: {text}") from None


def _client_ip(value: str) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
        if "%" in value:
            raise ValueError("it has a zone")
    except ValueError:
        raise ValueError(
            f"invalid value for ClientIP matcher: {value!r} is neither an IP address nor a network"
        ) from None


def _host_sni(value: str) -> None:
    if value != "*" and not _SERVER_NAME.fullmatch(value):
        raise ValueError(f"invalid value for HostSNI matcher, {value!r} is not a valid hostname")


def _protocol(value: str) -> None:
    if value == "acme-tls/1":
        raise ValueError(f"invalid protocol value for ALPN matcher, {value!r} is not allowed")


def _any(value: str) -> None:
    pass


Matchers = Mapping[str, tuple[tuple[int, ...], tuple[Callable[[str], None], ...]]]


_SERVER_NAME = re.compile(r"(?:\*\.)?[\w.:-]+", re.ASCII)
_QUIET = re2.Options()
_QUIET.log_errors = False

# By matcher: the allowed numbers of arguments, and the check of each.
_MATCHERS: Matchers = {
    "Host": ((1,), (_host,)),
    "HostRegexp": ((1,), (_regex,)),
    "Path": ((1,), (_path,)),
    "PathPrefix": ((1,), (_path,)),
    "PathRegexp": ((1,), (_regex,)),
    "Method": ((1,), (_any,)),
    "Header": ((2,), (_any, _any)),
    "HeaderRegexp": ((2,), (_any, _regex)),
    "Query": ((1, 2), (_any, _any)),
    "QueryRegexp": ((1, 2), (_any, _regex)),
    "ClientIP": ((1,), (_client_ip,)),
    "Cookie": ((2,), (_any, _any)),  # an extension
}
_TCP_MATCHERS: Matchers = {
    "HostSNI": ((1,), (_host_sni,)),
    "HostSNIRegexp": ((1,), (_regex,)),
    "ALPN": ((1,), (_protocol,)),
    "ClientIP": ((1,), (_client_ip,)),
}
_NAMES = {
    spelling: name
    for name in (*_MATCHERS, *_TCP_MATCHERS)
    for spelling in (name, name.lower(), name.upper(), name.lower().capitalize())
}
_PLACEHOLDER = re.compile(r"\{[A-Za-z_]\w*(?::[^}]*)?\}")  # of version 2: `{id}`, `{name:regex}`


def rule_hint(problem: str) -> str:
    """What to do about the problem of a rule that was probably written for version 2; empty = nothing is known."""
    if found := re.search(r"unsupported function: (\w+)", problem):
        close = difflib.get_close_matches(found[1].lower(), [name.lower() for name in _MATCHERS], 1, 0.7)
        meant = next((name for name in _MATCHERS if close and name.lower() == close[0]), "")
        return f"did you mean {meant}?" if meant else f"there are {', '.join(_MATCHERS)}"
    if found := re.search(r"rule (Host|HostRegexp|Path|PathPrefix|Method|ClientIP): unexpected number", problem):
        return f"one value each since version 3: write {found[1]}(`a`) || {found[1]}(`b`)"
    return ""


def placeholders(rule: Rule) -> list[str]:
    """The matchers of a rule with placeholders of version 2, which are plain text, or parts of an expression, now."""
    names = ("Host", "HostRegexp", "Path", "PathPrefix", "PathRegexp")
    return [
        f"{part.name}({quote(value)})"
        for part in matchers_in(rule)
        if part.name in names
        for value in part.args
        if _PLACEHOLDER.search(value)
    ]


_SPACE = r"(?:[ \t\r\n]|//[^\n]*+|/\*(?s:.*?)\*/)*+"  # and comments, without backtracking
_BLANK = re.compile(_SPACE)
_TOKEN = re.compile(
    _SPACE + r"(?:(?P<op>&&|\|\||[!(),])|(?P<name>[A-Za-z_]\w*)|(?P<raw>`[^`]*`)|(?P<text>\"(?:[^\"\\\n]|\\.)*\"))"
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")
_PLAIN_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def parse_rule(text: str) -> Rule:
    """Parse a rule. Raises RuleError with the problem and its position."""
    return _remembered(text) if len(text) <= REMEMBERED_LENGTH else _parsed(text)


def _parsed(text: str) -> Rule:
    if len(text.encode(errors="surrogatepass")) > RULE_LIMIT_BYTES:
        raise RuleError(f"error while parsing rule: longer than {RULE_LIMIT_BYTES} bytes", 0)
    if not text.strip():
        raise RuleError("empty rule", 0)
    return _Parser(text, _MATCHERS).whole()


# The rules of a configuration are parsed again and again, and with the next one.
_remembered = lru_cache(maxsize=REMEMBERED)(_parsed)


def parse_tcp_rule(text: str) -> Rule:
    """Parse a rule of layer 4. Raises RuleError with the problem and its position."""
    if not text.strip() or len(text.encode(errors="surrogatepass")) > RULE_LIMIT_BYTES:
        raise RuleError("empty rule" if not text.strip() else "rule too long", 0)
    return _Parser(text, _TCP_MATCHERS).whole()


class _Parser:
    def __init__(self, text: str, matchers: Matchers) -> None:
        self.text = text
        self.matchers = matchers
        self.at = 0
        self.depth = 0
        self.kind = ""
        self.token = ""
        self.start = 0
        self.advance()

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        raise RuleError(
            f"error while parsing rule {self.text}: parsing rule {self.text}: {problem}",
            self.start if position is None else position,
        )

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            blank = _BLANK.match(self.text, self.at)
            rest = blank.end() if blank else self.at
            self.start, self.kind, self.token = rest, "end", ""
            if rest < len(self.text):
                self.fail(f"unexpected {self.text[rest]!r} at position {rest}", rest)
            return
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]
        self.start = found.start(self.kind)
        self.at = found.end()

    def expect(self, token: str) -> None:
        if self.token != token or self.kind != "op":
            self.fail(f"expected {token!r}, found {self.token!r}" if self.token else f"expected {token!r} at the end")
        self.advance()

    def whole(self) -> Rule:
        rule = self.alternatives()
        if self.kind != "end":
            self.fail(f"unexpected {self.token!r} at position {self.start}")
        return rule

    def alternatives(self) -> Rule:
        rule = self.conjunction()
        while self.kind == "op" and self.token == "||":
            self.advance()
            rule = Or(rule, self.conjunction())
        return rule

    def conjunction(self) -> Rule:
        rule = self.negation()
        while self.kind == "op" and self.token == "&&":
            self.advance()
            rule = And(rule, self.negation())
        return rule

    def negation(self) -> Rule:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self.fail(f"nested deeper than {DEPTH_LIMIT} levels")
        try:
            if self.kind == "op" and self.token == "!":
                self.advance()
                return Not(self.negation())
            if self.kind == "op" and self.token == "(":
                self.advance()
                rule = self.alternatives()
                self.expect(")")
                return rule
            if self.kind == "name":
                return self.call()
            self.fail(f"unexpected {self.token!r} at position {self.start}" if self.token else "it ends too early")
        finally:
            self.depth -= 1

    def call(self) -> Matcher:
        written, position = self.token, self.start
        self.advance()
        self.expect("(")
        args: list[str] = []
        while self.kind in ("raw", "text"):
            args.append(self.token[1:-1] if self.kind == "raw" else self.unescape(self.token[1:-1]))
            self.advance()
            if self.token != ",":
                break
            self.advance()
        self.expect(")")
        name = _NAMES.get(written)
        if name is None or name not in self.matchers:
            self.fail(f"unsupported function: {written}", position)
        self.check(name, args, position)
        return Matcher(name, tuple(args), position)

    def check(self, name: str, args: list[str], position: int) -> None:
        """Refuse arguments that are missing, empty, too many or invalid, in Traefik's words."""
        counts, checks = self.matchers[name]
        if not args:
            self.refuse(name, "checking", f"no args for matcher {name}", position)
        if not all(args):
            self.refuse(name, "checking", f"empty args for matcher {name}, [{' '.join(args)}]", position)
        if len(args) not in counts:
            wanted = " ".join(map(str, counts))
            problem = f"unexpected number of parameters; got {len(args)}, expected one of [{wanted}]"
            self.refuse(name, "adding", problem, position)
        for check, arg in zip(checks, args, strict=False):
            try:
                check(arg)
            except ValueError as error:
                self.refuse(name, "adding", str(error), position)

    def refuse(self, name: str, step: str, problem: str, position: int) -> NoReturn:
        raise RuleError(
            f"error while parsing rule {self.text}: adding rule {self.text}: error while {step} rule {name}: {problem}",
            position,
        )

    def unescape(self, text: str) -> str:
        def replace(found: re.Match[str]) -> str:
            code = found[1] or found[2] or found[3]
            if code:
                return chr(min(int(code, 16), 0x10FFFF))
            if found[4]:
                return chr(int(found[4], 8) & 0xFF)
            if found[5] not in _PLAIN_ESCAPES:
                self.fail(f"unknown escape \\{found[5]}")
            return _PLAIN_ESCAPES[found[5]]

        return _ESCAPE.sub(replace, text)
