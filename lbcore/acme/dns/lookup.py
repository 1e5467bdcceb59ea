"""DNS queries: aliases, zones, and the propagation of records. All calls block."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver

from lbcore.errors import message_of, system_message_of

QUERY_S = 10.0
MOST_ALIASES = 50


class LookupError_(Exception):
    """A DNS query failed. The text is for users."""


def split_server(text: str) -> tuple[str, int]:
    """Host and port of `host`, `host:port` or `[host]:port`. Raises ValueError."""
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "53")
    host = host.strip("[]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no name server: write host:port")
    return host, int(port)


def address_of(host: str) -> str:
    """Resolve a name server with the system's resolver. Raises LookupError_."""
    try:
        return str(socket.getaddrinfo(host, 53, type=socket.SOCK_DGRAM)[0][4][0])
    except OSError as error:
        raise LookupError_(f"the name server {host} has no address: {system_message_of(error)}") from None


class Lookup:
    """Queries recursive name servers: `host:port` each, or the system's if the list is empty."""

    def __init__(self, resolvers: Sequence[str]) -> None:
        self._named = [split_server(text) for text in resolvers]

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Addresses and ports of the name servers; empty: the system's. Raises LookupError_."""
        return [(address_of(host), port) for host, port in self._named]

    def _resolver(self, server: tuple[str, int] | None = None) -> dns.resolver.Resolver:
        try:
            found = dns.resolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration as error:
            raise LookupError_(f"the system has no name server: {error}") from None
        if server is not None:
            found.nameservers, found.port = [server[0]], server[1]
        found.lifetime = QUERY_S
        found.cache = None
        return found

    def _resolvers(self) -> list[dns.resolver.Resolver]:
        return [self._resolver(server) for server in self.servers] or [self._resolver()]

    def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        """The first answer of any server; None: the record does not exist. Raises LookupError_."""
        problem = "no name server"
        for resolver in self._resolvers():
            try:
                return resolver.resolve(name, kind, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN:
                return None
            except dns.exception.DNSException as error:
                problem = str(error)
        raise LookupError_(f"{name} {kind}: {problem}")

    def alias_end(self, name: str) -> str:
        """The end of the chain of CNAMEs that begins at a name; the name itself if it has none."""
        for _ in range(MOST_ALIASES):
            try:
                answer = self._ask(name, "CNAME")
            except LookupError_:
                return name
            if answer is None or answer.rrset is None:
                return name
            name = str(answer.rrset[0].target)
        return name

    def zone_of(self, name: str) -> str:
        """The zone that contains a name. Raises LookupError_."""
        found = dns.name.from_text(name)
        while len(found) > 1:
            answer = self._ask(str(found), "SOA")
            if answer is not None and answer.rrset is not None:
                return str(answer.rrset.name)
            found = found.parent()
        raise LookupError_(f"{name} is in no zone")

    def authorities_of(self, zone: str) -> list[str]:
        """Addresses of the zone's name servers. Raises LookupError_."""
        answer = self._ask(zone, "NS")
        found: list[str] = []
        for entry in answer.rrset if answer is not None and answer.rrset is not None else ():
            for kind in ("A", "AAAA"):
                try:
                    addresses = self._ask(str(entry.target), kind)
                except LookupError_:
                    continue
                if addresses is not None and addresses.rrset is not None:
                    found += [each.address for each in addresses.rrset]
                    break
        if not found:
            raise LookupError_(f"the zone {zone} has no name server")
        return found

    def seen_by_resolvers(self, name: str, value: str) -> str:
        """Empty if all recursive name servers return this value in a TXT record, else the reason why not."""
        for resolver in self._resolvers():
            try:
                values = _values(resolver.resolve(name, "TXT", raise_on_no_answer=False).rrset)
            except dns.exception.DNSException as error:
                return f"{resolver.nameservers[0]}: {message_of(error)}"
            if value not in values:
                return f"{resolver.nameservers[0]} does not say it"
        return ""


def seen_by(addresses: Iterable[str], name: str, value: str, port: int = 53) -> str:
    """Empty if all these name servers return this value in a TXT record, else the reason why not."""
    question = dns.message.make_query(name, dns.rdatatype.TXT)
    for address in addresses:
        try:
            answer, _ = dns.query.udp_with_fallback(question, address, QUERY_S, port)
        except (dns.exception.DNSException, OSError) as error:
            return f"{address}: {message_of(error)}"
        if not any(value in _values(rrset) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT):
            return f"{address} does not say it"
    return ""


def _values(rrset: Iterable[object] | None) -> set[str]:
    found = set()
    for each in rrset or ():
        found.add(b"".join(getattr(each, "strings", ())).decode("latin-1"))
    return found
