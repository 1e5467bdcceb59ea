"""The chart of Helm: rendered by the engine of Go templates with values of common cases; each value has its effect."""

# ruff: noqa: E501
from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbcore.config.load import static_of
from lbcore.config.static import StaticConfig
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway, KubernetesIngress
from lbcore.provider.kubernetes.crd import kinds_of
from lbcore.provider.kubernetes.gateway import kinds_of as kinds_of_gateways
from lbcore.provider.kubernetes.ingress import kinds_of as kinds_of_ingresses
from lbcore.provider.kubernetes.watch import Kind
from lbcore.template import syntax
from lbcore.template.engine import FILE_FUNCTIONS
from lbcore.template.render import render
from lbcore.template.values import ValueProblem

CHART = Path(__file__).resolve().parents[3] / "packaging" / "helm" / "lbcore"
RELEASE = {"Name": "edge", "Namespace": "front"}
Object = dict[str, Any]


def _required(text: Any, value: Any) -> Any:
    if value in (None, ""):
        raise ValueProblem(str(text))
    return value


def _include(name: Any, data: Any) -> str:
    template = syntax.parse((CHART.parent / str(name)).read_text(), FUNCTIONS, lambda name: (f"no function {name}", ""))
    return render(template, data, FUNCTIONS).text


def _to_yaml(value: Any) -> str:
    return yaml.safe_dump(value).rstrip("\n")


# Helm's own that the chart uses.
FUNCTIONS: dict[str, Callable[..., Any]] = {**FILE_FUNCTIONS, "required": _required, "include": _include}
FUNCTIONS["toYaml"] = _to_yaml
TEMPLATE = {"BasePath": "lbcore/templates"}


def validate(thing: Object, version: str) -> None:
    """By the schemas of a version of Kubernetes. Raises an error that names what is wrong."""
    import kubernetes_validate  # takes two seconds, which each process that collects tests would wait

    kubernetes_validate.validate(thing, version, strict=True)


def defaults() -> Object:
    found: Object = yaml.safe_load((CHART / "values.yaml").read_text())
    found["image"]["repository"] = "registry.example/lbcore"
    return found


def rendered(values: Object) -> list[Object]:
    """The objects that the chart makes."""
    found = []
    for path in sorted((CHART / "templates").glob("*.yaml")):
        template = syntax.parse(path.read_text(), FUNCTIONS, lambda name: (f"no function {name}", ""))
        text = render(template, {"Values": values, "Release": RELEASE, "Template": TEMPLATE}, FUNCTIONS).text
        found += [thing for thing in yaml.safe_load_all(text) if thing]
    return found


@functools.cache
def rendered_by_default() -> list[Object]:
    return rendered(defaults())


def changed(*changes: tuple[str, Any]) -> Object:
    """The default values with others in their place, by dotted keys."""
    values = defaults()
    for key, value in changes:
        *above, last = key.split(".")
        place = values
        for part in above:
            place = place[part]
        place[last] = value
    return values


def one(things: list[Object], kind: str, name: str = "") -> Object:
    (found,) = (thing for thing in things if thing["kind"] == kind and name in ("", thing["metadata"]["name"]))
    return found


def static_file(things: list[Object]) -> StaticConfig:
    return static_of(yaml.safe_load(one(things, "ConfigMap")["data"]["traefik.yml"]))


CASES: dict[str, list[tuple[str, Any]]] = {
    "as it is": [],
    "everything": [
        ("providers.kubernetesGateway.enabled", True),
        ("autoscaling.enabled", True),
        ("logs.access", True),
        ("priorityClassName", "system-cluster-critical"),
        ("service.externalTrafficPolicy", "Local"),
    ],
    "nothing": [
        *[(f"providers.{name}.enabled", False) for name in ("kubernetesCRD", "kubernetesIngress")],
        *[(f"{name}.enabled", False) for name in ("rbac", "service", "podDisruptionBudget", "ingressClass")],
        ("metrics.prometheus", False),
        ("serviceAccount.name", "own"),
    ],
}


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("case", CASES)
def test_what_it_makes_is_valid(case: str, version: str) -> None:
    things = rendered(changed(*CASES[case]))
    for thing in things:
        validate(thing, version)
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in things]
    assert len(names) == len(set(names))
    assert static_file(things).entry_points.keys() == {"traefik", "web", "websecure"}


def kinds(enabled: dict[str, bool]) -> list[Kind]:
    found: list[Kind] = kinds_of(KubernetesCrd()) if enabled["kubernetesCRD"] else []
    found += kinds_of_ingresses(KubernetesIngress()) if enabled["kubernetesIngress"] else []
    return found + (kinds_of_gateways(KubernetesGateway()) if enabled["kubernetesGateway"] else [])


@pytest.mark.parametrize("only", ["kubernetesCRD", "kubernetesIngress", "kubernetesGateway", ""])
def test_the_role_has_the_rights_of_the_providers_that_are_on(only: str) -> None:
    names = ("kubernetesCRD", "kubernetesIngress", "kubernetesGateway")
    enabled = {name: only in ("", name) for name in names}
    role = one(rendered(changed(*[(f"providers.{name}.enabled", enabled[name]) for name in names])), "ClusterRole")
    rights = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    needed = {(kind.group, kind.plural, verb) for kind in kinds(enabled) for verb in ("get", "list", "watch")}
    assert needed <= rights
    core = {right for right in rights if right[0] in ("", "discovery.k8s.io", "coordination.k8s.io")}
    assert {group for group, _, _ in rights - core} == {group for group, _, _ in needed - core if group} - {
        "discovery.k8s.io"
    }
    assert all(verb in ("get", "list", "watch") for group, _, verb in rights if group in ("", "traefik.io"))


EFFECTS: list[tuple[str, Any]] = [
    ("image.repository", "other.example/x"), ("image.tag", "2"), ("image.pullPolicy", "Always"),
    ("deployment.replicas", 7), ("deployment.podAnnotations", {"a": "b"}), ("deployment.terminationGracePeriodSeconds", 9),
    ("providers.kubernetesCRD.enabled", False), ("providers.kubernetesCRD.allowCrossNamespace", True),
    ("providers.kubernetesIngress.enabled", False), ("providers.kubernetesIngress.publishService", False),
    ("providers.kubernetesGateway.enabled", True),
    ("ports", {"web": {"port": 1, "exposedPort": 2, "expose": True}}), ("ports.web.port", 9000), ("ports.web.exposedPort", 81),
    ("ports.web.expose", False), ("ports.websecure.tls", False),
    ("service.enabled", False), ("service.type", "NodePort"), ("service.annotations", {"a": "b"}), ("service.externalTrafficPolicy", "Local"),
    ("ingressClass.enabled", False), ("ingressClass.name", "x"), ("ingressClass.isDefaultClass", True),
    ("logs.level", "DEBUG"), ("logs.access", True), ("metrics.prometheus", False), ("additionalConfig", {"api": {"dashboard": False}}),
    ("env", [{"name": "A", "value": "b"}]), ("envFrom", [{"secretRef": {"name": "s"}}]), ("volumes", [{"name": "v", "emptyDir": {}}]),
    ("volumeMounts", [{"name": "v", "mountPath": "/v"}]), ("resources", {"limits": {"cpu": "1"}}), ("nodeSelector", {"a": "b"}),
    ("tolerations", [{"key": "a", "operator": "Exists"}]), ("affinity", {"podAntiAffinity": {}}),
    ("topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]),
    ("priorityClassName", "high"), ("podDisruptionBudget.enabled", False), ("podDisruptionBudget.minAvailable", 2),
    ("autoscaling.enabled", True), ("rbac.enabled", False), ("serviceAccount.name", "own"), ("serviceAccount.annotations", {"a": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), EFFECTS, ids=[key for key, _ in EFFECTS])
def test_each_value_has_its_effect(key: str, value: Any) -> None:
    before, after = rendered_by_default(), rendered(changed((key, value)))
    assert json.dumps(before) != json.dumps(after)
    for thing in after:
        if thing not in before:
            validate(thing, "1.37")
    static_file(after)


@pytest.mark.parametrize("key", ["minReplicas", "maxReplicas", "averageUtilization"])
def test_each_value_of_scaling_has_its_effect(key: str) -> None:
    scaled = [rendered(changed(("autoscaling.enabled", True), (f"autoscaling.{key}", value))) for value in (3, 4)]
    assert one(scaled[0], "HorizontalPodAutoscaler") != one(scaled[1], "HorizontalPodAutoscaler")
    assert "replicas" not in one(scaled[0], "Deployment")["spec"]


def test_no_value_is_forgotten() -> None:
    """Each value of values.yaml is used in a template, and each that a template uses is there."""
    text = "".join(path.read_text() for path in (CHART / "templates").glob("*.yaml"))
    used = set(re.findall(r"\.Values((?:\.\w+)+)", text))
    values = defaults()
    for key in used:
        place: Any = values
        for part in key[1:].split("."):
            assert part in place, key
            place = place[part]

    def leaves(place: Any, path: str) -> set[str]:
        if f".{path}" in used or not isinstance(place, dict) or not place:
            return {path}
        return set().union(*(leaves(value, f"{path}.{key}".lstrip(".")) for key, value in place.items()))

    assert {f".{leaf}" for leaf in leaves(copy.deepcopy(values), "")} <= used


def test_more_of_the_static_file_goes_into_what_the_chart_writes() -> None:
    more = {
        "providers": {"file": {"directory": "/dynamic"}, "kubernetesCRD": {"allowEmptyServices": False}},
        "entryPoints": {"web": {"http": {"redirections": {"entryPoint": {"to": "websecure", "scheme": "https"}}}}},
        "log": {"format": "json", "level": "WARN"},
        "ping": {"entryPoint": "web"},
    }
    static = static_file(rendered(changed(("additionalConfig", more))))
    assert static.providers.file is not None and str(static.providers.file.directory) == "/dynamic"
    crd = static.providers.kubernetescrd
    assert crd is not None and (crd.allow_empty_services, crd.allow_cross_namespace) == (False, False)
    assert static.providers.kubernetes is not None
    web = static.entry_points["web"]
    assert web.address == ":8000" and web.http.redirections is not None
    assert (static.log.format, static.log.level) == ("json", "WARN")
    assert static.ping is not None and static.ping.entry_point == "web"


def test_pods_are_replaced_when_the_static_file_changes_and_not_otherwise() -> None:
    def pods(*changes: tuple[str, Any]) -> Object:
        template: Object = one(rendered(changed(*changes)), "Deployment")["spec"]["template"]
        return template

    before = one(rendered_by_default(), "Deployment")["spec"]["template"]
    for change in (("logs.level", "DEBUG"), ("additionalConfig", {"core": {"defaultRuleSyntax": "v2"}})):
        assert pods(change) != before, change
    assert pods(("service.annotations", {"a": "b"})) == before
    assert pods(("deployment.podAnnotations", {"a/b": "1"}))["metadata"]["annotations"]["a/b"] == "1"


def test_without_an_image_it_says_what_is_missing() -> None:
    with pytest.raises(Exception, match=r"image\.repository"):
        rendered(changed(("image.repository", "")))


def test_ports_as_the_chart_of_traefik_has_them() -> None:
    """The API is not shown to the world because somebody has written that it is not to be."""
    ports = {
        "traefik": {"port": 8080, "exposedPort": 8080, "expose": {"default": False}},
        "web": {"port": 8000, "exposedPort": 80, "expose": {"default": True}},
        "websecure": {"port": 8443, "exposedPort": 443, "expose": {"default": True}, "tls": {"enabled": True}},
        "inner": {"port": 8444, "exposedPort": 444, "expose": {"default": False}, "tls": {"enabled": False}},
    }
    things = rendered(changed(("ports", ports)))
    assert [port["port"] for port in one(things, "Service")["spec"]["ports"]] == [80, 443]
    points = static_file(things).entry_points
    assert points.keys() == ports.keys()
    assert [name for name, point in points.items() if point.http.tls is not None] == ["websecure"]
    (container,) = one(things, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]].count(8080) == 1
    ports["traefik"]["expose"] = {"default": True}
    shown = one(rendered(changed(("ports", ports))), "Service")["spec"]["ports"]
    assert {port["name"]: port["targetPort"] for port in shown}["traefik"] == "admin"


def test_services_lead_to_the_pods() -> None:
    things = rendered(defaults())
    pod = one(things, "Deployment")["spec"]["template"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    service = one(things, "Service")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert {port["targetPort"] for port in service["ports"]} <= ports
