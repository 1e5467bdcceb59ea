"""Compilation of the TLS settings of entry points. OpenSSL is loaded if a router uses TLS."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.rule import Rule, hosts_in
from lbcore.config.tls import DEFAULT, Certificate, TlsOptions
from lbcore.config.validate.tls import options_errors
from lbcore.routing.order import CLOSED, Order
from lbcore.state.region import Region

if TYPE_CHECKING:
    from lbcore.tls.certificate import Pair
    from lbcore.tls.handshake import Acceptor, Certificates
    from lbcore.tls.option_set import OptionSet


class TlsCompiler:
    """Collects all routers with TLS, and then makes the acceptors of the entry points.

    warnings    a list to which warnings are added.
    challenges  certificates of tls-alpn-01, by name.
    staples     OCSP responses by the fingerprint of their certificate.
    """

    def __init__(
        self,
        dynamic: DynamicConfig,
        region: Region,
        warnings: list[str],
        challenges: dict[bytes, Pair],
        staples: dict[str, bytes],
    ) -> None:
        self._challenges = challenges
        self._staples = staples
        self._tls = dynamic.tls
        self._region = region
        self._warnings = warnings
        self._hosts: dict[str, dict[str, str]] = {}  # the name of the options, by entry point and host
        # Options and hosts of the routers that have others than the default ones, by entry point and name.
        self._routers: dict[str, dict[str, tuple[str, list[str]]]] = {}
        self._closed: dict[str, dict[str, str]] = {}  # those of routers that cannot run; CLOSED: there is no handshake
        self._taken: dict[str, set[str]] = {}  # those that such routers take TLS for, by entry point
        self._out: list[tuple[str, str, list[str]]] = []  # these routers: entry point, name, hosts
        self._without_host: set[str] = set()  # entry points where a router names no host
        self._options: dict[str, OptionSet] = {}
        self._usual: dict[str, Order] = {}  # by entry point: routers whose hosts were not asked for yet
        self._of_layer_4: dict[str, Acceptor] = {}  # by the name of the options
        self._certificates: Certificates | None = None

    def add(self, point: str, name: str, rule: Rule, options: str) -> None:
        """Add a router, whose hosts use its options."""
        hosts, found = self._hosts.setdefault(point, {}), hosts_in(rule)
        if not found:
            self._without_host.add(point)
        if not found and options != DEFAULT:
            self._warnings.append(f"router {name} names no host: its TLS options have no effect, the host's own count")
        if found and options != DEFAULT:
            self._routers.setdefault(point, {})[name] = options, found
        for host in found:
            if hosts.setdefault(host, options) != options:
                self._warnings.append(
                    f"router {name}: other TLS options than another router on entry point {point} has for the host "
                    f"{host}: the default options are used"
                )
                hosts[host] = DEFAULT

    def add_all(self, point: str, order: Order) -> None:
        """Add all routers of an entry point. If all have the default options, their hosts are found when asked for."""
        self._hosts.setdefault(point, {})
        self._usual[point] = order
        if not order.is_usual:
            self._add_usual(point)

    def _add_usual(self, point: str) -> None:
        if (order := self._usual.pop(point, None)) is not None:
            for rank, (filed, _), options in zip(order.ranks, order.compiled, order.options, strict=True):
                if options != CLOSED:
                    self.add(point, rank[2], filed.rule, options)

    @property
    def names(self) -> Collection[str]:
        """The names of the options that are there."""
        return self._tls.options.keys()

    def close(self, point: str, name: str, rule: Rule, options: str | None, *, accept: bool) -> None:
        """Add a router that cannot run. A host that no other one names keeps its options: if these cannot be used, or
        several have other ones, there is no handshake.

        options  None: its text does not tell which.
        accept   whether the entry point has to take TLS for its sake.
        """
        hosts = self._closed.setdefault(point, {})
        usable = CLOSED if options is None or options_errors(self._tls, options) else options
        found = hosts_in(rule)
        for host in found:
            if hosts.setdefault(host, usable) != usable:
                hosts[host] = CLOSED
        self._out.append((point, name, found))
        if accept:
            self._taken.setdefault(point, set()).update(found)
            self.accept(point)

    def accept(self, point: str) -> None:
        """Make an entry point accept TLS, whatever its routers are."""
        self._hosts.setdefault(point, {})

    @property
    def challenges(self) -> dict[bytes, Pair]:
        """What tls-alpn-01 is answered with, by name; it changes."""
        return self._challenges

    def hosts(self, point: str) -> frozenset[bytes]:
        """The hosts that routers of an entry point name which take TLS."""
        self._add_usual(point)
        return frozenset(map(_key, [*self._hosts.get(point, ()), *self._taken.get(point, ())]))

    def takes_any(self, point: str) -> bool:
        """Whether a router of an entry point takes TLS for any host."""
        self._add_usual(point)
        return point in self._without_host

    def acceptor_of_layer_4(self, options: str) -> Acceptor:
        """What routers of layer 4 end TLS with; it refuses all handshakes if the options cannot be used. Raises
        ImportError."""
        from lbcore.tls.handshake import Acceptor
        from lbcore.tls.option_set import OptionSet
        from lbcore.tls.tickets import TicketKeys

        if options not in self._of_layer_4:
            refuses, tickets = bool(options_errors(self._tls, options)), TicketKeys(self._region)
            own = OptionSet(options, TlsOptions()) if refuses else self._option_set(options)
            certificates, staples = self._all_certificates(), self._staples
            self._of_layer_4[options] = Acceptor(
                own, {}, certificates, tickets, layer_4=True, staples=staples, refuses=refuses
            )
        return self._of_layer_4[options]

    def options_by_host(self) -> dict[str, dict[bytes, str]]:
        """By entry point whose hosts do not all have the default options: the names of the options, by host."""
        self._resolve()
        found = {point: self._others(point) for point in self._hosts}
        return {point: {_key(host): name for host, name in hosts.items()} for point, hosts in found.items() if hosts}

    def options_by_router(self) -> dict[str, dict[str, str]]:
        """By entry point: the names of options, by that of the router, where it has others than the default ones."""
        self._resolve()
        return {
            point: {name: options for name, (options, _) in routers.items()} for point, routers in self._routers.items()
        }

    def _resolve(self) -> None:
        """Give a router the default options if one of its hosts has these for another router: its other hosts have
        them, too, and what else names those."""
        for point, routers in self._routers.items():
            hosts = self._hosts[point]
            while lost := [name for name, (own, of) in routers.items() if {hosts[host] for host in of} != {own}]:
                for name in lost:
                    hosts.update(dict.fromkeys(routers.pop(name)[1], DEFAULT))

    def _others(self, point: str) -> dict[str, str]:
        """The hosts with other options than the default."""
        hosts = {**self._closed.get(point, {}), **self._hosts.get(point, {})}
        return {host: name for host, name in hosts.items() if name != DEFAULT}

    def _warn_of_closed(self) -> None:
        for point, name, hosts in self._out:
            if point not in self._hosts:
                continue
            of = self._others(point)
            refused = ", ".join(host for host in hosts if of.get(host) == CLOSED)
            self._warnings.append(
                f"router {name} cannot run on entry point {point}: no other router takes its requests over TLS"
                + (f", and there is no handshake for {refused}" if refused else "")
            )

    def acceptors(self) -> dict[str, Acceptor]:
        """The acceptors of the entry points with TLS. Raises ImportError without OpenSSL."""
        self._warn_of_closed()
        default = self._tls.options.get(DEFAULT)
        if not self._hosts or (default is not None and default.faults):
            return {}
        from lbcore.tls.handshake import REFUSED, Acceptor
        from lbcore.tls.tickets import TicketKeys

        self._resolve()
        tickets = TicketKeys(self._region)
        found = {}
        for point in self._hosts:
            try:
                own = {
                    _key(host): REFUSED if name == CLOSED else self._option_set(name)
                    for host, name in self._others(point).items()
                }
                usual, certificates = self._option_set(DEFAULT), self._all_certificates()
                found[point] = Acceptor(usual, own, certificates, tickets, self._challenges, staples=self._staples)
            except ValueError as error:
                self._warnings.append(f"entry point {point} speaks no TLS: {error}")
        return found

    def _option_set(self, name: str) -> OptionSet:
        from lbcore.tls.option_set import OptionSet

        if name not in self._options:
            options = self._tls.options.get(name) or TlsOptions()
            self._options[name] = OptionSet(name, options, tuple(text.encode() for text in options.authorities))
        return self._options[name]

    def _all_certificates(self) -> Certificates:
        from lbcore.tls.certificate import self_signed
        from lbcore.tls.handshake import Certificates
        from lbcore.tls.pairs import pair_of

        if self._certificates is None:
            store = self._tls.stores.get(DEFAULT)
            default = store.default_certificate if store is not None else None
            pairs = [pair_of(each.certificate_text, each.key_text) for each in self._tls.certificates if each.key_text]
            fallback = self._default_among(pairs) if default is None else None
            if fallback is None:
                default = default or self._tls.generated
                if default is None:
                    certificate, key = self_signed()
                    default = Certificate(certificate_text=certificate, key_text=key)
                fallback = pair_of(default.certificate_text, default.key_text)
            self._certificates = Certificates(pairs, [fallback])
        return self._certificates

    def _default_among(self, pairs: list[Pair]) -> Pair | None:
        """The certificate that was ordered by `defaultGeneratedCert`; None: there is none, or none yet."""
        store = self._tls.stores.get(DEFAULT)
        if store is None or store.default_generated_cert is None:
            return None
        names = {name.encode() for name in store.default_generated_cert.domain.names}
        fitting = [pair for pair in pairs if names and names <= set(pair.names)]
        return max(fitting, key=lambda pair: pair.days_left, default=None)


def _key(host: str) -> bytes:
    return host.encode(errors="surrogateescape")
