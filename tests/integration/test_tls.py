"""TLS over whole processes: certificates that change, workers that share sessions, and what is said of it."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.certificates import Files, certificate
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running


def secured(files: Files, *backends: Backend) -> dict[str, Any]:
    dynamic = dynamic_for(*backends)
    dynamic["http"]["routers"]["all"]["tls"] = {}
    return {**dynamic, "tls": {"certificates": [files.entry]}}


def context() -> ssl.SSLContext:
    found = ssl.create_default_context()
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    return found


def connected(port: int, trust: ssl.SSLContext | None = None, **session: Any) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    return (trust or context()).wrap_socket(sock, server_hostname="a.test", **session)


def asked(sock: ssl.SSLSocket) -> bytes:
    """The status of a request on a connection."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(65536)
        assert piece, answer
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))[15:])
    while len(body) < length:
        body += sock.recv(65536)
    return head.split()[1]


def serves(instance: Instance, files: Files) -> Callable[[], bool]:
    """Whether every worker serves a certificate: asked often enough to have met all of them."""
    expected = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())

    def look() -> bool:
        for _ in range(12):
            with connected(instance.port) as sock:
                if sock.getpeercert(True) != expected:
                    return False
        return True

    return look


def test_a_new_certificate_is_served_and_a_bad_one_is_not(tmp_path: Path, backends: list[Backend]) -> None:
    first, second = (certificate(tmp_path, name, "a.test") for name in ("first", "second"))
    live = Files(tmp_path / "live.pem", tmp_path / "live.key")

    def put(files: Files) -> None:
        shutil.copy(files.certificate, live.certificate)
        shutil.copy(files.key, live.key)

    put(first)
    with running(tmp_path, secured(live, *backends)) as lb:
        lb.runs(1)
        assert serves(lb, first)()
        open_since = connected(lb.port)
        assert asked(open_since) == b"200"
        failed: list[BaseException] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    with connected(lb.port) as sock:
                        assert asked(sock) == b"200"
                except BaseException as error:
                    failed.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        put(second)
        eventually(serves(lb, second), "the second certificate is served")
        live.key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        lb.logged(r"tls\.certificates\[0\]: .*live\.pem: the key cannot be read: the certificate that was read before")
        assert serves(lb, second)()
        live.certificate.unlink()
        lb.logged(r"dynamic\.yml:\d+: tls\.certificates\[0\]: certFile: \S+live\.pem cannot be read: no such file")
        assert serves(lb, second)()
        put(first)
        eventually(serves(lb, first), "the first certificate is served again")
        stop.set()
        thread.join()
        assert failed == []
        assert asked(open_since) == b"200"
        assert "PRIVATE KEY" not in lb.log


def test_sessions_go_on_with_any_worker_and_over_a_reload(tmp_path: Path, backends: list[Backend]) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with running(tmp_path, secured(files, *backends), workers=2) as lb:
        lb.runs(1)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trust = context()
            trust.maximum_version = version
            with connected(lb.port, trust) as sock:
                assert asked(sock) == b"200"
                session = sock.session
            for turn in range(30):
                if turn == 15:
                    lb.signal(signal.SIGHUP)
                with connected(lb.port, trust, session=session) as sock:
                    assert asked(sock) == b"200"
                    assert sock.session_reused


def test_a_demand_for_certificates_reaches_open_connections_at_all_workers(
    tmp_path: Path, backends: list[Backend]
) -> None:
    files, client = certificate(tmp_path, "a", "a.test"), certificate(tmp_path, "client", "client.test")
    dynamic = secured(files, *backends)
    asks = {"caFiles": [str(client.certificate)], "clientAuthType": "RequestClientCert"}
    dynamic["tls"]["options"] = {"default": {"clientAuth": asks}}
    own = context()
    own.load_cert_chain(client.certificate, client.key)
    with running(tmp_path, dynamic, workers=2) as lb:
        lb.runs(1)
        strangers, known = [connected(lb.port) for _ in range(8)], [connected(lb.port, own) for _ in range(8)]
        assert {asked(sock) for sock in strangers + known} == {b"200"}
        asks["clientAuthType"] = "RequireAndVerifyClientCert"
        lb.write(dynamic)
        lb.runs(2)
        assert {asked(sock) for sock in known} == {b"200"}
        assert {asked(sock) for sock in strangers} == {b"421"}
        assert {sock.recv(100) for sock in strangers} == {b""}
        assert {asked(sock) for sock in known} == {b"200"}


def test_a_process_with_keys_writes_no_core_dumps(tmp_path: Path, backends: list[Backend]) -> None:
    files = certificate(tmp_path, "a", "a.test")

    def limits(lb: Instance) -> set[str]:
        texts = [Path(f"/proc/{pid}/limits").read_text() for pid in (lb.process.pid, *lb.workers)]
        lines = [line for text in texts for line in text.splitlines()]
        return {line.split()[4] for line in lines if line.startswith("Max core file size")}

    allowing = ("prlimit", "--core=4096:4096")
    with running(tmp_path, dynamic_for(*backends), prefix=allowing) as lb:
        lb.runs(1)
        assert limits(lb) == {"4096"}
        lb.write(secured(files, *backends))
        lb.runs(2)
        assert limits(lb) == {"0"}


def test_a_configuration_with_a_bad_certificate_runs_without_it(tmp_path: Path, backends: list[Backend]) -> None:
    files = certificate(tmp_path, "a", "a.test")
    dynamic = secured(files, *backends)
    dynamic["tls"]["certificates"].append({"certFile": str(tmp_path / "nowhere.pem"), "keyFile": str(files.key)})
    dynamic["tls"]["options"] = {"broken": {"minVersion": "VersionTLS9"}}
    dynamic["http"]["routers"]["b"] = {
        "rule": "Host(`b.test`)",
        "service": "backends",
        "tls": {"options": "broken"},
    }
    with running(tmp_path, dynamic) as lb:
        lb.runs(1)
        assert serves(lb, files)()
        lb.logged(r"certificates\[1\]: certFile: \S+nowhere\.pem cannot be read: no such file or directory")
        lb.logged(r"tls\.options\.broken: minVersion: 'VersionTLS9' has to be one of VersionTLS10")


def test_a_client_that_sends_garbage_is_counted_and_logged_at_debug(tmp_path: Path, backends: list[Backend]) -> None:
    files = certificate(tmp_path, "a", "a.test")
    log = {"level": "DEBUG", "filePath": str(tmp_path / "lbcore.log")}
    with running(tmp_path, secured(files, *backends), static={"log": log}) as lb:
        lb.runs(1)
        with socket.create_connection(("127.0.0.1", lb.port), timeout=30) as sock:
            sock.sendall(b"\x16\x03\x01\x00\x05hello")
            while sock.recv(1000):
                pass
        lb.logged(r"entry point web: handshake with 127\.0\.0\.1 failed: ")


def test_curl_and_s_client(tmp_path: Path, backends: list[Backend]) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with running(tmp_path, secured(files, *backends)) as lb:
        lb.runs(1)
        place = f"a.test:{lb.port}"
        curl = ["curl", "-sS", "--cacert", str(files.certificate), "--resolve", f"{place}:127.0.0.1"]
        for version in ("--tlsv1.3", "--tls-max=1.2"):
            command = [*curl, *version.split("="), f"https://{place}/"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.stdout in ("one", "two"), done.stderr
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{lb.port}", "-servername", "a.test", "-brief"]
        done = subprocess.run(
            command, input="GET / HTTP/1.0\r\n\r\n", capture_output=True, text=True, timeout=60, check=False
        )
        assert "Protocol version: TLSv1.3" in done.stdout + done.stderr
