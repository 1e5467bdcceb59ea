"""What objects of the Gateway API mean: the order of routes, rules, grants, filters, backends, and what is refused."""

# ruff: noqa: E501
from __future__ import annotations

import random
from typing import Any

import pytest

from lbcore.config.rule import parse_rule
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.crd import reading_of
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.gateway import outcome_of
from lbcore.provider.kubernetes.gateway_filters import _pattern
from lbcore.provider.kubernetes.gateway_model import Point, matches_labels
from lbcore.provider.kubernetes.gateway_rules import EXACT, host_groups, host_rule, hosts_in_common, priority, sni_rule
from lbcore.provider.kubernetes.ingress import LOWEST
from lbcore.provider.kubernetes.store import Outcome
from lbcore.provider.merge import merge
from tests.integration.gateway_cases import CLASS, GRANT, filtered, lines, prefix, route, to
from tests.support.kubernetes import service, slice_of, snapshot_of

POINTS = [Point("web", 80, False, False), Point("secure", 443, False, True), Point("dns", 53, True, False)]
GATEWAY = {"apiVersion": CLASS, "kind": "Gateway", "metadata": {"name": "same", "namespace": "infra"}, "spec": {"gatewayClassName": "c", "listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}]}}
BASE = [
    {"apiVersion": CLASS, "kind": "GatewayClass", "metadata": {"name": "c"}, "spec": {"controllerName": "traefik.io/gateway-controller"}},
    GATEWAY, service("v1", 8080, "infra"), slice_of("v1", ["127.0.0.2"], 9, "infra"), service("v2", 8080, "infra"), slice_of("v2", ["127.0.0.3"], 9, "infra"),
]  # fmt: skip


def read(*things: Thing, **settings: Any) -> Outcome:
    return outcome_of(snapshot_of(*BASE, *things), KubernetesGateway(**settings), POINTS, Memory())


def conditions(outcome: Outcome, name: str, kind: str = "HTTPRoute") -> dict[str, tuple[str, str]]:
    (wanted,) = (each for each in outcome.statuses if (each.kind.name, each.name) == (kind, name))
    (parent,) = wanted.make({})["parents"]
    return {each["type"]: (each["status"], each["reason"]) for each in parent["conditions"]}


def only_router(outcome: Outcome) -> Any:
    (router,) = outcome.reading.config.http.routers.values()
    return router


# The order


def test_the_order_of_routes_is_that_of_the_specification() -> None:
    """Hosts, then the path, then the method, headers, queries, age, and the position."""
    ordered = [
        (["a.much.longer.name"], [EXACT, 0, 0, 0, 0], 0, 0), (["short"], [EXACT, 0, 0, 0, 0], 0, 0), (["short"], [20, 0, 0, 0, 0], 0, 0), (["short"], [19, 0, 1, 16, 16], 0, 0),
        (["short"], [19, 0, 0, 16, 16], 0, 0), (["short"], [19, 0, 0, 15, 16], 0, 0), (["short"], [19, 0, 0, 15, 1], 0, 0), (["short"], [19, 0, 0, 15, 1], 0, 1), (["short"], [19, 0, 0, 15, 1], 5, 0),
        (["short"], [0, 0, 0, 0, 0], 0, 0), (["*.much.longer.name"], [EXACT, 0, 1, 1, 1], 0, 0), (["*.x"], [EXACT, 0, 1, 1, 1], 0, 0), ([], [EXACT, 0, 1, 16, 16], 0, 0), ([], [1, 0, 0, 0, 0], 16383, 1023), ([], [0, 0, 0, 0, 0], 0, 0),
        ([], [0, 0, 0, 0, 0], 16383, 1023),
    ]  # fmt: skip
    values = [priority(*each) for each in ordered]
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert LOWEST < values[-1] < values[-2] < 0 < values[-3] and priority(["x" * 300], [9999, 9999, 9, 99, 99], 0, 0) < 1 << 61


def test_hostnames_of_different_places_in_the_order_are_different_routers() -> None:
    assert host_groups([]) == [[]]
    assert host_groups(["a.x", "*.x", "b.x", "a.x", "long.x"]) == [["a.x", "b.x"], ["*.x"], ["long.x"]]


def test_an_older_route_goes_before_a_newer_one() -> None:
    things = []
    for name, created in (("newer", "2026-02-02T00:00:00Z"), ("older", "2026-01-01T00:00:00Z"), ("another", "2026-02-02T00:00:00Z")):
        thing = route(name, ["h"], [{"backendRefs": to("v1")}])
        thing["metadata"]["creationTimestamp"] = created
        things.append(thing)
    random.Random(1).shuffle(things)
    routers = read(*things).reading.config.http.routers
    ordered = sorted(routers, key=lambda name: -routers[name].priority)
    assert [name.split("-")[2] for name in ordered] == ["older", "another", "newer"]


# Rules


@pytest.mark.parametrize(
    ("listener", "names", "common"),
    [
        ("", [], []), ("", ["A.test"], ["a.test"]), ("a.test", [], ["a.test"]), ("a.test", ["a.test", "b.test"], ["a.test"]), ("*.test", ["a.test", "a.b.test", "test"], ["a.test", "a.b.test"]),
        ("a.test", ["*.test"], ["a.test"]), ("*.b.test", ["*.test"], ["*.b.test"]), ("*.test", ["*.b.test"], ["*.b.test"]), ("a.test", ["b.test"], None), ("*.a.test", ["*.b.test"], None),
    ],
)  # fmt: skip
def test_hostnames_that_listener_and_route_have_in_common(listener: str, names: list[str], common: list[str] | None) -> None:
    assert hosts_in_common(listener, names) == common


def test_rules_can_be_parsed() -> None:
    for rule in (host_rule(["a.test", "*.b-c.test"]), sni_rule(["a.test", "*.b.test"]), sni_rule([])):
        if "SNI" not in rule:
            parse_rule(rule)
    assert sni_rule([]) == 'HostSNI("*")'


MATCHES = {
    "prefix": (prefix("/a/"), '(Path("/a") || PathPrefix("/a/"))'),
    "all": ({}, 'PathPrefix("/")'),
    "exact": (prefix("/a", "Exact"), 'Path("/a")'),
    "expression": (prefix("/a.*", "RegularExpression"), 'PathRegexp("/a.*")'),
    "quoted": (prefix('/"\\', "Exact"), 'Path("/\\"\\\\")'),
    "first header of a name": ({"headers": [*lines(X_A="1"), *lines(x_a="2")]}, 'PathPrefix("/") && Header("X-A","1")'),
    "expressions": (
        {"headers": [{"name": "a", "value": "b+", "type": "RegularExpression"}], "queryParams": [{"name": "c", "value": "d+", "type": "RegularExpression"}]},
        'PathPrefix("/") && HeaderRegexp("a","b+") && QueryRegexp("c","d+")',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MATCHES)
def test_matches_of_http(name: str) -> None:
    match, rule = MATCHES[name]
    assert only_router(read(route("r", [], [{"matches": [match], "backendRefs": to("v1")}]))).rule == rule


GRPC_MATCHES = {
    "both": ({"service": "a.B", "method": "C"}, 'Path("/a.B/C")'), "service": ({"service": "a.B"}, 'PathPrefix("/a.B/")'), "method": ({"method": "C"}, 'PathRegexp("^/[^/]+/C$")'),
    "expressions": ({"type": "RegularExpression", "service": "a|b", "method": "C.*"}, 'PathRegexp("^/(?:a|b)/(?:C.*)$")'), "none": (None, 'PathPrefix("/")'),
}  # fmt: skip


@pytest.mark.parametrize("name", GRPC_MATCHES)
def test_matches_of_grpc_are_whole(name: str) -> None:
    method, rule = GRPC_MATCHES[name]
    match = {} if method is None else {"method": method}
    assert only_router(read(route("r", [], [{"matches": [match], "backendRefs": to("v1")}], kind="GRPCRoute"))).rule == rule


@pytest.mark.parametrize(
    ("origin", "fits", "fails"),
    [
        ("https://*.bar.com", ["https://a.bar.com", "https://a.b.bar.com"], ["https://bar.com", "https://evil.com/.bar.com", "http://a.bar.com", "https://a.bar.com.evil.com"]),
        ("http://*", ["http://anything"], ["http://a/b"]),
    ],
    ids=["subdomain", "any"],
)  # fmt: skip
def test_stars_in_origins_reach_no_further_than_names(origin: str, fits: list[str], fails: list[str]) -> None:
    import re

    pattern = re.compile(_pattern(origin))
    assert all(pattern.search(each) for each in fits) and not any(pattern.search(each) for each in fails)


@pytest.mark.parametrize(
    ("selector", "is_fitting"),
    [
        ({}, True), (None, True), ({"matchLabels": {"a": "1"}}, True), ({"matchLabels": {"a": "2"}}, False), ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False), ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)  # fmt: skip
def test_selectors(selector: Any, is_fitting: bool) -> None:
    assert matches_labels(selector, {"a": "1"}) == is_fitting
    with pytest.raises(ValueError):
        matches_labels({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {})


# References


GRANTS: dict[str, tuple[Thing, Thing, bool]] = {
    "one service": ({"kind": "HTTPRoute", "namespace": "infra"}, {"group": "", "kind": "Service", "name": "web"}, True),
    "all services": ({"kind": "HTTPRoute", "namespace": "infra"}, {"group": "", "kind": "Service"}, True),
    "another service": ({"kind": "HTTPRoute", "namespace": "infra"}, {"group": "", "kind": "Service", "name": "x"}, False),
    "another kind": ({"kind": "HTTPRoute", "namespace": "infra"}, {"group": "", "kind": "Secret"}, False),
    "of another namespace": ({"kind": "HTTPRoute", "namespace": "other"}, {"group": "", "kind": "Service"}, False),
    "of another kind": ({"kind": "TCPRoute", "namespace": "infra"}, {"group": "", "kind": "Service"}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", GRANTS)
def test_grants(name: str) -> None:
    of, onto, is_granted = GRANTS[name]
    grant = {**GRANT, "metadata": {"name": "g", "namespace": "apps"}, "spec": {"from": [{"group": "gateway.networking.k8s.io", **of}], "to": [onto]}}
    things = [service("web", 8080, "apps"), slice_of("web", ["127.0.0.9"], 9, "apps"), route("r", [], [{"backendRefs": to("web", namespace="apps")}])]
    assert conditions(read(*things, grant), "r")["ResolvedRefs"] == (("True", "ResolvedRefs") if is_granted else ("False", "RefNotPermitted"))
    grant["metadata"]["namespace"] = "elsewhere"  # it counts in the namespace of what it allows
    assert conditions(read(*things, grant), "r")["ResolvedRefs"] == ("False", "RefNotPermitted")


def test_references_to_objects_of_traefik() -> None:
    extension = [{"type": "ExtensionRef", "extensionRef": {"group": "traefik.io", "kind": "Middleware", "name": "m"}}]
    pool = [{"group": "traefik.io", "kind": "TraefikService", "name": "pool"}, {"group": "traefik.io", "kind": "TraefikService", "name": "vm@file"}]
    outcome = read(route("r", [], [{"filters": extension, "backendRefs": pool}]))
    router = only_router(outcome)
    assert router.middlewares == ["infra-m@kubernetescrd"]
    weighted = outcome.reading.config.http.services[router.service].weighted
    assert weighted is not None and [child.name for child in weighted.services] == ["infra-pool@kubernetescrd", "vm@file"]
    refused = read(route("r", [], [{"backendRefs": pool}]), cross_provider_namespaces=[])
    assert conditions(refused, "r")["ResolvedRefs"] == ("False", "RefNotPermitted")
    other = read(route("r", [], [{"filters": [{"type": "ExtensionRef", "extensionRef": {"group": "x", "kind": "Y", "name": "m"}}], "backendRefs": to("v1")}]))
    assert conditions(other, "r")["Accepted"] == ("False", "UnsupportedValue")


ALIKE = [
    {"kind": "Middleware", "metadata": {"name": "x-m", "namespace": "infra", "creationTimestamp": "2026-01-03T00:00:00Z"}, "spec": {"addPrefix": {"prefix": "/ours"}}},
    {"kind": "Middleware", "metadata": {"name": "m", "namespace": "infra-x", "creationTimestamp": "2026-01-02T00:00:00Z"}, "spec": {"addPrefix": {"prefix": "/theirs"}}},
    {"kind": "TraefikService", "metadata": {"name": "x-p", "namespace": "infra", "creationTimestamp": "2026-01-03T00:00:00Z"}, "spec": {"weighted": {"services": []}}},
    {"kind": "TraefikService", "metadata": {"name": "p", "namespace": "infra-x", "creationTimestamp": "2026-01-02T00:00:00Z"}, "spec": {"mirroring": {"name": "v1", "port": 8080}}},
]  # fmt: skip


@pytest.mark.parametrize("ours", [True, False], ids=["beside ours", "without ours"])
def test_what_reads_like_an_object_of_another_namespace_is_not_it(ours: bool) -> None:
    """Filters, filters of backends, backends and mirrors: `x-m` here is not `m` of `infra-x`."""
    things = [thing for thing in ALIKE if ours or thing["metadata"]["namespace"] != "infra"]
    extension = {"type": "ExtensionRef", "extensionRef": {"group": "traefik.io", "kind": "Middleware", "name": "x-m"}}
    pool = {"group": "traefik.io", "kind": "TraefikService", "name": "x-p"}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": pool}}
    rule = {"filters": [extension, mirror], "backendRefs": [pool, {**to("v1")[0], "filters": [extension]}]}
    gateway = read(route("r", [], [rule])).reading.config
    of_crds = reading_of(snapshot_of(*things), KubernetesCrd(), Memory()).config
    merged = merge({"kubernetescrd": of_crds, "kubernetesgateway": gateway}).http
    (router,) = merged.routers.values()
    wanted = ["Middleware infra/x-m"] if ours else []
    of_backend = [thing for name, thing in merged.services.items() if thing.load_balancer and "kubernetesgateway" in name]
    for user in (router, *of_backend):
        found = [merged.middlewares[name].place for name in user.middlewares if name in merged.middlewares]
        assert found == wanted and len(user.middlewares) == 1
    children = [child for thing in merged.services.values() for child in thing.children if "@kubernetescrd" in child]
    assert len(children) == 2  # in the pool, and as a mirror
    pools = [merged.services[child].place for child in children if child in merged.services]
    assert pools == (["TraefikService infra/x-p"] * 2 if ours else [])


def test_streams_have_no_pools_of_http_behind_them() -> None:
    pool = {"group": "traefik.io", "kind": "TraefikService", "name": "p"}
    listener = {"name": "t", "port": 80, "protocol": "TCP"}
    gateway = {**GATEWAY, "metadata": {"name": "streams", "namespace": "infra"}, "spec": {"gatewayClassName": "c", "listeners": [listener]}}
    thing = route("t", [], [{"backendRefs": [pool]}], kind="TCPRoute", parents=[{"name": "streams"}])
    outcome = read(gateway, thing, experimental_channel=True)
    assert conditions(outcome, "t", "TCPRoute")["ResolvedRefs"] == ("False", "InvalidKind")
    assert not any("@" in child for each in outcome.reading.config.tcp.services.values() if each.weighted for child in [part.name for part in each.weighted.services])


def test_internal_services_are_named_as_they_are() -> None:
    outcome = read(route("r", [], [{"backendRefs": [{"group": "traefik.io", "kind": "TraefikService", "name": "api@internal"}]}]))
    assert only_router(outcome).service == "api@internal"
    outcome = read(route("r", [], [{"backendRefs": [{"group": "traefik.io", "kind": "TraefikService", "name": "api@internal"}]}]), cross_provider_namespaces=[])
    assert only_router(outcome).service != "api@internal"


# Backends


def servers(outcome: Outcome) -> list[str]:
    return [server.url for service in outcome.reading.config.http.services.values() if service.load_balancer for server in service.load_balancer.servers]


def test_ways_to_a_service() -> None:
    plain = route("r", [], [{"backendRefs": to("v1")}])
    assert servers(read(plain)) == ["http://127.0.0.2:9"]
    assert servers(read(plain, native_lb_by_default=True)) == ["http://10.9.8.7:8080"]
    noted = service("v1", 8080, "infra")
    noted["metadata"]["annotations"] = {"traefik.io/service.nativelb": "true"}
    assert servers(read(plain, noted)) == ["http://10.9.8.7:8080"]
    noted["metadata"]["annotations"] = {"traefik.io/service.nativelb": "maybe"}
    assert servers(read(plain, noted)) == ["invalid-backend"]
    outside = service("v1", 8080, "infra", type="ExternalName", externalName="vm.test")
    assert servers(read(plain, outside)) == ["invalid-backend"]
    assert servers(read(plain, outside, allow_external_name_services=True)) == ["http://vm.test:8080"]


def test_endpoints_that_leave_get_what_there_is_if_there_are_no_others() -> None:
    leaving = slice_of("v1", ["127.0.0.2"], 9, "infra", ready=False, serving=True, terminating=True)
    unsaid = slice_of("v2", ["127.0.0.3"], 9, "infra")
    unsaid["endpoints"][0]["conditions"] = {}
    outcome = read(leaving, unsaid, route("r", [], [{"backendRefs": to("v1", "v2")}]))
    assert servers(outcome) == ["http://127.0.0.2:9", "http://127.0.0.3:9"]


@pytest.mark.parametrize(
    ("said", "kind", "url"),
    [
        ("", "HTTPRoute", "http://127.0.0.2:9"), ("kubernetes.io/h2c", "HTTPRoute", "h2c://127.0.0.2:9"), ("kubernetes.io/ws", "HTTPRoute", "http://127.0.0.2:9"), ("kubernetes.io/wss", "HTTPRoute", "https://127.0.0.2:9"),
        ("https", "HTTPRoute", "https://127.0.0.2:9"), ("example.com/x", "HTTPRoute", "invalid-backend"), ("", "GRPCRoute", "h2c://127.0.0.2:9"), ("https", "GRPCRoute", "https://127.0.0.2:9"),
        ("kubernetes.io/ws", "GRPCRoute", "invalid-backend"),
    ],
)  # fmt: skip
def test_protocols_of_ports(said: str, kind: str, url: str) -> None:
    thing = service("v1", 8080, "infra")
    if said:
        thing["spec"]["ports"][0]["appProtocol"] = said
    assert servers(read(thing, route("r", [], [{"backendRefs": to("v1")}], kind=kind))) == [url]


def test_a_backend_without_any_weight_is_not_asked() -> None:
    outcome = read(route("r", [], [{"backendRefs": [{**to("v1")[0], "weight": 0}]}]))
    weighted = outcome.reading.config.http.services[only_router(outcome).service].weighted
    assert weighted is not None and len(weighted.services) == 1
    child = outcome.reading.config.http.services[weighted.services[0].name].load_balancer
    assert child is not None and [server.url for server in child.servers] == ["invalid-backend"]


def policy(**validation: Any) -> Thing:
    spec = {"targetRefs": [{"group": "", "kind": "Service", "name": "v1"}], "validation": {"hostname": "b.test", **validation}}
    return {"kind": "BackendTLSPolicy", "metadata": {"name": "p", "namespace": "infra"}, "spec": spec}


POLICIES: dict[str, tuple[Thing, tuple[str, str], tuple[str, str]]] = {
    "of the system": ({"wellKnownCACertificates": "System"}, ("True", "Accepted"), ("True", "ResolvedRefs")),
    "nothing to trust": ({}, ("False", "NoValidCACertificate"), ("False", "InvalidCACertificateRef")),
    "another kind": ({"caCertificateRefs": [{"kind": "Pod", "name": "x"}]}, ("False", "NoValidCACertificate"), ("False", "InvalidKind")),
    "another name": ({"wellKnownCACertificates": "System", "subjectAltNames": [{"type": "Hostname", "hostname": "other"}]}, ("False", "Invalid"), ("True", "ResolvedRefs")),
    "an identity": ({"wellKnownCACertificates": "System", "subjectAltNames": [{"type": "URI", "uri": "spiffe://x/y"}]}, ("True", "Accepted"), ("True", "ResolvedRefs")),
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name: str) -> None:
    validation, accepted, resolved = POLICIES[name]
    outcome = read(policy(**validation), route("r", [], [{"backendRefs": to("v1")}]))
    (wanted,) = (each for each in outcome.statuses if each.kind.name == "BackendTLSPolicy")
    (ancestor,) = wanted.make({})["ancestors"]
    said = {each["type"]: (each["status"], each["reason"]) for each in ancestor["conditions"]}
    assert (said["Accepted"], said["ResolvedRefs"]) == (accepted, resolved)
    assert servers(outcome) == (["https://127.0.0.2:9"] if accepted[0] == "True" else ["invalid-backend"])
    transports = list(outcome.reading.config.http.servers_transports.values())
    assert [(each.server_name, each.peer_cert_uri) for each in transports] == ([("b.test", "spiffe://x/y" if name == "an identity" else "")] if transports else [])
    assert bool(transports) == (accepted[0] == "True")


# What is refused


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"filters": [{"type": "Nope"}]}, "filter 'Nope' is not supported"),
        ({"filters": [filtered("URLRewrite")]}, "urlRewrite: is empty"),
        ({"filters": [filtered("URLRewrite", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"})], "matches": [prefix("/a", "Exact")]}, "ReplacePrefixMatch goes with a match of type PathPrefix"),
        ({"filters": [{"type": "RequestMirror"}]}, "requestMirror: is missing"),
        ({"filters": [filtered("RequestMirror", backendRef=to("v1")[0], fraction={"numerator": 2, "denominator": 1})]}, "is no share"),
        ({"sessionPersistence": {"idleTimeout": "1h"}}, "idleTimeout: is not supported"),
        ({"sessionPersistence": {"absoluteTimeout": "1h"}}, "absoluteTimeout: goes with"),
        ({"sessionPersistence": {"cookieConfig": {"lifetimeType": "Permanent"}}}, "needs absoluteTimeout"),
    ],
    ids=["filter", "empty", "path", "mirror", "share", "idle", "absolute", "permanent"],
)  # fmt: skip
def test_a_rule_that_wants_what_there_is_not_answers_500(rule: Thing, text: str) -> None:
    sound = {"matches": [prefix("/sound")], "backendRefs": to("v1")}
    outcome = read(route("r", [], [{"backendRefs": to("v1"), **rule}, sound]))
    assert conditions(outcome, "r") == {"Accepted": ("True", "Accepted"), "PartiallyInvalid": ("True", "UnsupportedValue"), "ResolvedRefs": ("True", "ResolvedRefs")}
    assert any(text in problem and "HTTPRoute infra/r" in problem for problem in outcome.reading.problems)
    alone = read(route("r", [], [{"backendRefs": to("v1"), **rule}]))
    assert conditions(alone, "r")["Accepted"] == ("False", "UnsupportedValue")
    assert "invalid-backend" in servers(alone)


def test_unknown_keys_are_named() -> None:
    router = only_router(read(route("r", [], [{"backendRefs": to("v1"), "timeout": {}}])))
    assert router.faults and "spec.rules[0].timeout: unknown key 'timeout' (did you mean timeouts?)" in router.faults[0]


def test_a_session_that_lasts() -> None:
    session = {"sessionName": "s", "absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}}
    outcome = read(route("r", [], [{"sessionPersistence": session, "backendRefs": to("v1")}]))
    (sticky,) = (each.load_balancer.sticky for each in outcome.reading.config.http.services.values() if each.load_balancer)
    assert sticky is not None and sticky.cookie is not None and (sticky.cookie.name, sticky.cookie.max_age) == ("s", 3600)


def test_parameters_of_a_class_and_validation_of_clients_are_refused() -> None:
    of_class = {"apiVersion": CLASS, "kind": "GatewayClass", "metadata": {"name": "c"}, "spec": {"controllerName": "traefik.io/gateway-controller", "parametersRef": {"name": "x"}}}
    outcome = read(of_class, route("r", [], [{"backendRefs": to("v1")}]))
    assert not outcome.reading.config.http.routers
    (wanted,) = (each for each in outcome.statuses if each.kind.name == "GatewayClass")
    assert wanted.make({})["conditions"][0]["reason"] == "InvalidParameters"
    strict = {**GATEWAY, "spec": {**GATEWAY["spec"], "tls": {"frontend": {"default": {}}}}}  # type: ignore[dict-item]
    outcome = read(strict, route("r", [], [{"backendRefs": to("v1")}]))
    assert not outcome.reading.config.http.routers and "validation of clients is not supported" in str(outcome.reading.problems)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ({"hostname": "x.test"}, [{"type": "Hostname", "value": "x.test"}]),
        ({"service": {"name": "lb", "namespace": "infra"}}, [{"type": "IPAddress", "value": "192.0.2.1"}, {"type": "Hostname", "value": "y.test"}]),
        ({"service": {"name": "gone", "namespace": "infra"}}, None),
        (None, None),
    ],
    ids=["name", "service", "missing", "none"],
)  # fmt: skip
def test_addresses_of_gateways(address: Any, wanted: Any) -> None:
    balancer = service("lb", 80, "infra")
    balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "y.test"}]}}
    outcome = read(balancer, status_address=address)
    (found,) = (each for each in outcome.statuses if each.kind.name == "Gateway")
    assert found.make({}).get("addresses") == wanted
    assert ("statusAddress" in str(outcome.reading.problems)) == (bool(address) and wanted is None)


def test_listeners_with_the_same_place_are_one() -> None:
    twice = {**GATEWAY, "spec": {**GATEWAY["spec"], "listeners": [*GATEWAY["spec"]["listeners"], {"name": "m", "port": 80, "protocol": "HTTP"}]}}  # type: ignore[dict-item, index]
    outcome = read(twice, route("r", [], [{"backendRefs": to("v1")}]))
    (wanted,) = (each for each in outcome.statuses if each.kind.name == "Gateway")
    first, second = wanted.make({})["listeners"]
    said = {each["type"]: each["status"] for each in second["conditions"]}
    assert said["Conflicted"] == "True" and said["Accepted"] == "False" and {each["type"]: each["status"] for each in first["conditions"]}["Accepted"] == "True"
    assert only_router(outcome).entry_points == ["web"]


def test_experimental_kinds_have_to_be_allowed() -> None:
    thing = {**GATEWAY, "spec": {"gatewayClassName": "c", "listeners": [{"name": "l", "port": 53, "protocol": "UDP"}]}}
    dns = route("r", [], [{"backendRefs": to("v1")}], kind="UDPRoute")
    assert not read(thing, dns).reading.config.udp.routers
    config = read(thing, dns, experimental_channel=True).reading.config
    (router,) = config.udp.routers.values()
    assert router.entry_points == ["dns"] and config.udp.services[router.service].weighted is not None
