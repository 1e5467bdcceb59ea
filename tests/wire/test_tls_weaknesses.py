"""Known attacks on TLS, each by a hello or a message of its own: what a server that is open to it would answer."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.certificates import RSA, Files, certificate
from tests.support.tls import Records, trusting
from tests.support.wire import TIMEOUT_S, Edge, Peer, edge, serving
from tests.wire.test_tls import secured

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2 = (3, 0), (3, 1), (3, 2), (3, 3)
ALERT, HANDSHAKE, CHANGE_CIPHER_SPEC, HEARTBEAT = 21, 22, 20, 24
SERVER_HELLO, NEW_TICKET = 2, 4
UNEXPECTED_MESSAGE, HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK = 10, 40, 70, 86
SESSION_TICKET, EXTENDED_MASTER_SECRET, HEARTBEATS, RENEGOTIATION = 35, 23, 15, 0xFF01
FALLBACK, NO_RENEGOTIATION_YET = 0x5600, 0x00FF  # suites that say something about the client
GOOD = (0xC02B, 0xC02F, 0xC02C, 0xC030)  # ECDHE with AES-GCM
CBC = (0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028)  # ECDHE with CBC


class Answer(NamedTuple):
    """What a hello has led to: the suite and extensions of a ServerHello, or an alert, or the end of the connection."""

    alert: int = -1
    suite: int = -1
    version: tuple[int, int] = (0, 0)
    compression: int = 0
    session: bytes = b""
    random: bytes = b""
    extensions: tuple[int, ...] = ()


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">HH", kind, len(content)) + content


def hello(
    suites: tuple[int, ...] = GOOD,
    version: tuple[int, int] = TLS_1_2,
    *more: bytes,
    compressions: bytes = b"\0",
    session: bytes = b"",
) -> bytes:
    """A ClientHello of TLS 1.2 or before for a.test, in one record."""
    name = b"\0\0\x06a.test"
    extensions = [
        extension(0, struct.pack(">H", len(name)) + name),
        extension(10, struct.pack(">HHHH", 6, 29, 23, 24)),  # curves
        extension(11, b"\x01\x00"),  # forms of points
        extension(13, struct.pack(">HHHHHHH", 12, 0x0403, 0x0401, 0x0804, 0x0503, 0x0203, 0x0201)),
        *more,
    ]
    listed = b"".join(struct.pack(">H", suite) for suite in suites)
    body = bytes(version) + os.urandom(32) + bytes([len(session)]) + session
    body += struct.pack(">H", len(listed)) + listed + bytes([len(compressions)]) + compressions
    if version != SSL_3:
        whole = b"".join(extensions)
        body += struct.pack(">H", len(whole)) + whole
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return record(HANDSHAKE, message, min(version, TLS_1_0))


def record(kind: int, content: bytes, version: tuple[int, int] = TLS_1_2) -> bytes:
    return bytes([kind, *version]) + struct.pack(">H", len(content)) + content


class Probe:
    """A connection whose records the test reads and writes itself."""

    def __init__(self, lb: Edge) -> None:
        self.sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)

    def exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            data = self.sock.recv(length - len(found))
            if not data:
                raise EOFError
            found += data
        return found

    def record(self) -> tuple[int, bytes]:
        """The next one: its kind and content. Raises EOFError."""
        try:
            head = self.exactly(5)
            return head[0], self.exactly(int.from_bytes(head[3:], "big"))
        except ConnectionError:
            raise EOFError from None

    def rest(self) -> list[tuple[int, bytes]]:
        """All that follows, to the end of the connection."""
        found = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(self.record())
        return found

    def ask(self, data: bytes) -> Answer:
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)
        try:
            kind, content = self.record()
        except EOFError:
            return Answer()
        return Answer(alert=content[1]) if kind == ALERT else parsed(content)


def parsed(content: bytes) -> Answer:
    """A ServerHello."""
    assert content[0] == SERVER_HELLO
    random, at = content[6:38], 39 + content[38]
    suite, compression = int.from_bytes(content[at : at + 2], "big"), content[at + 2]
    kinds, place, end = [], at + 5, 4 + int.from_bytes(content[1:4], "big")
    while place < end:
        kind, length = struct.unpack(">HH", content[place : place + 4])
        kinds.append(kind)
        place += 4 + length
    return Answer(-1, suite, (content[4], content[5]), compression, content[39:at], random, tuple(kinds))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {"a": certificate(folder, "a", "a.test"), "rsa": certificate(folder, "rsa", "a.test", key=RSA)}


@contextlib.contextmanager
def guarded(made: dict[str, Files], **options: Any) -> Iterator[Edge]:
    tls = {"certificates": [files.entry for files in made.values()], "options": {"default": options}}
    with serving() as server, edge(secured(server.url, tls)) as lb:
        yield lb


@pytest.fixture(scope="module")
def usual(made: dict[str, Files]) -> Iterator[Edge]:
    with guarded(made) as lb:
        yield lb


# Suites by the attack that they are open to, and a sign in the name for whoever reads a failure.
WEAK = {
    "RC4": (0x0004, 0x0005, 0xC007, 0xC011),
    "SWEET32: 3DES, DES and IDEA": (0x000A, 0x0009, 0x0007, 0xC008, 0xC012, 0x0016),
    "FREAK: RSA of export": (0x0003, 0x0006, 0x0008, 0x0062, 0x0064),
    "Logjam: Diffie-Hellman in finite fields": (0x0011, 0x0014, 0x0033, 0x0039, 0x0067, 0x006B, 0x009E, 0x009F, 0xCCAA),
    "ROBOT, DROWN: RSA as key exchange": (0x002F, 0x0035, 0x003C, 0x003D, 0x009C, 0x009D),
    "Lucky Thirteen, POODLE for TLS: CBC": CBC,
    "nobody is authenticated": (0x0018, 0x001B, 0x0034, 0x003A, 0x006C, 0x00A6, 0xC017, 0xC018, 0xC019),
    "nothing is encrypted": (0x0001, 0x0002, 0x003B, 0xC006, 0xC010),
}


@pytest.mark.parametrize("attack", WEAK)
def test_weak_suites_are_not_agreed_on(usual: Edge, attack: str) -> None:
    assert Probe(usual).ask(hello(WEAK[attack])).alert == HANDSHAKE_FAILURE
    assert Probe(usual).ask(hello((*WEAK[attack], *GOOD))).suite in GOOD


@pytest.mark.parametrize("version", [SSL_3, TLS_1_0, TLS_1_1], ids=["POODLE: SSL 3.0", "BEAST: TLS 1.0", "TLS 1.1"])
def test_old_versions_are_not_agreed_on(usual: Edge, version: tuple[int, int]) -> None:
    assert Probe(usual).ask(hello((*CBC, *GOOD), version)).alert in (PROTOCOL_VERSION, HANDSHAKE_FAILURE)


def test_the_probe_sees_what_is_allowed(made: dict[str, Files]) -> None:
    """With options that allow them, the hellos of the two tests above are answered."""
    suites = ["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]
    with guarded(made, minVersion="VersionTLS10", maxVersion="VersionTLS12", cipherSuites=suites) as lb:
        for version in (TLS_1_0, TLS_1_1, TLS_1_2):
            found = Probe(lb).ask(hello(CBC, version))
            assert (found.version, found.suite in CBC) == (version, True)


def test_drown(usual: Edge) -> None:
    """A hello of SSL 2.0: suites with MD5, a challenge, no session."""
    body = b"\x01\x00\x02" + struct.pack(">HHH", 9, 0, 16) + b"\x01\x00\x80\x07\x00\xc0\x06\x00\x40" + os.urandom(16)
    probe = Probe(usual)
    with contextlib.suppress(ConnectionError):
        probe.sock.sendall(struct.pack(">H", 0x8000 | len(body)) + body)
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := probe.sock.recv(4096):
            answer += data
    assert answer == b"" or answer[0] in (ALERT, ord("H")), answer


def test_crime(usual: Edge) -> None:
    assert Probe(usual).ask(hello(compressions=b"\x01\x40\x00")).compression == 0


def test_fallback(usual: Edge) -> None:
    """Whoever says that it has come down to an older version than it could have is refused: it was talked into it."""
    assert Probe(usual).ask(hello((*GOOD, FALLBACK))).alert == INAPPROPRIATE_FALLBACK
    # TLS 1.2 is agreed on without that word, with a sign that TLS 1.3 was to be had (RFC 8446 section 4.1.3).
    assert Probe(usual).ask(hello()).random.endswith(b"DOWNGRD\x01")


def test_renegotiation_is_tied_to_its_connection(usual: Edge) -> None:
    """RFC 5746, and RFC 7627 against triple handshakes."""
    found = Probe(usual).ask(hello((*GOOD, NO_RENEGOTIATION_YET), TLS_1_2, extension(EXTENDED_MASTER_SECRET, b"")))
    assert {RENEGOTIATION, EXTENDED_MASTER_SECRET} <= set(found.extensions)


def test_heartbleed(usual: Edge) -> None:
    probe = Probe(usual)
    found = probe.ask(hello(GOOD, TLS_1_2, extension(HEARTBEATS, b"\x01")))
    assert found.suite in GOOD and HEARTBEATS not in found.extensions
    probe.sock.sendall(record(HEARTBEAT, b"\x01\x40\x00"))  # 16 KiB are asked for, and none are sent
    assert HEARTBEAT not in [kind for kind, _ in probe.rest()]


def test_early_change_of_ciphers(usual: Edge) -> None:
    """CVE-2014-0224: ChangeCipherSpec before there are keys."""
    probe = Probe(usual)
    assert probe.ask(hello()).suite in GOOD
    probe.sock.sendall(record(CHANGE_CIPHER_SPEC, b"\x01"))
    alerts = [content[1] for kind, content in probe.rest() if kind == ALERT]
    assert alerts == [UNEXPECTED_MESSAGE]


def ticket_of(lb: Edge) -> bytes:
    """A ticket of TLS 1.2, which a server sends in clear before it changes ciphers."""
    context = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_EXTENDED_MASTER_SECRET if hasattr(ssl, "OP_NO_EXTENDED_MASTER_SECRET") else 0
    with socket.create_connection(lb.address, timeout=TIMEOUT_S) as sock:
        records, seen = Records(sock, context), b""
        while not records.goes_on():
            records.push()
            data = sock.recv(65536)
            assert data
            seen += data
            records.incoming.write(data)
        at = 0
        while at < len(seen):
            kind, length = seen[at], int.from_bytes(seen[at + 3 : at + 5], "big")
            content = seen[at + 5 : at + 5 + length]
            if kind == HANDSHAKE and content[0] == NEW_TICKET:
                return content[10 : 10 + int.from_bytes(content[8:10], "big")]
            at += 5 + length
    raise AssertionError("no ticket")


@pytest.mark.parametrize("length", [1, 16, 31, 32])
def test_ticketbleed(usual: Edge, length: int) -> None:
    """CVE-2016-9244: a session that is resumed by a ticket says the client's identifier, and no more than that."""
    session = os.urandom(length)
    more = (extension(SESSION_TICKET, ticket_of(usual)), extension(EXTENDED_MASTER_SECRET, b""))
    found = Probe(usual).ask(hello((*GOOD, 0xCCA9, 0xCCA8), TLS_1_2, *more, session=session))
    assert found.session == session, "it is resumed, and its identifier has the length that the client's has"


def test_renegotiation_by_a_client_is_refused(usual: Edge) -> None:
    """CVE-2011-1473: no handshake is made inside of a connection."""
    assert not isinstance(usual.address, str)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{usual.address[1]}", "-tls1_2", "-servername", "a.test"]
    done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said or "unexpected eof" in said or "unexpected message" in said, said[-1500:]
    assert done.returncode != 0


def test_what_comes_in_clear_behind_a_request_for_tls_is_no_part_of_it(made: dict[str, Files]) -> None:
    """CVE-2021-23214, CVE-2011-0411: a query in the packet of PostgreSQL's SSLRequest is not read as the client's."""
    got: list[bytes] = []

    def database(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            got.append(peer.sock.recv(1000))

    with serving(database) as server:
        services = {"db": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{server.port}"}]}}}
        routers = {"db": {"rule": "HostSNI(`a.test`)", "service": "db", "tls": {}}}
        tls = {"certificates": [made["a"].entry]}
        with edge({"tcp": {"routers": routers, "services": services}, "tls": tls}) as lb:
            probe = Probe(lb)
            probe.sock.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f" + b"Q\0\0\0\x0edrop all;\0")
            assert probe.exactly(1) == b"S"
            assert all(kind == ALERT for kind, _ in probe.rest())
            # TLS behind the same words is a handshake, and what it carries is what the server gets.
            sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
            sock.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
            assert sock.recv(1) == b"S"
            secured_sock = trusting().wrap_socket(sock, server_hostname="a.test")
            secured_sock.sendall(b"select 1")
            assert secured_sock.recv(1) == b""
        assert got == [b"select 1"]
