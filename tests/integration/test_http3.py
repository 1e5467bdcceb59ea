"""HTTP/3 over whole processes: several workers on one port, reloads, workers that die, and the end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_tls import connected
from tests.support.certificates import Files, certificate
from tests.support.http3 import Http3Client, http3
from tests.support.instance import Backend, dynamic_for, eventually, running


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return certificate(tmp_path, "a", "a.test")


def secured(files: Files, *backends: Backend) -> dict[str, Any]:
    dynamic = dynamic_for(*backends)
    dynamic["http"]["routers"]["all"]["tls"] = {}
    return {**dynamic, "tls": {"certificates": [files.entry]}}


def test_connections_find_their_worker_from_any_address(tmp_path: Path, files: Files, backends: list[Backend]) -> None:
    log = tmp_path / "access.log"
    static = {"accessLog": {"filePath": str(log), "format": "json"}}
    with running(tmp_path, secured(files, *backends), workers=3, static=static, entry_point={"http3": {}}) as lb:
        lb.runs(1)
        lb.logged(r"entry point web listens on \S+/udp")
        address = ("127.0.0.1", lb.port)
        clients = [Http3Client(address) for _ in range(12)]
        for turn in range(3):
            for client in clients:
                assert client.ask("GET", f"/{turn}").status == 200
                client.settle()
                if turn < 2:
                    client.move()
        owners = {int.from_bytes(client.quic._peer_cid.cid[:2], "big") % 3 for client in clients}
        assert len(owners) > 1
        lb.signal(signal.SIGHUP)
        for client in clients:
            answer = client.ask("GET", "/after")
            assert client.terminated is None
            assert answer.status == 200
        for client in clients:
            assert client.terminated is None
            client.close()
        lines = eventually(
            lambda: found if len(found := log.read_text().splitlines()) == 48 else None, "48 lines in the log"
        )
        assert lines is not None
        assert {json.loads(line)["RequestProtocol"] for line in lines} == {"HTTP/3.0"}


def test_a_worker_that_dies_loses_its_connections_and_no_new_one(
    tmp_path: Path, files: Files, backends: list[Backend]
) -> None:
    with running(tmp_path, secured(files, *backends), workers=2, entry_point={"http3": {}}) as lb:
        lb.runs(1)
        address = ("127.0.0.1", lb.port)
        clients = [Http3Client(address) for _ in range(12)]
        for client in clients:
            assert client.ask().status == 200
        victim = lb.workers[0]
        os.kill(victim, signal.SIGKILL)
        for _ in range(6):
            with http3(address) as h3:
                assert h3.ask().status == 200
        eventually(lambda: len(lb.workers) == 2 and victim not in lb.workers, "another worker")
        ended = 0
        for client in clients:
            stream = client.open()
            client.until(lambda client=client, stream=stream: client.was_reset or client.answer_of(stream).ended)
            ended += client.was_reset
            client.close()
        assert 0 < ended < 12


def test_the_end_loses_no_stream(tmp_path: Path, files: Files, backends: list[Backend]) -> None:
    with running(tmp_path, secured(files, *backends), workers=2, entry_point={"http3": {}}) as lb:
        lb.runs(1)
        clients = [Http3Client(("127.0.0.1", lb.port)) for _ in range(6)]
        for client in clients:
            assert client.ask().status == 200
        lb.signal(signal.SIGTERM)
        streams = [(client, client.open()) for client in clients]
        for client, stream in streams:
            assert client.answer(stream).status == 200
        for client in clients:
            client.until(lambda client=client: client.terminated is not None)
            assert client.terminated is not None
            assert client.terminated.error_code == 0x100, client.quic._state
            client.close()
        assert lb.process.wait(30) == 0


def over_tls(port: int) -> str:
    """Who answers a request of HTTP/1.1."""
    with connected(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        with sock.makefile("rb") as file:
            return file.read().rpartition(b"\r\n")[2].decode()


def test_of_two_processes_on_one_port_the_later_one_has_http3_when_the_other_has_left(
    tmp_path: Path, files: Files, backends: list[Backend]
) -> None:
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    shared = {"reusePort": True, "http3": {}}
    one, two = backends
    with running(folders[0], secured(files, one), entry_point=shared) as old:
        old.runs(1)
        address = ("127.0.0.1", old.port)
        before = Http3Client(address)
        assert before.ask().body == b"one"
        place = {"address": f"127.0.0.1:{old.port}"}
        with running(folders[1], secured(files, two), entry_point=shared | place, workers=3) as new:
            new.runs(1)
            new.logged(r"another process has 127\.0\.0\.1:\d+/udp: HTTP/3 begins when it has left that port")
            # Connections of TCP go to both, and all of HTTP/3 to the old one, as before.
            seen: set[str] = set()
            eventually(lambda: seen.add(over_tls(old.port)) or seen == {"one", "two"}, "both answer over TLS")
            for _ in range(4):
                with http3(address) as h3:
                    assert h3.ask().body == b"one"
            stream = before.open()
            old.signal(signal.SIGTERM)
            assert before.answer(stream).body == b"one"
            before.close()
            assert old.process.wait(30) == 0
            new.logged(rf"entry point web listens on 127\.0\.0\.1:{old.port}/udp")
            clients = [Http3Client(address) for _ in range(9)]
            for client in clients:
                assert client.ask().body == b"two"
                client.move()
                assert client.ask().body == b"two"
                client.close()
