"""The labels of real containers in real Traefik and in lbcore: the same routers, services, middlewares and servers."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import Docker, docker
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import NAMES, start

PORT = "traefik.http.services.{name}.loadbalancer.server.port"
# Containers that both take: labels, and how they are made.
CONTAINERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "plain": ({}, {"exposed": ("81/tcp", "8080/tcp", "9/udp")}),
    "with_Strange.name": ({}, {"exposed": ("80/tcp",)}),
    "off": ({"traefik.enable": "false"}, {"exposed": ("80/tcp",)}),
    "enabled": ({"traefik.enable": "TRUE"}, {"exposed": ("80/tcp",)}),
    "worker": ({"org.example": "x"}, {}),
    "compose": ({"com.docker.compose.service": "web", "com.docker.compose.project": "my_shop"}, {"exposed": ("80/tcp",)}),
    "port": ({PORT.format(name="port"): "8081"}, {}),
    "bare": ({"traefik.http.routers.bare": "true"}, {"exposed": ("80/tcp",)}),
    "ruled": (
        {"traefik.http.routers.Ruled.rule": "Host(`ruled.test`) && PathPrefix(`/a`)", "traefik.http.routers.ruled.entrypoints": "web, other",
         "traefik.HTTP.routers.ruled.Priority": "42", PORT.format(name="x"): "8081"},
        {},
    ),
    "two": (
        {"traefik.http.routers.a.rule": "Host(`a`)", "traefik.http.routers.a.service": "a", PORT.format(name="a"): "1",
         "traefik.http.routers.b.rule": "Host(`b`)", "traefik.http.routers.b.service": "b", PORT.format(name="b"): "2"},
        {},
    ),
    "unlinked": ({PORT.format(name="u1"): "1", PORT.format(name="u2"): "2"}, {}),
    "middle": (
        {"traefik.http.routers.m.middlewares": "strip@docker,add", "traefik.http.middlewares.strip.stripprefix.prefixes": "/a,/b",
         "traefik.http.middlewares.add.addprefix.prefix": "/x", "traefik.http.middlewares.red.redirectscheme.scheme": "https",
         "traefik.http.middlewares.red.redirectscheme.permanent": "true",
         "traefik.http.middlewares.head.headers.customrequestheaders.X-Some-Header": "v, w",
         "traefik.http.middlewares.chain.chain.middlewares": "strip,add"},
        {"exposed": ("80/tcp",)},
    ),
    "tls": (
        {"traefik.http.routers.tls.rule": "Host(`tls`)", "traefik.http.routers.tls.tls": "true",
         "traefik.http.routers.tlsd.rule": "Host(`tlsd`)", "traefik.http.routers.tlsd.tls.domains[0].main": "a.test",
         "traefik.http.routers.tlsd.tls.domains[0].sans": "b.test,c.test", PORT.format(name="tls"): "8443",
         "traefik.http.services.tls.loadbalancer.server.scheme": "https"},
        {},
    ),
    "balancer": (
        {PORT.format(name="bal"): "80", "traefik.http.services.bal.loadbalancer.passhostheader": "false",
         "traefik.http.services.bal.loadbalancer.sticky.cookie": "true", "traefik.http.services.bal.loadbalancer.sticky.cookie.name": "c",
         "traefik.http.services.bal.loadbalancer.healthcheck.path": "/health", "traefik.http.services.bal.loadbalancer.healthcheck.interval": "7s",
         "traefik.http.services.bal.loadbalancer.server.weight": "3"},
        {},
    ),
    "url": ({"traefik.http.services.url.loadbalancer.server.url": "http://127.0.0.1:9"}, {}),
    "db": (
        {"traefik.tcp.routers.db.rule": "HostSNI(`*`)", "traefik.tcp.routers.db.entrypoints": "other",
         "traefik.tcp.services.db.loadbalancer.server.port": "5432"},
        {},
    ),
    "dbsni": (
        {"traefik.tcp.routers.dbs.rule": "HostSNI(`db.test`)", "traefik.tcp.routers.dbs.tls.passthrough": "true"},
        {"exposed": ("5432/tcp",)},
    ),
    "both": (
        {"traefik.tcp.routers.bt.rule": "HostSNI(`bt.test`)", "traefik.tcp.routers.bt.tls": "true", "traefik.http.routers.bh.rule": "Host(`bh`)"},
        {"exposed": ("80/tcp",)},
    ),
    "replica-1": ({PORT.format(name="rep"): "81", "traefik.http.routers.rep.rule": "Host(`rep`)"}, {}),
    "replica-2": ({PORT.format(name="rep"): "82", "traefik.http.routers.rep.rule": "Host(`rep`)"}, {}),
    "typo": ({"traefik.http.routes.typo.rule": "Host(`typo`)"}, {"exposed": ("80/tcp",)}),
    "root": ({"Traefik.http.routers.root.rule": "Host(`root`)"}, {"exposed": ("80/tcp",)}),
    "ignored": ({"traefik.tls.options.o.minversion": "VersionTLS12", "traefik.frontend.rule": "x",
                 "traefik.http.routers.ig.rule": "Host(`ig`)"}, {"exposed": ("80/tcp",)}),
    "api": ({"traefik.http.routers.dash.rule": "Host(`dash`)", "traefik.http.routers.dash.service": "api@internal"}, {"exposed": ("80/tcp",)}),
    "of-network": ({"traefik.docker.network": "lbd-a", "traefik.http.routers.net.rule": "Host(`net`)"}, {"exposed": ("80/tcp",), "network": "lbd-a"}),
    "bound": ({}, {"exposed": ("80/tcp",), "network": "lbd-a", "bindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]}}),
}  # fmt: skip
COMPARED = {
    "routers": ("rule", "service", "entryPoints", "middlewares", "tls", "priority", "status"),
    "services": ("loadBalancer", "status"),
    "middlewares": ("stripPrefix", "addPrefix", "redirectScheme", "headers", "chain", "status"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    with docker() as found:
        found.make_network("lbd-a", "172.29.71.0/24")
        for name, (labels, more) in CONTAINERS.items():
            # In the network of the host nothing is exposed.
            found.run(name, labels, **{**({"network": "lbd-a"} if "exposed" in more else {}), **more})
        yield found


def objects(port: int, layer: str, kind: str) -> dict[str, Any] | None:
    """The objects of the provider, by name, without what is not compared."""
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{layer}/{kind}?per_page=1000") as answer,
    ):
        found = {}
        for each in json.load(answer):
            if each["name"].endswith("@docker"):
                view = {key: each.get(key) for key in COMPARED[kind] if each.get(key) not in (None, [], {})}
                if (balancer := view.get("loadBalancer")) is not None and "servers" in balancer:
                    balancer["servers"] = sorted(balancer["servers"], key=json.dumps)
                found[each["name"]] = view
        return found
    return None


@pytest.mark.parametrize("settings", [{}, {"exposedByDefault": False}, {"useBindPortIP": True}, {
    "defaultRule": "Host(`{{ .ContainerName | lower }}.{{ trimPrefix \"p\" .Name }}{{ if index .Labels \"org.example\" }}x{{ end }}`)",
    "constraints": "!LabelRegex(`com.docker.compose.service`, `web`) && !Label(`traefik.enable`, `TRUE`)", "network": "lbd-a",
}], ids=["defaults", "not by default", "bound", "rules"])  # fmt: skip
def test_labels(engine: Docker, tmp_path: Path, settings: dict[str, Any]) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        ports = {point: free_port() for point in ("web", "other", "traefik")}
        static = {
            "entryPoints": {point: {"address": f"127.0.0.1:{port}"} for point, port in ports.items()},
            "api": {"insecure": True},
            "providers": {"docker": {"endpoint": engine.url, **settings}},
        }
        process = start(name, tmp_path, static)
        try:
            api = ports["traefik"]
            eventually(lambda api=api: objects(api, "http", "routers"), f"{name} has read the containers")
            found[name] = {
                f"{layer} {kind}": objects(api, layer, kind)
                for layer, kind in (
                    ("http", "routers"),
                    ("http", "services"),
                    ("http", "middlewares"),
                    ("tcp", "routers"),
                    ("tcp", "services"),
                )
            }
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    theirs, ours = found["traefik"], found["lbcore"]
    for kind in theirs:
        assert ours[kind].keys() == theirs[kind].keys(), kind
        for name in theirs[kind]:
            mine, other = (json.dumps(each[kind][name], sort_keys=True) for each in (ours, theirs))
            assert mine == other, f"{kind} {name}"
