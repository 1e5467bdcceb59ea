"""HTTPRoute and GRPCRoute: rules as routers with their middlewares, services and transports. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lbcore.config.units import parse_duration
from lbcore.provider.kubernetes.context import Source
from lbcore.provider.kubernetes.draft import Draft
from lbcore.provider.kubernetes.endpoints import servers_of
from lbcore.provider.kubernetes.gateway_backends import Unresolved, policy_of, scheme_of, target_of
from lbcore.provider.kubernetes.gateway_filters import Filters, Unsupported, filters_of
from lbcore.provider.kubernetes.gateway_model import Content, Gateway, GatewayContext, Listener
from lbcore.provider.kubernetes.gateway_rules import grpc_rules, host_groups, host_rule, http_rules, path_of, priority
from lbcore.provider.kubernetes.names import digest, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping

NOWHERE = "invalid-backend"  # the URL of a server that stands for what has to be answered with 500

Place = tuple[str, str, str]


@dataclass(slots=True)
class Built:
    """What a route becomes at one listener.

    made        objects, by layer, kind and name: content, where that is written, and faults.
    outside     objects that refer to one of another provider, the reference, and the object that it has to be made of.
    unresolved  references that lead nowhere: the reason, and the text.
    unsupported what lbcore does not have: rules with that answer 500, or do not run if it is a key that nobody knows.
    rules       how many rules there are.
    broken      how many of them have what is not supported.
    """

    made: dict[Place, tuple[Content, str, list[str]]] = field(default_factory=dict)
    outside: list[tuple[Place, str, str]] = field(default_factory=list)
    unresolved: list[tuple[str, str]] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    rules: int = 0
    broken: int = 0

    def put(self, layer: str, kind: str, name: str, content: Content, at: str, faults: list[str] | None = None) -> None:
        self.made[(layer, kind, name)] = (content, at, [] if faults is None else faults)


def route_key(draft: Draft, source: Source, gateway: Gateway, point: str, index: int) -> str:
    """What the names of a rule's objects begin with."""
    parts = f"{source.kind.lower()}-{source.namespace}-{source.name}-gw-{gateway.namespace}-{gateway.name}"
    owner = (source.kind, source.namespace, source.name, gateway.namespace, gateway.name, point, str(index))
    return draft.claim("", "rules", normalize(f"{parts}-ep-{point}-{index}"), owner)


class HttpRoute:
    """One route at one listener.

    hosts  names that both have; empty: any.
    rank   0 = the oldest route.
    """

    def __init__(
        self, context: GatewayContext, source: Source, gateway: Gateway, listener: Listener, hosts: list[str], rank: int
    ) -> None:
        self.context = context
        self.source = source
        self.gateway = gateway
        self.listener = listener
        self.hosts = hosts
        self.rank = rank
        self.is_grpc = source.kind == "GRPCRoute"
        self.built = Built()
        self.elsewhere: dict[str, str] = {}  # services of another provider, and what they have to be made of
        self.order = 0

    def build(self) -> Built:
        spec = mapping(self.source.thing.get("spec"))
        for index, value in enumerate(spec.get("rules") or [{}]):
            self.built.rules += 1
            faults, complain = self.source.collect()
            self.rule(Part(value, f"spec.rules[{index}]", complain), index, faults)
        return self.built

    def rule(self, part: Part, index: int, faults: list[str]) -> None:
        key = route_key(self.context.draft, self.source, self.gateway, self.listener.point, index)
        raw = part.raw("matches") or [{}]
        part.text("name")
        unsupported: set[str] = set()
        for number, value in enumerate(raw):
            match = Part(value, f"{part.path}.matches[{number}]", part.report)
            path = ("PathPrefix", "/") if self.is_grpc else path_of(match)
            rules, weights = grpc_rules(match) if self.is_grpc else http_rules(match)
            for hosts in host_groups(self.hosts):
                rule = " && ".join(filter(None, (host_rule(hosts), *rules)))
                name = f"{key}-{digest(rule)}"
                place = priority(hosts, weights, self.rank, self.order)
                unsupported |= self.router(part, name, rule, place, path, faults)
            self.order += 1
        for each in ("filters", "backendRefs", "timeouts", "retry", "sessionPersistence"):
            part.raw(each)
        part.end()
        unsupported |= {fault.removeprefix(f"{self.source.text}: ") for fault in faults}
        if unsupported:
            self.built.broken += 1
            self.built.unsupported += sorted(unsupported)

    def router(
        self, part: Part, name: str, rule: str, place: int, path: tuple[str, str], faults: list[str]
    ) -> set[str]:
        """Add a router. Returns what it wants and lbcore does not have."""
        content: Content = {"rule": rule, "priority": place, "entryPoints": [self.listener.point]}
        if self.listener.protocol == "HTTPS":
            content["tls"] = {}
        problem = ""
        try:
            filters = filters_of(part.parts("filters"), name, self.source.namespace, path)
            before, after = self.limits(part, name)
            user = ("http", "routers", name)
            names = [*before, *self.middlewares(filters, part.path, user), *after]
            if names:
                content["middlewares"] = names
            content["service"] = self.service(part, name, filters, path)
        except Unsupported as error:
            problem = str(error)
            content.pop("middlewares", None)
            content["service"] = self.pool(f"{name}-err-wrr", [(self.refusal(f"{name}-err"), 1)], part.path)
        self.built.put("http", "routers", name, content, part.path, faults)
        return {problem} if problem else set()

    def middlewares(self, filters: Filters, at: str, user: Place) -> list[str]:
        """Add the middlewares of filters, in front of `user`. Returns their names."""
        for name, content in filters.made.items():
            if isinstance(content, str):
                self.built.outside.append((user, name, content))
            else:
                self.built.put("http", "middlewares", name, content, at)
        return list(filters.made)

    def limits(self, part: Part, name: str) -> tuple[list[str], list[str]]:
        """Add the middlewares of timeouts and retries. Returns the outermost, and the innermost ones."""
        before, after = [], []
        timeouts, retry = part.part("timeouts"), part.part("retry")
        if timeouts is not None:
            request = timeouts.text("request")
            timeouts.raw("backendRequest")
            timeouts.end()
            if request and request.rstrip("hms") != "0":
                before.append(f"{name}-timeout")
                self.built.put("http", "middlewares", before[-1], {"timeout": {"after": request}}, timeouts.path)
        if retry is not None:
            attempts, codes, backoff = retry.number("attempts"), retry.raw("codes") or [], retry.text("backoff")
            retry.end()
            content: Content = {"attempts": (1 if attempts is None else attempts) + 1}
            if codes:
                content["status"] = [str(code) for code in codes]
            if backoff:
                content["initialInterval"] = backoff
            after.append(f"{name}-retry")
            self.built.put("http", "middlewares", after[-1], {"retry": content}, retry.path)
        return before, after

    # Services

    def service(self, part: Part, name: str, filters: Filters, path: tuple[str, str]) -> str:
        """Add the service of a router. Returns its name."""
        sticky = self.session(part)
        refs = part.parts("backendRefs")
        if len(refs) == 1 and (internal := self.internal(refs[0])):
            return internal
        children: list[tuple[str, int]] = []
        for index, ref in enumerate(refs):
            weight = ref.number("weight")
            child = self.backend(ref, name, index, path, part, sticky)
            children.append((child, 1 if weight is None else weight))
        if not filters.answers and not any(weight for _, weight in children):
            children = [(self.refusal(f"{name}-none"), 1)]  # there is nothing to ask
        found = self.pool(f"{name}-wrr", children, part.path, sticky)
        mirrors: list[Content] = []
        for index, (ref, percent) in enumerate(filters.mirrors):
            try:
                copy = self.server_pool(ref, f"{name}-mirror-{index}", part, None)
                mirrors.append({"name": copy, "percent": percent})
            except Unresolved as error:
                self.unresolved(error)
            ref.end()
        if mirrors:
            content = {"mirroring": {"service": found, "mirrors": mirrors}}
            self.built.put("http", "services", f"{name}-mirrors", content, part.path)
            self.note_outside(f"{name}-mirrors", [each["name"] for each in mirrors])
            return f"{name}-mirrors"
        return found

    def internal(self, ref: Part) -> str:
        """The name of lbcore's own service that a rule leads to; empty: it does not."""
        if not ref.text("name").endswith("@internal"):
            return ""
        try:
            return target_of(self.context, self.source, ref).service
        except Unresolved:
            return ""

    def backend(
        self, ref: Part, name: str, index: int, path: tuple[str, str], rule: Part, sticky: Content | None
    ) -> str:
        """Add the service of a backendRef. What cannot be resolved answers 500."""
        namespace = ref.text("namespace") or self.source.namespace
        own = f"{name}-svc-{namespace}-{ref.text('name')}-{index}"
        ref.number("weight")
        try:
            filters = filters_of(ref.parts("filters"), own, self.source.namespace, path)
            if filters.answers:
                raise Unsupported(f"{ref.path}: a redirection is a filter of a rule")
            before = self.middlewares(filters, ref.path, ("http", "services", own))
            found = self.server_pool(ref, own, rule, sticky, before)
        except Unresolved as error:
            self.unresolved(error)
            found = self.refusal(own)
            filters = Filters()
        ref.end()
        mirrors: list[Content] = []
        for number, (mirror, percent) in enumerate(filters.mirrors):
            try:
                copy = self.server_pool(mirror, f"{own}-mirror-{number}", rule, None)
                mirrors.append({"name": copy, "percent": percent})
            except Unresolved as error:
                self.unresolved(error)
            mirror.end()
        if mirrors:
            content = {"mirroring": {"service": found, "mirrors": mirrors}}
            self.built.put("http", "services", f"{own}-mirrors", content, ref.path)
            self.note_outside(f"{own}-mirrors", [found, *(each["name"] for each in mirrors)])
            found = f"{own}-mirrors"
        return found

    def unresolved(self, error: Unresolved) -> None:
        self.built.unresolved.append((error.reason, str(error)))

    def server_pool(
        self, ref: Part, name: str, rule: Part, sticky: Content | None, middlewares: list[str] | None = None
    ) -> str:
        """Add the load balancer of a reference. Returns its name, or that of an object elsewhere. Raises Unresolved."""
        target = target_of(self.context, self.source, ref)
        if target.backend is None:
            if target.source and self.elsewhere.setdefault(target.service, target.source) != target.source:
                text = f"{ref.path}: {target.source} reads like {self.elsewhere[target.service]} of this route"
                raise Unresolved("BackendNotFound", text)
            return target.service
        policy = policy_of(self.context, self.gateway, target)
        scheme = "https" if policy is not None else scheme_of(target, ref, self.is_grpc)
        if policy is not None and policy.transport is None:
            return self.refusal(name)
        balancer: Content = {"servers": servers_of(target.backend, scheme)}
        transport: Content = dict(policy.transport or {}) if policy is not None else {}
        if limit := self.answer_limit(rule):
            transport["forwardingTimeouts"] = {"responseHeaderTimeout": limit}
        if transport:
            balancer["serversTransport"] = name
            self.built.put("http", "serversTransports", name, transport, ref.path)
        if sticky is not None:
            balancer["sticky"] = sticky
        content: Content = {"loadBalancer": balancer}
        if middlewares:
            content["middlewares"] = middlewares
        self.built.put("http", "services", name, content, ref.path)
        return name

    def answer_limit(self, rule: Part) -> str:
        """The longest wait for a backend's answer; empty: any."""
        timeouts: Any = rule.raw("timeouts")
        limit = str(timeouts.get("backendRequest") or "") if isinstance(timeouts, dict) else ""
        return limit if limit.rstrip("hms") != "0" else ""

    def session(self, part: Part) -> Content | None:
        """What keeps a client at its backend. Raises Unsupported."""
        wanted = part.part("sessionPersistence")
        if wanted is None:
            return None
        kind, name, idle = wanted.text("type") or "Cookie", wanted.text("sessionName"), wanted.text("idleTimeout")
        lasts, cookie = wanted.text("absoluteTimeout"), wanted.part("cookieConfig")
        lifetime = cookie.text("lifetimeType") if cookie is not None else ""
        if cookie is not None:
            cookie.end()
        wanted.end()
        if kind != "Cookie":
            raise Unsupported(f"{wanted.at('type')}: {kind!r} is not supported: write Cookie")
        if idle:
            raise Unsupported(f"{wanted.at('idleTimeout')}: is not supported")
        content: Content = {"httpOnly": True, "path": "/"}
        if name:
            content["name"] = name
        if lifetime == "Permanent":
            if not lasts:
                raise Unsupported(f"{wanted.path}: lifetimeType Permanent needs absoluteTimeout")
            content["maxAge"] = _seconds(lasts, wanted.at("absoluteTimeout"))
        elif lasts:
            raise Unsupported(f"{wanted.at('absoluteTimeout')}: goes with cookieConfig.lifetimeType: Permanent")
        return {"cookie": content}

    def pool(self, name: str, children: list[tuple[str, int]], at: str, sticky: Content | None = None) -> str:
        """Add a service that chooses among others by their weights."""
        weighted: Content = {"services": [{"name": child, "weight": weight} for child, weight in children]}
        if sticky is not None and len(children) > 1:
            cookie = dict(sticky["cookie"])
            if "name" in cookie:  # one cookie for the backend, and another one for its server
                cookie["name"] += "_backend"
            weighted["sticky"] = {"cookie": cookie}
        self.built.put("http", "services", name, {"weighted": weighted}, at)
        self.note_outside(name, [child for child, _ in children])
        return name

    def note_outside(self, name: str, children: list[str]) -> None:
        """Note which children of a service are of another provider."""
        for child in children:
            if child in self.elsewhere:
                self.built.outside.append((("http", "services", name), child, self.elsewhere[child]))

    def refusal(self, name: str) -> str:
        """Add a service that answers 500."""
        self.built.put("http", "services", name, {"loadBalancer": {"servers": [{"url": NOWHERE}]}}, "spec")
        return name


def _seconds(text: str, at: str) -> int:
    try:
        return max(int(parse_duration(text).total_seconds()), 1)
    except ValueError as error:
        raise Unsupported(f"{at}: {error}") from None
