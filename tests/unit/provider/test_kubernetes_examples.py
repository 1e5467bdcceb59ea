"""The manifests that people begin with: valid, enough rights for what is read, and read without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lbcore.config.load import static_of
from lbcore.config.static import StaticConfig
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway, KubernetesIngress
from lbcore.provider.kubernetes.crd import kinds_of, reading_of
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.gateway import kinds_of as kinds_of_gateways
from lbcore.provider.kubernetes.gateway import outcome_of, points_of
from lbcore.provider.kubernetes.ingress import kinds_of as kinds_of_ingresses
from lbcore.provider.kubernetes.watch import Kind
from tests.support.kubernetes import service, snapshot_of

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
OWN = ("traefik.io/", "gateway.networking.k8s.io/")  # kinds that are no part of Kubernetes


def documents(path: Path) -> list[dict[str, Any]]:
    return [thing for thing in yaml.safe_load_all(path.read_text()) if thing]


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manifests_are_valid(path: Path, version: str) -> None:
    for thing in documents(path):
        if not thing["apiVersion"].startswith(OWN):
            kubernetes_validate.validate(thing, version, strict=True)


def rights() -> set[tuple[str, str, str]]:
    """Group, resource and verb."""
    (role,) = (thing for thing in documents(FOLDER / "lbcore.yaml") if thing["kind"] == "ClusterRole")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_role_has_the_rights_that_are_needed_and_no_others() -> None:
    kinds: list[Kind] = [*kinds_of(KubernetesCrd()), *kinds_of_ingresses(KubernetesIngress())]
    kinds += kinds_of_gateways(KubernetesGateway())
    needed = {(kind.group, kind.plural, verb) for kind in kinds for verb in ("get", "list", "watch")}
    needed.add(("networking.k8s.io", "ingresses/status", "update"))
    needed |= {(kind.group, f"{kind.plural}/status", "update") for kind in kinds if kind.versioned}
    needed |= {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
    assert rights() == needed


def static_file() -> StaticConfig:
    (config,) = (thing for thing in documents(FOLDER / "lbcore.yaml") if thing["kind"] == "ConfigMap")
    return static_of(yaml.safe_load(config["data"]["traefik.yml"]))


def test_the_static_file_is_accepted() -> None:
    static = static_file()
    assert static.providers.kubernetescrd is not None and static.providers.kubernetes is not None
    assert set(static.entry_points) == {"web", "websecure", "traefik"}


def test_the_gateway_is_read() -> None:
    services = [service("shop"), service("shop-next"), service("lbcore", namespace="lbcore")]
    things = [*documents(FOLDER / "gateway.yaml"), *services]
    options = static_file().providers.kubernetesgateway
    assert options is not None
    outcome = outcome_of(snapshot_of(*things), options, points_of(static_file()), Memory())
    assert not outcome.reading.problems and not outcome.reading.warnings
    routers = outcome.reading.config.http.routers.values()
    assert len(routers) == 3 and all(router.entry_points == ["web"] and not router.faults for router in routers)
    objects = [*outcome.reading.config.http.services.values(), *outcome.reading.config.http.middlewares.values()]
    assert not any(thing.faults for thing in objects)


def test_the_routes_are_read() -> None:
    reading = reading_of(snapshot_of(*documents(FOLDER / "routes.yaml")), KubernetesCrd(), Memory())
    assert not reading.problems and not reading.warnings
    (router,) = reading.config.http.routers.values()
    assert not router.faults and router.middlewares == ["default-compressed"]
    balancer = reading.config.http.services[router.service].load_balancer
    assert balancer is not None and [server.url for server in balancer.servers] == ["http://192.0.2.10:8080"]
