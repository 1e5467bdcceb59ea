"""What the statuses of Ingresses say: where lbcore is reached. No I/O."""

from __future__ import annotations

from typing import Any

from lbcore.config.static.kubernetes import IngressEndpoint
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.context import Context, Source
from lbcore.provider.kubernetes.core import NODES, Lacking
from lbcore.provider.kubernetes.shape import mapping, mappings, texts
from lbcore.provider.kubernetes.tasks import Step
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Kind, about

PLACES = "where lbcore is reached"


def places_step(endpoint: IngressEndpoint) -> Step:
    """The step that finds out where lbcore is reached, before anything is said about that."""

    def read(context: Context, nothing: Thing) -> None:
        try:
            places = _places(context, endpoint)
        except Lacking as error:
            context.draft.complain(f"statuses of Ingresses: publishedService: {error}")
            return
        if places is not None:
            context.draft.tell(PLACES, places)

    return Step("", read)


def want_status(context: Context, kind: Kind, source: Source) -> None:
    """Add the status of an Ingress, unless it is not known yet where lbcore is reached."""
    places = context.draft.told(PLACES)
    if places is None:
        return

    def make(status: Thing) -> Thing:
        return {**status, "loadBalancer": {"ingress": places}}

    thing = about(source.thing)
    context.draft.want(Wanted(kind, str(thing.get("namespace")), str(thing.get("name")), make))


def _places(context: Context, endpoint: IngressEndpoint) -> list[dict[str, Any]] | None:
    """Addresses and names; None: not known yet. Raises Lacking."""
    if not endpoint.published_service:
        given = {"ip": endpoint.ip, "hostname": endpoint.hostname}
        return [{key: value for key, value in given.items() if value}]
    namespace, _, name = endpoint.published_service.partition("/")
    service = context.core.service(namespace, name)
    spec = mapping(service.get("spec"))
    kind = spec.get("type") or "ClusterIP"
    if kind == "LoadBalancer":
        found = mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress")
        return list(found) if found else None
    if kind == "ExternalName":
        return [{"hostname": str(spec.get("externalName") or "")}]
    if kind == "ClusterIP":
        addresses, key = texts(spec.get("externalIPs")), "port"
    elif kind == "NodePort":
        if not context.sees_nodes:
            raise Lacking(f"Service {namespace}/{name}: nodes are not read: disableClusterScopeResources")
        addresses, key = _outside(context), "nodePort"
    else:
        raise Lacking(f"Service {namespace}/{name}: type {kind!r} is not supported")
    ports = [{"port": port.get(key), "protocol": port.get("protocol") or "TCP"} for port in mappings(spec.get("ports"))]
    return [{"ip": str(address), **({"ports": ports} if ports else {})} for address in addresses]


def _outside(context: Context) -> list[str]:
    """The addresses of all nodes outside of the cluster."""
    nodes = sorted(context.snapshot.all(NODES.name), key=lambda node: str(about(node).get("name")))
    addresses = [address for node in nodes for address in mappings(mapping(node.get("status")).get("addresses"))]
    return [str(address["address"]) for address in addresses if address.get("type") == "ExternalIP"]
