"""What Ingresses mean: classes, paths, annotations, the default backend, and what their statuses say."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.static.kubernetes import KubernetesIngress
from lbcore.errors import ConfigError
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.ingress import outcome_of
from lbcore.provider.kubernetes.store import Outcome
from tests.support.kubernetes import service, slice_of, snapshot_of

PREFIX = "traefik.ingress.kubernetes.io/"
WEB = [service("web"), slice_of("web", ["127.0.0.2"], 8080)]


def path(path: str = "/", kind: str = "Prefix", name: str = "web", port: Thing | None = None) -> Thing:
    return {"path": path, "pathType": kind, "backend": {"service": {"name": name, "port": port or {"number": 80}}}}


def ingress(name: str, host: str, *paths: Thing, notes: dict[str, str] | None = None, created: str = "", **spec: Any) -> Thing:
    about: Thing = {"name": name, "creationTimestamp": created, "annotations": notes or {}}
    rules = {"rules": [{"host": host, "http": {"paths": list(paths)}}]} if paths else {}
    return {"kind": "Ingress", "metadata": about, "spec": {**rules, **spec}}


def noted(thing: Thing, **notes: str) -> Thing:
    thing["metadata"]["annotations"] = {PREFIX + key.replace("_", "."): value for key, value in notes.items()}
    return thing


def read(*things: Thing, **settings: Any) -> Outcome:
    return outcome_of(snapshot_of(*things), KubernetesIngress(**settings), Memory())


def rules(outcome: Outcome) -> set[str]:
    return {router.rule for router in outcome.reading.config.http.routers.values() if not router.faults}


CLASSES = [
    {"kind": "IngressClass", "metadata": {"name": "ours"}, "spec": {"controller": "traefik.io/ingress-controller"}},
    {"kind": "IngressClass", "metadata": {"name": "theirs"}, "spec": {"controller": "example.com/x"}},
]
OLD = "kubernetes.io/ingress.class"


@pytest.mark.parametrize(
    ("wanted", "named", "old", "is_meant"),
    [
        ("", None, None, True), ("", None, "traefik", True), ("", None, "other", False), ("", "ours", None, True),
        ("", "theirs", None, False), ("", "unknown", None, False), ("ours", None, None, False), ("ours", None, "ours", True),
        ("ours", "ours", None, True), ("other", "ours", None, False), ("ours", "theirs", "ours", False),
    ],
)  # fmt: skip
def test_classes(wanted: str, named: str | None, old: str | None, is_meant: bool) -> None:
    thing = ingress("i", "a", path(), notes={OLD: old} if old else {}, **({"ingressClassName": named} if named else {}))
    assert bool(rules(read(*WEB, *CLASSES, thing, ingress_class=wanted))) == is_meant


@pytest.mark.parametrize(
    ("of", "rule"),
    [
        (path("/a"), 'Host("h") && PathPrefix("/a")'), (path("/a", "Exact"), 'Host("h") && Path("/a")'),
        (path("", "ImplementationSpecific"), 'Host("h")'), (path('/"\\', "Exact"), 'Host("h") && Path("/\\"\\\\")'),
    ],
    ids=["prefix", "exact", "none", "quoted"],
)  # fmt: skip
def test_rules(of: Thing, rule: str) -> None:
    assert rules(read(*WEB, ingress("i", "h", of))) == {rule}


def test_a_prefix_may_end_at_a_slash() -> None:
    outcome = read(*WEB, ingress("i", "", path("/a/"), path("/")), strict_prefix_matching=True)
    assert rules(outcome) == {'(Path("/a") || PathPrefix("/a/"))', 'PathPrefix("/")'}


@pytest.mark.parametrize(
    ("of", "notes", "text"),
    [
        (path("/a", "Regex"), {}, "spec.rules[0].http.paths[0]: pathType 'Regex'"),
        (path("/a", "ImplementationSpecific"), {"router_pathmatcher": "Host"}, "router.pathmatcher 'Host'"),
        ({"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "x"}}}, {}, "backend.resource is not supported"),
        ({"path": "/", "pathType": "Prefix"}, {}, "backend.service is missing"),
        (path(), {"router_priority": "high"}, f"{PREFIX}router.priority: 'high' is not a whole number"),
        (path(), {"router_rule": "x"}, f"{PREFIX}router.rule: unknown key 'rule'"),
        (path(), {"routers_priority": "1"}, f"{PREFIX}routers: unknown key"),
    ],
    ids=["path type", "matcher", "resource", "no service", "number", "unknown", "unknown top"],
)  # fmt: skip
def test_what_is_wrong_is_disabled_alone(of: Thing, notes: dict[str, str], text: str) -> None:
    outcome = read(*WEB, noted(ingress("wrong", "w", of), **notes), ingress("sound", "s", path()))
    assert rules(outcome) == {'Host("s") && PathPrefix("/")'}
    (wrong,) = (router for router in outcome.reading.config.http.routers.values() if router.faults)
    assert text in wrong.faults[0] and wrong.faults[0].startswith("Ingress default/wrong: "), wrong.faults


def test_a_service_that_is_wrong_is_named_by_its_annotation() -> None:
    thing = noted(service("web"), service_passhostheader="maybe", service_serversscheme="ftp")
    config = read(thing, ingress("i", "h", path())).reading.config
    faults = config.http.services["default-web-80"].faults
    assert "Service default/web: traefik.ingress.kubernetes.io/service.passHostHeader" in faults[0]
    config = read(noted(service("web"), service_serversscheme="ftp"), ingress("i", "h", path())).reading.config
    assert "'ftp' is no scheme" in config.http.services["default-web-80"].faults[0]


def test_other_providers_have_to_be_allowed() -> None:
    of_router = noted(ingress("i", "h", path()), router_middlewares="m@file", router_tls_options="o@file")
    of_service = noted(service("web"), service_serverstransport="t@file", service_middlewares="m@file")
    for allowed, is_fine in ((None, True), (["default"], True), ([], False)):
        config = read(of_service, of_router, cross_provider_namespaces=allowed).reading.config
        (router,), (found,) = config.http.routers.values(), config.http.services.values()
        assert (not router.faults, not found.faults) == (is_fine, is_fine), allowed
    plain = noted(ingress("i", "h", path()), router_tls="true")
    assert rules(read(*WEB, plain, cross_provider_namespaces=[]))


def test_endpoints_and_services_that_are_missing() -> None:
    lost = ingress("i", "h", path("/a", name="gone"), path("/b", port={"number": 81}), path("/c"))
    outcome = read(service("web"), lost)
    assert len(rules(outcome)) == 3 and len(outcome.reading.problems) == 2
    strict = read(*WEB, lost, allow_empty_services=False)
    assert rules(strict) == {'Host("h") && PathPrefix("/c")'} and len(strict.reading.problems) == 2


def test_of_two_default_backends_the_older_counts() -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    new = ingress("a", "", created="2026-02-02T00:00:00Z", defaultBackend={"service": {"name": "other", "port": {"number": 80}}})
    old = ingress("b", "", created="2026-01-01T00:00:00Z", defaultBackend=backend)
    beside = ingress("c", "h", path(), created="2026-03-03T00:00:00Z", defaultBackend=backend)
    outcome = read(*WEB, new, old, beside)
    config = outcome.reading.config
    assert config.http.routers["default-router"].priority == -(1 << 31)
    balancer = config.http.services["default-backend"].load_balancer
    assert balancer is not None and balancer.servers[0].url == "http://127.0.0.2:8080"
    assert "an older Ingress has the default backend already" in outcome.reading.problems[0]
    assert "has no effect beside rules" in outcome.reading.warnings[0]


# Statuses


def places(outcome: Outcome) -> Any:
    (wanted,) = outcome.statuses
    return wanted.make({"other": 1})


@pytest.mark.parametrize(
    ("endpoint", "thing", "wanted"),
    [
        ({"ip": "192.0.2.1"}, None, [{"ip": "192.0.2.1"}]),
        ({"ip": "192.0.2.1", "hostname": "h"}, None, [{"ip": "192.0.2.1", "hostname": "h"}]),
        ({"published_service": "default/lb"}, {"type": "LoadBalancer"}, [{"ip": "192.0.2.9", "ipMode": "VIP"}]),
        ({"published_service": "default/lb"}, {"type": "ClusterIP", "externalIPs": ["192.0.2.3"]}, [{"ip": "192.0.2.3", "ports": [{"port": 80, "protocol": "TCP"}]}]),
        ({"published_service": "default/lb"}, {"type": "ExternalName", "externalName": "x.test"}, [{"hostname": "x.test"}]),
        ({"published_service": "default/lb"}, {"type": "NodePort"}, [{"ip": "192.0.2.7", "ports": [{"port": 30080, "protocol": "TCP"}]}]),
    ],
    ids=["ip", "both", "load balancer", "cluster", "name", "nodes"],
)  # fmt: skip
def test_statuses(endpoint: dict[str, str], thing: Thing | None, wanted: list[Thing]) -> None:
    node = {"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [{"type": "ExternalIP", "address": "192.0.2.7"}]}}
    published = service("lb", **(thing or {}))
    published["spec"]["ports"][0]["nodePort"] = 30080
    published["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9", "ipMode": "VIP"}]}}
    outcome = read(*WEB, published, node, ingress("i", "h", path()), ingress("x", "x", path(), notes={OLD: "x"}), ingress_endpoint=endpoint)
    assert places(outcome) == {"other": 1, "loadBalancer": {"ingress": wanted}}


def test_a_place_that_is_not_known_is_not_written() -> None:
    endpoint = {"published_service": "default/lb"}
    assert not read(service("lb", type="LoadBalancer"), ingress("i", "h", path()), ingress_endpoint=endpoint).statuses
    missing = read(ingress("i", "h", path()), ingress_endpoint=endpoint)
    assert "publishedService: Service default/lb does not exist" in missing.reading.problems[-1]


@pytest.mark.parametrize("settings", [{"ingress_endpoint": {}}, {"ingress_endpoint": {"published_service": "lb"}}, {"lease": "a/b/c"}], ids=["nothing", "no namespace", "lease"])
def test_settings_that_cannot_be_used(settings: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, ValueError)):
        KubernetesIngress(**settings)


def test_services_of_namespaces_that_read_alike_are_two() -> None:
    """`b-web` of `a`, and `web` of `a-b`: neither gets the requests of the other, whichever comes first."""
    things = [
        service("b-web", namespace="a"), slice_of("b-web", ["127.0.0.3"], 8080, namespace="a"),
        service("web", namespace="a-b"), slice_of("web", ["127.0.0.4"], 8080, namespace="a-b"),
    ]  # fmt: skip
    for first, second in (("a", "a-b"), ("a-b", "a")):
        ingresses = []
        for namespace, created in ((first, "2020-01-01T00:00:00Z"), (second, "2021-01-01T00:00:00Z")):
            thing = ingress("i", f"{namespace}.test", path(name="b-web" if namespace == "a" else "web"), path("/more", name="b-web" if namespace == "a" else "web"), created=created)
            thing["metadata"]["namespace"] = namespace
            ingresses.append(thing)
        config = read(*things, *ingresses).reading.config
        assert len(config.http.services) == 2 and "a-b-web-80" in config.http.services
        for router in config.http.routers.values():
            (server,) = config.http.services[router.service].load_balancer.servers  # type: ignore[union-attr]
            assert server.url == ("http://127.0.0.3:8080" if "a.test" in router.rule else "http://127.0.0.4:8080")


@pytest.mark.parametrize("counts", ["other", "web"])
def test_of_two_paths_with_one_rule_the_last_one_that_has_servers_counts(counts: str) -> None:
    both = [path("/a", name=name) for name in ("web", "other")]
    things = [service("web"), service("other"), slice_of("web", ["127.0.0.2"], 80), slice_of(counts, ["127.0.0.3"], 80)]
    outcome = read(*things, ingress("i", "a.test", *both))
    (router,) = outcome.reading.config.http.routers.values()
    assert (router.service, router.faults) == (f"default-{counts}-80", ())
    assert "has the same rule, and counts" in outcome.reading.problems[0]


def test_of_paths_with_one_rule_one_that_can_run_and_says_its_path_counts() -> None:
    bad = noted(service("bad"), service_strategy="p2c")
    things = [*WEB, bad, slice_of("bad", ["127.0.0.3"], 80)]
    for paths in ([path("/", name="web"), path("/", name="bad")], [path("/"), path("", name="other")]):
        (router,) = read(*things, service("other"), ingress("i", "", *paths)).reading.config.http.routers.values()
        assert (router.service, router.faults) == ("default-web-80", ())
    refused = {"path": "/a.b", "pathType": "Prefix", "backend": {"resource": {"kind": "x"}}}
    routers = read(*things, ingress("i", "h", path("/a-b"), refused)).reading.config.http.routers
    assert {name: bool(router.faults) for name, router in routers.items() if name == "default-i-h-a-b"} == {
        "default-i-h-a-b": False
    }
    assert len(routers) == 2


def test_annotations_that_are_none_of_traefik_3_have_no_effect() -> None:
    old = noted(ingress("i", "h", path()), rule_type="PathPrefixStrip", auth="basic")
    outcome = read(noted(service("web"), weight="1"), WEB[1], old)
    assert rules(outcome) == {'Host("h") && PathPrefix("/")'}
    assert sorted(outcome.reading.warnings) == [
        f"Ingress default/i: {PREFIX}auth: unknown annotation, ignored",
        f"Ingress default/i: {PREFIX}rule.type: unknown annotation, ignored",
        f"Service default/web: {PREFIX}weight: unknown annotation, ignored",
    ]


def test_annotations_in_other_spellings() -> None:
    thing = ingress("i", "h", path(), notes={PREFIX + "router.tls.domains[0].main": "a.test"})
    config = read(noted(service("web"), service_serversscheme="HTTPS"), WEB[1], thing).reading.config
    (router,), (found,) = config.http.routers.values(), config.http.services.values()
    assert router.tls is not None and [domain.main for domain in router.tls.domains] == ["a.test"]
    assert found.members == ["https://127.0.0.2:8080"] and not router.faults


@pytest.mark.parametrize("notes", [{PREFIX + "router.rulesyntax": "v2"}, {}])
def test_a_wildcard_in_the_language_of_version_2(notes: dict[str, str]) -> None:
    things = [service("web"), ingress("i", "*.a.test", path("/a"), notes=notes)]
    outcome = outcome_of(snapshot_of(*things), KubernetesIngress(), Memory(), "" if notes else "v2")
    assert rules(outcome) == {'HostRegexp("{subdomain:[a-zA-Z0-9-]+}.a.test") && PathPrefix("/a")'}
