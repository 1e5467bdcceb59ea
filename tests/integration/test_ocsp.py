"""OCSP stapling: a real responder (`openssl ocsp`), real instances, and what clients of OpenSSL get."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lbcore import Proxy
from tests.support.certificates import Files, authority, signed
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running
from tests.support.ports import free_port

NAMED = "http://ocsp.of.the.ca.test/"  # the responder by which certificates are named, and which is not there


@dataclass
class Ca:
    """An authority with a responder, which another certificate signs for."""

    files: Files
    port: int
    index: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def issue(self, folder: Path, name: str, host: str, *extensions: str, state: str = "V") -> Files:
        """A certificate that the responder knows as good (V), as revoked (R), or not at all."""
        files = signed(folder, self.files, name, f"DNS:{host}", extensions=extensions)
        read = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        serial = read.serial_number.to_bytes(20, "big").hex().upper().lstrip("0")
        serial = serial if len(serial) % 2 == 0 else f"0{serial}"
        if state:
            revoked = "251101000000Z" if state == "R" else ""
            with self.index.open("a") as index:
                index.write(f"{state}\t351101000000Z\t{revoked}\t{serial}\tunknown\t/CN={name}\n")
        return files

    def chained(self, files: Files) -> dict[str, str]:
        """The entry of a certificate with that of the authority behind it."""
        files.certificate.write_text(files.certificate.read_text() + self.files.certificate.read_text())
        return files.entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ocsp")


@pytest.fixture(scope="module")
def entries(folder: Path) -> Iterator[tuple[Ca, dict[str, dict[str, str]]]]:
    """The authority with its running responder, and the entries of certificates by their hosts."""
    ca = Ca(authority(folder, "ca"), free_port(), folder / "index.txt")
    ca.index.touch()
    place = f"authorityInfoAccess=OCSP;URI:{NAMED}"
    found = {f"{name}.test": ca.chained(ca.issue(folder, name, f"{name}.test", place)) for name in ("good", "other")}
    found["revoked.test"] = ca.chained(ca.issue(folder, "revoked", "revoked.test", place, state="R"))
    found["unknown.test"] = ca.chained(ca.issue(folder, "unknown", "unknown.test", place, state=""))
    found["alone.test"] = ca.issue(folder, "alone", "alone.test", place).entry
    found["plain.test"] = ca.chained(ca.issue(folder, "plain", "plain.test"))
    signer = ca.issue(folder, "signer", "signer.test", "extendedKeyUsage=OCSPSigning")
    command = ["openssl", "ocsp", "-port", str(ca.port), "-index", str(ca.index), "-CA", str(ca.files.certificate)]
    command += ["-rsigner", str(signer.certificate), "-rkey", str(signer.key), "-ndays", "3"]
    with (folder / "responder.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        # A connection without a request would stop it for good.
        eventually(lambda: "waiting for OCSP client" in (folder / "responder.log").read_text(), "the responder listens")
        yield ca, found
    finally:
        process.kill()
        process.wait()


def asked(port: int, name: str, *options: str) -> str:
    """What `openssl s_client -status` says of a handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-status", *options]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    text = done.stdout.decode(errors="replace")
    assert f"CN = {name.partition('.')[0]}" in text, text + done.stderr.decode(errors="replace")
    return text


def is_stapled(text: str) -> bool:
    assert ("OCSP response: no response sent" in text) != ("OCSP Response Status: successful" in text), text
    return "Cert Status: good" in text


def configured(backend: Backend, hosts: dict[str, dict[str, str]]) -> dict[str, Any]:
    dynamic = dynamic_for(backend)
    rule = " || ".join(f"Host(`{host}`)" for host in hosts)
    dynamic["http"]["routers"] = {
        "named": {"rule": "Host(`other.test`)", "service": "backends", "tls": {"options": "old"}},
        "all": {"rule": rule, "priority": 1, "service": "backends", "tls": {}},
    }
    tls = {"certificates": list(hosts.values()), "options": {"old": {"maxVersion": "VersionTLS12"}}}
    return {**dynamic, "tls": tls}


def all_staple(lb: Instance, name: str, *options: str) -> bool:
    """Whether handshakes are stapled, as many as meet every worker."""
    return all(is_stapled(asked(lb.port, name, *options)) for _ in range(6))


def test_good_certificates_are_stapled_by_every_worker(
    entries: tuple[Ca, dict[str, dict[str, str]]], backend: Backend, tmp_path: Path
) -> None:
    ca, hosts = entries
    static = {"ocsp": {"responderOverrides": {NAMED: ca.url}}}
    with running(tmp_path, configured(backend, hosts), static=static) as lb:
        lb.runs(1)
        eventually(lambda: all_staple(lb, "good.test", "-tls1_3"), "the response is stapled")
        assert is_stapled(asked(lb.port, "good.test", "-tls1_2"))
        eventually(lambda: is_stapled(asked(lb.port, "other.test")), "that of a host with other options, too")
        lb.logged(rf"the certificate for revoked.test is revoked, says {ca.url}")
        lb.logged(rf"no new OCSP response for unknown.test, asking again in 6\d s: {ca.url}: the responder does not")
        lb.logged(r"no OCSP response for alone.test: the certificate of its issuer is not in the file behind it")
        for name in ("revoked.test", "unknown.test", "alone.test", "plain.test"):
            assert not is_stapled(asked(lb.port, name))
        assert "plain.test" not in lb.log
        # A worker that starts later has the responses, and a reload keeps them.
        worker = lb.workers[0]
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(lb.workers) == 2 and worker not in lb.workers, "another one")
        lb.write(configured(backend, {name: entry for name, entry in hosts.items() if name != "alone.test"}))
        lb.runs(2)
        eventually(lambda: all_staple(lb, "good.test"), "it staples")
        requests = (ca.index.parent / "responder.log").read_text().count("Received request")
        assert requests <= 5, "no certificate is asked for twice"


def test_a_responder_that_is_away_delays_nothing(
    entries: tuple[Ca, dict[str, dict[str, str]]], backend: Backend, tmp_path: Path
) -> None:
    _, hosts = entries
    with socket.socket() as silent:  # accepts, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        overrides = {NAMED: f"http://127.0.0.1:{silent.getsockname()[1]}/"}
        static = {"ocsp": {"responderOverrides": overrides}}
        with running(tmp_path, configured(backend, {"good.test": hosts["good.test"]}), workers=1, static=static) as lb:
            lb.runs(1)
            assert not is_stapled(asked(lb.port, "good.test"))
            connection, _ = silent.accept()
            connection.close()


def test_inside_a_program(entries: tuple[Ca, dict[str, dict[str, str]]], backend: Backend) -> None:
    ca, hosts = entries

    async def run() -> None:
        static = {
            "entryPoints": {"web": {"address": "127.0.0.1:0"}},
            "ocsp": {"responderOverrides": {NAMED: ca.url}},
        }
        async with Proxy(static, configured(backend, {"good.test": hosts["good.test"]})) as proxy:
            address = proxy.addresses["web"]
            assert not isinstance(address, str)
            async with asyncio.timeout(60):
                while not is_stapled(await asyncio.to_thread(asked, address[1], "good.test")):
                    await asyncio.sleep(0.05)

    asyncio.run(run())
