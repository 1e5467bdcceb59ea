"""GatewayClasses and Gateways: which are ours, and which of their listeners can be used. No I/O."""

from __future__ import annotations

from typing import Any

from lbcore.provider.kubernetes.context import Source
from lbcore.provider.kubernetes.core import Lacking
from lbcore.provider.kubernetes.gateway_model import (
    GATEWAY,
    GROUP,
    NAMESPACES,
    Gateway,
    GatewayContext,
    Listener,
    condition,
    granted,
    matches_labels,
)
from lbcore.provider.kubernetes.shape import mapping, mappings
from lbcore.provider.kubernetes.watch import about

KINDS = {
    "HTTP": ["HTTPRoute", "GRPCRoute"],
    "HTTPS": ["HTTPRoute", "GRPCRoute"],
    "TLS": ["TLSRoute"],
    "TCP": ["TCPRoute"],
    "UDP": ["UDPRoute"],
}
EXPERIMENTAL = ("TCP", "UDP")


def classes_of(context: GatewayContext) -> dict[str, bool]:
    """Our classes, by name, and whether they are accepted: parameters mean nothing here."""
    found = {}
    for thing in context.snapshot.all("GatewayClass"):
        spec = mapping(thing.get("spec"))
        if spec.get("controllerName") == context.options.controller_name:
            found[str(about(thing).get("name"))] = not spec.get("parametersRef")
    return found


def read_gateway(context: GatewayContext, source: Source) -> None:
    """Tell of a Gateway of ours, with its listeners. Certificates are added."""
    if not classes_of(context).get(str(mapping(source.thing.get("spec")).get("gatewayClassName"))):
        return
    gateway = _Reader(context, source).read()
    context.draft.tell((GATEWAY, gateway.namespace, gateway.name), gateway)
    for listener in gateway.listeners:
        for each in listener.conditions:
            context.draft.complain(f"{source.text}: listener {listener.name}: {each['message']}")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


class _Reader:
    """One Gateway."""

    def __init__(self, context: GatewayContext, source: Source) -> None:
        self.context = context
        self.thing = source.thing
        self.generation = about(source.thing).get("generation")
        self.gateway = Gateway(source.namespace, source.name, self.generation)
        self.used: set[tuple[str, str, int]] = set()

    def read(self) -> Gateway:
        spec = mapping(self.thing.get("spec"))
        if (mapping(spec.get("tls")).get("frontend")) is not None:
            # Clients would not be asked for the certificates that somebody relies on.
            self.gateway.problem = "spec.tls.frontend: validation of clients is not supported"
        for each in mappings(spec.get("listeners")):
            listener = Listener(
                str(each.get("name")),
                _number(each.get("port")),
                str(each.get("protocol") or ""),
                str(each.get("hostname") or "").lower(),
            )
            self.gateway.listeners.append(listener)
            self.listener(listener, each)
        return self.gateway

    def fail(self, listener: Listener, kind: str, reason: str, message: str, blocks: bool = True) -> None:
        is_true = kind == "Conflicted"
        listener.is_blocked |= blocks
        listener.conditions.append(condition(kind, is_true, reason, message, self.generation))

    def listener(self, listener: Listener, each: dict[str, Any]) -> None:
        if self.gateway.problem:
            self.fail(listener, "Accepted", "Invalid", self.gateway.problem)
            return
        supported = KINDS.get(listener.protocol, [])
        if listener.protocol in EXPERIMENTAL and not self.context.options.experimental_channel:
            supported = []
        if not supported:
            hint = ": experimentalChannel is off" if listener.protocol in EXPERIMENTAL else ""
            text = f"protocol {listener.protocol!r} is not supported{hint}"
            self.fail(listener, "Accepted", "UnsupportedProtocol", text)
            return
        listener.point = self.point(listener)
        if not listener.point:
            text = f"there is no entry point for {listener.protocol} with port {listener.port}"
            self.fail(listener, "Accepted", "PortUnavailable", text)
        allowed = mapping(each.get("allowedRoutes"))
        self.kinds(listener, mappings(allowed.get("kinds")), supported)
        self.namespaces(listener, mapping(allowed.get("namespaces")))
        key = (listener.protocol, listener.hostname, listener.port)
        if key in self.used:
            text = "another listener has its protocol, port and hostname"
            self.fail(listener, "Conflicted", "HostnameConflict", text)
        self.used.add(key)
        self.tls(listener, each.get("tls"))

    def point(self, listener: Listener) -> str:
        """The entry point of a listener. One for plain HTTP must not have TLS for all of its routers."""
        fitting = [
            point.name
            for point in self.context.points
            if point.port == listener.port
            and point.is_udp == (listener.protocol == "UDP")
            and not (listener.protocol == "HTTP" and point.has_tls)
        ]
        return fitting[0] if fitting else ""

    def kinds(self, listener: Listener, wanted: list[dict[str, Any]], supported: list[str]) -> None:
        listener.kinds = list(supported)
        if not wanted:
            return
        known = [each for each in wanted if (each.get("group") or GROUP) == GROUP and each.get("kind") in supported]
        listener.kinds = list(dict.fromkeys(str(each["kind"]) for each in known))
        if len(known) < len(wanted):
            others = ", ".join(str(each.get("kind")) for each in wanted if each not in known)
            text = f"{listener.protocol} does not take {others}"
            self.fail(listener, "ResolvedRefs", "InvalidRouteKinds", text, blocks=not known)

    def namespaces(self, listener: Listener, wanted: dict[str, Any]) -> None:
        own, way = self.gateway.namespace, wanted.get("from") or "Same"
        if way == "All":
            listener.namespaces = None
        elif way == "Selector":
            try:
                listener.namespaces = frozenset(
                    str(about(thing).get("name"))
                    for thing in self.context.snapshot.all(NAMESPACES.name)
                    if matches_labels(wanted.get("selector"), mapping(about(thing).get("labels")))
                )
            except ValueError as error:
                self.fail(listener, "Accepted", "Invalid", str(error))
                return
        elif way == "Same":
            listener.namespaces = frozenset((own,))

    def tls(self, listener: Listener, tls: dict[str, Any] | None) -> None:
        if listener.protocol not in ("HTTPS", "TLS"):
            if tls is not None:
                self.fail(listener, "Accepted", "Invalid", f"tls does not go with protocol {listener.protocol}")
            return
        mode = mapping(tls).get("mode") or "Terminate"
        listener.passes = mode == "Passthrough"
        if listener.passes and listener.protocol == "HTTPS":
            self.fail(listener, "Accepted", "UnsupportedProtocol", "HTTPS does not go with mode Passthrough")
        if listener.passes:
            return
        references = mappings(mapping(tls).get("certificateRefs"))
        if not references:
            self.fail(listener, "ResolvedRefs", "InvalidCertificateRef", "tls.certificateRefs: is empty")
        before = listener.is_blocked
        good = [self.certificate(listener, each) for each in references]
        # One certificate is enough to serve some names.
        listener.is_blocked = before or not any(good)

    def certificate(self, listener: Listener, each: dict[str, Any]) -> bool:
        """Add a certificate. Returns whether it can be used."""
        group, kind = each.get("group") or "", each.get("kind") or "Secret"
        namespace, name = str(each.get("namespace") or self.gateway.namespace), str(each.get("name") or "")
        text = f"{kind} {namespace}/{name}"
        if (group, kind) != ("", "Secret"):
            self.fail(listener, "ResolvedRefs", "InvalidCertificateRef", f"{group}/{kind} is no kind of certificates")
            return False
        if not granted(self.context, "Gateway", self.gateway.namespace, "", "Secret", name, namespace):
            self.fail(listener, "ResolvedRefs", "RefNotPermitted", f"{text}: no ReferenceGrant allows it")
            return False
        try:
            certificate, key = self.context.core.pair(namespace, name)
        except Lacking as error:
            self.fail(listener, "ResolvedRefs", "InvalidCertificateRef", str(error))
            return False
        source = f"Gateway {self.gateway.namespace}/{self.gateway.name}"
        self.context.draft.put_certificate(f"{namespace}/{name}", {"certFile": certificate, "keyFile": key}, source)
        return True
