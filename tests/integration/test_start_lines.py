"""What an instance says of itself: at a terminal, in its log, and when it cannot start."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import run_command
from tests.support.instance import eventually, running
from tests.support.ports import free_port
from tests.wire.test_health import Patient


def start(
    folder: Path, static: dict[str, Any], terminal: int | None = None, environ: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    (folder / "static.yml").write_text(yaml.safe_dump(static))
    command = [sys.executable, "-m", "lbcore", "run", "--workers", "1", "--config", "static.yml"]
    output = subprocess.PIPE if terminal is None else terminal
    own = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | (environ or {"TERM": "xterm"})
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=own)


def usual(folder: Path, backend: str = "http://127.0.0.1:9", **more: Any) -> dict[str, Any]:
    services = {"shop": {"loadBalancer": {"servers": [{"url": backend}, {"url": f"{backend}/b"}]}}}
    routers = {"shop": {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]}}
    (folder / "dynamic.yml").write_text(yaml.safe_dump({"http": {"routers": routers, "services": services}}))
    points = {"web": {"address": "127.0.0.1:0"}}
    return {"entryPoints": points, "providers": {"file": {"filename": "dynamic.yml"}}, **more}


def read_terminal(terminal: int) -> bytes:
    shown = b""
    while select.select([terminal], [], [], 0)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    return shown


@pytest.mark.parametrize("level", ["", "ERROR"])
def test_a_terminal_shows_a_summary_and_the_start_lines_unless_a_level_is_set(tmp_path: Path, level: str) -> None:
    points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": f"127.0.0.1:{free_port()}"}}
    more: dict[str, Any] = {"entryPoints": points, "api": {"insecure": True}, "metrics": {"prometheus": {}}, "ping": {}}
    if level:
        more["log"] = {"level": level}
    terminal, inner = os.openpty()
    process = start(tmp_path, usual(tmp_path, **more), inner)
    os.close(inner)
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        shown += read_terminal(terminal)
        return text in shown

    url = f"http://{points['traefik']['address']}".encode()
    try:
        if level:
            eventually(lambda: run_command("status", "--api", url.decode()).returncode == 0, "it runs", 60)
        else:
            eventually(lambda: shows(b"ping on " + url + b"/ping"), "all is said", 60)
            plain = re.sub(rb"\x1b\[\d+m", b"", shown)
            assert plain != shown, "in colour"
            assert b"INF lbcore " in plain and b"starts with 1 worker, configuration static.yml" in plain
            assert b"INF entry point web listens on 127.0.0.1:" in plain
            assert b"1 worker runs configuration 1: 1 router, 1 service, 2 servers, 0 middlewares" in shown
            assert b"API on " + url + b"/api/overview, dashboard on " + url + b"/dashboard/; lbcore status" in shown
            assert b"metrics on " + url + b"/metrics" in shown
        process.send_signal(signal.SIGTERM)
        eventually(lambda: shows(b"\0") or process.poll() is not None, "it ends")
        assert process.returncode == 0
        # Whatever the level: what listens, where the dashboard is, and what runs.
        lines = [b" ".join(line.split()) for line in re.sub(rb"\x1b\[\d+m", b"", shown).splitlines()]
        assert b"dashboard " + url + b"/dashboard/" in lines
        assert b"traefik " + url in lines
        assert any(re.fullmatch(rb"web http://127\.0\.0\.1:\d+", line) for line in lines)
        assert b"runs 1 router, 1 service, 2 servers, 0 middlewares" in lines
        if level:
            assert b"INF" not in shown and b"ERR" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize("how", ["NO_COLOR", "TERM", "log.noColor"])
def test_colours_are_left_out_where_they_are_not_wanted(tmp_path: Path, how: str) -> None:
    environ = {"NO_COLOR": {"NO_COLOR": "1"}, "TERM": {"TERM": "dumb"}}.get(how, {})
    terminal, inner = os.openpty()
    log: dict[str, Any] = {"level": "INFO", "noColor": how == "log.noColor"}
    process = start(tmp_path, usual(tmp_path, log=log), inner, {"TERM": "xterm", **environ})
    os.close(inner)
    shown = b""
    try:

        def shows(text: bytes) -> bool:
            nonlocal shown
            shown += read_terminal(terminal)
            return text in shown

        eventually(lambda: shows(b"  runs"), "the summary is there")
        assert b"\x1b" not in shown
        assert b"INF entry point web listens on" in shown
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"accessLog": {"filePath": "dynamic.yml/a.log"}}, "cannot open dynamic.yml/a.log: not a directory"),
        ({"accessLog": {"filePath": "."}}, "cannot open .: is a directory"),
        ({"log": {"filePath": "dynamic.yml/b.log"}}, "cannot open the log dynamic.yml/b.log: Not a directory"),
    ],
)
def test_a_log_that_cannot_be_opened_is_one_line(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    process = start(tmp_path, usual(tmp_path, **more))
    output = b"".join(part for part in process.communicate(timeout=60) if part).decode()
    assert process.returncode == 1
    assert len(output.splitlines()) == 1, output
    assert said in output


def test_an_address_of_the_api_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": f"127.0.0.1:{taken.getsockname()[1]}"}}
        process = start(tmp_path, usual(tmp_path, entryPoints=points, api={"insecure": True}, ping={}))
        output = b"".join(part for part in process.communicate(timeout=60) if part).decode()
    assert process.returncode == 1
    assert len(output.splitlines()) == 1, output
    assert "entryPoints.traefik.address: cannot listen" in output and "already in use" in output


def test_services_that_go_down_and_come_back_are_in_the_log(tmp_path: Path) -> None:
    one, two = Patient("one"), Patient("two")
    check = {"healthCheck": {"path": "/health", "interval": "100ms", "timeout": "5s"}}
    services = {"shop": {"loadBalancer": {"servers": [{"url": one.url}, {"url": two.url}], **check}}}
    routers = {"shop": {"rule": "PathPrefix(`/`)", "service": "shop"}}
    try:
        with running(tmp_path, {"http": {"routers": routers, "services": services}}) as lb:
            lb.runs(1)
            two.status = 500
            cause = r"health check failed: received error status code: 500"
            said = rf"WRN service shop@file: 1 of 2 servers down: \S+ \({cause}\)"
            lb.logged(said + r"; router shop@file: PathPrefix\(`/`\)\n")
            one.status = 500
            lb.logged(r"WRN service shop@file loses all requests: no server may be picked, 2 of 2 are down")
            lb.logged(r"WRN DOWN: none of the services that routers lead to")
            one.status = two.status = 200
            lb.logged(r"WRN UP: a service that routers lead to has servers again")
            lb.logged(r"INF service shop@file is well again, after \d+\.\d s")
    finally:
        one.close()
        two.close()


def test_requests_that_are_sent_again_are_in_the_log_at_debug_with_the_cause(tmp_path: Path) -> None:
    """Another server after one that refuses connections; `retry` after a status; a fallback."""
    good, bad = Patient("good"), Patient("bad")
    bad.failing = True
    dead = f"http://127.0.0.1:{free_port()}"
    services = {
        "dead": {"loadBalancer": {"servers": [{"url": dead}, {"url": good.url}]}},
        "bad": {"loadBalancer": {"servers": [{"url": bad.url}, {"url": good.url}]}},
        "main": {"loadBalancer": {"servers": [{"url": bad.url}]}},
        "spare": {"loadBalancer": {"servers": [{"url": good.url}]}},
        "both": {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["500-599"]}}},
    }
    services["gone"] = {"loadBalancer": {"servers": [{"url": dead}]}}
    names = ("dead", "bad", "both", "gone")
    routers: dict[str, Any] = {name: {"rule": f"Path(`/{name}`)", "service": name} for name in names}
    routers["bad"]["middlewares"] = ["again"]
    again = {"again": {"retry": {"attempts": 2, "status": ["500-599"]}}}
    dynamic = {"http": {"routers": routers, "services": services, "middlewares": again}}
    log = {"log": {"level": "DEBUG", "filePath": str(tmp_path / "lbcore.log")}}
    try:
        with running(tmp_path, dynamic, static=log) as lb:
            lb.runs(1)
            for name in names:
                assert lb.get(f"/{name}")[0] == (502 if name == "gone" else 200)
            lb.logged(
                rf"DBG GET /gone was sent to {dead} of gone@file \(connection refused\); the client got status 502"
            )
            then, end = f"then to {good.url} of ", r" \(status 200\); the client got status 200"
            lb.logged(
                rf"DBG GET /dead was sent 2 times: to {dead} of dead@file \(connection refused\); {then}dead@file{end}"
            )
            lb.logged(rf"DBG GET /bad was sent 2 times: to {bad.url} of bad@file \(status 500\); {then}bad@file{end}")
            lb.logged(
                rf"DBG GET /both was sent 2 times: to {bad.url} of main@file \(status 500\); {then}spare@file{end}"
            )
    finally:
        good.close()
        bad.close()
