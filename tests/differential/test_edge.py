"""The edge of real Traefik and of lbcore: PROXY protocol headers that come in, connections that are limited."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Server, config_for
from tests.unit.transport.test_proxy_protocol import BROKEN, GOOD, TLVS, V1, block4, v2
from tests.wire.test_tcp import address, echoes, tcp

# Read as the specification and HAProxy do: Traefik takes the address of a datagram, refuses a header of an unspecified
# family, a LOCAL one whose family is to be ignored, and more than 4 KiB.
READ_OTHERWISE = {
    b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n",
    v2(0x20, 0xFF, b"anything"),
    v2(family=0x00),
    v2(family=0x00, block=TLVS),
    v2(family=0x12, block=block4()),
    v2(family=0x31, block=bytes(216)),
    v2(block=block4() + bytes(16384 - 12)),
}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    server = Server(describe)
    points = {
        "trusted": {"proxyProtocol": {"trustedIPs": ["127.0.0.0/8"]}},
        "untrusted": {"proxyProtocol": {"trustedIPs": ["192.0.2.0/24"]}},
        "insecure": {"proxyProtocol": {"insecure": True}},
        "off": {},
    }
    try:
        with twins(tmp_path_factory.mktemp("proxied"), {"entryPoints": points}, config_for(server.url)) as both:
            yield both
    finally:
        server.close()


def seen(both: Twins, name: str, point: str, header: bytes) -> str:
    """Whom the server takes for the client; empty when the connection is closed."""
    with contextlib.closing(both.client(name, point)) as client:
        try:
            client.send(header + get("/"))
            first, _, body = client.message()
        except (EOFError, ConnectionError):
            return ""
        if not first.startswith("HTTP/1.1 200"):
            return first.split()[1]
        headers = json.loads(body)["headers"]
        return f"{headers['x-real-ip']} {headers['x-forwarded-for']}"


@pytest.mark.parametrize("point", ["trusted", "untrusted", "insecure"])
@pytest.mark.parametrize("header", [header for header in GOOD if header not in READ_OTHERWISE] + [b""])
def test_same_client_address(proxied: Twins, point: str, header: bytes) -> None:
    assert seen(proxied, "lbcore", point, header) == seen(proxied, "traefik", point, header) != ""


@pytest.mark.parametrize("header", BROKEN)
def test_a_header_that_traefik_refuses_is_refused(proxied: Twins, header: bytes) -> None:
    for point in ("trusted", "untrusted"):
        assert seen(proxied, "lbcore", point, header) == ""


def test_without_the_setting_a_header_is_no_request(proxied: Twins) -> None:
    assert seen(proxied, "lbcore", "off", V1) == seen(proxied, "traefik", "off", V1) == "400"


@pytest.mark.parametrize("amount", [0, 1, 3])
def test_same_number_of_connections_of_one_client(tmp_path: Path, amount: int) -> None:
    with echoes("a") as (a,):
        dynamic = tcp([address(a)], "ClientIP(`127.0.0.1`)")
        del dynamic["tcp"]["services"]["all"]["loadBalancer"]["servers"][0]["weight"]
        dynamic["tcp"]["routers"]["all"] |= {"middlewares": ["few"], "entryPoints": ["stream"]}
        dynamic["tcp"]["middlewares"] = {"few": {"inFlightConn": {"amount": amount}}}
        dynamic["http"] = {"routers": {"up": {"rule": "Path(`/`)", "service": "noop@internal", "entryPoints": ["web"]}}}
        with twins(tmp_path, {"entryPoints": {"web": {}, "stream": {}}}, dynamic, only="web") as both:
            greeted: dict[str, list[bytes]] = {}
            clients = []
            for name in NAMES:
                for _ in range(amount + 2):
                    client = both.client(name, "stream")
                    clients.append(client)
                    client.send(b"x")
                    with contextlib.suppress(EOFError, ConnectionError):
                        greeted.setdefault(name, []).append(client.until(b"\n"))
            for client in clients:
                client.close()
            assert greeted.get("lbcore") == greeted.get("traefik")
            assert len(greeted.get("lbcore", [])) == amount


# Logs and metrics of requests

PATHS = ("/plain?a=b", "/nolog", "/nomet", "/yes", "/noop", "/none?x", "/dead", "/empty")


def told(server: str) -> dict[str, Any]:
    """Routers that say in every way whether they are logged and counted."""
    app = {"entryPoints": ["web", "quiet", "traefik"], "service": "app"}
    routers: dict[str, dict[str, Any]] = {
        "plain": app,
        "nolog": app | {"observability": {"accessLogs": False}},
        "nomet": app | {"observability": {"metrics": False}},
        "yes": app | {"observability": {"accessLogs": True, "metrics": True, "tracing": False}},
        "noop": app | {"service": "noop@internal", "observability": {"accessLogs": True}},
        "dead": app | {"service": "dead"},
        "empty": app | {"service": "empty"},
    }
    services = {
        "app": {"loadBalancer": {"servers": [{"url": server}]}},
        "dead": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{free_port()}"}]}},
        "empty": {"loadBalancer": {"servers": []}},
    }
    for name, router in routers.items():
        routers[name] = router | {"rule": f"Path(`/{name}`)"}
    return {"http": {"routers": routers, "services": services}}


def tell(folder: Path, static: dict[str, Any]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Lines of the access logs, and metrics, of both after the same requests."""
    server = Server(describe)
    points = {
        "web": {},
        "quiet": {"observability": {"accessLogs": False, "metrics": False}},
        "traefik": {"forwardedHeaders": {"insecure": True}},
        "red": {"http": {"redirections": {"entryPoint": {"to": "web", "scheme": "http"}}}},
    }
    static = {"entryPoints": points, "ping": {}, "metrics": {"prometheus": {"addRoutersLabels": True}}} | static
    static["accessLog"] = {"filePath": str(folder / "access-{name}"), **static["accessLog"]}
    metrics = {}
    try:
        with twins(folder, static, told(server.url), only="quiet", path="/nolog") as both:
            for name in NAMES:
                for point, path in [*((point, path) for point in list(points)[:3] for path in PATHS), ("red", "/x"),
                                    ("traefik", "/ping"), ("traefik", "/metrics")]:  # fmt: skip
                    with contextlib.closing(both.client(name, point)) as client:
                        client.send(get(path, "a.test:81", "X-Forwarded-For: 192.0.2.1, 192.0.2.2"))
                        metrics[name] = client.message()[2].decode("latin-1")
    finally:
        server.close()
    return {name: (folder / f"access-{name}").read_text().splitlines() for name in NAMES}, metrics


def common(line: str) -> str:
    """A line of the common format without what differs from request to request, and in Traefik from point to point."""
    line = re.sub(r"\[[^]]+\]", "[]", line)
    line = re.sub(r" \d+ms$", " ms", line)
    line = line.replace('"quiet-', '"')
    head, size, rest = re.fullmatch(r'(.*" \d+) (\d+) (.*)', line).groups()  # type: ignore[union-attr]
    # The server's answer holds names of headers, and the metrics their numbers.
    return f"{head} {'-' if int(size) > 60 else size} {rest}"


@pytest.mark.parametrize("internals", [False, True])
@pytest.mark.parametrize("query", ["keep", "drop"])
def test_same_lines_of_the_access_log(tmp_path: Path, internals: bool, query: str) -> None:
    settings = {"addInternals": internals, "fields": {"queryParameters": {"defaultMode": query}}}
    lines, _ = tell(tmp_path, {"accessLog": settings, "metrics": {"addInternals": internals, "prometheus": {}}})
    ours, theirs = ([common(line) for line in lines[name]] for name in ("lbcore", "traefik"))
    # Two workers write: each line is whole, their numbers and order are each worker's own.
    assert sorted(re.sub(r'(" )\d+( ")', r"\1-\2", line) for line in ours) == sorted(
        re.sub(r'(" )\d+( ")', r"\1-\2", line) for line in theirs
    )


def test_same_keys_of_the_json_access_log(tmp_path: Path) -> None:
    lines, _ = tell(tmp_path, {"accessLog": {"format": "json", "fields": {"names": {"clientport": "drop"}}}})
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for name in NAMES:
        for line in lines[name]:
            entry = json.loads(line)
            found.setdefault(name, {})[entry["entryPointName"], entry["RequestPath"]] = entry
    assert set(found["lbcore"]) == set(found["traefik"])
    same = ("ClientHost", "DownstreamStatus", "RequestAddr", "RequestHost", "RequestPort", "RequestMethod",
            "RequestProtocol", "RequestScheme", "RequestContentSize", "RetryAttempts", "ServiceName", "ServiceURL",
            "ServiceAddr", "level", "msg")  # fmt: skip
    for key, theirs in found["traefik"].items():
        ours = found["lbcore"][key]
        # The answer of Traefik in a server's place counts as the server's there.
        spared = {"GzipRatio"} if key[1] == "/dead" else set()
        assert set(ours) - spared == set(theirs) - spared, key
        assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}, key


@pytest.mark.parametrize("internals", [False, True])
def test_same_requests_are_counted(tmp_path: Path, internals: bool) -> None:
    prometheus = {"addRoutersLabels": True}
    settings = {"accessLog": {}, "metrics": {"addInternals": internals, "prometheus": prometheus}}
    _, metrics = tell(tmp_path, settings)
    counted = {}
    for name in NAMES:
        text = metrics[name].replace('router="quiet-', 'router="')
        found = Counter[tuple[str, str]]()
        pattern = rf"^{name}_(entrypoint|router|service)_requests_total\{{(.*)\}} (\S+)$"
        for kind, labels, value in re.findall(pattern, text, re.MULTILINE):
            found[kind, ",".join(sorted(labels.split(",")))] += int(float(value))
        counted[name] = dict(found)
    assert counted["lbcore"] == counted["traefik"]
