"""The rule language of routers, version 3: parsing to a tree, with all arguments checked. No I/O.

    rule   = and { "||" and }        and  = not { "&&" not }        not = "!" not | "(" rule ")" | call
    call   = Name "(" [ text { "," text } ] ")"                     text = `raw` | "escaped"

Names are accepted as `PathPrefix`, `pathprefix`, `PATHPREFIX` or `Pathprefix`. White space and comments (Go's) between
tokens have no meaning.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol

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


def asserted_in(rule: Rule) -> list[Matcher]:
    """The matchers of a rule that are not negated, in order: `Host(`a`)` of `Host(`a`) && !Host(`b`)`."""
    found: list[Matcher] = []
    below = [(rule, True)]
    while below:
        part, asserted = below.pop()
        if isinstance(part, Not):
            below.append((part.rule, not asserted))
        elif not isinstance(part, Matcher):
            below += ((part.right, asserted), (part.left, asserted))
        elif asserted:
            found.append(part)
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
        return " && ".join(map(_inner, _chain(self, And)))


@dataclass(frozen=True, slots=True)
class Or:
    left: Rule
    right: Rule

    def __str__(self) -> str:
        return " || ".join(f"({part})" if isinstance(part, Or) else str(part) for part in _chain(self, Or))


Rule = Matcher | Not | And | Or


def _chain(rule: Rule, kind: type[And] | type[Or]) -> list[Rule]:
    """The operands of a chain, as it is written; those that are chains themselves stand in parentheses."""
    found: list[Rule] = []
    while isinstance(rule, (And, Or)) and isinstance(rule, kind):
        found.append(rule.right)
        rule = rule.left
    return [rule, *reversed(found)]


def _inner(rule: Rule) -> str:
    return str(rule) if isinstance(rule, (Matcher, Not)) else f"({rule})"


def quote(text: str) -> str:
    """A text as a literal of the language."""
    if "`" not in text:
        return f"`{text}`"
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def go_quote(text: str) -> str:
    """`quote` in the form that Go gives a text, as rules of Traefik's providers for Kubernetes have it."""
    return json.dumps(text, ensure_ascii=False)


def host_of(value: str) -> str:
    """The argument of `Host` for comparison: in lower case, without a trailing dot and the brackets of IPv6."""
    host = value.lower().removesuffix(".")
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def hosts_in(rule: Rule, matcher: str = "Host") -> list[str]:
    """The hosts that the `Host` (or `HostSNI`) matchers of a rule name, in order; `*` is none, nor is a negated one."""
    found = [host_of(argument) for part in asserted_in(rule) if part.name == matcher for argument in part.args]
    return [host for host in dict.fromkeys(found) if host != "*"]


def check_path(value: str) -> None:
    """Raises ValueError unless a path begins with a slash."""
    if not value.startswith("/"):
        raise ValueError(f"path {value!r} does not start with a '/'")


def check_host(value: str) -> None:
    """Raises ValueError unless a host is ASCII."""
    if not value.isascii():
        raise ValueError(f"invalid value {value!r} for Host matcher, non-ASCII characters are not allowed")


def check_regex(value: str) -> None:
    """Raises ValueError unless RE2 can compile an expression."""
    try:
        re2.compile(value, _QUIET)
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"invalid regular expression {value!r}: {text}") from None


def check_client_ip(value: str) -> None:
    """Raises ValueError unless it is an IP address or a network."""
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


def check_protocol(value: str) -> None:
    """Raises ValueError unless ALPN may ask for the protocol."""
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
    "Host": ((1,), (check_host,)),
    "HostRegexp": ((1,), (check_regex,)),
    "Path": ((1,), (check_path,)),
    "PathPrefix": ((1,), (check_path,)),
    "PathRegexp": ((1,), (check_regex,)),
    "Method": ((1,), (_any,)),
    "Header": ((2,), (_any, _any)),
    "HeaderRegexp": ((2,), (_any, check_regex)),
    "Query": ((1, 2), (_any, _any)),
    "QueryRegexp": ((1, 2), (_any, check_regex)),
    "ClientIP": ((1,), (check_client_ip,)),
    "Cookie": ((2,), (_any, _any)),  # an extension
}
_TCP_MATCHERS: Matchers = {
    "HostSNI": ((1,), (_host_sni,)),
    "HostSNIRegexp": ((1,), (check_regex,)),
    "ALPN": ((1,), (check_protocol,)),
    "ClientIP": ((1,), (check_client_ip,)),
}


def spellings(names: Iterable[str]) -> dict[str, str]:
    """The names of matchers by all ways in which they may be written."""
    return {
        spelling: name for name in names for spelling in (name, name.lower(), name.upper(), name.lower().capitalize())
    }


_NAMES = spellings((*_MATCHERS, *_TCP_MATCHERS))
_PLACEHOLDER = re.compile(r"\{[A-Za-z_]\w*(?::[^}]*)?\}")  # of version 2: `{id}`, `{name:regex}`


def rule_hint(problem: str) -> str:
    """What to do about the problem of a rule that was probably written for version 2; empty = nothing is known."""
    if found := re.search(r"unsupported function: (\w+)", problem):
        if found[1] in _NAMES:
            return "a matcher of version 3, in a rule of version 2: leave ruleSyntax out"
        close = difflib.get_close_matches(found[1].lower(), [name.lower() for name in _MATCHERS], 1, 0.7)
        meant = next((name for name in _MATCHERS if close and name.lower() == close[0]), "")
        old = "; ruleSyntax: v2 takes rules of version 2" if found[1].lower() in ("headers", "headersregexp") else ""
        return (f"did you mean {meant}?" if meant else f"there are {', '.join(_MATCHERS)}") + old
    if found := re.search(r"rule (Host|HostRegexp|Path|PathPrefix|Method|ClientIP): unexpected number", problem):
        return f"one value each since version 3: write {found[1]}(`a`) || {found[1]}(`b`), or set ruleSyntax: v2"
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
    return Parser(text, Language3(text, _MATCHERS)).whole()


# The rules of a configuration are parsed again and again, and with the next one.
_remembered = lru_cache(maxsize=REMEMBERED)(_parsed)


def parse_tcp_rule(text: str) -> Rule:
    """Parse a rule of layer 4. Raises RuleError with the problem and its position."""
    return _remembered_tcp(text) if len(text) <= REMEMBERED_LENGTH else _parsed_tcp(text)


def _parsed_tcp(text: str) -> Rule:
    return Parser(text, Language3(text, _TCP_MATCHERS)).whole()


_remembered_tcp = lru_cache(maxsize=REMEMBERED)(_parsed_tcp)


def is_catch_all(text: str) -> bool:
    """Whether a rule of layer 4 is ``HostSNI(`*`)`` alone, in whatever spelling."""
    if "*" not in text:
        return False
    try:
        rule = parse_tcp_rule(text)
    except RuleError:
        return False
    found = matchers_in(rule)
    return len(found) == 1 and found == asserted_in(rule) and (found[0].name, found[0].args) == ("HostSNI", ("*",))


class Language(Protocol):
    """The matchers of a version of the language."""

    def rule(self, written: str, args: list[str], position: int) -> Rule:
        """What a call stands for. Raises RuleError."""


class Parser:
    """Reads the part that all versions share: calls, operators and parentheses. Raises RuleError."""

    def __init__(self, text: str, language: Language) -> None:
        if not text.strip():
            raise RuleError("empty rule", 0)
        if len(text.encode(errors="surrogatepass")) > RULE_LIMIT_BYTES:
            raise RuleError(f"error while parsing rule: longer than {RULE_LIMIT_BYTES} bytes", 0)
        self.text = text
        self.language = language
        self.at = 0
        self.depth = 0
        self.kind = ""
        self.token = ""
        self.start = 0
        self.advance()

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        raise unparsed(self.text, problem, self.start if position is None else position)

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
        """The rule, which is all of the text."""
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

    def call(self) -> Rule:
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
        return self.language.rule(written, args, position)

    def unescape(self, text: str) -> str:
        try:
            return unescaped(text)
        except ValueError as error:
            self.fail(str(error))


def unescaped(text: str) -> str:
    """What stands between the quotes of a string of Go. Raises ValueError."""

    def replace(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code:
            return chr(min(int(code, 16), 0x10FFFF))
        if found[4]:
            return chr(int(found[4], 8) & 0xFF)
        if found[5] not in _PLAIN_ESCAPES:
            raise ValueError(f"unknown escape \\{found[5]}")
        return _PLAIN_ESCAPES[found[5]]

    return _ESCAPE.sub(replace, text)


def unparsed(text: str, problem: str, position: int) -> RuleError:
    """The error of a rule that cannot be read."""
    return RuleError(f"error while parsing rule {text}: parsing rule {text}: {problem}", position)


def refused(text: str, name: str, step: str, problem: str, position: int) -> RuleError:
    """The error of a matcher whose arguments are wrong, in Traefik's words. `step`: checking or adding."""
    return RuleError(
        f"error while parsing rule {text}: adding rule {text}: error while {step} rule {name}: {problem}", position
    )


def check_presence(text: str, name: str, args: list[str], position: int) -> None:
    """Refuse arguments that are missing or empty. Raises RuleError."""
    if not args:
        raise refused(text, name, "checking", f"no args for matcher {name}", position)
    if not all(args):
        raise refused(text, name, "checking", f"empty args for matcher {name}, [{' '.join(args)}]", position)


class Language3:
    """Version 3: each matcher has a fixed number of arguments."""

    def __init__(self, text: str, matchers: Matchers) -> None:
        self.text = text
        self.matchers = matchers

    def rule(self, written: str, args: list[str], position: int) -> Rule:
        """The matcher. Raises RuleError for arguments that are missing, empty, too many or invalid."""
        name = _NAMES.get(written)
        if name is None or name not in self.matchers:
            raise unparsed(self.text, f"unsupported function: {written}", position)
        check_presence(self.text, name, args, position)
        counts, checks = self.matchers[name]
        if len(args) not in counts:
            wanted = " ".join(map(str, counts))
            problem = f"unexpected number of parameters; got {len(args)}, expected one of [{wanted}]"
            raise refused(self.text, name, "adding", problem, position)
        for check, arg in zip(checks, args, strict=False):
            try:
                check(arg)
            except ValueError as error:
                raise refused(self.text, name, "adding", str(error), position) from None
        return Matcher(name, tuple(args), position)
