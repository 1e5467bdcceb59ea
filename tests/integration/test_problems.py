"""What `lbcore status` and the log call a problem, beyond health checks: cause and place. Real processes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.test_operator import STATIC, api_of, command
from tests.support.certificates import certificate, signed
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running
from tests.support.ports import free_port


def says(lb: Instance, code: int, *texts: str) -> Callable[[], bool]:
    """Whether `lbcore status` exits with a code, and has all texts."""

    def look() -> bool:
        found, text = command("status", "--api", api_of(lb))
        return found == code and all(part in text for part in texts)

    return look


def test_a_server_that_no_check_watches_and_that_cannot_be_reached_is_lost_traffic(tmp_path: Path) -> None:
    port, raw, deaf = free_port(), free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{deaf}"]
    points = {name: {"address": "127.0.0.1:0"} for name in ("web", "traefik", "raw")}
    router = {"rule": "HostSNI(`*`)", "service": "raw", "entryPoints": ["raw"]}
    dynamic: dict[str, Any] = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "all", "entryPoints": ["web"]}},
            "services": {"all": {"loadBalancer": {"servers": [{"url": urls[0]}]}}},
        },
        "tcp": {
            "routers": {"raw": router},
            "services": {"raw": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{raw}"}]}}},
        },
    }
    with running(tmp_path, dynamic, static={**STATIC, "entryPoints": points}) as lb:
        lb.runs(1)
        assert command("status", "--api", api_of(lb))[0] == 0, "no request has shown anything"
        assert lb.get()[0] == 502
        found = "LOST service all@file loses all requests: its server cannot be reached, and no health check watches"
        eventually(says(lb, 2, found, urls[0], "all@file: PathPrefix(`/`)"), "it is lost")
        assert re.search(
            rf"{urls[0]} weight 1 \d requests? cannot be reached since 2", command("status", "--api", api_of(lb))[1]
        )
        lb.logged(rf"WRN service all@file loses all requests: its server cannot be reached.*{urls[0]}")
        backend = Backend("a", port=port)
        try:
            assert lb.get() == (200, "a")
            lb.logged(r"INF service all@file is well again, after \d")
            eventually(says(lb, 0), "all is well")
            # Another server answers: none of the traffic is lost.
            both = [{"url": url} for url in urls]
            dynamic["http"]["services"]["all"]["loadBalancer"]["servers"] = both
            lb.write(dynamic)
            lb.runs(2)
            for _ in range(4):
                assert lb.get() == (200, "a")
            found = "DEGRADED service all@file: 1 of 2 servers cannot be reached, and no health check watches: "
            eventually(says(lb, 2, found + urls[1]), "it is degraded")
            assert command("status", "--lost", "--api", api_of(lb))[0] == 0
        finally:
            backend.close()


def test_a_health_check_that_a_reload_adds_watches_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    dynamic = dynamic_for()
    balancer = dynamic["http"]["services"]["backends"]["loadBalancer"]
    balancer["servers"] = [{"url": f"http://127.0.0.1:{free_port()}"}]
    points = {name: {"address": "127.0.0.1:0"} for name in ("web", "traefik")}
    with running(tmp_path, dynamic, static={**STATIC, "entryPoints": points}) as lb:
        lb.runs(1)
        assert lb.get()[0] == 502
        eventually(says(lb, 2, "cannot be reached, and no health check watches"), "no check watches it")
        balancer["healthCheck"] = {"path": "/", "interval": "1h"}
        lb.write(dynamic)
        lb.runs(2)
        down = "no server may be picked, 1 of 1 are down"
        eventually(lambda: down in (text := command("status", "--api", api_of(lb))[1]) and "reached" not in text, down)
        del balancer["healthCheck"]
        lb.write(dynamic)
        lb.runs(3)
        eventually(says(lb, 2, "cannot be reached, and no health check watches"), "no check watches it again")


def test_requests_that_reach_a_server_beside_those_that_are_away_are_not_lost(tmp_path: Path) -> None:
    """What `lbcore status` calls lost is what clients get 502 for."""
    gone = [{"url": f"http://127.0.0.1:{free_port()}"} for _ in range(5)]
    backend = Backend("a")
    try:
        services: dict[str, Any] = {
            "away": {"loadBalancer": {"servers": gone[:1]}},
            "well": {"loadBalancer": {"servers": [{"url": backend.url}]}},
            "beside": {"weighted": {"services": [{"name": "away", "weight": 3}, {"name": "well", "weight": 1}]}},
            "alone": {"weighted": {"services": [{"name": "away", "weight": 3}, {"name": "well", "weight": 0}]}},
            "most": {"loadBalancer": {"servers": [*gone, {"url": backend.url}]}},
            "both": {"weighted": {"services": [{"name": "most", "weight": 1}, {"name": "well", "weight": 1}]}},
        }
        names = ("beside", "alone", "most", "both")
        routers = {name: {"rule": f"Path(`/{name}`)", "service": name, "entryPoints": ["web"]} for name in names}
        with running(tmp_path, {"http": {"routers": routers, "services": services}}, static=STATIC) as lb:
            lb.runs(1)
            found = {name: Counter(lb.get(f"/{name}")[0] for _ in range(24)) for name in names}
            assert found["beside"] == found["both"] == {200: 24}
            assert found["alone"] == {502: 24}
            assert found["most"][502] > 6 and found["most"][200] > 0

            def is_told() -> bool:
                for name in names:
                    lb.get(f"/{name}")
                texts = (
                    "DEGRADED service beside@file: away: its server cannot be reached",
                    "LOST service alone@file loses all requests: away: its server cannot be reached",
                    "LOST service most@file loses about 50.0% of its requests: 5 of 6 servers cannot be reached",
                    "DEGRADED service both@file: most: 5 of 6 servers cannot be reached",
                )
                return says(lb, 2, *texts)()

            eventually(is_told, "each is told as it is")
    finally:
        backend.close()


def test_a_provider_that_is_away_is_no_configuration_that_was_refused(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    providers = {
        "providersThrottleDuration": "0s",
        "file": {"filename": str(tmp_path / "dynamic" / "dynamic.yml")},
        "http": {"endpoint": f"http://{address}/", "pollInterval": "1s"},
    }
    backend = Backend("a")
    try:
        with running(tmp_path, dynamic_for(backend), static={**STATIC, "providers": providers}) as lb:
            lb.runs(1)
            text = f"DEGRADED provider http cannot be read, nothing of it runs: http://{address}/: "
            eventually(says(lb, 2, text), "it is away")
            assert "was refused" not in command("status", "--api", api_of(lb))[1]
    finally:
        backend.close()


def test_a_certificate_that_has_expired_is_a_problem(tmp_path: Path) -> None:
    backend = Backend("a")
    own = certificate(tmp_path, "own", "own.test")
    old = signed(tmp_path, own, "old", "DNS:old.test", days=-1)
    dynamic = {**dynamic_for(backend), "tls": {"certificates": [own.entry, old.entry]}}
    try:
        with running(tmp_path, dynamic, static=STATIC) as lb:
            lb.runs(1)
            code, text = command("status", "--api", api_of(lb))
            assert code == 2
            assert re.search(r"DEGRADED the certificate for old\.test has expired, at \d{4}-\d\d-\d\dT", text), text
            assert "own.test" not in text
    finally:
        backend.close()


def test_collectors_that_take_nothing_are_problems(tmp_path: Path) -> None:
    address, more = f"127.0.0.1:{free_port()}", {"token": "t", "org": "o", "bucket": "b", "pushInterval": "100ms"}
    static = {
        **STATIC,
        "tracing": {"otlp": {"http": {"endpoint": f"http://{address}"}}},
        "log": {
            "level": "INFO",
            "filePath": str(tmp_path / "lbcore.log"),
            "otlp": {"http": {"endpoint": f"http://{address}"}},
        },
        "metrics": {"influxDB2": {"address": f"http://{address}", **more}},
    }
    backend = Backend("a")
    try:
        with running(tmp_path, dynamic_for(backend), static=static) as lb:
            lb.runs(1)
            assert lb.get()[0] == 200
            spans = f"DEGRADED spans: the collector http://{address} does not take them: "
            log = f"DEGRADED log: the collector http://{address} does not take events: "
            eventually(says(lb, 2, spans, log, "DEGRADED metrics.influxDB2: they cannot be sent: "), "all are told")
    finally:
        backend.close()


def test_an_access_log_that_takes_no_lines_is_a_problem(tmp_path: Path) -> None:
    backend = Backend("a")
    static = {**STATIC, "accessLog": {"filePath": "/dev/full"}}
    try:
        with running(tmp_path, dynamic_for(backend), static=static) as lb:
            lb.runs(1)
            assert command("status", "--api", api_of(lb))[0] == 0
            assert lb.get()[0] == 200
            lb.logged("ERR access log /dev/full: 1 line lost: No space left on device")
            eventually(says(lb, 2, "DEGRADED lines of the access log are being lost, 1 so far"), "it is told")
    finally:
        backend.close()
