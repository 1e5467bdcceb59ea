"""IngressRoute, IngressRouteTCP and IngressRouteUDP as routers with their services. No I/O."""

from __future__ import annotations

from typing import Any

from lbcore.provider.kubernetes.context import Refused, Source, Unavailable, step
from lbcore.provider.kubernetes.core import Lacking
from lbcore.provider.kubernetes.crd_references import (
    MIDDLEWARE,
    STREAM_MIDDLEWARE,
    STREAM_TRANSPORT,
    CrdContext,
    options_name,
)
from lbcore.provider.kubernetes.crd_services import Services, ways_of
from lbcore.provider.kubernetes.endpoints import stream_servers_of
from lbcore.provider.kubernetes.names import digest, identity
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping, mappings
from lbcore.provider.kubernetes.tasks import Step
from lbcore.provider.kubernetes.watch import about

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
USUAL_CLASS = "traefik"

Content = dict[str, Any]


def _is_meant(context: CrdContext, source: Source, spec: Part) -> bool:
    """Whether a route is of the class of the provider."""
    wanted = context.wanted_class
    if "ingressClassName" in spec:
        named = spec.text("ingressClassName")
    else:
        named = str(mapping(about(source.thing).get("annotations")).get(CLASS_ANNOTATION) or "")
    return named == wanted or (not wanted and named == USUAL_CLASS)


class _Routes:
    """The routes of one object.

    middleware  the kind of middlewares that stand in front of them.
    by_match    whether the match of a route is its name: of two with one match the last one counts, as in Traefik.
    """

    middleware = MIDDLEWARE
    by_match = True

    def __init__(self, context: CrdContext, source: Source, spec: Part) -> None:
        self.context = context
        self.services = Services(context)
        self.source = source
        self.spec = spec
        self.points = spec.texts("entryPoints")

    def read(self) -> None:
        self.common()
        routes = self.spec.raw("routes") or []
        self.spec.end()
        if not isinstance(routes, list):
            self.source.fault("spec.routes: needs a list")
            routes = []
        last = {str(mapping(value).get("match")): index for index, value in enumerate(routes)} if self.by_match else {}
        for index, value in enumerate(routes):
            if index < (counts := last.get(str(mapping(value).get("match")), index)):
                text = f"spec.routes[{index}]: spec.routes[{counts}] has the same match, and counts"
                self.context.draft.complain(f"{self.source.text}: {text}")
                continue
            faults, complain = self.source.collect()
            self.route(Part(value, f"spec.routes[{index}]", complain), index, faults)
        if not routes:
            self.context.draft.complain(*(self.source.faults or [f"{self.source.text}: spec.routes: is empty"]))

    def common(self) -> None:
        """Read what all routes of the object share."""
        raise NotImplementedError

    def route(self, part: Part, index: int, faults: list[str]) -> None:
        """Add the router of one route, and its service."""
        raise NotImplementedError

    def router(self, layer: str, name: str, content: Content, part: Part, faults: list[str]) -> None:
        self.context.draft.put(
            layer, "routers", name, content, self.source.text, part.path, [*self.source.faults, *faults]
        )

    def absent(self, error: Unavailable) -> None:
        """A route without servers is not there, as allowEmptyServices says."""
        self.context.draft.complain(f"{self.source.text}: {error}: not routed")

    def tls(self, is_stream: bool) -> Content | None:
        """The `tls` of all routers; the certificate in its secret is added."""
        part = self.spec.part("tls")
        if part is None:
            return None
        content: Content = {}
        secret, passes = part.text("secretName"), is_stream and bool(part.flag("passthrough"))
        if is_stream:
            content["passthrough"] = passes
        if "certResolver" in part:
            content["certResolver"] = part.text("certResolver")
        if "domains" in part:
            content["domains"] = part.raw("domains")
        if "store" in part:
            self.context.draft.warn(f"{self.source.text}: spec.tls.store: has no effect, as in Traefik")
        if (options := part.part("options")) is not None:
            try:
                if name := options_name(self.context.references, self.source.namespace, options):
                    content["options"] = name
            except Refused as error:
                self.source.fault(f"{options.path}: {error}")
        part.end()
        if secret and not passes:
            try:
                certificate, key = self.context.core.pair(self.source.namespace, secret)
            except Lacking as error:
                self.context.draft.complain(f"{self.source.text}: spec.tls.secretName: {error}")
            else:
                self.context.draft.put_certificate(
                    f"{self.source.namespace}/{secret}", {"certFile": certificate, "keyFile": key}, self.source.text
                )
        return content

    def match(self, part: Part) -> str:
        match = part.text("match")
        if not match.strip():
            part.complain("match", "is missing")
        return match

    def middlewares(self, part: Part) -> list[str]:
        parts = part.parts("middlewares")
        try:
            return self.context.references.names(self.middleware, self.source.namespace, parts)
        except Refused as error:
            part.report(str(error))
            return []

    def rule(self, part: Part, match: str) -> Content:
        """What routers with a rule have in common."""
        content: Content = {"rule": match}
        if self.points:
            content["entryPoints"] = self.points
        if priority := part.number("priority"):
            content["priority"] = priority
        if syntax := part.text("syntax"):
            content["ruleSyntax"] = syntax
        if chain := self.middlewares(part):
            content["middlewares"] = chain
        return content


class _Http(_Routes):
    def common(self) -> None:
        self.of_tls = self.tls(False)
        self.parents = self.parent_names()

    def parent_names(self) -> list[str]:
        """The routers of the objects that this one is below. None if one is missing, so that no other suffers."""
        found: list[str] = []
        faults_before = len(self.source.faults)
        for part in self.spec.parts("parentRefs"):
            namespace, name = part.text("namespace") or self.source.namespace, part.text("name")
            part.end()
            try:
                self.context.references.check(self.source.namespace, namespace)
            except Refused as error:
                self.source.fault(f"{part.path}: {error}")
                continue
            parent = self.context.snapshot.find("IngressRoute", namespace, name)
            if parent is None:
                self.source.fault(f"{part.path}: IngressRoute {namespace}/{name} does not exist")
                continue
            for route in mappings(mapping(parent.get("spec")).get("routes")):
                found.append(self.context.references.router(namespace, name, str(route.get("match") or "")))
        return found if len(self.source.faults) == faults_before else []

    def route(self, part: Part, index: int, faults: list[str]) -> None:
        match, kind = self.match(part), part.text("kind")
        if kind not in ("", "Rule"):
            part.complain("kind", f"{kind!r}: has to be Rule")
        name = self.context.references.router(self.source.namespace, self.source.name, match)
        content = self.rule(part, match)
        if "observability" in part:
            content["observability"] = part.raw("observability")
        if self.of_tls is not None:
            content["tls"] = self.of_tls
        if self.parents:
            content["parentRefs"] = self.parents
        services = part.parts("services")
        part.end()
        draft, source = self.context.draft, self.source
        if not draft.has("http", "routers", name):
            try:
                self.service(services, name, match, content)
            except Refused as error:
                faults.append(f"{source.text}: {error}")
            except Unavailable as error:
                self.absent(error)
                return
        self.router("http", name, content, part, faults)

    def service(self, parts: list[Part], name: str, match: str, content: Content) -> None:
        """Add the service of a route, with the name of its router if that is free. Raises Refused, Unavailable."""
        if not parts:
            return
        source, draft = self.source, self.context.draft
        owner = (source.kind, source.namespace, source.name, match)
        name = content["service"] = draft.claim("http", "services", name, owner)
        if len(parts) > 1:
            pool: Content = {"weighted": {"services": self.services.children(parts, source, name)}}
        else:
            named, found = self.services.of(parts[0], source)
            parts[0].end()
            if found is None:
                content["service"] = named
                return
            pool = found
        draft.put("http", "services", name, pool, source.text, parts[0].path)


class _Streams(_Routes):
    """Routes of layer 4. Each of their services is a part of a pool, or the only one."""

    layer = ""
    protocol = ""
    middleware = STREAM_MIDDLEWARE

    def names(self, wanted: str, which: str) -> tuple[str, str]:
        """The names of the router of a route, and of its service."""
        draft, owner = self.context.draft, self.owner(which)
        name = draft.claim(self.layer, "routers", wanted, owner)
        return name, draft.claim(self.layer, "services", name, owner)

    def owner(self, *which: str) -> tuple[str, ...]:
        return (self.source.kind, self.source.namespace, self.source.name, *which)

    def pool(self, parts: list[Part], name: str, which: str) -> None:
        """Add the service `name` of a route. Raises Unavailable if it is to be there only with servers."""
        found: list[Content] = []
        lost: list[Unavailable] = []
        draft, source = self.context.draft, self.source
        for part in parts:
            weight = part.number("weight")
            try:
                balancer = self.balancer(part)
            except Unavailable as error:
                if len(parts) == 1:
                    raise
                lost.append(error)
                continue
            except Refused as error:
                draft.complain(f"{source.text}: {error}: no server")
                balancer = {"servers": []}
            if len(parts) == 1:
                draft.put(self.layer, "services", name, {"loadBalancer": balancer}, source.text, part.path)
                return
            wanted, of_child = f"{name}-{part.text('name')}-{part.text('port')}", (part.text("name"), part.text("port"))
            child = draft.claim(self.layer, "services", wanted, self.owner(which, *of_child))
            before = draft.content(self.layer, "services", child)
            if before is not None and before != {"loadBalancer": balancer}:
                owner = self.owner(which, *of_child, str(len(found)))
                child = draft.claim(self.layer, "services", f"{child}-{len(found)}", owner)
                before = None
            if before is None:
                draft.put(self.layer, "services", child, {"loadBalancer": balancer}, source.text, part.path)
            found.append({"name": child, "weight": 1 if weight is None else weight})
        draft.complain(*(f"{source.text}: {each}: no server" for each in lost))
        if not found and lost:
            raise lost[0]
        draft.put(self.layer, "services", name, {"weighted": {"services": found}}, source.text)

    def balancer(self, part: Part) -> Content:
        """The load balancer of a part. Raises Refused, Unavailable."""
        context, source = self.context, self.source
        name, port = part.text("name"), part.text("port")
        namespace = part.text("namespace") or source.namespace
        ways = ways_of(context, part)
        part.raw("weight")
        content, of_server = self.options(part, namespace)
        part.end()
        if not name:
            raise Refused(f"{part.path}: name is missing")
        try:
            context.references.check(source.namespace, namespace)
        except Refused as error:
            raise Refused(f"{part.path}: {error}") from None
        backend = context.backend(source.text, part.path, namespace, name, port, ways, self.protocol)
        content["servers"] = [] if backend is None else stream_servers_of(backend, of_server)
        return content

    def options(self, part: Part, namespace: str) -> tuple[Content, Content]:
        """The settings of a load balancer, and those of its servers. Raises Refused."""
        return {}, {}


class _Tcp(_Streams):
    layer, protocol = "tcp", "TCP"

    def common(self) -> None:
        self.of_tls = self.tls(True)

    def route(self, part: Part, index: int, faults: list[str]) -> None:
        match = self.match(part)
        wanted = identity(self.source.namespace, f"{self.source.name}-{digest(match)}")
        name, service = self.names(wanted, match)
        content = {**self.rule(part, match), "service": service}
        if self.of_tls is not None:
            content["tls"] = self.of_tls
        services = part.parts("services")
        part.end()
        if not services:
            part.complain("services", "is empty")
        if not self.context.draft.has("tcp", "routers", name):
            try:
                self.pool(services, service, match)
            except Unavailable as error:
                self.absent(error)
                return
        self.router("tcp", name, content, part, faults)

    def options(self, part: Part, namespace: str) -> tuple[Content, Content]:
        content: Content = {}
        transport, delay = part.text("serversTransport"), part.number("terminationDelay")
        if "proxyProtocol" in part:
            content["proxyProtocol"] = part.raw("proxyProtocol")
        if transport:
            try:
                content["serversTransport"] = self.context.references.name(
                    STREAM_TRANSPORT, self.source.namespace, "", transport
                )
            except Refused as error:
                raise Refused(f"{part.at('serversTransport')}: {error}") from None
        elif delay is not None:
            content["terminationDelay"] = delay
        return content, {"tls": True} if part.flag("tls") else {}


class _Udp(_Streams):
    by_match = False
    layer, protocol = "udp", "UDP"

    def common(self) -> None:
        pass

    def route(self, part: Part, index: int, faults: list[str]) -> None:
        name, service = self.names(identity(self.source.namespace, f"{self.source.name}-{index}"), str(index))
        services = part.parts("services")
        part.end()
        content: Content = {"service": service, **({"entryPoints": self.points} if self.points else {})}
        if not services:
            part.complain("services", "is empty")
        if not self.context.draft.has("udp", "routers", name):
            try:
                self.pool(services, service, str(index))
            except Unavailable as error:
                self.absent(error)
                return
        self.router("udp", name, content, part, faults)


def _step(kind: str, routes: type[_Routes]) -> Step:
    """The step that adds the routers of all routes of a kind that are of the provider's class."""

    def add(context: CrdContext, source: Source) -> None:
        spec = source.spec()
        if _is_meant(context, source, spec):
            routes(context, source, spec).read()

    return step(kind, add)


ROUTE_STEPS = (_step("IngressRoute", _Http), _step("IngressRouteTCP", _Tcp), _step("IngressRouteUDP", _Udp))
