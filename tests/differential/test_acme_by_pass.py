"""Who answers below `/.well-known/acme-challenge/`, in real Traefik and in lbcore: http-01, a redirection, a router."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Server

PREFIX = "/.well-known/acme-challenge/"
PATHS = (PREFIX, PREFIX[:-1], *(PREFIX + rest for rest in ("token", "a/b", "%2e%2e/x", "t?x=y")), "/x", "/.well-known/")
BY_PASS = {"allowACMEByPass": True}
CHALLENGED = ("redirected", "rule", "low", "among", "first", "guarded")


def redirected(**more: Any) -> dict[str, Any]:
    return {"redirections": {"entryPoint": {"to": ":443", "scheme": "https", **more}}}


POINTS: dict[str, dict[str, Any]] = {
    "web": {},
    "traefik": {},
    "redirected": {"http": redirected()},
    "rule": {**BY_PASS, "http": redirected()},
    "low": {**BY_PASS, "http": redirected(priority=50)},
    "others": {**BY_PASS, "http": redirected()},  # no resolver has its challenges here
    "among": BY_PASS,
    "first": {},
    "guarded": {**BY_PASS, "http": {"middlewares": ["nobody@file"]}},
}
RULES = {
    "own": f"PathPrefix(`{PREFIX}`) && Host(`a.test`)",
    "token": f"Path(`{PREFIX}token`)",
    "all": "PathPrefix(`/`)",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("by-pass")
    with contextlib.closing(Server(describe)) as server:
        routers = {
            f"{point}-{name}": {"rule": rule, "service": "app", "entryPoints": [point], "middlewares": [name]}
            for point in ("others", "among", "first", "guarded", "low")
            for name, rule in RULES.items()
        }
        routers["ready"] = {"rule": "PathPrefix(`/`)", "service": "app", "entryPoints": ["web"]}
        middlewares: dict[str, Any] = {
            name: {"headers": {"customResponseHeaders": {"X-Router": name}}} for name in RULES
        }
        middlewares["nobody"] = {"ipAllowList": {"sourceRange": ["192.0.2.0/24"]}}
        services = {"app": {"loadBalancer": {"servers": [{"url": server.url}]}}}
        resolvers = {
            point: {
                "acme": {
                    "email": "admin@example.test",
                    "caServer": "https://127.0.0.1:1/dir",
                    "storage": str(folder / f"{{name}}-{point}.json"),
                    "httpChallenge": {"entryPoint": point},
                }
            }
            for point in CHALLENGED
        }
        static = {"entryPoints": POINTS, "certificatesResolvers": resolvers, "api": {"insecure": True}}
        dynamic = {"http": {"routers": routers, "middlewares": middlewares, "services": services}}
        with twins(folder, static, dynamic, only="web") as found:
            yield found


def outcome(both: Twins, name: str, point: str, host: str, path: str) -> tuple[str, str, str]:
    """Status, router, and where it is redirected to."""
    with contextlib.closing(both.client(name, point)) as client:
        first, headers, _ = client.ask(get(path, host))
        return first.split()[1], headers.get("x-router", ""), headers.get("location", "")


@pytest.mark.parametrize("point", [point for point in POINTS if point not in ("web", "traefik")])
def test_the_same_takes_a_challenge(both: Twins, point: str) -> None:
    for host in ("a.test", "b.test"):
        for path in PATHS:
            traefik, lbcore = (outcome(both, name, point, host, path) for name in NAMES)
            assert lbcore == traefik, (host, path)


def test_the_api_names_its_routers(both: Twins) -> None:
    found = []
    for name in NAMES:
        url = f"http://127.0.0.1:{both.ports[name]['traefik']}/api/http/routers"
        with urllib.request.urlopen(url, timeout=30) as answer:
            shown = {router["name"]: router for router in json.load(answer)}
        names = [key for key in shown if "acme-http" in key or "-to-" in key]
        keys = ("rule", "service", "priority")
        found.append({key: ([shown[key][each] for each in keys], sorted(shown[key]["using"])) for key in names})
    assert found[1] == found[0]
