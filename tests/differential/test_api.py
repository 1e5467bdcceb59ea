"""What real Traefik and lbcore tell of the same configuration and the same traffic: API, metrics, access log."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import start
from tests.wire.test_health import Patient

WHICH = ("traefik", "lbcore")
REQUESTS = (
    ("GET", "/"), ("GET", "/strip/x"), ("GET", "/a?b=c"), ("POST", "/post"), ("HEAD", "/"), ("FOO", "/foo"),
    ("GET", "/spare"), ("GET", "/mirrored"), ("GET", "/empty"),
)  # fmt: skip
# Of lbcore alone: extensions, the health of everything below a service.
EXTENSIONS = {"health"}
# Of Traefik alone, for what lbcore does not have (yet), or for what is a default that it does not list.
NOT_OURS = {"ruleSyntax", "address"}


def configuration(a: str, b: str) -> dict[str, Any]:
    check = {"path": "/health", "interval": "100ms", "timeout": "300ms"}
    return {
        "http": {
            "routers": {
                "app": {"rule": "PathPrefix(`/`)", "service": "tree", "priority": 1},
                "strip": {"rule": "PathPrefix(`/strip`) && Method(`GET`)", "service": "plain", "middlewares": ["cut"]},
                "chained": {
                    "rule": "Path(`/chained`)",
                    "service": "plain",
                    "middlewares": ["used"],
                    "entryPoints": ["edge"],
                    "tls": {},
                },
                "named": {"rule": "Host(`a.test`)", "service": "plain", "entryPoints": ["edge"], "tls": {}},
                "quiet": {
                    "rule": "Path(`/quiet`)",
                    "service": "plain",
                    "entryPoints": ["edge"],
                    "observability": {"metrics": False, "traceVerbosity": "detailed"},
                },
                "bad": {"rule": "Hst(`x`)", "service": "plain"},
                "lost": {"rule": "Path(`/lost`)", "service": "nope"},
                "no-middleware": {"rule": "Path(`/no`)", "service": "plain", "middlewares": ["nope"]},
                "elsewhere": {"rule": "Path(`/e`)", "service": "plain", "entryPoints": ["web", "nope"]},
                "mirrored": {"rule": "Path(`/mirrored`)", "service": "mirrored"},
                "spare": {"rule": "Path(`/spare`)", "service": "spare"},
                "nobody": {"rule": "Path(`/nobody`)", "service": "noop@internal"},
                "empty": {"rule": "Path(`/empty`)", "service": "empty"},
            },
            "middlewares": {
                "cut": {"stripPrefix": {"prefixes": ["/strip"]}},
                "tag": {"headers": {"customResponseHeaders": {"X-Tag": "yes"}}},
                "both": {"chain": {"middlewares": ["cut", "tag"]}},
                "used": {"chain": {"middlewares": ["cut", "tag@file"]}},
            },
            "services": {
                "plain": {
                    "loadBalancer": {
                        "servers": [{"url": a, "weight": 3}, {"url": b}],
                        "sticky": {"cookie": {"name": "s", "secure": True}},
                    }
                },
                "checked": {"loadBalancer": {"servers": [{"url": a}], "healthCheck": check}},
                "ejecting": {
                    "loadBalancer": {
                        "servers": [{"url": b}],
                        "passiveHealthCheck": {"failureWindow": "3s"},
                        "strategy": "p2c",
                    },
                },
                "tree": {
                    "weighted": {
                        "services": [{"name": "checked", "weight": 2}],
                        "healthCheck": {},
                        "sticky": {"cookie": {"httpOnly": True}},
                    }
                },
                "mirrored": {
                    "mirroring": {
                        "service": "plain",
                        "mirrors": [{"name": "ejecting", "percent": 10}],
                        "mirrorBody": False,
                        "maxBodySize": 0,
                    },
                },
                "spare": {"failover": {"service": "checked", "fallback": "plain", "errors": {"status": ["500-599"]}}},
                "rendezvous": {
                    "highestRandomWeight": {"services": [{"name": "plain"}, {"name": "empty", "weight": 0}]},
                },
                "empty": {"loadBalancer": {"servers": [], "passHostHeader": False}},
            },
        },
        "tcp": {
            "routers": {
                "db": {"rule": "HostSNI(`*`)", "service": "pool", "entryPoints": ["tcp"], "middlewares": ["near"]},
                "far": {"rule": "HostSNI(`*`) && ClientIP(`10.0.0.0/8`)", "service": "split", "entryPoints": ["tcp"]},
                "lost": {"rule": "HostSNI(`*`)", "service": "nope", "entryPoints": ["tcp"]},
            },
            "middlewares": {"near": {"ipAllowList": {"sourceRange": ["127.0.0.1/32"]}}},
            "services": {
                "pool": {"loadBalancer": {"servers": [{"address": a.removeprefix("http://")}]}},
                "split": {"weighted": {"services": [{"name": "pool", "weight": 2}]}},
            },
        },
        "udp": {
            "routers": {
                "dns": {"service": "names", "entryPoints": ["dns"]},
                "everywhere": {"service": "parts"},
                "elsewhere": {"service": "parts", "entryPoints": ["dns", "nope"]},
                "nowhere": {"service": "parts", "entryPoints": ["web"]},
                "lost": {"service": "nope", "entryPoints": ["dns"]},
                "idle": {"entryPoints": ["dns"]},
            },
            "services": {
                "names": {"loadBalancer": {"servers": [{"address": "127.0.0.1:53"}, {"address": "[::1]:53"}]}},
                "parts": {"weighted": {"services": [{"name": "names", "weight": 2}, {"name": "more"}]}},
                "more": {"loadBalancer": {"servers": [{"address": "localhost:53"}]}},
            },
        },
    }


class Watched:
    """One of the two, on the configuration, after it has had the requests."""

    def __init__(self, name: str, folder: Path, dynamic: Path) -> None:
        self.port, self.api_port, tcp_port, udp_port, edge_port = free_ports(5)
        self.log = folder / f"{name}-access.log"
        static = {
            "entryPoints": {
                "web": {"address": f"127.0.0.1:{self.port}", "asDefault": True},
                "edge": {
                    "address": f"127.0.0.1:{edge_port}",
                    "http": {"middlewares": ["tag@file"]},
                    "observability": {"accessLogs": False},
                },
                "tcp": {"address": f"127.0.0.1:{tcp_port}"},
                "dns": {"address": f"127.0.0.1:{udp_port}/udp"},
                "traefik": {"address": f"127.0.0.1:{self.api_port}"},
            },
            "providers": {"file": {"filename": str(dynamic), "watch": False}},
            "api": {"insecure": True},
            "ping": {},
            "metrics": {"prometheus": {"addRoutersLabels": True}},
            "accessLog": {"filePath": str(self.log), "fields": {"headers": {"names": {"User-Agent": "keep"}}}},
        }
        self.process = start(name, folder, static)
        try:
            eventually(self.is_ready, f"{name} answers", 30)
        except AssertionError:
            self.close()
            raise
        self.statuses = [self.ask(method, path) for method, path in REQUESTS]

    def is_ready(self) -> bool:
        try:
            return '"UP"' in self.fetch("/api/http/services/checked@file")[2]
        except OSError:
            return False

    def ask(self, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            body = b"abc" if method == "POST" else None
            connection.request(method, path, body=body, headers={"User-Agent": "a b", "Referer": "http://ref/"})
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def fetch(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def api(self, path: str) -> Any:
        return json.loads(self.fetch(path)[2])

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Watched]]:
    folder = tmp_path_factory.mktemp("api")
    a, b = Patient("a"), Patient("b")
    dynamic = folder / "dynamic.yml"
    dynamic.write_text(yaml.safe_dump(configuration(a.url, b.url)))
    found = {name: Watched(name, folder, dynamic) for name in WHICH}
    yield found
    for watched in found.values():
        watched.close()
    a.close()
    b.close()


def comparable(value: Any) -> Any:
    """Without what only one of the two has."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key not in EXTENSIONS | NOT_OURS}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return value


def by_name(views: list[dict[str, Any]]) -> dict[str, Any]:
    # The dashboard is a page of lbcore's own: its routers and middlewares are, too.
    return {view["name"]: comparable(view) for view in views if not view["name"].startswith("dashboard")}


def test_requests_had_the_same_outcomes(both: dict[str, Watched]) -> None:
    assert both["lbcore"].statuses == both["traefik"].statuses


@pytest.mark.parametrize(
    "path",
    ["http/routers", "http/services", "http/middlewares", "tcp/routers", "tcp/services", "tcp/middlewares",
     "udp/routers", "udp/services", "certificates", "entrypoints", "http/routers?search=strip",
     "http/routers?status=disabled", "http/routers?serviceName=plain@file", "http/routers?middlewareName=cut@file",
     "http/routers?status=ENABLED", "http/routers?serviceName=plain", "http/routers?search=plain",
     "http/routers?page=&per_page=", "http/routers?page=1&page=2", "http/services?serviceName=plain@file",
     "http/routers?search=strip&search=plain"],
)  # fmt: skip
def test_lists(both: dict[str, Watched], path: str) -> None:
    (status, headers, text), (status2, headers2, text2) = (both[name].fetch(f"/api/{path}") for name in WHICH)
    assert (status2, headers2["content-type"]) == (status, headers["content-type"])
    assert headers2.get("x-next-page") == headers.get("x-next-page")
    assert by_name(json.loads(text2)) == by_name(json.loads(text))


@pytest.mark.parametrize(
    "path",
    ["http/routers/strip@file", "http/services/tree@file", "http/middlewares/both@file", "tcp/services/pool@file",
     "udp/routers/dns@file", "udp/services/parts@file", "udp/routers/nope@file", "entrypoints/dns",
     "http/services/nope@file", "http/routers/nope", "tcp/routers/nope@file", "http/bogus", "entrypoints/web",
     "entrypoints/nope", "http/routers?page=0", "http/routers?per_page=-1", "http/routers?page=abc",
     "http/routers?page=99", "http/services?per_page=x", "overview/", "version/", "rawdata/"],
)  # fmt: skip
def test_single_objects(both: dict[str, Watched], path: str) -> None:
    (status, headers, text), (status2, headers2, text2) = (both[name].fetch(f"/api/{path}") for name in WHICH)
    assert (status2, headers2["content-type"]) == (status, headers["content-type"])
    if text.startswith("{"):
        assert comparable(json.loads(text2)) == comparable(json.loads(text))


def test_metrics_are_said_to_be_in_the_form_that_all_read(both: dict[str, Watched]) -> None:
    for path in ("/metrics", "/metrics/"):
        (status, theirs, _), (status2, ours, _) = (both[name].fetch(path) for name in WHICH)
        assert status == status2 == 200
        assert theirs["content-type"].startswith(ours["content-type"])


@pytest.mark.parametrize("path", ["/api/overview", "/api/tcp/routers", "/metrics", "/dashboard/", "/ping"])
def test_heads_of_what_can_be_got(both: dict[str, Watched], path: str) -> None:
    """Traefik's API refuses HEAD, which no server should (RFC 9110 section 9.1)."""
    assert both["traefik"].fetch(path, "HEAD")[0] == (405 if path.startswith("/api") else 200)
    (status, headers, text), (wanted, of_get, _) = (both["lbcore"].fetch(path, method) for method in ("HEAD", "GET"))
    assert (status, text) == (wanted, "")
    changing = {"date", "content-length"}  # times, and numbers that grow
    assert headers.keys() - changing == of_get.keys() - changing


NOWHERE = "127.0.0.1:1"
KUBERNETES = {"endpoint": f"http://{NOWHERE}"}
PROVIDERS: dict[str, Any] = {
    **{name: {"endpoint": f"tcp://{NOWHERE}"} for name in ("docker", "swarm")},
    **{name: {"endpoints": [NOWHERE]} for name in ("redis", "etcd", "consul", "zooKeeper")},
    **dict.fromkeys(("kubernetesIngress", "kubernetesCRD", "kubernetesGateway"), KUBERNETES),
    "consulCatalog": {"endpoint": {"address": NOWHERE}},
    "nomad": {"endpoint": {"address": f"http://{NOWHERE}"}},
    "http": {"endpoint": f"http://{NOWHERE}"},
    "rest": {"insecure": True},
    "file": {"filename": "/dev/null"},
}
INFLUX = {"address": f"http://{NOWHERE}", "token": "t", "org": "o", "bucket": "b"}
OTLP = {"http": {"endpoint": f"http://{NOWHERE}"}}
FEATURES: list[dict[str, Any]] = [
    {"providers": PROVIDERS},
    {"tracing": {"otlp": OTLP}, "accessLog": {"filePath": "/dev/null"}, "metrics": {"statsD": {"address": NOWHERE}}},
    {"metrics": {"datadog": {"address": NOWHERE}, "statsD": {"address": NOWHERE}}},
    {"metrics": {"influxDB2": INFLUX}},
    {"metrics": {"otlp": OTLP}},
    {"metrics": {"otlp": OTLP, "influxDB2": INFLUX, "prometheus": {}}},
    {"metrics": {"otlp": OTLP, "influxDB2": INFLUX}},
    {"metrics": {"influxDB2": INFLUX, "statsD": {"address": NOWHERE}}},
]


@pytest.mark.parametrize("static", FEATURES, ids=lambda static: "+".join([*static, *static.get("metrics", [])]))
def test_what_an_instance_has(tmp_path: Path, static: dict[str, Any]) -> None:
    """Providers and features in the overview, whether they can be reached or not."""
    told = {}
    for name in WHICH:
        (port,) = free_ports(1)
        points = {"traefik": {"address": f"127.0.0.1:{port}"}}
        process = start(name, tmp_path, {"entryPoints": points, "api": {"insecure": True}, **static})

        def overview(port: int = port) -> Any:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/overview", timeout=10) as answer:
                    return json.loads(answer.read())
            return None

        try:
            found = eventually(overview, f"{name} answers")
        finally:
            process.terminate()
            process.wait(30)
        told[name] = found["features"], found.get("providers") or []
    assert told["lbcore"] == told["traefik"]


def test_overview(both: dict[str, Watched]) -> None:
    theirs, ours = (both[name].api("/api/overview") for name in WHICH)
    theirs["http"]["middlewares"]["total"] -= 2  # of the dashboard
    assert ours == theirs


def test_raw_data(both: dict[str, Watched]) -> None:
    def found(name: str) -> Any:
        data = both[name].api("/api/rawdata")
        for views in data.values():
            for each in [each for each in views if each.startswith("dashboard")]:
                del views[each]
        return comparable(data)

    # Traefik fills `tls.options` in a while after it serves.
    with contextlib.suppress(AssertionError):
        eventually(lambda: found("lbcore") == found("traefik"), "they are the same")
    assert found("lbcore") == found("traefik")


def series(watched: Watched) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(watched.fetch("/metrics")[2]):
        for sample in family.samples:
            name = sample.name.replace("lbcore_", "traefik_", 1)
            found.setdefault(name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


@pytest.mark.parametrize("kind", ["entrypoint", "router", "service"])
@pytest.mark.parametrize(
    "metric", ["requests_total", "requests_bytes_total", "responses_bytes_total", "request_duration_seconds_count"]
)
def test_counters(both: dict[str, Watched], kind: str, metric: str) -> None:
    theirs, ours = (series(both[name])[f"traefik_{kind}_{metric}"] for name in WHICH)
    mirror = ("service", "ejecting@file")  # Traefik counts copies as requests; ours are in lbcore_mirror_requests_total
    theirs = {labels: value for labels, value in theirs.items() if mirror not in labels}
    assert ours == theirs


def test_other_metrics(both: dict[str, Watched]) -> None:
    theirs, ours = (series(both[name]) for name in WHICH)
    assert set(ours["traefik_config_reloads_total"]) == set(theirs["traefik_config_reloads_total"])
    # Traefik tells of entry points of UDP once they have had a session.
    streams = {labels for labels in ours["traefik_open_connections"] if ("protocol", "UDP") not in labels}
    assert streams == set(theirs["traefik_open_connections"])
    buckets = "traefik_entrypoint_request_duration_seconds_bucket"
    assert set(ours[buckets]) == set(theirs[buckets])
    up = theirs["traefik_service_server_up"]
    assert {labels: ours["traefik_service_server_up"][labels] for labels in up} == up


def test_boards_for_traefik_find_its_metrics_by_the_rule_of_the_documentation(both: dict[str, Watched]) -> None:
    page = (Path(__file__).parents[2] / "docs/coming-from/traefik.md").read_text()
    (block,) = re.findall(r"^```yaml.*\n(scrape_configs:.*?)^```", page, re.MULTILINE | re.DOTALL)
    (rule,) = yaml.safe_load(block)["scrape_configs"][0]["metric_relabel_configs"]
    names = {}
    for name in WHICH:
        families = text_string_to_metric_families(both[name].fetch("/metrics")[2])
        names[name] = {sample.name for family in families for sample in family.samples}
    renamed = {
        found.expand(rule["replacement"].replace("$", "\\"))
        for name in names["lbcore"]
        if (found := re.fullmatch(rule["regex"], name))
    }
    assert {name for name in names["traefik"] if name.startswith("traefik_")} <= renamed


def lines(watched: Watched) -> list[str]:
    """The access log without times: neither when nor how long."""
    text = eventually(
        lambda: (
            watched.log.exists() and watched.log.read_text().count("\n") >= len(REQUESTS) and watched.log.read_text()
        ),
        "every request is logged",
    )
    assert isinstance(text, str)
    return [re.sub(r"\[[^]]+\]|\d+ms$", "", line) for line in text.splitlines()]


def test_access_log(both: dict[str, Watched]) -> None:
    assert lines(both["lbcore"]) == lines(both["traefik"])
