"""The lines of one instance: of the access log by time, of the log one for each event, and none of others."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import Files, certificate, signed
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running

WORKERS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def lb(folder: Path) -> Iterator[Instance]:
    log = {"level": "DEBUG", "filePath": str(folder / "lbcore.log")}
    access: dict[str, Any] = {"filePath": str(folder / "access.log"), "format": "json"}
    access["fields"] = {"headers": {"defaultMode": "keep"}}
    static = {"log": log, "accessLog": access, "api": {}}
    backend = Backend("one")
    try:
        temporary = {"TMPDIR": str(folder)}
        with running(folder, dynamic_for(backend), workers=WORKERS, static=static, environ=temporary) as instance:
            instance.runs(1)
            yield instance
    finally:
        backend.close()


def with_certificates(lb: Instance, *pairs: Files) -> dict[str, Any]:
    """What it runs, and certificates."""
    return {**dynamic_of(lb), "tls": {"certificates": [pair.entry for pair in pairs]}}


def dynamic_of(lb: Instance) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(lb.dynamic_file.read_text())
    found.pop("tls", None)
    return found


def test_lines_of_all_workers_come_by_time_and_are_counted_together(lb: Instance, folder: Path) -> None:
    for number in range(80):  # each on a connection of its own, of whatever worker, after the one before was answered
        assert lb.get(f"/{number}")[0] == 200
    log = folder / "access.log"
    lines = eventually(lambda: found if len(found := log.read_text().splitlines()) == 80 else None, "all are written")
    entries = [json.loads(line) for line in lines]
    assert sorted(entry["RequestCount"] for entry in entries) == list(range(1, 81)), "one count of all workers"
    numbers = [int(entry["RequestPath"].removeprefix("/")) for entry in entries]
    # A worker that is held up when it has answered may be later than the next request.
    assert sum(after < before for before, after in pairwise(numbers)) < 4
    assert all(entry["origin_Content-Length"] == "3" for entry in entries)


def test_certificates_that_come_go_and_expire_are_told(lb: Instance, folder: Path) -> None:
    before = dynamic_of(lb)
    own = certificate(folder, "own", "own.test", "www.own.test")
    old = signed(folder, own, "old", "DNS:old.test", days=-1)
    soon = signed(folder, own, "soon", "DNS:soon.test", days=1)
    lb.write(with_certificates(lb, own, old, soon))
    lb.logged(r"INF certificate for own\.test, www\.own\.test, until \d{4}-\d\d-\d\d\n")
    lb.logged(r"ERR the certificate for old\.test has expired on \d{4}-\d\d-\d\d\n")
    lb.logged(r"INF certificate for soon\.test, until")
    lb.logged(r"INF configuration \d+: TLS certificates changed\n")
    assert "certificate for own.test, www.own.test expires" not in lb.log
    lb.write(before)
    lb.logged(r"INF certificate for own\.test, www\.own\.test, until \d{4}-\d\d-\d\d, is gone\n")


def test_the_log_has_lines_of_lbcore_alone(lb: Instance) -> None:
    links = Path(f"/proc/{lb.process.pid}/fd").iterdir()
    (path,) = [link for link in links if "admin.sock" in os.readlink(link)]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"\0garbage\r\n\r\n")  # which the server of the API logs in its own words
        assert b"400" in client.recv(1000)
    mark = dynamic_of(lb)
    mark["http"]["routers"]["mark"] = {"rule": "Host(`mark.test`)", "service": "backends"}
    lb.write(mark)
    lb.logged(r"INF configuration \d+: .*router mark@file added")
    for line in lb.log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DBG|INF|WRN|ERR) ", line), line
        assert "Invalid HTTP request" not in line and "library" not in line and "asyncio" not in line, line
