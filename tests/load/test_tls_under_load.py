"""TLS while certificates change every second, and beside clients that never finish a handshake, or send nonsense."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_tls import asked, connected, context, secured
from tests.support.certificates import Files, certificate
from tests.support.instance import Backend, eventually, running
from tests.unit.transport.test_client_hello import hello

SECONDS = int(os.environ.get("LBCORE_LOAD_SECONDS", "12"))  # of certificates that change
CLIENTS = 4
HOSTILE = 400
HOSTILE_MIB = 96  # that so many half-made handshakes may take in all workers


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    with contextlib.closing(Backend("one")) as server:
        yield [server]


def test_certificates_change_every_second_and_no_handshake_fails(tmp_path: Path, backends: list[Backend]) -> None:
    known = [certificate(tmp_path, f"c{number}", "a.test") for number in range(4)]
    live = Files(tmp_path / "live.pem", tmp_path / "live.key")

    def put(files: Files) -> None:
        """As tools do it: each file in one step, the two of them not at once."""
        for source, target in ((files.certificate, live.certificate), (files.key, live.key)):
            new = target.with_suffix(".new")
            new.write_text(source.read_text())
            os.replace(new, target)

    put(known[0])
    names = {ssl.PEM_cert_to_DER_cert(files.certificate.read_text()): files for files in known}
    served: set[bytes] = set()
    failures: list[BaseException] = []
    handshakes = [0] * CLIENTS
    done = threading.Event()

    def client(number: int, port: int) -> None:
        while not done.is_set():
            try:
                with connected(port) as sock:
                    der = sock.getpeercert(True)
                    assert der in names
                    served.add(der)
                    assert asked(sock) == b"200"
                handshakes[number] += 1
            except BaseException as error:
                failures.append(error)
                return

    with running(tmp_path, secured(live, *backends)) as lb:
        lb.runs(1)
        threads = [threading.Thread(target=client, args=(number, lb.port)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for second in range(1, SECONDS + 1):
                time.sleep(1)
                put(known[second % len(known)])
            eventually(lambda: len(served) >= 3 or failures, "others are served")
        finally:
            done.set()
            for thread in threads:
                thread.join(60)
        assert not failures, failures[0]
        assert min(handshakes) > 0
        assert "internal error" not in lb.log


def memory_mib(pids: list[int]) -> float:
    """Resident memory that is not shared."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Dirty:", "Private_Clean:")):
                total += int(line.split()[1])
    return total / 1024


def test_half_made_handshakes_and_nonsense_cost_bounded_memory_and_time(
    tmp_path: Path, backends: list[Backend]
) -> None:
    files = certificate(tmp_path, "a", "a.test")
    dynamic = secured(files, *backends)
    address = backends[0].url.removeprefix("http://")
    dynamic["tcp"] = {
        "routers": {"past": {"rule": "HostSNI(`p.test`)", "service": "past", "tls": {"passthrough": True}}},
        "services": {"past": {"loadBalancer": {"servers": [{"address": address}]}}},
    }
    whole, chance = hello("a.test"), random.Random(7)
    patience = {"transport": {"respondingTimeouts": {"headerTimeout": "5s", "readTimeout": "5s"}}}
    with running(tmp_path, dynamic, entry_point=patience) as lb, contextlib.ExitStack() as stack:
        lb.runs(1)
        with connected(lb.port) as sock:
            assert asked(sock) == b"200"
        before = memory_mib(lb.workers)
        hostile = []
        for number in range(HOSTILE):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", lb.port), timeout=30))
            with contextlib.suppress(OSError):
                match number % 5:
                    case 0:
                        sock.sendall(whole[: chance.randrange(1, len(whole))])
                    case 1:
                        sock.sendall(whole)  # and no word more
                    case 2:
                        sock.sendall(b"\x16\x03\x01" + chance.randbytes(600))
                    case 3:
                        sock.sendall(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\x00" + bytes(15000))
                    case _:
                        changed = bytearray(whole)
                        for _ in range(4):
                            changed[chance.randrange(5, len(changed))] = chance.randrange(256)
                        sock.sendall(changed + chance.randbytes(100))
            hostile.append(sock)
        started = time.monotonic()
        with connected(lb.port, context()) as sock:
            assert asked(sock) == b"200"
        assert memory_mib(lb.workers) - before < HOSTILE_MIB
        for sock in hostile:
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass
        assert time.monotonic() - started < 60
        assert "internal error" not in lb.log
        with connected(lb.port) as sock:
            assert asked(sock) == b"200"
