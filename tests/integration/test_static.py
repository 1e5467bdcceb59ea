"""The static configuration from each of its sources, and options of it that take a process or two to see."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import Command
from tests.support.instance import Backend, dynamic_for, eventually, running
from tests.support.ports import free_port


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str, workers: str | None = "1", **environ: str
) -> Iterator[Command]:
    """`lbcore run` in a folder, stopped with SIGTERM, as which it has to end well."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LBCORE_", "TRAEFIK_"))}
    run = ["run", *(["--workers", workers] if workers else []), *arguments]
    log = (folder / "stderr").open("w")
    with log, Command(run, cwd=folder, env={**clean, **environ}, stderr=log) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def answer(port: int, path: str = "/") -> str:
    """Status line and body, or nothing while the port is closed."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
        return data.partition(b"\r\n")[0].decode() + " " + data.rpartition(b"\r\n\r\n")[2].decode()
    return ""


@pytest.mark.parametrize("prefix", ["LBCORE_", "TRAEFIK_"])
def test_environment_is_the_static_configuration(tmp_path: Path, backend: Backend, prefix: str) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
    port = free_port()
    environ = {
        f"{prefix}ENTRYPOINTS_WEB_ADDRESS": f"127.0.0.1:{port}",
        f"{prefix}PROVIDERS_FILE_FILENAME": "dynamic.yml",
        f"{prefix}PING_ENTRYPOINT": "web",
        f"{prefix}LOG_LEVEL": "INFO",
        f"{prefix}LOG_FORMAT": "json",
    }
    with started(tmp_path, **environ):
        eventually(lambda: answer(port) == "HTTP/1.1 200 OK one", "it answers")
        assert answer(port, "/ping") == "HTTP/1.1 200 OK OK"
    lines = [json.loads(line) for line in (tmp_path / "stderr").read_text().splitlines()]
    assert {line["level"] for line in lines} >= {"info"}


def test_a_file_wins_over_flags_and_flags_over_the_environment(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
    by_file, by_environment, by_flags = free_port(), free_port(), free_port()
    file = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{by_file}"}},
        "providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}},
    }
    (tmp_path / "traefik.yml").write_text(yaml.safe_dump(file))
    environ = {"TRAEFIK_ENTRYPOINTS_WEB_ADDRESS": f"127.0.0.1:{by_environment}"}
    flags = (f"--entryPoints.web.address=127.0.0.1:{by_flags}", "--providers.file.filename", "dynamic.yml")
    for arguments in (("--config", "traefik.yml"), flags):  # which finds the file
        with started(tmp_path, *arguments, **environ):
            eventually(lambda: answer(by_file) == "HTTP/1.1 200 OK one", "the file's port answers")
            assert answer(by_environment) == answer(by_flags) == ""
    (tmp_path / "traefik.yml").unlink()
    with started(tmp_path, *flags, **environ):
        eventually(lambda: answer(by_flags) == "HTTP/1.1 200 OK one", "the flags' port answers")
        assert answer(by_environment) == ""


def test_the_command_takes_its_own_settings_from_the_environment(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
    port = free_port()
    file = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}},
        "log": {"level": "INFO"},
    }
    (tmp_path / "edge.yml").write_text(yaml.safe_dump(file))
    with started(tmp_path, workers=None, LBCORE_CONFIG="edge.yml", LBCORE_WORKERS="3"):
        eventually(lambda: answer(port) == "HTTP/1.1 200 OK one", "it answers")
        assert "starts with 3 workers, configuration edge.yml" in (tmp_path / "stderr").read_text()


def test_run_serves_inside_a_program_until_a_signal(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
    port = free_port()
    program = f"""
import sys
import lbcore
from lbcore.config.static import StaticConfig

point = {{"address": "127.0.0.1:{port}"}}
file = {{"filename": "dynamic.yml"}}
static = StaticConfig.model_validate({{"entryPoints": {{"web": point}}, "providers": {{"file": file}}}})
sys.exit(lbcore.run(static, workers=1))
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path) as process:
        try:
            eventually(lambda: answer(port) == "HTTP/1.1 200 OK one", "it answers")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_a_port_is_shared_with_another_process_only_where_that_is_asked_for(tmp_path: Path, backend: Backend) -> None:
    other = Backend("two")
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    try:
        with running(folders[0], dynamic_for(backend), entry_point={"reusePort": True}) as first:
            first.runs(1)
            shared = {"address": f"127.0.0.1:{first.port}", "reusePort": True}
            with running(folders[1], dynamic_for(other), entry_point=shared) as second:
                second.runs(1)
                seen: set[str] = set()
                eventually(lambda: seen.add(first.get()[1]) or seen == {"one", "two"}, "both answer on one port")
            with running(folders[2], dynamic_for(other), entry_point={"address": shared["address"]}) as third:
                assert third.process.wait(10) != 0
                assert "address already in use" in third.log.lower()
    finally:
        other.close()


def test_ping_is_routed_by_hand(tmp_path: Path, backend: Backend) -> None:
    dynamic = dynamic_for(backend)
    dynamic["http"]["routers"]["health"] = {"rule": "Path(`/alive`)", "priority": 99, "service": "ping@internal"}
    static = {"ping": {"manualRouting": True}}
    with running(tmp_path, dynamic, static=static) as lb:
        lb.runs(1)
        assert lb.get("/alive") == (200, "OK")
        assert lb.get("/ping") == (200, "one")
        assert "entry point traefik" not in lb.log


def test_servers_without_a_transport_of_their_own_use_the_static_one(tmp_path: Path, backend: Backend) -> None:
    timeouts = {"responseHeaderTimeout": "300ms"}
    static: dict[str, Any] = {"serversTransport": {"forwardingTimeouts": timeouts}}
    with running(tmp_path, dynamic_for(backend), static=static) as lb:
        lb.runs(1)
        begin = time.monotonic()
        assert lb.get("/slow/30000")[0] == 504
        assert time.monotonic() - begin < 20
        assert lb.get("/slow/1") == (200, "one")
