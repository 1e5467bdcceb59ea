"""Logs for a collector of OpenTelemetry: the access log, and the events of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Backend, dynamic_for, eventually, running
from tests.support.otlp import grpc_collector, http_collector
from tests.support.recorder import config, recorders
from tests.support.wire import edge

GET = b"GET /x?a=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: t/\xff\r\n\r\n"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("dual", [False, True])
def test_fields_of_the_access_log_are_attributes(tmp_path: Path, protocol: str, dual: bool) -> None:
    path = tmp_path / "access.log"
    with http_collector() if protocol == "http" else grpc_collector() as collector, recorders("a") as (a,):
        place = {"endpoint": collector.url} if protocol == "http" else {"endpoint": collector.address, "insecure": True}
        fields = {"names": {"StartLocal": "drop"}, "headers": {"names": {"User-Agent": "keep"}}}
        log: dict[str, Any] = {
            "filePath": str(path),
            "otlp": {protocol: place, "serviceName": "edge"},
            "fields": fields,
        }
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["routers"]["all"]["rule"] = "Path(`/x`)"
        static = {
            "accessLog": {**log, "dualOutput": dual, "filters": {"statusCodes": ["200"]}},
            "tracing": {"otlp": {"http": {"endpoint": collector.url or "http://127.0.0.1:1"}}},
        }
        with edge(dynamic, None, static) as lb:
            lb.ask(GET)
            lb.ask(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        ((record, attributes),) = collector.records  # the end of the proxy has waited for the collector
        expected = {
            "RequestMethod": "GET", "RequestPath": "/x?a=1", "RequestHost": "shop.test", "DownstreamStatus": 200,
            "OriginStatus": 200, "RouterName": "all@file", "ServiceName": "all@file", "ServiceURL": a.url,
            "entryPointName": "web", "RetryAttempts": 0, "request_User-Agent": "t/\ufffd",
        }  # fmt: skip
        assert expected.items() <= attributes.items()
        assert isinstance(attributes["Duration"], int)
        assert "StartLocal" not in attributes
        assert (record.severity_number, record.severity_text) == (9, "info")
        assert record.time_unix_nano > 0
        assert (record.trace_id.hex(), record.span_id.hex()) == (attributes["TraceId"], attributes["SpanId"])
        resource = collector.requests["logs"][0].resource_logs[0].resource.attributes
        assert {"service.name": "edge"}.items() <= {pair.key: pair.value.string_value for pair in resource}.items()
        assert path.exists() == dual
        if dual:
            assert "GET /x?a=1" in path.read_text()


def test_events_of_supervisor_and_workers(tmp_path: Path) -> None:
    backend = Backend("a")
    with http_collector() as collector:
        collector.status = 503
        static = {
            "log": {
                "level": "DEBUG",
                "filePath": str(tmp_path / "lbcore.log"),
                "otlp": {"http": {"endpoint": collector.url}, "resourceAttributes": {"site": "one"}},
            }
        }
        with running(tmp_path, dynamic_for(backend), workers=1, static=static) as lb:
            lb.runs(1)
            lb.logged("log: the collector .* does not take events: it answers 503")
            collector.status = 200

            def texts() -> dict[str, Any]:
                return {record.body.string_value: (record, attributes) for record, attributes in collector.records}

            # What was logged while the collector was away is not lost.
            record, attributes = eventually(
                lambda: next((each for text, each in texts().items() if "runs configuration 1" in text), None),
                "an event",
            )
            assert (record.severity_number, record.severity_text) == (9, "info")
            assert attributes["logger"].startswith("lbcore.")
            resource = collector.requests["logs"][0].resource_logs[0].resource.attributes
            assert "one" in {pair.value.string_value for pair in resource if pair.key == "site"}
            lb.logged("takes events again; 0 are lost")
    backend.close()
