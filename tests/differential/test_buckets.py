"""Bounds of the histogram of durations, in real Traefik and in lbcore: which are taken, and how they are written."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import NAMES, start

BOUNDS = [[0, 1], [0.001, 0.25], [30, 1234567]]
METRIC = "entrypoint_request_duration_seconds_bucket"


def told(port: int, admin: int) -> set[str]:
    """The bounds in the metrics of an instance that has answered a request; none: it does not tell of it yet."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
    except urllib.error.HTTPError as error:
        assert error.code == 404
    except OSError:
        return set()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    except OSError:
        return set()  # it has no routers yet
    samples = [sample for family in families for sample in family.samples]
    return {sample.labels["le"] for sample in samples if sample.name.partition("_")[2] == METRIC}


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_bounds_are_taken_and_written_alike(tmp_path: Path, bounds: list[float]) -> None:
    found = {}
    for name in NAMES:
        port, admin = free_ports(2)
        static = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}, "traefik": {"address": f"127.0.0.1:{admin}"}},
            "metrics": {"prometheus": {"buckets": bounds}},
        }
        process = start(name, tmp_path, static)
        try:
            found[name] = eventually(lambda port=port, admin=admin: told(port, admin), f"bounds of {name}")  # type: ignore[misc]
        finally:
            process.terminate()
            process.wait(30)
    assert found["lbcore"] == found["traefik"]
