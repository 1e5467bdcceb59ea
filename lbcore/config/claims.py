"""What a router that cannot run would take, as far as its text tells: others must not take it in its place. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from lbcore.config.difference import qualify
from lbcore.config.dynamic import HttpConfig, Router
from lbcore.config.resolved import entry_points_of, options_name, rule_of, tcp_entry_points_of, tcp_rule_of
from lbcore.config.routers import MAX_USER_PRIORITY
from lbcore.config.rule import Rule, RuleError
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpRouter
from lbcore.config.tls import DEFAULT, RouterTls

R = TypeVar("R", Router, TcpRouter)
_NUMBER = re.compile(r"-?[0-9]{1,19}")


def rule_claimed(router: Router, static: StaticConfig) -> Rule | None:
    """The rule of a router. None: its text has none."""
    try:
        return rule_of(_with_rule(router), static)
    except RuleError:
        return None


def tcp_rule_claimed(router: TcpRouter, static: StaticConfig) -> Rule | None:
    """`rule_claimed` for a router of TCP."""
    try:
        return tcp_rule_of(_with_rule(router), static)
    except RuleError:
        return None


def _with_rule(router: R) -> R:
    text = rule_text(router)
    return router if text == router.rule else router.model_copy(update={"rule": text})


def rule_text(router: Router | TcpRouter) -> str:
    """The text of a router's rule; if it could not be read, the first one that looks like it."""
    return router.rule or next((text for text in router.texts if "(" in text), "")


def entry_points_claimed(router: Router, static: StaticConfig) -> Sequence[str]:
    """The entry points of a router: those that its text names, if they could not be read."""
    return _named(router, static) or entry_points_of(router, static)


def tcp_entry_points_claimed(router: TcpRouter, static: StaticConfig) -> Sequence[str]:
    """`entry_points_claimed` for a router of TCP."""
    return _named(router, static) or tcp_entry_points_of(router, static)


def _named(router: Router | TcpRouter, static: StaticConfig) -> list[str]:
    return [] if router.entry_points else [text for text in router.texts if text in static.stream_points]


def priority_claimed(router: Router | TcpRouter) -> int:
    """The priority that a router names; if that could not be read, the highest number in its text, or the length of its
    rule. 0: it names none."""
    if router.priority or not router.texts:
        return router.priority
    numbers = [int(text) for text in router.texts if _NUMBER.fullmatch(text)]
    return min(max(*numbers, len(rule_text(router).encode())), MAX_USER_PRIORITY) if numbers else 0


def options_claimed(router: Router | TcpRouter, name: str, tls: RouterTls | None, known: Collection[str]) -> str | None:
    """The qualified name of the TLS options of a router, `tls` being its own, or that of the entry point.

    known  the names of those that are there. None: the text does not tell which are meant.
    """
    if not router.faults or (tls is not None and tls.options):
        return DEFAULT if tls is None else options_name(tls, name)
    named = {other for text in router.texts if (other := qualify(text, name)) in known}
    if not named and not any(fault_is_of_tls(fault) for fault in router.faults):
        return DEFAULT
    return named.pop() if len(named) == 1 else None


def fault_is_of_tls(fault: str) -> bool:
    """Whether a fault of a router's text is one of its `tls`: `file.yml:7: tls.optoins: unknown key`."""
    return re.search(r"(^|: )tls\b", fault) is not None


def parents_claimed(router: Router, name: str, parents: Collection[str]) -> list[str]:
    """The routers below which a router stands, and those that its text names if they could not be read.

    parents  the routers that have others below them.
    """
    if router.parent_refs or not router.faults:
        return [qualify(parent, name) for parent in router.parent_refs]
    return [other for text in router.texts if (other := qualify(text, name)) in parents and other != name]


def is_guarded(name: str, http: HttpConfig, children: Mapping[str, list[str]]) -> bool:
    """Whether others must not take the requests of a router that cannot run: middlewares stand in front of what it
    leads to, or may do so, because its text, or that of a service, could not be read.

    children  by router: those below it.
    """
    routers, services, seen = [name], list[str](), set[tuple[str, str]]()
    while routers or services:
        kind, at = ("router", routers.pop()) if routers else ("service", services.pop())
        thing = http.routers.get(at) if kind == "router" else http.services.get(at)
        if thing is None or (kind, at) in seen:
            continue
        seen.add((kind, at))
        if thing.faults or thing.middlewares:
            return True
        if isinstance(thing, Router):
            services.append(qualify(thing.service, at))
            routers += children.get(at, ())
        else:
            services += [qualify(child, at) for child in thing.children]
    return False
