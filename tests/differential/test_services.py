"""The same services in real Traefik and in lbcore: shares, sessions, health of parents, mirrors, fallbacks."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import Recorder
from tests.support.traefik import start
from tests.wire.test_health import Patient

CHECK = {"path": "/health", "interval": "100ms", "timeout": "100ms"}
WATCH: dict[str, Any] = {}
Outcome = tuple[int, str, list[str]]


def servers(*urls: str, weights: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
    listed = [{"url": url, "weight": weights[n] if weights else 1} for n, url in enumerate(urls)]
    return {"loadBalancer": {"servers": listed, **more}}


def weighted(*children: tuple[str, int], **more: Any) -> dict[str, Any]:
    return {"weighted": {"services": [{"name": name, "weight": weight} for name, weight in children], **more}}


class Both:
    """Traefik and lbcore on the same dynamic file; a service answers on the host of its name."""

    def __init__(self, folder: Path, services: dict[str, Any]) -> None:
        routers = {name: {"rule": f"Host(`{name}`)", "service": name} for name in services}
        (folder / "dynamic.yml").write_text(yaml.safe_dump({"http": {"routers": routers, "services": services}}))
        self.ports: dict[str, int] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        for name in ("traefik", "lbcore"):
            port = self.ports[name] = free_port()
            static = {
                "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
                "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
            }
            self.processes.append(start(name, folder, static, workers=2))
        first = next(iter(services))
        for name in self.ports:
            eventually(lambda name=name: self.is_ready(name, first), f"{name} routes", 30)  # type: ignore[misc]

    def is_ready(self, which: str, service: str) -> bool:
        try:
            return self.ask(which, service)[0] != 404
        except OSError:
            return False

    def ask(self, which: str, service: str, cookie: str = "", body: bytes | None = None) -> Outcome:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[which], timeout=10)
        with contextlib.closing(connection):
            headers = {"Host": service, **({"Cookie": cookie} if cookie else {})}
            connection.request("GET" if body is None else "POST", "/", body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers.get_all("Set-Cookie") or []

    def counts(self, which: str, service: str, times: int, cookie: str = "") -> Counter[str]:
        return Counter(self.ask(which, service, cookie)[1] for _ in range(times))

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Patient]]:
    found = {name: Patient(name) for name in ("a", "b", "c", "d")}
    yield found
    for node in found.values():
        node.close()


@pytest.fixture(scope="module")
def recorders() -> Iterator[dict[str, Recorder]]:
    found = {name: Recorder(name) for name in ("main", "mirror", "spare")}
    found["main"].answer = lambda first, headers, body: (200 if body != b"fail" else 503, b"main")
    yield found
    for recorder in found.values():
        recorder.close()


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, nodes: dict[str, Patient], recorders: dict[str, Recorder]
) -> Iterator[Both]:
    a, b, c, d = (node.url for node in nodes.values())
    cookie = {"name": "lb", "httpOnly": True, "sameSite": "lax", "maxAge": 60}
    services = {
        "plain": servers(a, b, weights=(3, 1)),
        "single-a": servers(a),
        "single-b": servers(b),
        "tree": weighted(("plain", 1), ("single-b", 1)),
        "drained": servers(a, b, weights=(0, 1)),
        "sticky": servers(a, b, sticky={"cookie": cookie}),
        "unnamed": servers(a, sticky={"cookie": {}}),
        "levels": weighted(("sticky", 1), ("single-b", 1), sticky={"cookie": {"name": "outer", "path": ""}}),
        "none": servers(),
        "checked-a": servers(a, healthCheck=CHECK),
        "checked-b": servers(b, healthCheck=CHECK),
        "checked-c": servers(c, d, healthCheck=CHECK),
        "dc1": weighted(("checked-a", 1), ("checked-b", 1), healthCheck=WATCH),
        "two": weighted(("dc1", 1), ("checked-c", 1), healthCheck=WATCH),
        "careless": weighted(("checked-a", 1), ("single-b", 1)),
        "unwatched": weighted(("single-a", 1), healthCheck=WATCH),
        "spare": {"failover": {"service": "checked-a", "fallback": "checked-b", "healthCheck": WATCH}},
        "main": servers(recorders["main"].url),
        "mirror": servers(recorders["mirror"].url),
        "fallback": servers(recorders["spare"].url),
        "mirrored": {"mirroring": {"service": "main", "mirrors": [{"name": "mirror", "percent": 33}]}},
        "on-status": {"failover": {"service": "main", "fallback": "fallback", "errors": {"status": ["500-503"]}}},
        "too-long": {
            "failover": {
                "service": "main",
                "fallback": "fallback",
                "errors": {"status": ["500-503"], "maxRequestBodyBytes": 3},
            }
        },
        "nobody-left": {"loadBalancer": {"servers": []}},
        "on-503": {"failover": {"service": "nobody-left", "fallback": "fallback", "errors": {"status": ["503"]}}},
        "loop": weighted(("loop", 1)),
        "nobody": weighted(("missing", 1)),
        "ejecting": servers(a, passiveHealthCheck={"failureWindow": "1s", "maxFailedAttempts": 2}),
    }
    pair = Both(tmp_path_factory.mktemp("services"), services)
    yield pair
    pair.close()


WHICH = ("traefik", "lbcore")


@pytest.mark.parametrize(
    ("service", "times"), [("plain", 40), ("tree", 40), ("drained", 10), ("dc1", 20), ("two", 40), ("careless", 10)]
)
def test_shares(both: Both, service: str, times: int) -> None:
    theirs, ours = (both.counts(which, service, times) for which in WHICH)
    assert ours == theirs


@pytest.mark.parametrize("service", ["none", "unwatched", "loop", "nobody"])
def test_refusals(both: Both, service: str) -> None:
    theirs, ours = (both.ask(which, service) for which in WHICH)
    assert ours == theirs


@pytest.mark.parametrize("service", ["sticky", "unnamed", "levels"])
def test_cookies_of_one_are_understood_by_the_other(both: Both, service: str) -> None:
    for giver, taker in (WHICH, WHICH[::-1]):
        for _ in range(4):
            _, name, cookies = both.ask(giver, service)
            session = "; ".join(cookie.partition(";")[0] for cookie in cookies)
            assert cookies
            for _ in range(4):
                assert both.ask(taker, service, session) == (200, name, [])
    shapes = {tuple(sorted(c.replace(c.partition(";")[0], "").strip() for c in both.ask(w, service)[2])) for w in WHICH}
    names = {tuple(c.partition("=")[0] for c in both.ask(w, service)[2]) for w in WHICH}
    assert len(names) <= 2  # `levels` may choose a child without a cookie of its own
    if service != "levels":
        assert len(shapes) == len(names) == 1


def test_legacy_cookies_are_replaced(both: Both) -> None:
    for legacy in ("single-b",):
        outcomes = [both.ask(which, "levels", f"outer={legacy}") for which in WHICH]
        assert outcomes[0] == outcomes[1]
        assert outcomes[0][2]


def test_parents_follow_their_children(both: Both, nodes: dict[str, Patient]) -> None:
    def same(service: str, times: int = 12) -> Counter[str] | None:
        found = [both.counts(which, service, times) for which in WHICH]
        return found[0] if found[0] == found[1] else None

    try:
        nodes["a"].status = 500
        eventually(lambda: same("dc1") == {"b": 12}, "b serves alone")
        eventually(lambda: same("spare") == {"b": 12}, "the fallback serves")
        eventually(lambda: same("careless") == {"b": 6, "no available server\n": 6}, "a parent that does not watch")
        nodes["b"].status = 500
        eventually(lambda: set(same("two") or ()) == {"c", "d"}, "the other data centre serves")
        assert same("spare") == {"Service Unavailable\n": 12}
        nodes["c"].status = nodes["d"].status = 500
        eventually(lambda: same("two") == {"no available server\n": 12}, "no server answers")
    finally:
        for node in nodes.values():
            node.status = 200
    eventually(lambda: len(same("two", 40) or ()) == 4, "all are back")


def test_mirrored_requests_are_the_same_ones(both: Both, recorders: dict[str, Recorder]) -> None:
    copies = recorders["mirror"].requests
    for number, which in enumerate(WHICH, 1):
        for _ in range(100):
            both.ask(which, "mirrored", body=b"x")
        eventually(lambda number=number: len(copies) >= 33 * number, f"the copies of {which}")  # type: ignore[misc]
    assert len(copies) == 66
    assert {body for _, _, body in copies} == {b"x"}


@pytest.mark.parametrize("service", ["on-status", "too-long", "on-503"])
@pytest.mark.parametrize("body", [b"ok", b"fail", b"long enough"])
def test_failover_on_status(both: Both, service: str, body: bytes) -> None:
    theirs, ours = (both.ask(which, service, body=body) for which in WHICH)
    assert ours == theirs


def test_ejection_and_return(both: Both, nodes: dict[str, Patient]) -> None:
    seen = []
    for which in WHICH:
        nodes["a"].failing = True
        statuses = [both.ask(which, "ejecting")[0] for _ in range(4)]
        nodes["a"].failing = False
        eventually(lambda which=which: both.ask(which, "ejecting")[0] == 200, "it is back")  # type: ignore[misc]
        seen.append(statuses)
    assert seen[0] == seen[1] == [500, 500, 503, 503]
