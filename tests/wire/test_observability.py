"""What the load balancer tells about itself: API, metrics, access log. Asked for over its own entry points."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lbcore.config.static import StaticConfig
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import config, mirrored, recorders
from tests.support.wire import Edge, edge, serving
from tests.wire.test_health import check, patients

GET = b"GET /x?y=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: t/1\r\nReferer: http://r/\r\n\r\n"
POINTS = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
TOKEN = "a token of some length"


@contextmanager
def watched(dynamic: dict[str, Any], **static: Any) -> Iterator[Edge]:
    settings = {"api": {"insecure": True, "token": TOKEN}, **static}
    for router in dynamic["http"]["routers"].values():
        router.setdefault("entryPoints", ["web"])
    with edge(dynamic, POINTS, settings) as lb:
        yield lb


def api(lb: Edge, path: str, method: str = "GET", body: Any = None, token: str = "") -> tuple[int, Any, dict[str, str]]:
    data = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Content-Length: {len(data)}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    client = lb.client("traefik")
    first, headers, text = client.ask("\r\n".join([*lines, "", ""]).encode() + data)
    client.close()
    is_json = headers.get("content-type", "").startswith("application/json")
    return int(first.split()[1]), json.loads(text) if is_json else text.decode(), headers


def metrics(lb: Edge) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text, _ = api(lb, "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def metric(lb: Edge, name: str, **labels: str) -> float:
    """The sum of the series that have these labels."""
    wanted = set(labels.items())
    return sum(value for (found, has), value in metrics(lb).items() if found == name and wanted <= set(has))


def test_objects_are_found_by_any_name() -> None:
    names = ["a/b", "a//b/", "x y", "p%41", "ü", 'q"', "a?b#c", "a+b"]
    with patients("a") as (a,):
        one = {"loadBalancer": {"servers": [{"url": a.url}]}}
        dynamic = config(dict.fromkeys(["all", *names], one))
        dynamic["http"]["middlewares"] = {name: {"addPrefix": {"prefix": "/x"}} for name in names}
        for name in names:
            dynamic["http"]["routers"][name] = {"rule": "Path(`/`)", "service": name, "middlewares": [name]}
        with watched(dynamic) as lb:
            for kind in ("routers", "services", "middlewares"):
                for name in names:
                    status, found, _ = api(lb, f"/api/http/{kind}/{quote(name, safe='')}@file")
                    assert (status, found["name"]) == (200, f"{name}@file")
            assert api(lb, "/api/http/routers/a%2Fc@file")[:2] == (
                404,
                '{"message":"router not found: a/c@file"}\n',
            )


def test_objects_as_traefik_shows_them() -> None:
    with patients("a", "b") as (a, b):
        servers = [{"url": a.url, "weight": 2}, {"url": b.url}]
        dynamic = config({"all": {"loadBalancer": {"servers": servers, **check()}}})
        dynamic["http"]["routers"]["bad"] = {"rule": "Hst(`x`)", "service": "all"}
        dynamic["http"]["middlewares"] = {"strip": {"stripPrefix": {"prefixes": ["/x"]}}}
        with watched(dynamic) as lb:
            b.status = 500
            eventually(lambda: "DOWN" in str(api(lb, "/api/http/services/all@file")[1]), "b is down")
            status, service, _ = api(lb, "/api/http/services/all@file")
            health = service.pop("health")
            assert (status, service) == (
                200,
                {
                    "loadBalancer": {
                        "servers": servers,
                        "strategy": "wrr",
                        "healthCheck": {"mode": "http", "path": "/health", "interval": "50ms", "timeout": "300ms",
                                        "followRedirects": True},
                        "passHostHeader": True,
                        "responseForwarding": {"flushInterval": "100ms"},
                    },
                    "status": "enabled",
                    "usedBy": ["all@file", "bad@file"],
                    "name": "all@file",
                    "provider": "file",
                    "type": "loadbalancer",
                    "serverStatus": {a.url: "UP", b.url: "DOWN"},
                },
            )  # fmt: skip
            assert health["servers"][1]["cause"] == "health check failed: received error status code: 500"
            assert api(lb, "/api/version")[1]["Version"]
            found = api(lb, "/api/overview")[1]["http"]
            # Two of the file, and the API's and the dashboard's own.
            assert found["routers"] == {"total": 4, "warnings": 0, "errors": 1}
            router = api(lb, "/api/http/routers/bad@file")[1]
            assert router["status"] == "disabled"
            assert "unsupported function: Hst" in router["error"][0]
            assert api(lb, "/api/http/services/no@file")[:2] == (404, '{"message":"service not found: no@file"}\n')
            assert api(lb, "/api/entrypoints/web")[1]["name"] == "web"
            assert set(api(lb, "/api/rawdata")[1]["middlewares"]) == {"strip@file"}
            assert api(lb, "/dashboard/")[0] == 200
            assert api(lb, "/api/nothing")[0] == 404


def test_lists_are_searched_and_come_in_pages() -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    dynamic["http"]["routers"] = {f"r{n}": {"rule": f"Path(`/{n}`)", "service": "all"} for n in range(12)}
    with watched(dynamic) as lb:
        status, page, headers = api(lb, "/api/http/routers?per_page=5&page=2")
        assert (status, len(page), headers["x-next-page"]) == (200, 5, "3")
        assert api(lb, "/api/http/routers?per_page=5&page=3")[2]["x-next-page"] == "1"
        assert api(lb, "/api/http/routers?page=9")[0] == 400
        assert [router["name"] for router in api(lb, "/api/http/routers?search=%2F11")[1]] == ["r11@file"]


def test_the_tree_tells_why_a_parent_is_down() -> None:
    watch: dict[str, Any] = {"healthCheck": {}}
    with patients("a", "b") as (a, b):
        services = {
            "dc1": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}], **check()}},
            "all": {"weighted": {"services": [{"name": "dc1"}], **watch}},
        }
        with watched(config(services)) as lb:
            a.status = b.status = 503
            eventually(lambda: api(lb, "/api/tree")[1][0]["status"] == "DOWN", "all is down")
            root = api(lb, "/api/tree")[1][0]
            assert re.fullmatch(r"all@file is down because 1 of 1 children are down since \S+Z", root["cause"])
            assert root["children"][0]["cause"].startswith("dc1@file is down because 2 of 2 servers are down since ")


def test_weights_are_overridden_by_who_has_the_token_and_reset() -> None:
    with recorders("old", "new") as (old, new):
        services = {"all": {"weighted": {"services": [{"name": "old", "weight": 1}, {"name": "new", "weight": 0}]}}}
        with watched(config(services, old=old.url, new=new.url)) as lb:
            path = "/api/http/services/all@file/weights"
            assert api(lb, path, "PUT", {"new": 3})[0] == 403
            assert api(lb, path, "PUT", {"new": 3}, "wrong")[0] == 403
            status, answer, _ = api(lb, path, "PUT", {"nobody": 3}, TOKEN)
            assert (status, answer["message"]) == (400, "no such member: nobody; known: old, new")
            assert api(lb, path, "PUT", {"new": -1}, TOKEN)[0] == 400
            status, answer, _ = api(lb, path, "PUT", {"new": 3}, TOKEN)
            assert status == 200
            assert answer["health"]["children"][1]["overriddenWeight"] == 3
            for _ in range(8):
                lb.ask(GET)
            assert (len(old.requests), len(new.requests)) == (2, 6)
            assert api(lb, path, "DELETE", None, TOKEN)[0] == 200
            for _ in range(8):
                lb.ask(GET)
            assert (len(old.requests), len(new.requests)) == (10, 6)


def test_requests_are_counted_under_traefiks_names() -> None:
    prometheus = {"prometheus": {"addRoutersLabels": True, "buckets": [0.001, 5]}}
    with recorders("a") as (a,), watched(config({"all": {"weighted": {"services": [{"name": "a"}]}}}, a=a.url),
                                         metrics=prometheus) as lb:  # fmt: skip
        for _ in range(3):
            lb.ask(GET)
        lb.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        labels = {"code": "200", "method": "GET", "protocol": "http"}
        assert metric(lb, "lbcore_entrypoint_requests_total", entrypoint="web", **labels) == 3
        assert metric(lb, "lbcore_router_requests_total", router="all@file", service="all@file", **labels) == 3
        assert metric(lb, "lbcore_service_requests_total", service="a@file", **labels) == 3
        assert metric(lb, "lbcore_service_requests_bytes_total", service="a@file", method="POST") == 5
        assert metric(lb, "lbcore_service_responses_bytes_total", service="a@file", method="GET") == 3
        assert metric(lb, "lbcore_service_request_duration_seconds_count", service="a@file") == 4
        assert metric(lb, "lbcore_service_request_duration_seconds_bucket", service="a@file", le="+Inf") == 4
        assert metric(lb, "lbcore_service_request_duration_seconds_bucket", service="a@file", le="5") == 4
        assert metric(lb, "lbcore_service_up", service="a@file") == 1
        assert metric(lb, "lbcore_server_requests_total", url=a.url) == 4
        assert metric(lb, "lbcore_service_chosen_total", service="all@file", child="a") == 4
        assert metric(lb, "lbcore_config_reloads_total") == 1
        assert metric(lb, "lbcore_entrypoint_requests_total", entrypoint="traefik") == 0


def test_requests_are_counted_by_values_of_headers_where_it_is_wanted() -> None:
    prometheus = {"prometheus": {"headerLabels": {"a-b": "X-A"}, "addRoutersLabels": True}}
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with watched(dynamic, metrics=prometheus) as lb:
            for value in ("1", "1", "2"):
                lb.ask(f"GET / HTTP/1.1\r\nHost: a\r\nX-A: {value}\r\n\r\n".encode())
            lb.ask(GET)
            names = {"entrypoint": "web", "router": "all@file", "service": "all@file"}
            for kind, name in names.items():
                for value, count in {"1": 2, "2": 1, "": 1}.items():
                    assert metric(lb, f"lbcore_{kind}_requests_total", **{kind: name, "a_b": value}) == count
                assert metric(lb, f"lbcore_{kind}_request_duration_seconds_count", **{kind: name}) == 4
            assert metric(lb, "lbcore_header_labels_shed_total") == 0
    with pytest.raises(ValueError, match="'code' is a label that requests have anyway"):
        StaticConfig.model_validate({"metrics": {"prometheus": {"headerLabels": {"code": "X-A"}}}})


def test_mirrors_retries_and_sessions_are_counted() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("main", "m") as (main, m):
        services = mirrored(("m", 50))
        services["main"] = {
            "loadBalancer": {"servers": [{"url": dead}, {"url": main.url}], "sticky": {"cookie": {"name": "lb"}}}
        }
        with watched(config({**services, "m": {"loadBalancer": {"servers": [{"url": m.url}]}}}),
                     metrics={"prometheus": {}}) as lb:  # fmt: skip
            for _ in range(4):
                assert lb.ask(GET)[2] == b"main"
            eventually(lambda: metric(lb, "lbcore_mirror_requests_total", mirror="m", result="ok") == 2, "the copies")
            assert metric(lb, "lbcore_service_retries_total", service="main@file") >= 2  # Traefik never counts them
            assert metric(lb, "lbcore_service_sessions_total", service="main@file", result="begun") >= 4


def lines_of(path: Path, count: int) -> list[str]:
    return eventually(lambda: len(lines := path.read_text().splitlines()) >= count and lines, f"{count} lines")


def test_common_log_lines_are_traefiks(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with serving() as server:
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": server.url}]}}})
        dynamic["http"]["routers"]["all"]["rule"] = "Path(`/x`)"
        with watched(dynamic, accessLog={"filePath": str(path)}) as lb:
            lb.ask(GET)
            lb.ask(b'GET /no"pe HTTP/1.1\r\nHost: a\r\n\r\n')
            first, second = lines_of(path, 2)
            stamp = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
            expected = (
                rf'127\.0\.0\.1 - - {stamp} "GET /x\?y=1 HTTP/1\.1" 200 20 "-" "-" 1 "all@file" "{server.url}" \d+ms'
            )
            assert re.fullmatch(expected, first)
            assert re.fullmatch(
                rf'127\.0\.0\.1 - - {stamp} "GET /no%22pe HTTP/1\.1" 404 19 "-" "-" 2 "-" "-" \d+ms', second
            )


def test_headers_are_in_the_log_when_they_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    fields = {"headers": {"names": {"User-Agent": "keep", "Referer": "redact"}}, "names": {"ClientHost": "drop"}}
    with serving() as server:
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": server.url}]}}})
        with watched(dynamic, accessLog={"filePath": str(path), "fields": fields}) as lb:
            lb.ask(GET)
            line = lines_of(path, 1)[0]
            assert line.startswith("- - - [")
            assert '"REDACTED" "t/1" 1 "all@file"' in line


def test_json_log_has_traefiks_fields(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    settings = {"filePath": str(path), "format": "json",
                "fields": {"names": {"StartLocal": "drop"}, "headers": {"names": {"Referer": "keep"}}}}  # fmt: skip
    with serving() as server:
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": server.url}]}}})
        with watched(dynamic, accessLog=settings) as lb:
            lb.ask(GET)
            found = json.loads(lines_of(path, 1)[0])
            assert "StartLocal" not in found
            expected = {
                "ClientHost": "127.0.0.1", "ClientUsername": "-", "DownstreamContentSize": 20, "DownstreamStatus": 200,
                "OriginStatus": 200, "RequestAddr": "shop.test", "RequestHost": "shop.test", "RequestMethod": "GET",
                "RequestPath": "/x?y=1", "RequestPort": "-", "RequestProtocol": "HTTP/1.1", "RequestScheme": "http",
                "RetryAttempts": 0, "RouterName": "all@file", "ServiceName": "all@file", "ServiceURL": server.url,
                "entryPointName": "web", "request_Referer": "http://r/", "level": "info",
            }  # fmt: skip
            assert {key: found.get(key) for key in expected} == expected
            assert found["Duration"] >= found["OriginDuration"] > 0


@pytest.mark.parametrize(
    ("filters", "logged"), [({"statusCodes": ["404"]}, ["404"]), ({"minDuration": "10s"}, []), ({}, ["200", "404"])]
)
def test_filters_decide_what_is_logged(tmp_path: Path, filters: dict[str, Any], logged: list[str]) -> None:
    path = tmp_path / "access.log"
    with serving() as server:
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": server.url}]}}})
        dynamic["http"]["routers"]["all"]["rule"] = "Path(`/x`)"
        with watched(dynamic, accessLog={"filePath": str(path), "filters": filters}) as lb:
            lb.ask(GET)
            lb.ask(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        lines = path.read_text().splitlines()
        assert [line.split('" ')[1].split()[0] for line in lines] == logged


def test_a_client_that_goes_away_is_logged_as_499(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with recorders("a") as (a,):
        a.delay_s = 1
        with watched(config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}}),
                     accessLog={"filePath": str(path)}) as lb:  # fmt: skip
            client = lb.client()
            client.send(GET)
            eventually(lambda: a.requests, "the request arrives")
            client.close()
            assert '" 499 ' in lines_of(path, 1)[0]


def test_what_is_told_follows_the_router_and_a_reload(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving() as server:
        dynamic = config({}, all=server.url)
        router = dynamic["http"]["routers"]["all"]
        with watched(dynamic, accessLog={"filePath": str(log)}, metrics={"prometheus": {}}) as lb:
            lb.ask(GET)
            eventually(lambda: len(log.read_text().splitlines()) == 1, "it is logged")
            assert metric(lb, "lbcore_service_requests_total") == 1
            for settings, lines, counted in (
                ({"accessLogs": False}, 1, 2),
                ({"metrics": False}, 2, 2),
                ({"accessLogs": False, "metrics": False}, 2, 2),
                ({"tracing": False}, 3, 3),
            ):
                router["observability"] = settings
                lb.apply(dynamic)
                lb.ask(GET)
                eventually(lambda lines=lines: len(log.read_text().splitlines()) == lines, "logged as it says")
                assert metric(lb, "lbcore_service_requests_total") == counted
            assert metric(lb, "lbcore_entrypoint_requests_total", entrypoint="traefik") == 0
            assert not any("@internal" in str(labels) for _, labels in metrics(lb))


def test_query_and_internals_in_both_formats(tmp_path: Path) -> None:
    for format in ("common", "genericCLF", "json"):
        log = tmp_path / format
        fields = {"queryParameters": {"defaultMode": "drop"}, "headers": {"names": {"X-A": "keep"}}}
        settings = {"filePath": str(log), "format": format, "fields": fields, "addInternals": True}
        with serving() as server, watched(config({}, all=server.url), accessLog=settings) as lb:
            lb.ask(GET)
            api(lb, "/api/version?secret=1")
            eventually(lambda log=log: len(log.read_text().splitlines()) == 2, "both are logged")
            text = log.read_text()
            assert "?" not in text and "/x" in text and "/api/version" in text and "unix:" not in text


@pytest.mark.parametrize(
    "static",
    [
        {"entryPoints": {"web": {"address": ":0", "observability": {"traceVerbosity": "much"}}}},
        {"accessLog": {"fields": {"queryParameters": {"defaultMode": "redact"}}}},
        {"accessLog": {"fields": {"queryParameters": {"names": {"a": "keep"}}}}},
    ],
)
def test_what_is_not_there_is_refused(static: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(?i)tracing|traceVerbosity|dualOutput|query"):
        StaticConfig.model_validate(static)
