"""The certificates that a configuration needs: by which resolver, for which names. No I/O."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

import idna

from lbcore.acme.keys import as_address
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import entry_points_of, rule_of, tcp_rule_of
from lbcore.config.rule import RuleError, hosts_in
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT, RouterTls


@dataclass(frozen=True)
class Wanted:
    """One certificate for some names, the first of which is its main one. `user`: its router or store, for the log."""

    resolver: str
    names: tuple[str, ...]
    user: str


def wanted(dynamic: DynamicConfig, static: StaticConfig, disabled: Container[str] = ()) -> list[Wanted]:
    """The certificates that the routers of a merged configuration and the default store need, each once.

    A router that has a `tls` of its own does not get the certResolver of its entry point, as in Traefik.
    disabled  names of routers that cannot run.
    """
    found: dict[tuple[str, frozenset[str]], Wanted] = {}

    def add(resolver: str, names: Iterable[str], user: str) -> None:
        own = tuple(dict.fromkeys(names))
        if own:
            found.setdefault((resolver, frozenset(own)), Wanted(resolver, own, user))

    def add_router(tls: RouterTls, hosts: list[str], user: str) -> None:
        if not tls.cert_resolver:
            return
        if tls.domains:
            for domain in tls.domains:
                add(tls.cert_resolver, map(plain_name, domain.names), user)
        else:
            add(tls.cert_resolver, hosts, user)

    for name, router in dynamic.http.routers.items():
        if router.faults or name in disabled:
            continue
        try:
            hosts = hosts_in(rule_of(router, static))
        except RuleError:
            continue
        for point in entry_points_of(router, static):
            if (tls := router.tls or static.entry_points[point].http.tls) is not None:
                add_router(tls, hosts, f"router {name}")
    for name, tcp in dynamic.tcp.routers.items():
        if (tls := tcp.tls) is None or tcp.faults or name in disabled:
            continue
        try:
            add_router(tls, hosts_in(tcp_rule_of(tcp, static), "HostSNI"), f"tcp router {name}")
        except RuleError:
            continue
    store = dynamic.tls.stores.get(DEFAULT)
    if store is not None and store.default_generated_cert is not None and store.default_certificate is None:
        generated = store.default_generated_cert
        add(generated.resolver, map(plain_name, generated.domain.names), "the default store")
    return list(found.values())


def plain_name(name: str) -> str:
    """A name as in certificates: in ASCII (IDNA)."""
    if name.isascii():
        return name
    star = "*." if name.startswith("*.") else ""
    try:
        return star + idna.encode(name.removeprefix("*."), uts46=True).decode()
    except idna.IDNAError:
        return name


def covers(known: Container[str], names: Iterable[str]) -> bool:
    """Whether certificates for the names `known` serve all `names`."""
    return all(name in known or wildcard_of(name) in known for name in names)


def wildcard_of(name: str) -> str:
    """The wildcard that covers a name; a wildcard and an address are returned as they are."""
    return f"*.{name.partition('.')[2]}" if not name.startswith("*") and as_address(name) is None else name


def problem_of(names: Iterable[str], has_dns: bool) -> str:
    """Why no certificate can be ordered for these names; empty: it can."""
    for name in names:
        if name.startswith("*") and not has_dns:
            return f"a certificate for {name} needs a dnsChallenge"
        if "*" in name.removeprefix("*.") or not name.isascii() or " " in name:
            return f"there are no certificates for {name!r}"
    return ""
