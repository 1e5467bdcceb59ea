"""`providers.kubernetesIngress`: the Ingresses of a cluster, with Traefik's annotations. No I/O but the store's."""

from __future__ import annotations

from typing import Any

from lbcore.config.rule import go_quote
from lbcore.config.static.kubernetes import KubernetesIngress
from lbcore.provider.kubernetes.context import Context, Refused, Source, Unavailable, step
from lbcore.provider.kubernetes.core import NODES, SECRETS, SERVICES, SLICES, Core, Lacking
from lbcore.provider.kubernetes.draft import Draft, Memory
from lbcore.provider.kubernetes.endpoints import scheme_of, servers_of
from lbcore.provider.kubernetes.ingress_annotations import Annotations, annotations_of
from lbcore.provider.kubernetes.ingress_status import places_step, want_status
from lbcore.provider.kubernetes.names import digest, identity, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping
from lbcore.provider.kubernetes.store import KubernetesStore, Outcome
from lbcore.provider.kubernetes.tasks import Seen, follow
from lbcore.provider.kubernetes.watch import Kind, Snapshot, about

PROVIDER = "kubernetes"
SECTION = "kubernetesIngress"  # the name of its settings below `providers`
CONTROLLER = "traefik.io/ingress-controller"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
USUAL_CLASS = "traefik"
DEFAULT_ROUTER, DEFAULT_BACKEND = "default-router", "default-backend"
LOWEST = -(1 << 31)  # priority of the default backend
ANY_LABEL = "{subdomain:[a-zA-Z0-9-]+}"  # in a rule of version 2
MATCHERS = ("Path", "PathPrefix", "PathRegexp")
CLASSES = Kind("IngressClass", "ingressclasses", "networking.k8s.io", scoped=False)

Content = dict[str, Any]


def kinds_of(settings: KubernetesIngress) -> list[Kind]:
    """The kinds that are read."""
    ingresses = Kind("Ingress", "ingresses", "networking.k8s.io", selector=settings.label_selector)
    no_nodes = settings.disable_cluster_scope_resources
    no_classes = no_nodes or settings.disable_ingress_class_lookup
    return [
        ingresses,
        SERVICES,
        SLICES,
        SECRETS,
        *(() if no_classes else (CLASSES,)),
        *(() if no_nodes else (NODES,)),
    ]


def ingress_store(settings: KubernetesIngress, syntax: str = "") -> KubernetesStore:
    """A cluster. `syntax`: the language of rules that do not say theirs. Raises ConfigError for unusable settings."""
    lease = ""
    if settings.ingress_endpoint is not None:
        lease = settings.lease or normalize(f"lbcore-{PROVIDER}-{settings.ingress_class}").lower()

    def make(snapshot: Snapshot, memory: Memory) -> Outcome:
        return outcome_of(snapshot, settings, memory, syntax)

    return KubernetesStore(PROVIDER, SECTION, settings, kinds_of(settings), make, lease)


def outcome_of(snapshot: Snapshot, settings: KubernetesIngress, memory: Memory, syntax: str = "") -> Outcome:
    """What the objects of a snapshot mean."""
    draft = Draft(memory)
    sees_nodes = not settings.disable_cluster_scope_resources

    def context_of(seen: Seen) -> Context:
        return Context(settings, seen, Core(seen), draft, settings.allow_empty_services, sees_nodes)

    def read(context: Context, source: Source) -> None:
        if _is_meant(source, settings, context.snapshot):
            _Reader(context, settings, source, syntax).read()

    steps = [step("Ingress", read)]
    if (endpoint := settings.ingress_endpoint) is not None:
        kind = kinds_of(settings)[0]

        def say(context: Context, source: Source) -> None:
            if _is_meant(source, settings, context.snapshot):
                want_status(context, kind, source)

        steps += [places_step(endpoint), step("Ingress", say)]
    follow(snapshot, memory, steps, context_of)
    return Outcome(draft.reading(), draft.statuses())


def _is_meant(source: Source, settings: KubernetesIngress, seen: Seen) -> bool:
    """Whether an Ingress is of a class of the provider."""
    wanted = settings.ingress_class
    named = mapping(source.thing.get("spec")).get("ingressClassName")
    if named is not None:
        found = seen.find(CLASSES.name, "", str(named))
        of_controller = found is not None and mapping(found.get("spec")).get("controller") == CONTROLLER
        return of_controller and named == (wanted or named)
    old = str(mapping(about(source.thing).get("annotations")).get(CLASS_ANNOTATION) or "")
    return old == wanted or (not wanted and old == USUAL_CLASS)


class _Reader:
    """One Ingress."""

    def __init__(self, context: Context, settings: KubernetesIngress, source: Source, syntax: str) -> None:
        self.context = context
        self.settings = settings
        self.source = source
        self.annotations, problems = annotations_of(source.thing, source.text)
        self.source.faults += problems
        said = str(self.annotations.router.get("ruleSyntax") or "")
        self.is_of_version_2 = (said if said not in ("", "default") else syntax) == "v2"
        self.paths: list[tuple[str, Content, Part, list[str]]] = []
        self.open: set[int] = set()  # paths that say neither a host nor a path

    def read(self) -> None:
        spec, draft = self.source.spec(), self.context.draft
        for text in self.annotations.ignored:
            draft.warn(text)
        self.source.faults += [f"{self.source.text}: {text}" for text in self.foreign(self.annotations.references)]
        self.certificates(spec)
        rules = spec.parts("rules")
        for rule in rules:
            http = rule.part("http")
            for part in http.parts("paths") if http is not None else ():
                self.path(part, rule.text("host"))
        default = spec.part("defaultBackend")
        if default is not None and rules:
            draft.warn(f"{self.source.text}: {default.path}: has no effect beside rules, as in Traefik")
        elif default is not None:
            self.default(default)
        names = [name for name, content, _, _ in self.paths if content["service"]]
        last: dict[str, int] = {}  # the path that counts, by rule
        for index, (_, content, _, _) in enumerate(self.paths):
            before = last.get(content["rule"])
            if before is None or self.rank(index) >= self.rank(before):
                last[content["rule"]] = index
        for index, (name, content, part, faults) in enumerate(self.paths):
            if content["rule"] and index != last[content["rule"]]:
                if content != self.paths[last[content["rule"]]][1]:
                    text = "another path of this Ingress has the same rule, and counts, as in Traefik"
                    draft.complain(f"{self.source.text}: {part.path}: {text}")
                continue
            # Paths that differ in what is no letter are one name: their rules tell them apart.
            is_alone = names.count(name) == bool(content["service"])
            key = name if is_alone else f"{name}-{digest(content['rule'])}"
            faults = [*self.source.faults, *faults]
            key = draft.claim("http", "routers", key, (self.source.kind, self.source.namespace, self.source.name, key))
            draft.put("http", "routers", key, content, self.source.text, part.path, faults)

    def rank(self, index: int) -> tuple[bool, ...]:
        """What makes a path count rather than others with its rule. In Traefik, those that cannot run are not there."""
        _, content, _, faults = self.paths[index]
        draft, service = self.context.draft, content["service"]
        balancer = ((draft.content("http", "services", service) if service else None) or {}).get("loadBalancer") or {}
        can_run = bool(service) and not faults and not draft.faults("http", "services", service)
        return index not in self.open, can_run, bool(balancer.get("servers"))

    def foreign(self, names: list[str]) -> list[str]:
        """Names of other providers that the namespace may not use, and why."""
        allowed, namespace = self.settings.cross_provider_namespaces, self.source.namespace
        if not names or allowed is None or namespace in allowed:
            return []
        return [f"{', '.join(names)}: of another provider, and {namespace} is not in crossProviderNamespaces"]

    def certificates(self, spec: Part) -> None:
        for part in spec.parts("tls"):
            name = part.text("secretName")
            if not name:
                continue
            try:
                certificate, key = self.context.core.pair(self.source.namespace, name)
            except Lacking as error:
                self.context.draft.complain(f"{self.source.text}: {part.path}: {error}")
                continue
            content = {"certFile": certificate, "keyFile": key}
            self.context.draft.put_certificate(f"{self.source.namespace}/{name}", content, self.source.text)

    def path(self, part: Part, host: str) -> None:
        faults, complain = self.source.collect()
        path, kind = part.text("path"), part.text("pathType")
        content = {**self.annotations.router, "rule": "", "service": ""}
        try:
            content["rule"] = self.rule(host, path, kind)
            service = self.backend(part.part("backend"), part)
        except Refused as error:
            complain(f"{part.path}: {error}")
            service = ""
        except Unavailable as error:
            self.context.draft.complain(f"{self.source.text}: {error}: not routed")
            return
        content["service"] = service
        if not host and not path:
            self.open.add(len(self.paths))
        name = normalize(identity(self.source.namespace, f"{self.source.name}-{host}{path}"))
        self.paths.append((name, content, part, faults))

    def rule(self, host: str, path: str, kind: str) -> str:
        """The rule of a path. Raises Refused."""
        matcher = "PathPrefix"
        if kind in ("", "ImplementationSpecific"):
            matcher = self.annotations.path_matcher or matcher
            if matcher not in MATCHERS:
                raise Refused(f"router.pathmatcher {matcher!r}: write {', '.join(MATCHERS)}")
        elif kind == "Exact":
            matcher = "Path"
        elif kind != "Prefix":
            raise Refused(f"pathType {kind!r}: has to be Exact, Prefix or ImplementationSpecific")
        rules = []
        if host.startswith("*.") and self.is_of_version_2:  # whose Host knows no wildcards
            rules.append(f"HostRegexp({go_quote(ANY_LABEL + host[1:])})")
        elif host:
            rules.append(f"Host({go_quote(host)})")
        if path:
            rules.append(_path_rule(matcher, path, self.settings.strict_prefix_matching))
        return " && ".join(rules) or 'PathPrefix("/")'

    def default(self, part: Part) -> None:
        draft = self.context.draft
        if draft.has("http", "routers", DEFAULT_ROUTER):
            draft.complain(f"{self.source.text}: {part.path}: an older Ingress has the default backend already")
            return
        faults, complain = self.source.collect()
        content = {**self.annotations.router, "rule": 'PathPrefix("/")', "priority": LOWEST, "service": DEFAULT_BACKEND}
        try:
            self.backend(part, part, DEFAULT_BACKEND)
        except Refused as error:
            complain(f"{part.path}: {error}")
        except Unavailable as error:
            draft.complain(f"{self.source.text}: {error}: not routed")
            return
        faults = [*self.source.faults, *faults]
        draft.put("http", "routers", DEFAULT_ROUTER, content, self.source.text, part.path, faults)

    def backend(self, backend: Part | None, part: Part, name: str = "") -> str:
        """The name of the service behind a path, which is added. Raises Refused, Unavailable."""
        service = backend.part("service") if backend is not None else None
        if backend is not None and "resource" in backend:
            raise Refused("backend.resource is not supported: name a service")
        if service is None:
            raise Refused("backend.service is missing")
        port = service.part("port")
        wanted = (port.text("name") or port.text("number")) if port is not None else ""
        of = service.text("name")
        return self.service(of, wanted, service.path, name)

    def service(self, name: str, port: str, at: str, as_name: str) -> str:
        context, namespace = self.context, self.source.namespace
        found = as_name or normalize(f"{identity(namespace, name)}-{port}")
        found = context.draft.claim("http", "services", found, (SERVICES.name, namespace, name, port, as_name))
        if context.draft.has("http", "services", found):
            return found
        thing = context.snapshot.find(SERVICES.name, namespace, name)
        own = f"Service {namespace}/{name}"
        annotations, faults = annotations_of(thing, own) if thing is not None else (Annotations(), [])
        for text in annotations.ignored:
            context.draft.warn(text)
        faults += [f"{own}: {text}" for text in self.foreign(annotations.references)]
        ways = context.ways(annotations.native, annotations.nodes)
        backend = context.backend(self.source.text, at, namespace, name, port, ways)
        balancer: Content = dict(annotations.balancer)
        try:
            scheme = annotations.scheme.lower()
            balancer["servers"] = [] if backend is None else servers_of(backend, scheme_of(scheme, backend))
        except ValueError as error:
            faults.append(f"{own}: service.serversscheme: {error}")
            balancer["servers"] = []
        content: Content = {"loadBalancer": balancer}
        if annotations.middlewares:
            content["middlewares"] = annotations.middlewares
        source = own if thing is not None else self.source.text
        context.draft.put("http", "services", found, content, source, at, faults)
        return found


def _path_rule(matcher: str, path: str, strict: bool) -> str:
    if not strict or matcher != "PathPrefix" or path == "/":
        return f"{matcher}({go_quote(path)})"
    path = path.removesuffix("/")
    return f"(Path({go_quote(path)}) || PathPrefix({go_quote(path + '/')}))"
