"""Where requests for a port of a service go: pods, machines outside, nodes, or one address. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.core import Core, Lacking, port_of
from lbcore.provider.kubernetes.shape import mapping, mappings, texts


@dataclass(frozen=True, slots=True)
class Endpoint:
    """host, port  IPv6 addresses are in brackets.
    is_leaving  it finishes what it has, and gets nothing new while others are there.
    """

    host: str
    port: int
    is_leaving: bool = False

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ways:
    """How a service is to be reached.

    native      by its own address.
    nodes       a service of type NodePort: by the port that all nodes have for it.
    externals   whether services of type ExternalName are allowed.
    sees_nodes  whether nodes are read.
    """

    native: bool = False
    nodes: bool = False
    externals: bool = False
    sees_nodes: bool = True


@dataclass(frozen=True, slots=True)
class Backend:
    """A port of a service, and what is behind it.

    name, number  of the port.
    protocol      `appProtocol`; empty: it says none.
    is_static     whether the endpoints follow from the service itself, and not from what runs.
    """

    name: str
    number: int
    protocol: str
    endpoints: list[Endpoint]
    is_static: bool = False


def backend_of(core: Core, namespace: str, name: str, wanted: str, ways: Ways, protocol: str = "TCP") -> Backend:
    """The port `wanted` (number or name) of a service. Raises Lacking; that nothing runs there is none."""
    service = core.service(namespace, name)
    spec: Mapping[str, Any] = mapping(service.get("spec"))
    port = port_of(service, wanted, protocol)
    number = int(port.get("port") or 0)
    found: list[Endpoint]
    if spec.get("type") == "ExternalName":
        if not ways.externals:
            raise Lacking(f"Service {namespace}/{name}: ExternalName is not allowed: allowExternalNameServices")
        external = str(spec.get("externalName") or "")
        if not external:
            raise Lacking(f"Service {namespace}/{name}: externalName is missing")
        found = [Endpoint(_host(external), number)]
    elif ways.nodes and spec.get("type") == "NodePort":
        if not ways.sees_nodes:
            raise Lacking(f"Service {namespace}/{name}: nodes are not read: disableClusterScopeResources")
        found = [Endpoint(_host(address), int(port.get("nodePort") or 0)) for address in core.node_addresses()]
        if not found:
            raise Lacking(f"Service {namespace}/{name}: no node has an address")
    elif ways.native:
        address = str(spec.get("clusterIP") or "")
        if address in ("", "None"):
            raise Lacking(f"Service {namespace}/{name} has no address of its own (clusterIP)")
        found = [Endpoint(_host(address), number)]
    else:
        running = _running(core.slices(namespace, name), str(port.get("name") or ""))
        return Backend(str(port.get("name") or ""), number, str(port.get("appProtocol") or ""), running)
    return Backend(str(port.get("name") or ""), number, str(port.get("appProtocol") or ""), found, True)


def _running(slices: list[Thing], name: str) -> list[Endpoint]:
    """The endpoints that can serve. If all of them are leaving, there is nothing better: they count as the others."""
    found: dict[str, Endpoint] = {}
    for thing in slices:
        number = next(_numbers(thing, name), 0)
        if not number:
            continue
        for endpoint in mappings(thing.get("endpoints")):
            conditions = mapping(endpoint.get("conditions"))
            serves = conditions.get("serving")
            if serves is None:
                serves = conditions.get("ready")
            if serves is False:  # unknown counts as ready
                continue
            for address in texts(endpoint.get("addresses")):
                made = Endpoint(_host(str(address)), number, conditions.get("terminating") is True)
                before = found.get(made.address)
                if before is None or before.is_leaving:
                    found[made.address] = made
    endpoints = list(found.values())
    if all(endpoint.is_leaving for endpoint in endpoints):
        return [Endpoint(endpoint.host, endpoint.port) for endpoint in endpoints]
    return endpoints


def _numbers(thing: Thing, name: str) -> Iterator[int]:
    for port in mappings(thing.get("ports")):
        if str(port.get("name") or "") == name and port.get("port"):
            yield int(port["port"])


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def scheme_of(wanted: str, backend: Backend) -> str:
    """The scheme of servers. Raises ValueError."""
    if wanted in ("http", "https", "h2c"):
        return wanted
    if wanted:
        raise ValueError(f"{wanted!r} is no scheme: write http, https or h2c")
    return "https" if backend.number == 443 or backend.name.startswith("https") else "http"


def servers_of(backend: Backend, scheme: str) -> list[dict[str, Any]]:
    """The servers of a load balancer of HTTP."""
    return [_server("url", f"{scheme}://{each.address}", each) for each in backend.endpoints]


def stream_servers_of(backend: Backend, more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The servers of a load balancer of TCP or UDP."""
    return [{**_server("address", each.address, each), **more} for each in backend.endpoints]


def _server(key: str, value: str, endpoint: Endpoint) -> dict[str, Any]:
    return {key: value, "weight": 0} if endpoint.is_leaving else {key: value}
