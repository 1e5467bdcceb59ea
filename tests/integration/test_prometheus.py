"""Real Prometheus reads the metrics and evaluates the alerts of examples/monitoring; the board asks for what it has."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import Backend, Instance, eventually, running
from tests.support.ports import free_port

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
VARIABLES = {"$instance": ".*", "$service": ".*", "$__rate_interval": "5s"}


@dataclass
class Prometheus:
    """A Prometheus that reads an instance of lbcore."""

    port: int
    instance: Instance

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def alerts(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    metrics_port, port = free_port(), free_port()
    settings = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule.pop("for", None)  # what lasts a second is enough here; promtool tests how long it has to
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    backend = Backend("a")
    check = {"path": "/", "interval": "200ms", "timeout": "100ms"}
    dynamic = {
        "http": {
            "routers": {
                "shop": {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]},
                "gone": {"rule": "Path(`/gone`)", "service": "dead", "entryPoints": ["web"]},
                "all": {"rule": "Path(`/all`)", "service": "all", "entryPoints": ["web"]},
                "counted": {"rule": "Path(`/counted`)", "service": "counted", "entryPoints": ["web"]},
                "bad": {"rule": "Hst(`x`)", "service": "shop", "entryPoints": ["web"]},
            },
            "services": {
                "shop": {"loadBalancer": {"servers": [{"url": backend.url}]}},
                "counted": {"loadBalancer": {"servers": [{"url": backend.url}]}},
                "dead": {
                    "loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{free_port()}"}], "healthCheck": check}
                },
                "all": {"weighted": {"services": [{"name": "shop"}]}},
            },
        }
    }
    static = {
        "entryPoints": {
            "web": {"address": "127.0.0.1:0"},
            "traefik": {"address": f"127.0.0.1:{metrics_port}"},
        },
        "metrics": {"prometheus": {}},
        "accessLog": {"filePath": str(folder / "access.log")},
        "tracing": {"otlp": {"http": {"endpoint": f"http://127.0.0.1:{free_port()}"}}},
    }
    with running(folder, dynamic, workers=1, static=static) as instance:
        instance.runs(1)
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], cwd=folder
        )
        try:
            found = Prometheus(port, instance)
            eventually(lambda: reads(found), "Prometheus has read lbcore")
            yield found
        finally:
            process.terminate()
            process.wait()
            backend.close()


def reads(prometheus: Prometheus) -> bool:
    try:
        return bool(prometheus.query('up{job="lbcore"} == 1'))
    except OSError:
        return False  # it has not started yet


def test_requests_are_read(prometheus: Prometheus) -> None:
    for _ in range(3):
        prometheus.instance.get("/counted")
    expression = 'sum(lbcore_service_requests_total{service="counted@file", code="200"})'
    eventually(lambda: [each["value"][1] for each in prometheus.query(expression)] == ["3"], "three requests")


def test_what_each_process_uses_is_read(prometheus: Prometheus) -> None:
    processes = {"supervisor", *(f"worker {index}" for index in range(len(prometheus.instance.workers)))}
    assert len(processes) > 1
    for expression in (
        "process_open_fds > 3 and process_open_fds < process_max_fds",
        "process_resident_memory_bytes > 1e6 and process_resident_memory_bytes < process_virtual_memory_bytes",
        "process_cpu_seconds_total > 0",
        "time() - process_start_time_seconds < 3600 > -10",
    ):

        def named(expression: str = expression) -> bool:
            found = prometheus.query(f'({expression}) and on(job) up{{job="lbcore"}}')
            return processes <= {each["metric"].get("process") for each in found}

        eventually(named, expression)


def test_shipped_alerts_are_evaluated(prometheus: Prometheus) -> None:
    expected = {"LbcoreServiceIsDown", "LbcoreServerIsDown", "LbcoreObjectsAreBroken"}
    eventually(lambda: expected <= prometheus.alerts(), "alerts")
    assert not {"LbcoreIsAway", "LbcoreServiceFails"} & prometheus.alerts()
    health = {rule["name"]: rule["health"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}
    assert set(health.values()) == {"ok"}


def test_alerts_do_what_their_tests_say() -> None:
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[tuple[str, str]]:
    """Those of the board, and of the alerts."""
    board = json.loads((MONITORING / "grafana.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    return found + [(rule["alert"], rule["expr"]) for rule in rules]


def test_board_and_alerts_ask_for_metrics_that_there_are(prometheus: Prometheus) -> None:
    prometheus.instance.get()
    wanted = {name for _, expression in expressions() for name in re.findall(r"lbcore_\w+", expression)}
    # Families without a series, because nothing of the kind is configured here.
    wanted -= {"lbcore_service_queue_length", "lbcore_tls_certs_not_after", "lbcore_access_log_records_lost_total"}
    # The request has been read by the scrape after the next one at the latest.
    eventually(lambda: wanted <= set(prometheus.ask("label/__name__/values")), f"all of {wanted}")
    for _, expression in expressions():
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        prometheus.query(expression)  # raises for one that is no expression


def test_the_board_is_one_of_grafana() -> None:
    board = json.loads((MONITORING / "grafana.json").read_text())
    assert board["schemaVersion"] >= 36
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "instance", "service"}
    places = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not places & cells, f"{panel['title']} lies over another panel"
        places |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        names = [target["refId"] for target in panel["targets"]]
        assert names and len(set(names)) == len(names), panel["title"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
