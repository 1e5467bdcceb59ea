"""`providers.kubernetesCRD` beside an API server: what is served, and what happens when pods, rights and the server go."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_docker import Watch, api, ask, becomes, instance, points, status
from tests.support.command import run_command
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running
from tests.support.kubernetes import Kubernetes, Thing, kubernetes, route, service, slice_of
from tests.support.ports import free_port


@pytest.fixture
def cluster() -> Iterator[Kubernetes]:
    with kubernetes() as found:
        yield found


@contextlib.contextmanager
def follows(folder: Path, cluster: Kubernetes, provider: str = "kubernetesCRD", **settings: Any) -> Iterator[Instance]:
    options = {"endpoint": cluster.url, "token": "of-a-test", **settings}
    providers = {"providersThrottleDuration": "0s", provider: options}
    if "filename" in settings:
        providers["file"] = {"filename": options.pop("filename")}
    with instance(folder, "", providers=providers) as lb:
        yield lb


@contextlib.contextmanager
def backends(*names: str) -> Iterator[list[Backend]]:
    with contextlib.ExitStack() as stack:
        found = [Backend(name, f"127.0.0.{number}") for number, name in enumerate(names, 2)]
        for backend in found:
            stack.callback(backend.close)
        yield found


def pods(name: str, *found: Backend, suffix: str = "", **conditions: bool) -> list[Thing]:
    """The endpoints of a service, a slice for each port."""
    return [
        slice_of(name, [backend.url.split("/")[2].split(":")[0]], int(backend.url.rpartition(":")[2]), suffix=suffix or backend.name, **conditions)
        for backend in found
    ]


def said(lb: Instance, host: str, count: int = 8) -> set[str]:
    return {ask(lb.port, host)[1] for _ in range(count)}


def test_routes_follow_pods_and_routes(cluster: Kubernetes, tmp_path: Path) -> None:
    with backends("one", "two") as (one, two):
        cluster.apply(service("web"))
        for thing in pods("web", one):
            cluster.apply(thing)
        cluster.apply(route("shop", "Host(`shop`)", [{"name": "web", "port": 80}]))
        with follows(tmp_path, cluster) as lb:
            becomes(lb, "shop", 200)
            for thing in pods("web", two):
                cluster.apply(thing)
            eventually(lambda: said(lb, "shop") == {"one", "two"}, "two pods")
            for thing in pods("web", one, ready=False, serving=True, terminating=True):
                cluster.apply(thing)
            eventually(lambda: said(lb, "shop") == {"two"}, "one pod, and one that leaves")
            for thing in pods("web", two, ready=False, serving=True, terminating=True):
                cluster.apply(thing)
            eventually(lambda: said(lb, "shop") == {"one", "two"}, "both leave, and there is nothing better")
            for backend in (one, two):
                cluster.delete("EndpointSlice", f"web-{backend.name}")
            becomes(lb, "shop", 503)
            cluster.apply(route("other", "Host(`other`)", [{"name": "web", "port": 80}]))
            becomes(lb, "other", 503)
            cluster.delete("IngressRoute", "shop")
            becomes(lb, "shop", 404)


def test_a_rolling_deployment_loses_no_request(cluster: Kubernetes, tmp_path: Path) -> None:
    old = Backend("pod 0", "127.0.0.2")
    cluster.apply(service("web"))
    cluster.apply(pods("web", old, suffix="0")[0])
    cluster.apply(route("shop", "Host(`shop`)", [{"name": "web", "port": 80}]))
    with follows(tmp_path, cluster) as lb:
        becomes(lb, "shop", 200)
        watch = Watch(lb, "shop")
        try:
            for number in range(1, 6):
                new = Backend(f"pod {number}", f"127.0.0.{number + 2}")
                cluster.apply(pods("web", new, suffix=f"{number}")[0])
                cluster.apply(pods("web", old, suffix=f"{number - 1}", ready=False, serving=True, terminating=True)[0])
                eventually(lambda new=new: said(lb, "shop") == {new.name}, f"{new.name} has all requests")
                cluster.delete("EndpointSlice", f"web-{number - 1}")
                old.close()
                old = new
        finally:
            seen = watch.end()
            old.close()
        assert seen == {200} and watch.count > 50


def test_a_pool_of_pods_machines_and_a_service_of_a_file(cluster: Kubernetes, tmp_path: Path) -> None:
    with backends("pod", "machine", "outside", "file") as (pod, machine, outside, of_file):
        file = tmp_path / "own.yml"
        file.write_text(f'{{http: {{services: {{legacy: {{loadBalancer: {{servers: [{{url: "{of_file.url}"}}]}}}}}}}}}}')
        cluster.apply(service("web"))
        for thing in [*pods("web", pod), *pods("web", machine, suffix="by-hand")]:
            cluster.apply(thing)
        port = int(outside.url.rpartition(":")[2])
        cluster.apply(service("outside", port, type="ExternalName", externalName="127.0.0.4"))
        pool = [{"name": "web", "port": 80}, {"name": "outside", "port": port}, {"name": "legacy@file", "kind": "TraefikService"}]
        cluster.apply(route("mixed", "Host(`mixed`)", pool))
        with follows(tmp_path, cluster, allowExternalNameServices=True, filename=str(file)) as lb:
            eventually(lambda: said(lb, "mixed", 12) == {"pod", "machine", "outside", "file"}, "all four")


def test_the_api_server_goes_and_comes_and_nothing_is_lost(tmp_path: Path) -> None:
    port = free_port()
    with backends("one", "two") as (one, two):
        things = [service("web"), *pods("web", one), route("shop", "Host(`shop`)", [{"name": "web", "port": 80}])]
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(kubernetes(port))
            for thing in things:
                cluster.apply(thing)
            lb = stack.enter_context(follows(tmp_path, cluster))
            becomes(lb, "shop", 200)
            watch = Watch(lb, "shop")
            stack.callback(watch.end)
            cluster.close()
            eventually(lambda: "what runs stays" in lb.log, "the loss is logged")
            assert any(state["problems"] for state in api(lb, "/api/state")["providers"])
            again = stack.enter_context(kubernetes(port))
            for thing in [*things, *pods("web", two)]:  # a change while it was away
                again.apply(thing)
            again.forget()
            eventually(lambda: said(lb, "shop") == {"one", "two"}, "what has changed meanwhile")
            eventually(lambda: not any(state["problems"] for state in api(lb, "/api/state")["providers"]), "no problem is left")
            assert watch.end() == {200}


def test_rights_that_are_taken_and_given(cluster: Kubernetes, tmp_path: Path) -> None:
    with backends("one") as (one,):
        cluster.forbidden |= {"configmaps", "traefikservices"}
        cluster.missing.add("ingressrouteudps")
        for thing in [service("web"), *pods("web", one), route("shop", "Host(`shop`)", [{"name": "web", "port": 80}])]:
            cluster.apply(thing)
        cluster.apply(route("pool", "Host(`pool`)", [{"name": "p", "kind": "TraefikService"}]))
        pool = {"weighted": {"services": [{"name": "web", "port": 80}]}}
        cluster.apply({"kind": "TraefikService", "metadata": {"name": "p"}, "spec": pool})
        with follows(tmp_path, cluster) as lb:
            becomes(lb, "shop", 200)
            lb.logged("configmaps cannot be read: it answers 403: configmaps is forbidden")
            lb.logged("traefikservices cannot be read")
            lb.logged("the cluster has no kind IngressRouteUDP")
            assert status(lb, "pool") == 404
            cluster.forbidden.clear()
            becomes(lb, "pool", 200)
            cluster.forbidden |= {"ingressroutes", "endpointslices"}
            cluster.cut()
            lb.logged("ingressroutes cannot be read: .*: what was known stays")
            assert status(lb, "shop") == 200


def test_a_wrong_object_is_out_alone_and_its_repair_is_seen(cluster: Kubernetes, tmp_path: Path) -> None:
    with backends("one") as (one,):
        for thing in [service("web"), *pods("web", one), route("shop", "Host(`shop`)", [{"name": "web", "port": 80}])]:
            cluster.apply(thing)
        cluster.apply(route("wrong", "Host(`wrong`) &&", [{"name": "web", "port": 80}]))
        secured = route("secured", "Host(`secured`)", [{"name": "web", "port": 80}], middlewares=[{"name": "auth"}])
        cluster.apply(secured)
        cluster.apply({"kind": "Middleware", "metadata": {"name": "auth"}, "spec": {"basicAuth": {"secret": "users"}}})
        with follows(tmp_path, cluster) as lb:
            becomes(lb, "shop", 200)
            assert status(lb, "wrong") == 404 and status(lb, "secured") == 404
            lb.logged("Middleware default/auth: spec.basicAuth: Secret default/users does not exist")
            cluster.apply(route("wrong", "Host(`wrong`)", [{"name": "web", "port": 80}]))
            becomes(lb, "wrong", 200)
            users = {"kind": "Secret", "metadata": {"name": "users"}, "stringData": {"f": "u:{SHA}Ys23Ag/5IOWqZCw9QGaVDdHwH00="}}
            cluster.apply(users)
            becomes(lb, "secured", 401)
            text = str([api(lb, path) for path in ("/api/rawdata", "/api/http/middlewares", "/api/state")]) + lb.log
            assert "Ys23Ag" not in text and "of-a-test" not in text


def test_check_shows_what_a_cluster_holds(cluster: Kubernetes) -> None:
    for thing in [service("web"), slice_of("web", ["127.0.0.2"], 8080), route("shop", "Host(`shop`)", [{"name": "web", "port": 80}])]:
        cluster.apply(thing)
    cluster.apply(route("lost", "Host(`lost`)", [{"name": "gone", "port": 80}]))
    check = "check", "--provider", "kubernetescrd", "--endpoint"
    found = run_command(*check, cluster.url)
    assert "Host(`shop`) -> default-shop-" in found.stdout and "(http://127.0.0.2:8080)" in found.stdout
    assert "error: IngressRoute default/lost: spec.routes[0].services[0]: Service default/gone does not exist: no server" in found.stderr
    assert found.returncode == 1
    cluster.delete("IngressRoute", "lost")
    assert run_command(*check, cluster.url).returncode == 0
    away = run_command(*check, f"http://127.0.0.1:{free_port()}")
    assert away.returncode == 1 and "provider kubernetescrd" in away.stderr


def test_ingresses_are_served_and_told_where(cluster: Kubernetes, tmp_path: Path) -> None:
    backend_of = {"service": {"name": "web", "port": {"number": 80}}}
    with backends("one") as (one,):
        for thing in [service("web"), *pods("web", one)]:
            cluster.apply(thing)
        about = {"name": "i", "annotations": {"traefik.ingress.kubernetes.io/router.middlewares": "default-gone@kubernetescrd"}}
        rules = [{"host": "ing", "http": {"paths": [{"path": "/a", "pathType": "Prefix", "backend": backend_of}]}}]
        cluster.apply({"kind": "Ingress", "metadata": about, "spec": {"rules": rules}})
        cluster.apply({"kind": "Ingress", "metadata": {"name": "rest"}, "spec": {"defaultBackend": backend_of}})
        endpoint = {"ip": "192.0.2.1"}
        with follows(tmp_path, cluster, "kubernetesIngress", ingressEndpoint=endpoint, lease="default/of-a-test") as lb:
            becomes(lb, "anything", 200)  # the middleware of the other does not exist
            cluster.apply({"kind": "Ingress", "metadata": {"name": "i"}, "spec": {"rules": rules}})
            eventually(lambda: ask(lb.port, "ing", "/a") == (200, "one"), "served")

            def told() -> bool:
                found = [cluster.get("Ingress", name).get("status") for name in ("i", "rest")]
                return found == [{"loadBalancer": {"ingress": [endpoint]}}] * 2

            eventually(told, "both statuses")
            assert cluster.get("Lease", "of-a-test")["spec"]["holderIdentity"]


def test_a_route_of_a_gateway_for_everything_comes_after_all_others(cluster: Kubernetes, tmp_path: Path) -> None:
    """As in Traefik: what sends all plain requests to https leaves an Ingress, and a router of a file, their hosts."""
    port, version = free_port(), "gateway.networking.k8s.io/v1"
    controller = {"controllerName": "traefik.io/gateway-controller"}
    cluster.apply({"apiVersion": version, "kind": "GatewayClass", "metadata": {"name": "c"}, "spec": controller})
    listeners = [{"name": "http", "port": port, "protocol": "HTTP"}]
    spec: dict[str, Any] = {"gatewayClassName": "c", "listeners": listeners}
    cluster.apply({"apiVersion": version, "kind": "Gateway", "metadata": {"name": "g"}, "spec": spec})
    filters = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]
    spec = {"parentRefs": [{"name": "g"}], "rules": [{"filters": filters}]}
    cluster.apply({"apiVersion": version, "kind": "HTTPRoute", "metadata": {"name": "all"}, "spec": spec})
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {"rules": [{"host": "ing", "http": {"paths": paths}}]}
    cluster.apply({"kind": "Ingress", "metadata": {"name": "i"}, "spec": spec})
    spec = {"defaultBackend": backend}
    cluster.apply({"kind": "Ingress", "metadata": {"name": "rest"}, "spec": spec})
    file = tmp_path / "file.yml"
    router = {"rule": "Host(`file`)", "service": "s"}
    file.write_text(yaml.safe_dump({"http": {"routers": {"r": router}, "services": {"s": {"loadBalancer": {"servers": []}}}}}))
    with backends("one") as (one,):
        for thing in [service("web"), *pods("web", one)]:
            cluster.apply(thing)
        options = {"endpoint": cluster.url, "token": "of-a-test"}
        providers = {"kubernetesGateway": options, "kubernetesIngress": options, "file": {"filename": str(file)}}
        entry_points = {"web": {"address": f"127.0.0.1:{port}"}, "traefik": {"address": "127.0.0.1:0"}}
        with instance(tmp_path, "", providers=providers, entryPoints=entry_points) as lb:
            becomes(lb, "anything", 302)  # and not 200, by the default backend
            becomes(lb, "ing", 200)
            becomes(lb, "file", 503)


@pytest.mark.parametrize("provider", ["kubernetesCRD", "kubernetesIngress", "kubernetesGateway"])
def test_outside_of_a_cluster_the_other_providers_run(tmp_path: Path, provider: str) -> None:
    """As in Traefik: lbcore starts, and says what is missing."""
    with backends("file") as (backend,):
        providers = {"file": {"filename": str(tmp_path / "dynamic" / "dynamic.yml")}, provider: {}}
        static = {"providers": providers, "api": {"insecure": True}, "entryPoints": points()}
        environ = {"KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": ""}
        with running(tmp_path, dynamic_for(backend), workers=1, static=static, environ=environ) as lb:
            eventually(lambda: lb.get()[0] == 200, "the file is served")
            lb.logged(rf"providers\.{provider}\.endpoint: is missing")
            (state,) = (state for state in api(lb, "/api/state")["providers"] if state["name"] != "file")
            assert "endpoint: is missing" in state["problems"][0]
        done = run_command("check", str(tmp_path / "static.yml"), timeout=120, env={**os.environ, **environ})
        assert done.returncode == 0 and f"providers.{provider}.endpoint: is missing" in done.stdout + done.stderr


def test_a_kubeconfig_that_comes_later_is_read(cluster: Kubernetes, tmp_path: Path) -> None:
    with backends("one") as (one,):
        cluster.apply(service("web"))
        cluster.apply(pods("web", one)[0])
        cluster.apply(route("shop", "Host(`shop`)", [{"name": "web", "port": 80}]))
        file = tmp_path / "kubeconfig"
        static = {"providers": {"kubernetesCRD": {}}, "api": {"insecure": True}, "entryPoints": points()}
        environ = {"KUBECONFIG": str(file), "KUBERNETES_SERVICE_HOST": ""}
        with running(tmp_path, None, workers=1, static=static, environ=environ) as lb:
            lb.logged(r"\$KUBECONFIG: No such file or directory")
            context = {"name": "c", "context": {"cluster": "k"}}
            clusters = [{"name": "k", "cluster": {"server": cluster.url}}]
            content = {"current-context": "c", "contexts": [context], "clusters": clusters, "users": []}
            (tmp_path / "beside").write_text(json.dumps(content))
            (tmp_path / "beside").rename(file)
            becomes(lb, "shop", 200)
