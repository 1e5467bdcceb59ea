"""The rule language of version 2, translated to that of version 3. No I/O.

    Host(`a`, `b`)                     Host(`a`) || Host(`b`)
    HostRegexp(`{sub:[a-z]+}.a`)       HostRegexp(`^[a-z]+\\.a$`)
    PathPrefix(`/p/{id:[0-9]+}`)       PathRegexp(`^/p/[0-9]+`)
    Headers(`A`, `1`)                  Header(`A`, `1`)
    Query(`a=1`, `b=`)                 Query(`a`, `1`) && QueryRegexp(`b`, `.*`)

Its operators are those of version 3. Source of the meaning of `{name}` and `{name:expression}`: gorilla/mux.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce

from lbcore.config.rule import (
    And,
    Matcher,
    Or,
    Parser,
    Rule,
    check_client_ip,
    check_host,
    check_path,
    check_presence,
    check_protocol,
    check_regex,
    refused,
    spellings,
    unparsed,
)

Translate = Callable[[list[str], int], Rule]

_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")
_SERVER_NAME = re.compile(r"[\w.:-]+", re.ASCII)


def parse_rule_v2(text: str) -> Rule:
    """Parse a rule. Raises RuleError with the problem and its position."""
    return Parser(text, Language2(text, _MATCHERS)).whole()


def parse_tcp_rule_v2(text: str) -> Rule:
    """Parse a rule of layer 4. Raises RuleError with the problem and its position."""
    return Parser(text, Language2(text, _TCP_MATCHERS)).whole()


class Language2:
    """Version 2: most matchers have any number of arguments."""

    def __init__(self, text: str, matchers: Mapping[str, Translate]) -> None:
        self.text = text
        self.matchers = matchers

    def rule(self, written: str, args: list[str], position: int) -> Rule:
        """What a matcher is in version 3. Raises RuleError."""
        name = _NAMES.get(written)
        if name is None or name not in self.matchers:
            raise unparsed(self.text, f"unsupported function: {written}", position)
        check_presence(self.text, name, args, position)
        try:
            return self.matchers[name](args, position)
        except ValueError as error:
            raise refused(self.text, name, "adding", str(error), position) from None


def _any_of(rules: Iterable[Rule]) -> Rule:
    return reduce(Or, rules)


def _all_of(rules: Iterable[Rule]) -> Rule:
    return reduce(And, rules)


def _each(name: str, check: Callable[[str], None]) -> Translate:
    """A matcher with one argument in version 3, and any of several in version 2."""

    def translate(args: list[str], position: int) -> Rule:
        for value in args:
            check(value)
        return _any_of(Matcher(name, (value,), position) for value in args)

    return translate


def _quoted(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _pieces(template: str) -> list[tuple[str, str]]:
    """Each text, and the placeholder behind it without its braces; empty: there is none. Raises ValueError."""
    found: list[tuple[str, str]] = []
    depth, start, text = 0, 0, ""
    for at, letter in enumerate(template):
        if letter == "{":
            depth += 1
            if depth == 1:
                text, start = template[start:at], at + 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                found.append((text, template[start:at]))
                start = at + 1
            elif depth < 0:
                break
    if depth:
        raise ValueError(f"mux: unbalanced braces in {template!r}")
    return [*found, (template[start:], "")]


def expression(template: str, other: str) -> str | None:
    """The regular expression of a template, without its ends; None if it has no placeholder.

    other  the expression of a placeholder that has only a name.

    Raises ValueError.
    """
    pieces = _pieces(template)
    if len(pieces) == 1:
        return None
    found = ""
    for text, placeholder in pieces[:-1]:
        name, colon, pattern = placeholder.partition(":")
        if not name or (colon and not pattern):
            raise ValueError(f"mux: missing name or pattern in {'{' + placeholder + '}'!r}")
        pattern = pattern or other
        check_regex(pattern)
        # Alternatives and flags are those of the placeholder alone.
        found += _quoted(text) + (f"(?:{pattern})" if "|" in pattern or "(?" in pattern else pattern)
    return found + _quoted(pieces[-1][0])


def _host(args: list[str], position: int) -> Rule:
    found: list[Rule] = []
    for value in args:
        check_host(value)
        # In version 2 there are no wildcards: such a name matches no request.
        plain = Matcher("Host", (value.lower(),), position)
        found.append(Matcher("HostRegexp", (f"^{_quoted(value)}$",), position) if value.startswith("*") else plain)
    return _any_of(found)


def _host_regexp(name: str, host: str = "") -> Translate:
    """`name`: the matcher for templates. `host`: the one for names without placeholders; empty: there is none."""

    def translate(args: list[str], position: int) -> Rule:
        found: list[Rule] = []
        for value in args:
            check_host(value)
            pattern = expression(value, "[^.]+")
            if host and pattern is None and _SERVER_NAME.fullmatch(value):
                found.append(Matcher(host, (value.lower(),), position))
                continue
            pattern = _quoted(value) if pattern is None else pattern
            # Hosts are compared in lower case.
            any_case = "(?i)" if re.search(r"(?<!\\)[A-Z]", pattern) else ""
            found.append(_regex(name, position, f"{any_case}^{pattern}$"))
        return _any_of(found)

    return translate


def _regex(name: str, position: int, *args: str) -> Matcher:
    check_regex(args[-1])
    return Matcher(name, args, position)


def _path(name: str, end: str) -> Translate:
    """`end`: of the expression."""

    def translate(args: list[str], position: int) -> Rule:
        found: list[Rule] = []
        for value in args:
            check_path(value)
            pattern = expression(value, "[^/]+")
            plain = Matcher(name, (value,), position)
            found.append(plain if pattern is None else _regex("PathRegexp", position, f"^{pattern}{end}"))
        return _any_of(found)

    return translate


def _pairs(args: list[str]) -> list[tuple[str, str]]:
    if len(args) % 2:
        raise ValueError(f"mux: number of parameters must be multiple of 2, got [{' '.join(args)}]")
    return list(zip(args[::2], args[1::2], strict=True))


def _headers(args: list[str], position: int) -> Rule:
    return _all_of(Matcher("Header", pair, position) for pair in _pairs(args))


def _headers_regexp(args: list[str], position: int) -> Rule:
    return _all_of(_regex("HeaderRegexp", position, *pair) for pair in _pairs(args))


def _query(args: list[str], position: int) -> Rule:
    found: list[Rule] = []
    for key, value in _pairs([part for text in args for part in text.split("=", 1)]):
        pattern = expression(value, ".*")
        if not value:
            found.append(_regex("QueryRegexp", position, key, ".*"))
        elif pattern is None:
            found.append(Matcher("Query", (key, value), position))
        else:
            found.append(_regex("QueryRegexp", position, key, f"^{pattern}$"))
    return _all_of(found)


def _host_sni(value: str) -> None:
    if value != "*" and not _SERVER_NAME.fullmatch(value):
        raise ValueError(f'invalid value for "HostSNI" matcher, {value!r} is not a valid hostname or IP')


def _any(value: str) -> None:
    pass


_MATCHERS: Mapping[str, Translate] = {
    "Host": _host,
    "HostHeader": _host,
    "HostRegexp": _host_regexp("HostRegexp", "Host"),
    "Path": _path("Path", "$"),
    "PathPrefix": _path("PathPrefix", ""),
    "Method": _each("Method", _any),
    "Headers": _headers,
    "HeadersRegexp": _headers_regexp,
    "Query": _query,
    "ClientIP": _each("ClientIP", check_client_ip),
}
_TCP_MATCHERS: Mapping[str, Translate] = {
    "HostSNI": _each("HostSNI", _host_sni),
    "HostSNIRegexp": _host_regexp("HostSNIRegexp"),
    "ALPN": _each("ALPN", check_protocol),
    "ClientIP": _each("ClientIP", check_client_ip),
}
_NAMES = spellings((*_MATCHERS, *_TCP_MATCHERS))
