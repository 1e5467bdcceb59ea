"""Matches of the Gateway API as rules, and the order in which they are tried. No I/O."""

from __future__ import annotations

import re

from lbcore.config.rule import go_quote
from lbcore.provider.kubernetes.part import Part

ANY = 'PathPrefix("/")'
BITS = (10, 7, 1, 5, 5)  # of what matches weigh
EXACT = 1023  # weight of a path that is matched as a whole; others weigh their length
LABELS = r"[a-z0-9-\.]+"


def hosts_in_common(listener: str, route: list[str]) -> list[str] | None:
    """The names of a route that a listener has, too, in lower case; empty: any. None: there are none."""
    names = [name.lower() for name in route]
    if not listener:
        return names
    if not names:
        return [listener]
    found = [common for name in names if (common := _common(listener, name))]
    return found or None


def _common(one: str, other: str) -> str:
    """The narrower of two names, one of which fits the other; empty: neither does."""
    if one == other:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    if other.startswith("*.") and one.endswith(other[1:]):
        return one
    return ""


def host_groups(hosts: list[str]) -> list[list[str]]:
    """Names that come in one place of the order: exact ones before others, longer before shorter."""
    groups: dict[tuple[bool, int], list[str]] = {}
    for host in dict.fromkeys(hosts):
        groups.setdefault((host.startswith("*"), len(host)), []).append(host)
    return list(groups.values()) or [[]]


def host_rule(hosts: list[str]) -> str:
    rules = [
        f"HostRegexp({_below(host)})" if host.startswith("*.") else f"Host({go_quote(host)})" for host in hosts
    ]
    return rules[0] if len(rules) == 1 else f"({' || '.join(rules)})" if rules else ""


def sni_rule(hosts: list[str]) -> str:
    """The rule of layer 4 for names in the hello of TLS."""
    rules = [
        f"HostSNIRegexp({_below(host)})" if host.startswith("*.") else f"HostSNI({go_quote(host)})"
        for host in dict.fromkeys(hosts)
    ]
    return " || ".join(rules) or 'HostSNI("*")'


def _below(host: str) -> str:
    """The expression, quoted, for names in place of the star of `*.example.com`."""
    rest = re.sub(r"([.+*?()|{}$^])", r"\\\1", host[1:])
    return go_quote(f"^{LABELS}{rest}$")


def sni_priority(hosts: list[str]) -> int:
    return max((len(host) - host.count("*") for host in hosts), default=0)


def path_of(match: Part) -> tuple[str, str]:
    """Type and value of the path of a match."""
    path = match.part("path")
    if path is None:
        return "PathPrefix", "/"
    kind, value = path.text("type") or "PathPrefix", path.text("value") or "/"
    path.end()
    if kind not in ("Exact", "PathPrefix", "RegularExpression"):
        path.complain("type", f"{kind!r} is not supported")
    return kind, value


def http_rules(match: Part) -> tuple[list[str], list[int]]:
    """The rules of a match of an HTTPRoute, and what they weigh, the weightier first."""
    kind, value = path_of(match)
    if kind == "Exact":
        rules, weights = [f"Path({go_quote(value)})"], [EXACT, 0]
    elif kind == "RegularExpression":
        rules, weights = [f"PathRegexp({go_quote(value)})"], [min(len(value), EXACT - 1), 0]
    elif value.rstrip("/"):
        short = value.removesuffix("/")
        rules = [f"(Path({go_quote(short)}) || PathPrefix({go_quote(short + '/')}))"]
        weights = [min(len(short), EXACT - 1), 0]
    else:
        rules, weights = [ANY], [0, 0]
    method = match.text("method")
    if method:
        rules.append(f"Method({go_quote(method)})")
    headers = _pairs(match.parts("headers"), "Header", "HeaderRegexp")
    queries = _pairs(match.parts("queryParams"), "Query", "QueryRegexp")
    match.end()
    return [*rules, *headers, *queries], [*weights, int(bool(method)), len(headers), len(queries)]


def grpc_rules(match: Part) -> tuple[list[str], list[int]]:
    """`http_rules` for a match of a GRPCRoute. Services and methods are matched whole."""
    method, rules, weights = match.part("method"), [ANY], [0, 0]
    if method is not None:
        kind, service, name = method.text("type") or "Exact", method.text("service"), method.text("method")
        method.end()
        if kind == "Exact" and service and name:
            rules = [f"Path({go_quote(f'/{service}/{name}')})"]
        elif kind == "Exact" and service:
            rules = [f"PathPrefix({go_quote(f'/{service}/')})"]
        elif service or name:
            exact = kind == "Exact"
            parts = [(re.escape(each) if exact else f"(?:{each})") if each else "[^/]+" for each in (service, name)]
            rules = [f"PathRegexp({go_quote('^/' + '/'.join(parts) + '$')})"]
        if kind not in ("Exact", "RegularExpression"):
            method.complain("type", f"{kind!r} is not supported")
        weights = [len(service), len(name)]
    headers = _pairs(match.parts("headers"), "Header", "HeaderRegexp")
    match.end()
    return [*rules, *headers], [*weights, 0, len(headers), 0]


def _pairs(parts: list[Part], exact: str, regular: str) -> list[str]:
    found, seen = [], set()
    for part in parts:
        kind, name, value = part.text("type") or "Exact", part.text("name"), part.text("value")
        part.end()
        if kind not in ("Exact", "RegularExpression"):
            part.complain("type", f"{kind!r} is not supported")
        if name.lower() in seen:  # the first one of a name counts
            continue
        seen.add(name.lower())
        found.append(f"{exact if kind == 'Exact' else regular}({go_quote(name)},{go_quote(value)})")
    return found


def priority(hosts: list[str], weights: list[int], rank: int, order: int) -> int:
    """The place of a router: by host, then by what its match weighs, then by the age of its route, then by position.

    hosts    one of the groups of `host_groups`.
    rank     of the route: 0 = the oldest one.
    order    of the match in its route: 0 = the first one.

    It has less than 62 bits, and is above 0; but what matches everything is below 0, so that it takes no requests from
    routers of other kinds, and above the default backend of Ingresses.
    """
    host = hosts[0] if hosts else ""
    fields = [(int(bool(host) and not host.startswith("*")), 1), (len(host), 8)]
    fields += zip(weights, BITS, strict=True)
    fields += [(max((1 << 14) - 1 - rank, 0), 14), (max((1 << 10) - 1 - order, 1), 10)]
    found = 0
    for value, bits in fields:
        found = (found << bits) | min(value, (1 << bits) - 1)
    return found if host or any(weights) else found - (1 << 24)
