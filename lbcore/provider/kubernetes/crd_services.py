"""Services of HTTP: TraefikService, and the services of Kubernetes that routes, pools and middlewares name. No I/O."""

from __future__ import annotations

import json
from typing import Any

from lbcore.provider.kubernetes.context import Refused, Source, Unavailable, step
from lbcore.provider.kubernetes.crd_references import AT, MIDDLEWARE, POOL, TRANSPORT, CrdContext
from lbcore.provider.kubernetes.endpoints import Ways, scheme_of, servers_of
from lbcore.provider.kubernetes.names import digest, identity, normalize
from lbcore.provider.kubernetes.part import Part

POOLS = ("weighted", "mirroring", "highestRandomWeight", "failover")  # the first one counts
RAW = ("healthCheck", "passiveHealthCheck", "responseForwarding")  # as in files

Content = dict[str, Any]


def ways_of(context: CrdContext, part: Part) -> Ways:
    """How the service that a part names is to be reached."""
    return context.ways(part.flag("nativeLB"), bool(part.flag("nodePortLB")))


class Services:
    """The services that objects name."""

    def __init__(self, context: CrdContext) -> None:
        self._context = context

    def read(self, source: Source) -> None:
        """Read a TraefikService."""
        spec = source.spec()
        kinds = [kind for kind in POOLS if kind in spec]
        content: Content = {}
        if not kinds:
            source.fault(f"spec: needs one of {', '.join(POOLS)}")
        for kind in kinds[1:]:
            self._context.draft.warn(f"{source.text}: spec.{kind}: has no effect beside {kinds[0]}")
        if kinds and (part := spec.part(kinds[0])) is not None:
            content = {kinds[0]: getattr(self, f"_{kinds[0].lower()}")(part, source)}
            part.end()
        spec.end()
        name = self._context.references.own(source)
        self._context.draft.put("http", "services", name, content, source.text, "spec", source.faults)

    def _weighted(self, part: Part, source: Source) -> Content:
        content: Content = {"services": self.children(part.parts("services"), source, source.identity)}
        sticky = part.raw("sticky")
        if isinstance(sticky, dict) and sticky.get("cookie") is not None:
            content["sticky"] = sticky
        return content

    def _highestrandomweight(self, part: Part, source: Source) -> Content:
        return {"services": self.children(part.parts("services"), source, source.identity)}

    def _mirroring(self, part: Part, source: Source) -> Content:
        content: Content = {"service": self.child(part, source, f"{source.identity}-main"), "mirrors": []}
        for key in ("mirrorBody", "maxBodySize"):
            if key in part:
                content[key] = part.raw(key)
        for mirror in part.parts("mirrors"):
            percent = mirror.number("percent") or 0
            try:
                name = self.named(mirror, source)
            except (Refused, Unavailable) as error:
                self._say(source, error)
                continue
            mirror.end()
            content["mirrors"].append({"name": name, "percent": percent})
        return content

    def _failover(self, part: Part, source: Source) -> Content:
        content: Content = {}
        if errors := part.raw("errors"):
            content["errors"] = errors
        for key in ("service", "fallback"):
            if (child := part.part(key)) is None:
                source.fault(f"{part.at(key)}: is missing")
                continue
            content[key] = self.child(child, source, f"{source.identity}-{key}")
            child.end()
        return content

    def children(self, parts: list[Part], source: Source, owner: str) -> list[Content]:
        """The services of a pool, with their weights. One that cannot be used has its share, and no server."""
        found = []
        for index, part in enumerate(parts):
            weight = part.number("weight")
            name = self.child(part, source, f"{owner}-{index}")
            part.end()
            found.append({"name": name, "weight": 1 if weight is None else weight})
        return found

    def child(self, part: Part, source: Source, stand_in: str) -> str:
        """The name of a service that a part of a pool means. `stand_in`: of one without servers in its place."""
        try:
            return self.named(part, source)
        except (Refused, Unavailable) as error:
            self._say(source, error)
            draft, owner = self._context.draft, (source.kind, source.namespace, source.name, part.path)
            name = draft.claim("http", "services", normalize(stand_in), owner)
            draft.put("http", "services", name, {"loadBalancer": {"servers": []}}, source.text, part.path)
            return name

    def named(self, part: Part, source: Source) -> str:
        """The name of the service that a part means, which is added. Raises Refused, Unavailable."""
        name, content = self.of(part, source)
        return name if content is None else self._added(name, content, source, part.path)

    def _say(self, source: Source, error: ValueError) -> None:
        self._context.draft.complain(f"{source.text}: {error}: no server")

    def _added(self, name: str, content: Content, source: Source, at: str) -> str:
        """Add a service, under another name if one with other settings has that name."""
        draft = self._context.draft
        for wanted in (name, f"{name}-{digest(json.dumps(content, sort_keys=True))}"):
            if draft.is_claimed("http", "services", wanted):
                continue
            before = draft.content("http", "services", wanted)
            if before is None:
                draft.put("http", "services", wanted, content, source.text, at)
            if before is None or before == content:
                return wanted
        raise Refused(f"{at}: the name {name} is taken")

    def of(self, part: Part, source: Source) -> tuple[str, Content | None]:
        """The service that a part means: its name, and what it is made of, or None if that is an object by itself.

        Raises Refused, Unavailable.
        """
        context, at = self._context, part.path
        name, kind, parent = part.text("name"), part.text("kind") or "Service", source.namespace
        given, port = part.text("namespace"), part.text("port")
        content = self._settings(part)
        strategy, scheme, transport = part.text("strategy"), part.text("scheme"), part.text("serversTransport")
        ways = ways_of(context, part)
        middlewares = part.parts("middlewares")
        part.raw("weight")
        if not name:
            raise Refused(f"{at}: name is missing")
        try:
            if kind == "TraefikService":
                return self._reference(parent, given, name), None
            if kind != "Service":
                raise Refused(f"kind {kind!r} is neither Service nor TraefikService")
            if AT in name:
                raise Refused(f"{name} is of a provider: write kind: TraefikService")
            namespace = given or parent
            context.references.check(parent, namespace)
            if strategy == "RoundRobin":
                context.draft.warn(f"{source.text}: {at}.strategy: the old name of wrr")
                strategy = "wrr"
            if strategy:
                content["strategy"] = strategy
            if transport:
                content["serversTransport"] = context.references.name(TRANSPORT, namespace, "", transport)
        except Refused as error:
            raise Refused(f"{at}: {error}") from None
        chain = context.references.names(MIDDLEWARE, namespace, middlewares)
        backend = context.backend(source.text, at, namespace, name, port, ways)
        try:
            content["servers"] = [] if backend is None else servers_of(backend, scheme_of(scheme, backend))
        except ValueError as error:
            raise Refused(f"{at}.scheme: {error}") from None
        found: Content = {"loadBalancer": content, **({"middlewares": chain} if chain else {})}
        return normalize(f"{identity(namespace, name)}-{port}"), found

    def _reference(self, parent: str, namespace: str, name: str) -> str:
        """The name of a TraefikService, or of a service of another provider."""
        if AT in name and name.rpartition(AT)[2] == "kubernetescrd":
            self._context.references.check_provider(parent, name)
            return normalize(identity(namespace, name.rpartition(AT)[0]))
        return self._context.references.name(POOL, parent, namespace, name)

    def _settings(self, part: Part) -> Content:
        content: Content = {}
        sticky = part.raw("sticky")
        if isinstance(sticky, dict) and sticky.get("cookie") is not None:
            content["sticky"] = sticky
        passed = part.flag("passHostHeader")
        if passed is not None:
            content["passHostHeader"] = passed
        for key in RAW:
            if key in part:
                content[key] = part.raw(key)
        return content


SERVICE_STEP = step(POOL, lambda context, source: Services(context).read(source))
