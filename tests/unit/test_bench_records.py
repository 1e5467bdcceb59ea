"""Records of benchmarks: a partial run keeps what it did not measure, and options that make no sense are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.job import Job
from bench.peers import PEERS
from bench.report import merged, read, save
from bench.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["keepalive", "connect", "idle"]


def record(date: str, *workloads: str) -> dict[str, Any]:
    run = {"machine": {"date": date}, "versions": {"lbcore": date}, "rounds": 2, "seconds": 1}
    return {**run, "workloads": {name: {"what": name, "unit": "µs", "run": run, "results": date} for name in workloads}}


def test_a_partial_run_keeps_the_other_workloads(tmp_path: Path) -> None:
    save(tmp_path, merged(read(tmp_path), record("old", *ORDER), ORDER), {"keepalive": "<svg/>"})
    save(tmp_path, merged(read(tmp_path), record("new", "connect"), ORDER), {})
    found = read(tmp_path)
    assert list(found["workloads"]) == ORDER
    assert {name: workload["results"] for name, workload in found["workloads"].items()} == {
        "keepalive": "old", "connect": "new", "idle": "old"
    }  # fmt: skip
    assert found["workloads"]["connect"]["run"]["machine"] == {"date": "new"}
    assert found["workloads"]["idle"]["run"]["machine"] == found["machine"] == {"date": "old"}
    assert (tmp_path / "keepalive.svg").exists()


def test_a_whole_run_takes_the_place_of_the_stored_one(tmp_path: Path) -> None:
    save(tmp_path, record("old", *ORDER), {})
    assert merged(read(tmp_path), record("new", *ORDER), ORDER) == record("new", *ORDER)


def test_the_first_run_needs_nothing_stored(tmp_path: Path) -> None:
    assert merged(read(tmp_path), record("new", "idle"), ORDER) == record("new", "idle")


def test_the_stored_record_can_be_merged() -> None:
    stored = read(ROOT / "bench" / "results")
    found = merged(stored, record("new", "connect"), list(stored["workloads"]))
    assert set(found["workloads"]) == set(stored["workloads"])
    assert json.loads(json.dumps(found))["machine"] == stored["machine"]


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_rounds_are_a_number_above_0(number: str) -> None:
    command = [sys.executable, "-m", "bench.proxies", "--rounds", number, "--results", "/nowhere"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--rounds" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("peer", ["nginx", "haproxy", "lbcore"])
@pytest.mark.parametrize("task", TASKS)
def test_each_proxy_takes_the_configuration_of_a_task(task: str, peer: str, tmp_path: Path) -> None:
    if not TASKS[task].does(peer):
        assert peer == "haproxy" or task in ("br", "zstd", "python")
        return
    program, *options = PEERS[peer].command(tmp_path, Job(8000, [8001, 8002], 0, task=task))
    command = {
        "nginx": [program, "-t", *options],
        "haproxy": [program, "-c", *options],
        "lbcore": [program, "check", str(tmp_path / "dynamic.yml")],
    }[peer]
    # A class of `bench` is found by the path alone.
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
