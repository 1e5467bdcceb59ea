"""Services compiled from a configuration, without sockets: pick from them, and make their servers go up and down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.http.request import Request
from lbcore.process.snapshot import Publisher
from lbcore.provider.merge import merge
from lbcore.routing.compile import compile_table
from lbcore.routing.service import Service
from lbcore.routing.table import Table
from lbcore.state.region import Region


class Tree:
    """The services of a configuration; a router leads to each of them."""

    def __init__(self, services: Mapping[str, Any], **http: Any) -> None:
        self.static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})
        self.region = Region.create(1)
        self.publisher = Publisher(self.region)
        self.table: Table | None = None
        self.apply(services, **http)

    def apply(self, services: Mapping[str, Any], **http: Any) -> None:
        """Load another configuration over the present one."""
        routers = {name: {"rule": f"Path(`/{name}`)", "service": name} for name in services}
        dynamic = DynamicConfig.model_validate({"http": {"routers": routers, "services": services, **http}})
        self.snapshot = self.publisher.publish(merge({"file": dynamic}))
        known = self.table.servers if self.table else {}
        self.table = compile_table(self.snapshot.dynamic, self.static, self.snapshot.slots, self.region, 0, known)
        self.disabled = {entry.name: entry.errors for entry in self.table.disabled}

    def service(self, name: str) -> Service:
        assert self.table is not None
        return self.table.services[f"{name}@file"]

    def pick(self, name: str, *headers: str, address: str = "", under_way: bool = False) -> str | None:
        """The URL of the server that a request is given; it takes its place there if it is `under_way`."""
        request = Request()
        lines = ["GET / HTTP/1.1", "Host: a", *headers, "", ""]
        self._wire = "\r\n".join(lines).encode()
        assert request.parse_bytes(self._wire) > 0
        if address:
            request.come_from(address)
        server = self.service(name).pick(request, under_way=under_way)
        return None if server is None else server.url

    def picks(self, name: str, count: int, *headers: str) -> list[str | None]:
        return [self.pick(name, *headers) for _ in range(count)]

    def set_up(self, service: str, member: str, up: bool) -> None:
        self.region.set_up(self.slot(service, member), up)

    def slot(self, service: str, member: str) -> int:
        return self.snapshot.slots.servers[f"{service}@file|{member}"]


def servers(*urls: str, **more: Any) -> dict[str, Any]:
    """A load balancer over servers; `url*3` gives one a weight of 3."""
    listed = []
    for url in urls:
        name, _, weight = url.partition("*")
        listed.append({"url": name, "weight": int(weight or 1)})
    return {"loadBalancer": {"servers": listed, **more}}


def weighted(*children: str, **more: Any) -> dict[str, Any]:
    """A service over services; `name*3` gives one a weight of 3."""
    listed = []
    for child in children:
        name, _, weight = child.partition("*")
        listed.append({"name": name, "weight": int(weight or 1)})
    return {"weighted": {"services": listed, **more}}
