"""TLSRoute, TCPRoute and UDPRoute as routers of layer 4. No I/O."""

from __future__ import annotations

from lbcore.provider.kubernetes.context import Source
from lbcore.provider.kubernetes.endpoints import stream_servers_of
from lbcore.provider.kubernetes.gateway_backends import Unresolved, target_of
from lbcore.provider.kubernetes.gateway_http import Built, route_key
from lbcore.provider.kubernetes.gateway_model import Content, Gateway, GatewayContext, Listener
from lbcore.provider.kubernetes.gateway_rules import sni_priority, sni_rule
from lbcore.provider.kubernetes.names import digest
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping


class StreamRoute:
    """One route at one listener. `hosts`: names that both have; empty: any. `rank`: 0 = the oldest route."""

    def __init__(
        self, context: GatewayContext, source: Source, gateway: Gateway, listener: Listener, hosts: list[str], rank: int
    ) -> None:
        self.context = context
        self.source = source
        self.gateway = gateway
        self.listener = listener
        self.hosts = hosts
        self.layer = "udp" if source.kind == "UDPRoute" else "tcp"
        self.built = Built()

    def build(self) -> Built:
        spec = mapping(self.source.thing.get("spec"))
        for index, value in enumerate(spec.get("rules") or []):
            self.built.rules += 1
            faults, complain = self.source.collect()
            part = Part(value, f"spec.rules[{index}]", complain)
            part.text("name")
            key = route_key(self.context.draft, self.source, self.gateway, self.listener.point, index)
            name = f"{key}-{digest('')}"
            content: Content = {"entryPoints": [self.listener.point], "service": self.service(part, name)}
            part.end()
            if self.layer == "tcp":
                content["rule"] = sni_rule(self.hosts) if self.source.kind == "TLSRoute" else 'HostSNI("*")'
                if self.source.kind == "TLSRoute":
                    content["priority"] = sni_priority(self.hosts)
                    content["tls"] = {"passthrough": self.listener.passes}
            self.built.put(self.layer, "routers", name, content, part.path, faults)
        return self.built

    def service(self, part: Part, name: str) -> str:
        """Add the service of a router. A backend that cannot be resolved has no server: connections are closed."""
        children = []
        for index, ref in enumerate(part.parts("backendRefs")):
            weight = ref.number("weight")
            namespace = ref.text("namespace") or self.source.namespace
            own = f"{name}-svc-{namespace}-{ref.text('name')}-{index}"
            servers: list[Content] = []
            try:
                target = target_of(self.context, self.source, ref, self.layer.upper())
                if target.backend is None:
                    own = target.service
                else:
                    servers = stream_servers_of(target.backend, {})
            except Unresolved as error:
                self.built.unresolved.append((error.reason, str(error)))
            if "@" not in own:
                self.built.put(self.layer, "services", own, {"loadBalancer": {"servers": servers}}, ref.path)
            ref.end()
            children.append({"name": own, "weight": 1 if weight is None else weight})
        self.built.put(self.layer, "services", f"{name}-wrr", {"weighted": {"services": children}}, part.path)
        return f"{name}-wrr"
