"""lbcore's own routers, and those of redirections, as real Traefik tells of its own: also where they cannot run."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import NAMES, start

POINTS: dict[str, dict[str, Any]] = {
    "web": {"redirections": {"entryPoint": {"to": "websecure"}}},
    "my_web": {
        "redirections": {"entryPoint": {"to": ":8443", "scheme": "http", "permanent": False, "priority": 7}},
        "middlewares": ["tag@file"],
    },
    "websecure": {},
    "broken": {"redirections": {"entryPoint": {"to": "web"}}, "middlewares": ["nope", "tag@file"]},
    "wrong": {"redirections": {"entryPoint": {"to": "nowhere"}}},
    "traefik": {"middlewares": ["tag@file"]},
}
DYNAMIC = {
    "http": {
        "routers": {"r": {"rule": "Path(`/r`)", "service": "noop@internal", "entryPoints": ["websecure"]}},
        "middlewares": {"tag": {"headers": {"customResponseHeaders": {"X-Tag": "yes"}}}},
    }
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What each of the two tells of its objects, by path."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "dynamic.yml").write_text(yaml.safe_dump(DYNAMIC))
    ports = free_ports(len(POINTS))
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        at = dict(zip(POINTS, ports, strict=True))
        static = {
            "entryPoints": {
                point: {"address": f"127.0.0.1:{at[point]}", **({"http": http} if http else {})}
                for point, http in POINTS.items()
            },
            "api": {"insecure": True},
            "ping": {"entryPoint": "broken"},
            "metrics": {"prometheus": {"entryPoint": "my_web"}},
            "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
        }
        process = start(name, folder, static)

        def api(path: str, port: int = at["traefik"]) -> Any:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as answer:
                return json.loads(answer.read())

        try:
            eventually(lambda: api("http/routers/r@file"), f"{name} tells of its routers", 30)
            found[name] = {path: api(path) for path in ("http/routers", "http/middlewares", "overview")}
        finally:
            process.terminate()
            process.wait(10)
    yield found


def views(told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By name, without the dashboard, which is a page of its own, and what is a default in Traefik."""
    return {
        view["name"]: {key: value for key, value in view.items() if key != "ruleSyntax"}
        for view in told
        if not view["name"].startswith("dashboard")
    }


def test_own_routers_and_redirections(told: dict[str, dict[str, Any]]) -> None:
    theirs, ours = (views(told[name]["http/routers"]) for name in NAMES)
    assert ours == theirs
    assert {"api@internal", "ping@internal", "web-to-websecure@internal", "my-web-to-8443@internal"} <= set(ours)
    assert ours["ping@internal"]["status"] == "disabled"


def test_middlewares_of_redirections(told: dict[str, dict[str, Any]]) -> None:
    theirs, ours = (views(told[name]["http/middlewares"]) for name in NAMES)
    assert {name: {**view, "usedBy": None} for name, view in ours.items()} == {
        name: {**view, "usedBy": None} for name, view in theirs.items()
    }


def test_numbers(told: dict[str, dict[str, Any]]) -> None:
    theirs, ours = (told[name]["overview"]["http"] for name in NAMES)
    theirs["middlewares"]["total"] -= 2  # of the dashboard
    assert ours == theirs
