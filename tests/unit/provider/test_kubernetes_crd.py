"""What custom resources mean: names, references, pools, endpoints, and that what is wrong is out alone."""

# ruff: noqa: E501
from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static.kubernetes import KubernetesCrd
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.crd import reading_of
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.names import digest
from tests.support.certificates import certificate
from tests.support.kubernetes import route, service, slice_of, snapshot_of

WEB = [service("web"), slice_of("web", ["127.0.0.2"], 8080)]


def read(*things: Thing | str, **settings: Any) -> Reading:
    return reading_of(snapshot_of(*things), KubernetesCrd(**settings), Memory())


def custom(kind: str, name: str, spec: Thing, namespace: str = "default", created: str = "") -> Thing:
    about = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    return {"apiVersion": "traefik.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def secret(name: str, type_: str = "Opaque", **data: str) -> Thing:
    return {"kind": "Secret", "metadata": {"name": name}, "stringData": {key.replace("_", "."): value for key, value in data.items()}, "type": type_}


def only_service(config: DynamicConfig) -> Any:
    (router,) = config.http.routers.values()
    return config.http.services[router.service]


def urls(config: DynamicConfig) -> list[tuple[str, int]]:
    return [(server.url, server.weight) for server in only_service(config).load_balancer.servers]


# Endpoints


ENDPOINTS: dict[str, tuple[list[tuple[str, Thing]], list[tuple[str, int]]]] = {
    "ready": ([("127.0.0.2", {"ready": True})], [("127.0.0.2", 1)]),
    "nothing is said": ([("127.0.0.2", {})], [("127.0.0.2", 1)]),
    "not ready": ([("127.0.0.2", {"ready": False})], []),
    "not serving": ([("127.0.0.2", {"ready": True, "serving": False})], []),
    "leaving beside another": (
        [("127.0.0.2", {"ready": False, "serving": True, "terminating": True}), ("127.0.0.3", {"ready": True})],
        [("127.0.0.2", 0), ("127.0.0.3", 1)],
    ),
    "all are leaving": ([("127.0.0.2", {"ready": False, "serving": True, "terminating": True})], [("127.0.0.2", 1)]),
    "twice": ([("127.0.0.2", {"ready": True}), ("127.0.0.2", {"ready": True})], [("127.0.0.2", 1)]),
    "IPv6": ([("fd00::2", {"ready": True})], [("[fd00::2]", 1)]),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_endpoints(case: str) -> None:
    endpoints, wanted = ENDPOINTS[case]
    slices = []
    for number, (address, conditions) in enumerate(endpoints):
        thing = slice_of("web", [address], 8080, suffix=str(number))
        thing["endpoints"][0]["conditions"] = conditions
        slices.append(thing)
    reading = read(service("web"), *slices, route("r", "Host(`a`)", [{"name": "web", "port": 80}]))
    assert urls(reading.config) == [(f"http://{host}:8080", weight) for host, weight in wanted]
    assert not reading.problems


def test_a_pool_mixes_pods_and_machines_outside() -> None:
    """By endpoints that are written by hand, by a name outside, and by a service of a file."""
    outside = service("outside", 9000, type="ExternalName", externalName="vm.example.com")
    by_hand = slice_of("web", ["192.0.2.7"], 9090, suffix="machines")
    pool = [
        {"name": "web", "port": 80, "weight": 3, "healthCheck": {"path": "/health", "interval": "5s"}},
        {"name": "outside", "port": 9000},
        {"name": "legacy_vm@file", "kind": "TraefikService", "weight": 2},
    ]
    reading = read(*WEB, by_hand, outside, route("r", "Host(`a`)", pool), allow_external_name_services=True)
    assert not reading.problems
    services = reading.config.http.services
    weighted = only_service(reading.config).weighted
    assert [(child.name, child.weight) for child in weighted.services] == [("default-web-80", 3), ("default-outside-9000", 1), ("legacy_vm@file", 2)]
    web = services["default-web-80"].load_balancer
    assert web is not None and [server.url for server in web.servers] == ["http://127.0.0.2:8080", "http://192.0.2.7:9090"]
    assert web.health_check is not None and web.health_check.path == "/health"
    external = services["default-outside-9000"].load_balancer
    assert external is not None and external.servers[0].url == "http://vm.example.com:9000"


def test_ports_are_found_by_number_name_and_protocol() -> None:
    ports = [{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}]
    dns = service("dns", None, ports=ports)
    slices = slice_of("dns", ["127.0.0.2"], 1)
    slices["ports"] = [{"name": "tcp", "port": 5301}, {"name": "udp", "port": 5302}]
    udp = custom("IngressRouteUDP", "u", {"entryPoints": ["dns"], "routes": [{"services": [{"name": "dns", "port": 53}]}]})
    tcp = custom("IngressRouteTCP", "t", {"routes": [{"match": "HostSNI(`*`)", "services": [{"name": "dns", "port": "tcp"}]}]})
    reading = read(dns, slices, udp, tcp)
    assert not reading.problems
    (of_udp,), (of_tcp,) = reading.config.udp.services.values(), reading.config.tcp.services.values()
    assert of_udp.load_balancer.servers[0].address == "127.0.0.2:5302"  # type: ignore[union-attr]
    assert of_tcp.load_balancer.servers[0].address == "127.0.0.2:5301"  # type: ignore[union-attr]
    wrong = read(dns, slices, route("r", "Host(`a`)", [{"name": "dns", "port": 54}]))
    assert wrong.problems == ("IngressRoute default/r: spec.routes[0].services[0]: Service default/dns has no port 54: it has 53 tcp, 53 udp: no server",)


def test_ways_to_a_service_hold_in_pools_and_middlewares_too() -> None:
    """nativeLBByDefault and disableClusterScopeResources."""
    pool = custom("TraefikService", "pool", {"weighted": {"services": [{"name": "web", "port": 80}]}})
    pages = custom("Middleware", "pages", {"errors": {"status": ["500"], "query": "/", "service": {"name": "web", "port": 80}}})
    reading = read(*WEB, pool, pages, native_lb_by_default=True)
    for name in ("default-web-80", "default-pages-errorpage-service"):
        balancer = reading.config.http.services[name].load_balancer
        assert balancer is not None and [server.url for server in balancer.servers] == ["http://10.9.8.7:80"]
    noded = service("web", None, type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    node = {"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
    pool["spec"]["weighted"]["services"][0]["nodePortLB"] = True
    found = read(noded, node, pool).config.http.services["default-web-80"].load_balancer
    assert found is not None and [server.url for server in found.servers] == ["http://192.0.2.1:30080"]
    refused = read(noded, node, pool, disable_cluster_scope_resources=True)
    assert "nodes are not read" in refused.problems[0]


@pytest.mark.parametrize(
    ("thing", "part", "text"),
    [
        (service("web", clusterIP="None"), {"nativeLB": True}, "has no address of its own"),
        (service("web", type="ExternalName", externalName="x"), {}, "ExternalName is not allowed"),
        (service("web", None, type="NodePort", ports=[{"port": 80, "nodePort": 1}]), {"nodePortLB": True}, "no node has an address"),
        (service("other"), {}, "Service default/web does not exist"),
        (service("web"), {"port": 0}, "which port is meant is not said"),
    ],
    ids=["headless", "external", "nodes", "missing", "no port"],
)  # fmt: skip
def test_a_service_that_has_no_servers_answers_503_or_is_not_there(thing: Thing, part: Thing, text: str) -> None:
    of_route = route("r", "Host(`a`)", [{"name": "web", "port": 80, **part}])
    reading = read(thing, of_route)
    assert text in reading.problems[0] and urls(reading.config) == []
    strict = read(thing, of_route, allow_empty_services=False)
    assert text in strict.problems[0] and not strict.config.http.routers


def test_without_empty_services_what_has_no_endpoints_is_not_routed() -> None:
    things = [service("web"), slice_of("web", [], 80)]
    http = route("r", "Host(`a`)", [{"name": "web", "port": 80}])
    tcp = custom("IngressRouteTCP", "t", {"routes": [{"match": "HostSNI(`*`)", "services": [{"name": "web", "port": 80}]}]})
    udp = custom("IngressRouteUDP", "u", {"routes": [{"services": [{"name": "web", "port": 80}]}]})
    reading = read(*things, http, tcp, udp, allow_empty_services=False)
    config = reading.config
    assert not (config.http.routers or config.tcp.routers or config.udp.routers) and len(reading.problems) == 3
    config = read(*things, http, tcp, udp).config
    assert config.http.routers and config.tcp.routers and config.udp.routers


# Pools: what is wrong is out alone


def test_a_part_of_a_pool_that_is_wrong_has_its_share_and_no_server() -> None:
    pool = [{"name": "web", "port": 80}, {"name": "gone", "port": 80}, {"name": "web", "port": 80, "namespace": "other", "weight": 5}]
    reading = read(*WEB, route("r", "Host(`a`)", pool))
    weighted = only_service(reading.config).weighted
    assert [child.weight for child in weighted.services] == [1, 1, 5]
    sizes = [len(reading.config.http.services[child.name].load_balancer.servers) for child in weighted.services]  # type: ignore[union-attr]
    assert sizes == [1, 0, 0]
    assert [problem.partition(": ")[2] for problem in reading.problems] == [
        "spec.routes[0].services[1]: Service default/gone does not exist: no server",
        "spec.routes[0].services[2]: refers to namespace other, which allowCrossNamespace does not allow: no server",
    ]


def test_a_mirror_that_is_wrong_is_out_alone() -> None:
    spec = {"mirroring": {"name": "web", "port": 80, "mirrors": [{"name": "x", "port": 80, "kind": "Pod"}, {"name": "web", "port": 80, "percent": 5}]}}
    reading = read(*WEB, custom("TraefikService", "m", spec))
    mirroring = reading.config.http.services["default-m"].mirroring
    assert mirroring is not None and [(mirror.name, mirror.percent) for mirror in mirroring.mirrors] == [("default-web-80", 5)]
    assert "'Pod' is neither Service nor TraefikService" in reading.problems[0]


def test_pages_of_a_service_that_is_gone_leave_the_middleware() -> None:
    pages = custom("Middleware", "pages", {"errors": {"status": ["500"], "query": "/", "service": {"name": "gone", "port": 80}}})
    reading = read(pages)
    errors = reading.config.http.middlewares["default-pages"].errors
    assert errors is not None and errors.service in reading.config.http.services
    assert "Service default/gone does not exist" in reading.problems[0]


def test_services_with_one_name_and_two_meanings_are_two() -> None:
    plain, sticky = {"name": "web", "port": 80}, {"name": "web", "port": 80, "sticky": {"cookie": {"name": "c"}}}
    reading = read(*WEB, route("a", "Host(`a`)", [plain, plain]), route("b", "Host(`b`)", [sticky, plain]))
    names = [[child.name for child in service.weighted.services] for service in reading.config.http.services.values() if service.weighted]
    assert names[0] == ["default-web-80", "default-web-80"] and names[1][1] == "default-web-80"
    other = reading.config.http.services[names[1][0]].load_balancer
    assert names[1][0].startswith("default-web-80-") and other is not None and other.sticky is not None


def test_a_pool_may_have_the_name_of_a_service_and_port() -> None:
    own = custom("TraefikService", "web-80", {"weighted": {"services": [{"name": "web", "port": 80}]}})
    config = read(*WEB, own).config
    weighted = config.http.services["default-web-80"].weighted
    assert weighted is not None and weighted.services[0].name != "default-web-80"
    assert weighted.services[0].name in config.http.services


# Names


def test_of_two_objects_with_one_name_the_older_has_it() -> None:
    """`c` in `a-b` and `b-c` in `a` read alike: a new object does not take over an old one, and has a name of its own."""
    old = custom("Middleware", "c", {"addPrefix": {"prefix": "/old"}}, "a-b", "2026-01-02T00:00:00Z")
    new = custom("Middleware", "b-c", {"addPrefix": {"prefix": "/new"}}, "a", "2026-01-03T00:00:00Z")
    reading = read(new, old)
    found = {name: thing.add_prefix.prefix for name, thing in reading.config.http.middlewares.items()}  # type: ignore[union-attr]
    assert found.pop("a-b-c") == "/old" and not reading.problems
    ((name, prefix),) = found.items()
    assert name.startswith("a-b-c-") and prefix == "/new"


# Namespaces that read alike: what is called `b-m` in `a` has nothing to do with `m` of `a-b`.

OF_TWO = [service("web", namespace="a"), slice_of("web", ["127.0.0.2"], 8080, namespace="a")]
VICTIM = [service("web", namespace="a-b"), slice_of("web", ["127.0.0.9"], 8080, namespace="a-b")]
SERVICE = [{"name": "web", "port": 80}]


def in_a(kind: str, spec: Thing, name: str = "r") -> Thing:
    return custom(kind, name, spec, "a", "2026-01-03T00:00:00Z")


def in_ab(kind: str, spec: Thing, name: str = "m") -> Thing:
    return custom(kind, name, spec, "a-b", "2026-01-02T00:00:00Z")


def http_route(**more: Any) -> Thing:
    return {"routes": [{"match": "Host(`x`)", "services": SERVICE, **more}]}


ALIKE: dict[str, tuple[Thing, Thing]] = {
    "middleware": (
        in_ab("Middleware", {"headers": {"customRequestHeaders": {"Authorization": "secret"}}}),
        in_a("IngressRoute", http_route(middlewares=[{"name": "b-m"}])),
    ),
    "chain": (
        in_ab("Middleware", {"headers": {"customRequestHeaders": {"Authorization": "secret"}}}),
        in_a("Middleware", {"chain": {"middlewares": [{"name": "b-m"}]}}),
    ),
    "middleware of a service": (
        in_ab("Middleware", {"headers": {"customRequestHeaders": {"Authorization": "secret"}}}),
        in_a("IngressRoute", {"routes": [{"match": "Host(`x`)", "services": [{**SERVICE[0], "middlewares": [{"name": "b-m"}]}]}]}),
    ),
    "stream middleware": (
        in_ab("MiddlewareTCP", {"ipAllowList": {"sourceRange": ["127.0.0.1"]}}),
        in_a("IngressRouteTCP", {"routes": [{"match": "HostSNI(`*`)", "services": SERVICE, "middlewares": [{"name": "b-m"}]}]}),
    ),
    "pool": (
        in_ab("TraefikService", {"weighted": {"services": SERVICE}}),
        in_a("IngressRoute", {"routes": [{"match": "Host(`x`)", "services": [{"name": "b-m", "kind": "TraefikService"}]}]}),
    ),
    "pool in a pool": (
        in_ab("TraefikService", {"weighted": {"services": SERVICE}}),
        in_a("TraefikService", {"weighted": {"services": [{"name": "b-m", "kind": "TraefikService"}]}}),
    ),
    "service of a route": (
        in_ab("IngressRoute", http_route(), "r"),
        in_a("IngressRoute", {"routes": [{"match": "Host(`y`)", "services": [{"name": "b-r-DIGEST", "kind": "TraefikService"}]}]}),
    ),
    "service of Kubernetes": (
        in_ab("TraefikService", {"weighted": {"services": SERVICE}}, "p"),
        in_a("IngressRoute", {"routes": [{"match": "Host(`y`)", "services": [{"name": "b-web-80", "kind": "TraefikService"}]}]}),
    ),
    "transport": (
        in_ab("ServersTransport", {"serverName": "secret"}),
        in_a("IngressRoute", {"routes": [{"match": "Host(`x`)", "services": [{**SERVICE[0], "serversTransport": "b-m"}]}]}),
    ),
    "stream transport": (
        in_ab("ServersTransportTCP", {"tls": {"serverName": "secret"}}),
        in_a("IngressRouteTCP", {"routes": [{"match": "HostSNI(`*`)", "services": [{**SERVICE[0], "serversTransport": "b-m"}]}]}),
    ),
    "options": (
        in_ab("TLSOption", {"minVersion": "VersionTLS13"}),
        in_a("IngressRoute", {**http_route(), "tls": {"options": {"name": "b-m"}}}),
    ),
    "parent": (
        in_ab("IngressRoute", {"routes": [{"match": "Host(`x`)"}]}, "p"),
        in_a("IngressRoute", {"parentRefs": [{"name": "b-p"}], "routes": [{"match": "Path(`/`)", "services": SERVICE}]}),
    ),
}  # fmt: skip


KINDS_MADE = [
    *[("http", kind) for kind in ("middlewares", "services", "servers_transports", "routers")],
    *[("tcp", kind) for kind in ("middlewares", "servers_transports")],
    ("tls", "options"),
]


def texts_of(config: DynamicConfig, ours: str) -> str:
    """All that is made of the objects of a namespace, as one text."""
    layers = (config.http, config.tcp, config.udp)
    kinds = [getattr(layer, kind) for layer in layers for kind in type(layer).model_fields]
    return " ".join(str(thing) for objects in kinds for thing in objects.values() if f" {ours}/" in thing.place)


@pytest.mark.parametrize("own", [False, True], ids=["that does not exist", "that is younger"])
@pytest.mark.parametrize("case", ALIKE)
def test_what_reads_like_an_object_of_another_namespace_is_not_it(case: str, own: bool) -> None:
    theirs, ours = (json.loads(json.dumps(thing).replace("DIGEST", digest("Host(`x`)"))) for thing in ALIKE[case])
    things = [*OF_TWO, *VICTIM, theirs, ours]
    if own:  # another one is what is meant
        meant = json.loads(json.dumps(theirs).replace("secret", "own").replace("VersionTLS13", "VersionTLS12"))
        name = {"service of a route": f"b-r-{digest('Host(`x`)')}", "service of Kubernetes": "b-web-80", "parent": "b-p"}
        meant["metadata"] = {"name": name.get(case, "b-m"), "namespace": "a", "creationTimestamp": "2026-01-04T00:00:00Z"}
        if case == "service of a route":
            meant |= {"kind": "TraefikService", "spec": {"weighted": {"services": SERVICE}}}
        things.append(meant)
    config = read(*things).config
    alone = read(*OF_TWO, *VICTIM, theirs).config
    # A pool has its name before what is made of a service does.
    places = () if own and case in ("service of a route", "service of Kubernetes") else KINDS_MADE
    for layer, kind in places:
        before, now = getattr(getattr(alone, layer), kind), getattr(getattr(config, layer), kind)
        assert all(now[each] == before[each] for each in before)  # what is theirs is as it was, by the same names
        text = texts_of(config, "a")
        for name in before:
            assert f"'{name}'" not in text, f"an object of a refers to {name}, which is of a-b"
    assert "secret" not in texts_of(config, "a") and "127.0.0.9" not in texts_of(config, "a")
    if own:
        faults = [fault for objects in (config.http, config.tcp) for kind in type(objects).model_fields for thing in getattr(objects, kind).values() for fault in thing.faults]
        assert not faults and not read(*things).problems


def test_with_names_across_namespaces_each_object_is_found_by_its_own() -> None:
    chain = [{"name": "m", "namespace": "a-b"}, {"name": "b-m"}]
    things = [
        in_ab("Middleware", {"addPrefix": {"prefix": "/theirs"}}),
        in_a("Middleware", {"addPrefix": {"prefix": "/ours"}}, "b-m"),
        in_a("IngressRoute", http_route(middlewares=chain)),
    ]
    config = read(*OF_TWO, *things, allow_cross_namespace=True).config
    (router,) = config.http.routers.values()
    assert [config.http.middlewares[name].add_prefix.prefix for name in router.middlewares] == ["/theirs", "/ours"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "match", "layer"),
    [("IngressRoute", "Host(`x`)", "http"), ("IngressRouteTCP", "HostSNI(`*`)", "tcp"), ("IngressRouteUDP", "", "udp")],
)
def test_routes_of_namespaces_that_read_alike_have_servers_of_their_own(kind: str, match: str, layer: str) -> None:
    """Also where they have several, whose names are made of theirs."""
    for services in (SERVICE, [{**SERVICE[0], "weight": 1}, {**SERVICE[0], "weight": 2}]):
        spec = {"routes": [{**({"match": match} if match else {}), "services": services}]}
        ports = {"ports": [{"port": 80}, {"name": "u", "port": 80, "protocol": "UDP"}]}
        things = []
        for namespace, host in (("a", "127.0.0.2"), ("a-b", "127.0.0.9")):
            slices = slice_of("web", [host], 8080, namespace=namespace)
            slices["ports"] = [{"port": 8080}, {"name": "u", "port": 8080}]
            things += [service("web", None, namespace=namespace, **ports), slices]
        config = getattr(read(*things, in_a(kind, spec, "b-r"), in_ab(kind, spec, "r")).config, layer)
        assert len(config.routers) == 2
        for router in config.routers.values():
            below = [config.services[router.service]]
            while any(each.weighted for each in below):
                below = [config.services[child.name] for each in below for child in each.weighted.services]
            wanted = "127.0.0.9" if " a-b/" in router.place else "127.0.0.2"
            assert below and all(wanted in str(each.load_balancer.servers) for each in below)


def test_error_pages_of_namespaces_that_read_alike_are_their_own() -> None:
    pages = {"errors": {"status": ["500"], "query": "/", "service": SERVICE[0]}}
    config = read(*OF_TWO, *VICTIM, in_ab("Middleware", pages), in_a("Middleware", pages, "b-m")).config
    for middleware in config.http.middlewares.values():
        balancer = config.http.services[middleware.errors.service].load_balancer  # type: ignore[union-attr]
        assert ("127.0.0.9" in str(balancer)) == (" a-b/" in middleware.place)


@pytest.mark.parametrize("kind", ["TLSOption", "TLSStore"])
def test_of_two_defaults_the_older_counts(kind: str) -> None:
    spec = {"minVersion": "VersionTLS13"} if kind == "TLSOption" else {}
    old = custom(kind, "default", spec, "b", "2026-01-02T00:00:00Z")
    new = custom(kind, "default", {}, "a", "2026-01-03T00:00:00Z")
    reading = read(new, old)
    tls = reading.config.tls
    assert (tls.options["default"].min_version == "VersionTLS13") if kind == "TLSOption" else "default" in tls.stores
    assert f"{kind} b/default has the name default already" in reading.problems[0]


# References


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"middlewares": [{"name": "m", "namespace": "other"}]}, "refers to namespace other"),
        ({"middlewares": [{"name": "other-m@kubernetescrd"}]}, "may be of another namespace"),
        ({"services": [{"name": "other-pool@kubernetescrd", "kind": "TraefikService"}]}, "may be of another namespace"),
        ({"services": [{"name": "web", "port": 80, "serversTransport": "other-t@kubernetescrd"}]}, "may be of another namespace"),
        ({"services": [{"name": "web", "port": 80, "namespace": "other"}]}, "refers to namespace other"),
        ({"tls": {"options": {"name": "o", "namespace": "other"}}}, "refers to namespace other"),
    ],
    ids=["middleware", "middleware by name", "service by name", "transport by name", "service", "options"],
)  # fmt: skip
def test_references_to_other_namespaces_have_to_be_allowed(part: Thing, text: str) -> None:
    spec = {"services": [{"name": "web", "port": 80}], **part}
    tls = {"tls": spec.pop("tls")} if "tls" in spec else {}
    services = spec.pop("services")
    thing = route("r", "Host(`a`)", services, **spec, **tls)
    things = [*WEB, service("web", namespace="other"), thing]
    (router,) = read(*things).config.http.routers.values()
    assert len(router.faults) == 1 and text in router.faults[0] and router.faults[0].startswith("IngressRoute default/r: spec.")
    (router,) = read(*things, allow_cross_namespace=True).config.http.routers.values()
    assert not router.faults


def test_references_to_other_providers_have_to_be_allowed() -> None:
    thing = route("r", "Host(`a`)", [{"name": "x@file", "kind": "TraefikService"}], middlewares=[{"name": "m@file"}])
    for allowed, faults in ((None, 0), (["default"], 0), ([], 2), (["other"], 2)):
        (router,) = read(thing, cross_provider_namespaces=allowed).config.http.routers.values()
        assert len(router.faults) == faults, allowed
        assert all("is not in crossProviderNamespaces" in fault for fault in router.faults)
        if not faults:
            assert (router.service, router.middlewares) == ("x@file", ["m@file"])


def test_only_namespaces_that_are_read_are_known() -> None:
    thing = route("r", "Host(`a`)", [{"name": "web", "port": 80, "namespace": "other"}])
    snapshot = snapshot_of(thing, namespaces=frozenset({"default"}))
    reading = reading_of(snapshot, KubernetesCrd(allow_cross_namespace=True), Memory())
    assert "namespace other is not among those that are read" in reading.problems[0]


# What is written


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"routes": [{"match": "", "services": []}]}, "spec.routes[0].match: is missing"),
        ({"routes": [{"match": "Host(`a`)", "kind": "Regex"}]}, "spec.routes[0].kind: 'Regex'"),
        ({"routes": [{"match": "Host(`a`)", "priorty": 3}]}, "spec.routes[0].priorty: unknown key 'priorty' (did you mean priority?)"),
        ({"routes": [{"match": "Host(`a`)", "priority": "x"}]}, "spec.routes[0].priority: needs a whole number"),
        ({"routes": [{"match": "Host(`a`)", "services": [{"name": "web", "port": 80, "scheme": "ftp"}]}]}, "spec.routes[0].services[0].scheme: 'ftp'"),
        ({"routes": [{"match": "Host(`a`)", "services": "web"}]}, "spec.routes[0].services: needs a list"),
        ({"entryPoints": "web", "routes": [{"match": "Host(`a`)"}]}, "spec.entryPoints: needs a list"),
        ({"parentRefs": [{"name": "gone"}], "routes": [{"match": "Host(`a`)"}]}, "IngressRoute default/gone does not exist"),
    ],
    ids=["no match", "kind", "unknown key", "type", "scheme", "services", "points", "parent"],
)  # fmt: skip
def test_a_route_that_is_wrong_is_disabled_alone(spec: Thing, text: str) -> None:
    sound = route("sound", "Host(`b`)", [{"name": "web", "port": 80}])
    routers = read(*WEB, custom("IngressRoute", "r", spec), sound).config.http.routers
    wrong = [router for router in routers.values() if router.faults]
    assert len(routers) == 2 and len(wrong) == 1
    assert any(fault.startswith("IngressRoute default/r: ") and text in fault for fault in wrong[0].faults), wrong[0].faults


def test_settings_that_do_not_exist_are_named_with_their_object() -> None:
    things = [
        custom("Middleware", "m", {"headers": {"customRequestHeader": {"a": "b"}}}),
        custom("Middleware", "p", {"plugin": {"x": {}}}),
        custom("Middleware", "k", {"apiKey": {"keysFile": "/etc/shadow"}}),
        custom("ServersTransport", "t", {"serverNam": "x"}),
        custom("ServersTransport", "s", {"spiffe": {"trustBundles": {"a.test": "/etc/shadow"}}}),
        custom("TLSOption", "o", {"minVersion": 3, "sniStrict": "maybe"}),
    ]
    config = read(*things).config
    faults = {name: thing.faults for name, thing in {**config.http.middlewares, **config.http.servers_transports, **config.tls.options}.items()}
    assert faults["default-m"] == ("Middleware default/m: spec.headers.customRequestHeader: unknown key 'customRequestHeader' (did you mean customRequestHeaders?)",)
    assert list(config.http.middlewares["default-p"].plugin or ()) == ["x"]  # is disabled, or bypassed, with all others
    assert "unknown key 'apiKey'" in faults["default-k"][0]
    assert "unknown key 'serverNam'" in faults["default-t"][0]
    assert "spec.spiffe.trustBundles: unknown key 'trustBundles'" in faults["default-s"][0]
    assert "spec.sniStrict" in faults["default-o"][0]


# Secrets


@pytest.mark.parametrize(
    ("spec", "data", "text"),
    [
        ({"basicAuth": {"secret": "s"}}, None, "Secret default/s does not exist"),
        ({"basicAuth": {}}, None, "the name of a secret is missing"),
        ({"basicAuth": {"secret": "s"}}, {"a": "x:y", "b": "z"}, "has 2 keys"),
        ({"digestAuth": {"secret": "s"}}, {"a": "\n"}, "has no users"),
        ({"forwardAuth": {"address": "https://x", "tls": {"caSecret": "s"}}}, {"ca_crt": "/etc/passwd"}, "is no PEM"),
        ({"forwardAuth": {"address": "https://x", "tls": {"certSecret": "s"}}}, {"tls_crt": "x"}, "tls.crt is no PEM"),
    ],
    ids=["missing", "no name", "keys", "users", "authority", "pair"],
)  # fmt: skip
def test_a_middleware_without_its_secret_does_not_run(spec: Thing, data: dict[str, str] | None, text: str) -> None:
    things = [custom("Middleware", "m", spec), *([secret("s", **data)] if data else [])]
    middleware = read(*things).config.http.middlewares["default-m"]
    assert len(middleware.faults) == 1 and text in middleware.faults[0]


def test_users_of_secrets() -> None:
    things = [
        custom("Middleware", "a", {"basicAuth": {"secret": "account", "realm": "r"}}),
        custom("Middleware", "b", {"basicAuth": {"secret": "lines", "removeHeader": True}}),
        secret("account", "kubernetes.io/basic-auth", username="u", password="p"),
        secret("lines", users="a:{SHA}x\n\nb:{SHA}y\n"),
    ]
    middlewares = read(*things).config.http.middlewares
    account, lines = middlewares["default-a"].basic_auth, middlewares["default-b"].basic_auth
    assert account is not None and account.users == ["u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k="] and account.realm == "r"
    assert lines is not None and lines.users == ["a:{SHA}x", "b:{SHA}y"] and lines.remove_header


def test_keys_of_secrets_that_are_no_texts_hinder_no_others(tmp_path: Path) -> None:
    """A Certificate of cert-manager may have a keystore beside its PEM."""

    def kept(name: str, type_: str = "Opaque", **data: bytes) -> Thing:
        encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
        return {"kind": "Secret", "metadata": {"name": name}, "data": encoded, "type": type_}

    pair, store = certificate(tmp_path, "c", "a.test"), b"\xfe\xed\xfe\xed\x00\x00"
    crt, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    things = [
        kept("s", "kubernetes.io/tls", tls_crt=crt, tls_key=key, ca_crt=crt, keystore_jks=store, truststore_jks=store),
        kept("account", "kubernetes.io/basic-auth", username=b"u", password=b"p", more=store),
        kept("odd", "kubernetes.io/basic-auth", username=b"u", password=store),
        kept("lines", users=store),
        kept("authority", other=store),
        route("r", "Host(`a`)", [{"name": "web", "port": 80}], tls={"secretName": "s"}),
        custom("ServersTransport", "t", {"rootCAs": [{"secret": "s"}], "certificatesSecrets": ["s"]}),
        custom("ServersTransport", "wrong", {"rootCAs": [{"secret": "authority"}]}),
        *(custom("Middleware", name, {"basicAuth": {"secret": name}}) for name in ("account", "odd", "lines")),
    ]
    reading = read(*WEB, *things)
    assert [each.cert_file for each in reading.config.tls.certificates] == [crt.decode()]
    assert not reading.config.http.servers_transports["default-t"].faults
    middlewares = reading.config.http.middlewares
    assert not middlewares["default-account"].faults
    for thing in (middlewares["default-odd"], middlewares["default-lines"], reading.config.http.servers_transports["default-wrong"]):
        assert "is no text in base64" in thing.faults[0]


def test_objects_do_not_get_at_files_of_the_machine(tmp_path: Path) -> None:
    """A secret whose text is the name of a file: such texts stand where a file may be named."""
    file = tmp_path / "key.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----")
    things = [
        secret("s", "kubernetes.io/tls", tls_crt=str(file), tls_key=str(file)), secret("a", ca_crt=str(file)),
        {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"ca.crt": str(file)}},
        route("r", "Host(`a`)", [{"name": "web", "port": 80}], tls={"secretName": "s"}),
        custom("TLSStore", "default", {"defaultCertificate": {"secretName": "s"}, "certificates": [{"secretName": "s"}]}),
        custom("TLSOption", "o", {"clientAuth": {"secretNames": ["a"], "clientAuthType": "RequireAndVerifyClientCert"}}),
        custom("ServersTransport", "t", {"rootCAs": [{"secret": "a"}, {"configMap": "m"}], "certificatesSecrets": ["s"]}),
        custom("ServersTransportTCP", "t", {"tls": {"rootCAsSecrets": ["a"]}}),
    ]  # fmt: skip
    reading = read(*WEB, *things)
    assert str(file) not in reading.config.model_dump_json() and str(file) not in str(reading.problems)
    assert len(reading.config.tls.options["default-o"].faults) == 1  # who trusts nobody in particular trusts nobody
    assert len(reading.config.http.servers_transports["default-t"].faults) == 3
    assert len(reading.config.tcp.servers_transports["default-t"].faults) == 1
    assert len(reading.problems) == 3


def test_certificates_of_routes_and_stores(tmp_path: Path) -> None:
    pair = certificate(tmp_path, "c", "a.test")
    data = {"tls_crt": pair.certificate.read_text(), "tls_key": pair.key.read_text()}
    things = [
        secret("s", "kubernetes.io/tls", **data),
        secret("t", "kubernetes.io/tls", **data),
        route("r", "Host(`a`)", [{"name": "web", "port": 80}], tls={"secretName": "s", "options": {"name": "default"}}),
        route("q", "Host(`q`)", [{"name": "web", "port": 80}], tls={"secretName": "s", "certResolver": "le"}),
        custom("TLSStore", "default", {"defaultCertificate": {"secretName": "s"}, "certificates": [{"secretName": "t"}, {"secretName": "gone"}]}),
        custom("TLSOption", "default", {"clientAuth": {"secretNames": [], "clientAuthType": "NoClientCert"}}),
    ]
    reading = read(*WEB, *things)
    tls = reading.config.tls
    assert [certificate.stores for certificate in tls.certificates] == [[], ["default"]]
    default = tls.stores["default"].default_certificate
    assert default is not None and default.cert_file == data["tls_crt"]
    assert {router.tls.options for router in reading.config.http.routers.values() if router.tls} == {"default", ""}
    assert [problem.rpartition(": ")[2] for problem in reading.problems] == ["Secret default/gone does not exist"]


# Cost


class Counted(dict[str, Any]):
    """An object that knows how often what it says was asked for."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += key in ("spec", "endpoints")
        return super().get(key, default)


def test_only_what_a_change_concerns_is_read_again() -> None:
    def counted(number: int, host: str) -> Counted:
        return Counted(route(f"r{number}", f"Host(`{host}`)", [{"name": f"s{number}", "port": 80}]))

    routes, memory = [counted(number, f"h{number}") for number in range(3)], Memory()
    slices = [Counted(slice_of(f"s{number}", ["127.0.0.2"], 8080)) for number in range(3)]
    services = [service(f"s{number}") for number in range(3)]

    def again() -> list[tuple[int, int]]:
        for thing in (*routes, *slices):
            thing.asked = 0
        reading_of(snapshot_of(*routes, *slices, *services), KubernetesCrd(), memory)
        return [(bool(one.asked), bool(other.asked)) for one, other in zip(routes, slices, strict=True)]

    assert again() == [(True, True)] * 3
    assert again() == [(False, False)] * 3
    routes[1] = counted(1, "other")
    assert again() == [(False, False), (True, True), (False, False)]
    slices[2] = Counted(slice_of("s2", ["127.0.0.3"], 8080))
    assert again() == [(False, False), (False, False), (True, True)]
    services[0] = service("s0", 81)
    assert again()[1:] == [(False, False)] * 2


def test_a_reading_that_fails_is_begun_anew() -> None:
    things, memory = [*WEB, route("a", "Host(`a`)", [{"name": "web", "port": 80}])], Memory()
    reading_of(snapshot_of(*things), KubernetesCrd(), memory)
    broken: Thing = {"kind": "IngressRoute", "metadata": {"name": "b"}, "spec": {"routes": [{"match": "Host(`b`)", "services": {"web"}}]}}

    class Failing(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            if key == "spec":
                raise MemoryError
            return super().get(key, default)

    with pytest.raises(MemoryError):
        reading_of(snapshot_of(*things, Failing(broken)), KubernetesCrd(), memory)
    things.append(route("c", "Host(`c`)", [{"name": "web", "port": 80}]))
    after = reading_of(snapshot_of(*things), KubernetesCrd(), memory)
    assert after.config == reading_of(snapshot_of(*things), KubernetesCrd(), Memory()).config
    assert len(after.config.http.routers) == 2


def test_what_has_not_changed_is_not_decoded_again() -> None:
    memory = Memory()
    things = [*WEB, route("a", "Host(`a`)", [{"name": "web", "port": 80}]), route("b", "Host(`b`)", [{"name": "web", "port": 80}])]
    first = reading_of(snapshot_of(*things), KubernetesCrd(), memory).config
    things.append(route("c", "Host(`c`)", [{"name": "web", "port": 80}]))
    second = reading_of(snapshot_of(*things), KubernetesCrd(), memory).config
    assert len(second.http.routers) == 3
    assert all(second.http.routers[name] is router for name, router in first.http.routers.items())
    assert len(reading_of(snapshot_of(*things[:-2]), KubernetesCrd(), memory).config.http.routers) == 1


@pytest.mark.parametrize(("kind", "layer", "match"), [("IngressRoute", "http", "Path(`/`)"), ("IngressRouteTCP", "tcp", "HostSNI(`*`)")])
def test_of_two_routes_with_one_match_the_last_one_counts(kind: str, layer: str, match: str) -> None:
    routes = [{"match": match, "priority": number, "services": [{"name": "web", "port": 80}]} for number in (5, 6)]
    found = read(service("web"), slice_of("web", ["127.0.0.2"], 80), custom(kind, "r", {"routes": routes}))
    (router,) = getattr(found.config, layer).routers.values()
    assert router.priority == 6
    assert not router.faults
    assert f"{kind} default/r: spec.routes[0]: spec.routes[1] has the same match, and counts" in found.problems


def test_a_route_whose_parent_is_missing_leaves_the_other_parent_alone() -> None:
    services = [{"name": "web", "port": 80}]
    parent = custom("IngressRoute", "parent", {"routes": [{"match": "Path(`/`)", "services": services}]})
    child = custom("IngressRoute", "child", {"routes": [{"match": "Method(`GET`)", "services": services}]})
    child["spec"]["parentRefs"] = [{"name": "parent"}, {"name": "gone"}]
    routers = read(service("web"), parent, child).config.http.routers
    of_child = routers[f"default-child-{digest('Method(`GET`)')}"]
    assert not of_child.parent_refs
    assert "spec.parentRefs[1]: IngressRoute default/gone does not exist" in of_child.faults[0]


def test_a_failover_needs_no_errors() -> None:
    spec = {"failover": {"service": {"name": "web", "port": 80}, "fallback": {"name": "web", "port": 80, "strategy": "p2c"}}}
    service_ = read(*WEB, custom("TraefikService", "fo", spec)).config.http.services["default-fo"]
    assert not service_.faults
    assert service_.failover is not None and service_.failover.errors is None
