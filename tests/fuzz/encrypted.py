"""TLS in a hostile world: clients that encrypt well, and those that break off, garble, renegotiate or never end."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.certificates import RSA, Files, certificate
from tests.support.tls import Records, trusting

NAMES = ["a.test", "A.TEST", "b.test", "x.wild.test", "odd.test", "good.test", "nobody.test", "a" * 60 + ".test", None]
CLOSING = b"\x15\x03\x03\x00\x02\x01\x00"  # an alert in the clear: close_notify
KINDS = ["NoClientCert", "RequestClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven", ""]


class Secrets:
    """Certificates of the proxy, and the contexts of clients, each with the session it had last."""

    def __init__(self, folder: Path) -> None:
        self.files = [
            certificate(folder, "a", "a.test", "*.wild.test"),
            certificate(folder, "rsa", "a.test", key=RSA),
            certificate(folder, "b", "b.test"),
        ]
        client = certificate(folder, "client", "client.test")
        self.authority = client.certificate.read_text()
        self.contexts = [
            trusting(with_certificate, maximum_version=version)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
            for with_certificate in (None, client, self.files[2])
        ]
        both = ["h2", "http/1.1"]
        for context, protocols in zip(self.contexts, (["http/1.1"], both, [], both, ["h2"])):
            context.set_alpn_protocols(protocols)
        self.sessions: dict[ssl.SSLContext, Any] = {}

    def draw_config(self, draw: random.Random) -> dict[str, Any]:
        """Certificates, and the options `odd`; those of other hosts accept every client."""
        odd: dict[str, Any] = {"sniStrict": draw.random() < 0.3, "disableSessionTickets": draw.random() < 0.3}
        odd["clientAuth"] = {"clientAuthType": draw.choice(KINDS), "caFiles": [self.authority]}
        if draw.random() < 0.3:
            odd |= draw.choice([{"minVersion": "VersionTLS13"}, {"maxVersion": "VersionTLS12"}])
        if draw.random() < 0.3:
            odd["alpnProtocols"] = ["http/1.1"]
        files: list[Files] = draw.sample(self.files, draw.randint(0, 3))
        options = {"odd": odd, "default": {"disableSessionTickets": draw.random() < 0.2}}
        return {"certificates": [one.texts for one in files], "options": options}


def garbled(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 3, 20])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def in_small_records(draw: random.Random, hello: bytes) -> bytes:
    """The same message of the handshake, in records of a few bytes each."""
    message, step = hello[5:], draw.choice([1, 7, 100])
    pieces = [message[at : at + step] for at in range(0, len(message), step)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)


class EncryptedClient:
    """Has one connection after another act over TLS, well or not."""

    def __init__(self, draw: random.Random, secrets: Secrets) -> None:
        self.draw = draw
        self.secrets = secrets

    def run(self, sock: socket.socket, token: bytes, act: Callable[[socket.socket, bytes], None]) -> None:
        """`act` is what a client does on a connection, encrypted or not. Raises OSError."""
        draw = self.draw
        context, kind = draw.choice(self.secrets.contexts), draw.random()
        name = draw.choice([*NAMES, token.decode() + ".test"])
        if kind < 0.5:
            session = self.secrets.sessions.get(context) if draw.random() < 0.6 else None
            with context.wrap_socket(sock, server_hostname=name, session=session) as tls:
                act(tls, token)
                if tls.session is not None:
                    self.secrets.sessions[context] = tls.session
        elif kind < 0.52:
            self.renegotiate(sock.getpeername(), token)
        else:
            records = Records(sock, context, name)
            with contextlib.suppress(EOFError):
                if kind < 0.75:
                    self.break_hello(records, token)
                elif kind < 0.85:
                    self.break_handshake(records)
                else:
                    records.shake_hands(draw.choice([1, 7, 1000]))
                    self.break_connection(records, token)

    def break_hello(self, records: Records, token: bytes) -> None:
        draw = self.draw
        records.goes_on()
        hello = records.outgoing.read()
        kind = draw.randrange(7)
        if kind == 0:
            hello = hello[: draw.randrange(len(hello))]
        elif kind == 1:
            hello = garbled(draw, hello)
        elif kind == 2:
            for name in (b"a.test", token + b".test"):  # in place: lengths stay as they are
                hello = hello.replace(name, bytes(draw.choices(range(256), k=len(name))))
        elif kind == 3:
            hello = in_small_records(draw, hello)
        elif kind == 4:
            hello += draw.choice([hello, CLOSING, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(300)])
        elif kind == 5:
            hello = b"\x16\x03" + bytes(draw.choices(range(256), k=draw.choice([1, 3, 300, 70_000])))
        step = draw.choice([1 << 20, 100, 5])
        for at in range(0, len(hello), step):
            records.sock.sendall(hello[at : at + step])
        self.end(records.sock)

    def break_handshake(self, records: Records) -> None:
        """Go on with what the server has answered, and then no further, or wrongly."""
        draw = self.draw
        records.goes_on()
        records.push()
        records.pull()
        records.goes_on()
        flight = records.outgoing.read() or CLOSING
        kind = draw.randrange(4)
        if kind == 0:
            flight = flight[: draw.randrange(len(flight))]
        elif kind == 1:
            flight = garbled(draw, flight)
        elif kind == 2:
            flight = CLOSING + flight
        elif kind == 3:
            flight += b"\x17\x03\x03\x00\x10" + bytes(16)
        records.sock.sendall(flight)
        self.end(records.sock)

    def break_connection(self, records: Records, token: bytes) -> None:
        draw = self.draw
        request = b"GET /%s HTTP/1.1\r\nHost: %s.test\r\n\r\n" % (token, token)
        records.tls.write(request)
        data = records.outgoing.read()
        kind = draw.randrange(6)
        if kind == 0:
            data = data[: draw.randrange(len(data))]
        elif kind == 1:
            data = garbled(draw, data)
        elif kind == 2:
            data += b"\x17\x03\x03\x40\x00" + bytes(draw.choice([1, 0x4000]))
        elif kind == 3:
            data += CLOSING
        elif kind == 4:  # close_notify, and what must not come after it
            with contextlib.suppress(ssl.SSLError):
                records.tls.unwrap()
            data += records.outgoing.read() + draw.choice([b"", data, b"GET / HTTP/1.1\r\n\r\n"])
        else:  # as records of nothing: each is one byte of a request
            for byte in request * 3:
                records.tls.write(bytes([byte]))
            data += records.outgoing.read()
        records.sock.sendall(data)
        self.end(records.sock)

    def end(self, sock: socket.socket) -> None:
        """Close without close_notify, with a reset, half, or not before the other side does."""
        end = self.draw.random()
        if end < 0.1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if end < 0.3:
            return
        if end < 0.5:
            sock.shutdown(socket.SHUT_WR)
        sock.settimeout(self.draw.choice([0.05, 0.3, 1]))
        while sock.recv(65536):
            pass

    def renegotiate(self, address: tuple[str, int], token: bytes) -> None:
        """Another handshake inside of a connection of TLS 1.2, or new keys again and again in one of TLS 1.3."""
        version, letter = self.draw.choice([("-tls1_2", b"R\n"), ("-tls1_3", b"K\n"), ("-tls1_3", b"k\n")])
        command = ["openssl", "s_client", "-connect", "{}:{}".format(*address), version, "-servername", "a.test"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        ) as process:
            patience = threading.Timer(5, process.kill)
            patience.start()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(b"GET /%s HTTP/1.1\r\nHost: a.test\r\n\r\n" % token)
                while (line := process.stdout.readline()) and not line.startswith(b"HTTP/1."):
                    pass
                for _ in range(20):
                    process.stdin.write(letter)
                    process.stdout.read(1)
            finally:
                patience.cancel()
                process.kill()
