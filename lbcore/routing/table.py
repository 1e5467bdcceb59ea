"""The table by which a worker routes: what it has, and what it keeps of what it was compiled of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbcore.config import dynamic as model
from lbcore.config.difference import OF_KIND
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Checked, Disabled
from lbcore.middleware.base import Middleware
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.compile_services import Before
from lbcore.routing.compile_tcp import TcpPart
from lbcore.routing.compile_udp import UdpPart
from lbcore.routing.index import RouteIndex
from lbcore.routing.order import Compiled, Order
from lbcore.routing.route import Route
from lbcore.routing.server import Server
from lbcore.routing.service import Service
from lbcore.routing.tcp_route import TcpRoute, TcpRoutes
from lbcore.routing.udp_route import UdpRoute

if TYPE_CHECKING:
    from lbcore.tls.handshake import Acceptor

# By entry point, whether it is of requests over TLS, and router: this, the status of its answers, and what it became.
Closed = dict[tuple[str, bool, str], tuple[model.Router, int, Compiled]]


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a table was compiled of: the next one takes over what is made of the same.

    routes  by entry point and router, without those below others.
    placed  by entry point, and whether it is of those over TLS: the routers in the order of trial.
    in_trees  routers below others, and those above them.
    closed  what stands in the place of routers that cannot run.
    length  tables before it that have taken over parts of each other.
    """

    static: StaticConfig
    checked: Checked
    services: Before
    routes: Mapping[str, Mapping[str, Route]]
    placed: Mapping[tuple[str, bool], Order]
    in_trees: set[str]
    closed: Closed
    length: int
    tcp: TcpPart
    udp: UdpPart


@dataclass(frozen=True, slots=True)
class Table:
    """The routing table of one worker. Immutable.

    indexes          by entry point: the routers of requests without TLS; `encrypted_indexes`: of those over TLS.
    acceptors        by entry point with TLS: the settings of handshakes.
    options_by_host  by entry point whose hosts have different TLS options: their names by host.
    options_by_router
                     by entry point: those that all hosts of a router have, by its name, without the default ones.
    tcp              by entry point: the routers of layer 4; `ends_tls`: those made for this table that end TLS.
    udp              by entry point: the router of its datagrams.
    servers          by identity, `service@provider|url`.
    joined, left     servers that the table in force does not have, and those of it that this one does not have.
    services         by qualified name: those that routers lead to, and those below them.
    balancers        the services among these that choose among servers, without their gates.
    disabled         objects that could not be compiled.
    own_errors       by entry point: why none of lbcore's own routers runs there.
    limits           limits of exchanges in flight by server; in force from `take_effect` on.
    middlewares      by qualified name; `places`: the routers and services in front of which each of them stands.
    made_of          what it was compiled of.
    order            rules and routes of each entry point in the order of trial, and those of TLS.
    queued           the services of which requests wait in a queue; `requeued`: those whose queue may be another one
                     than in the table in force; None: all.
    speaks_tls       whether there is TLS, to clients or to servers.

    A table of `finds_all` has no indexes: see `index`.
    """

    indexes: Mapping[str, RouteIndex]
    tcp: Mapping[str, TcpRoutes]
    udp: Mapping[str, UdpRoute]
    servers: Mapping[str, Server]
    services: Mapping[str, Service]
    tcp_services: Mapping[str, Service]
    udp_services: Mapping[str, Service]
    balancers: dict[str, LoadBalancer]
    disabled: list[Disabled]
    own_errors: Mapping[str, list[str]]
    warnings: list[str]
    limits: list[tuple[Server, int]]
    order: Mapping[str, list[Compiled]]
    encrypted_indexes: Mapping[str, RouteIndex]
    encrypted_order: Mapping[str, list[Compiled]]
    acceptors: Mapping[str, Acceptor]
    options_by_host: Mapping[str, dict[bytes, str]]
    options_by_router: Mapping[str, dict[str, str]]
    middlewares: Mapping[str, Middleware]
    places: Mapping[str, dict[str, None]]
    queued: Collection[str]
    requeued: Collection[str] | None
    speaks_tls: bool
    made_of: MadeOf
    joined: list[Server]
    left: list[Server]
    ends_tls: list[TcpRoute]

    def index(self, point: str, encrypted: bool) -> RouteIndex | None:
        """The index of an entry point's routers, those of requests over TLS or the others; None: there is none."""
        indexes, order = (
            (self.encrypted_indexes, self.encrypted_order) if encrypted else (self.indexes, self.order)
        )
        return indexes.get(point) or (RouteIndex(order[point]) if point in order else None)

    def take_effect(self) -> None:
        """Change the objects that this table shares with the previous one. Compiling has changed none of them."""
        for server, limit in self.limits:
            server.limit = limit

    def pieces(self) -> list[object]:
        """What is large in it, for `release`."""
        made_of = self.made_of
        by_point = (self.indexes, self.encrypted_indexes, self.order, self.encrypted_order, self.tcp, made_of.routes)
        whole = (self.servers, self.services, self.balancers, self.tcp_services, self.udp_services, self.middlewares)
        checked, services = made_of.checked, made_of.services
        known = (checked.users.of, checked.errors, checked.odd)
        objects = [getattr(services.http, section) for section in OF_KIND.values()]
        of_links = (checked.parents, checked.linked, checked.ways, made_of.in_trees)
        layer_4 = [*made_of.tcp.pieces(), *made_of.udp.pieces()]
        rest = (*layer_4, self.places, self.queued, services.members, *of_links, *made_of.placed.values())
        return [*(piece for each in (*by_point, *known) for piece in each.values()), *whole, *objects, *rest]


def release(pieces: list[object], give_way: Callable[[], None] = lambda: None) -> None:
    """Free what is in this list alone, piece by piece, in a thread. `give_way` is called before each."""
    while pieces:
        give_way()
        pieces.pop()
