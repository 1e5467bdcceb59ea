"""A server of the tests behind TLS, spoken by Python's `ssl`."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support.certificates import Files
from tests.support.wire import Peer, Script, Server, answer_all, serving

Adjust = Callable[[ssl.SSLContext], None]


@dataclass
class Seen:
    """What a server has seen of its clients, one entry for each handshake that was made."""

    resumed: list[bool] = field(default_factory=list)
    certificates: list[dict[str, object] | None] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    ciphers: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class SecureServer:
    server: Server
    seen: Seen

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def named(self, host: str) -> str:
        return f"https://{host}:{self.port}"


def context_of(files: Files, adjust: Adjust | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if adjust is not None:
        adjust(context)
    return context


@contextlib.contextmanager
def secure_serving(files: Files, script: Script = answer_all, adjust: Adjust | None = None) -> Iterator[SecureServer]:
    """A server while the block lasts. Handshakes that fail are noted, and are no errors of the script."""
    seen = Seen()
    context = context_of(files, adjust)
    context.sni_callback = lambda sock, name, context: seen.names.append(name)

    def secured(peer: Peer) -> None:
        try:
            sock = context.wrap_socket(peer.sock, server_side=True)
        except OSError as error:
            seen.failures.append(str(error))
            return
        peer.sock = sock
        seen.resumed.append(bool(sock.session_reused))
        seen.certificates.append(sock.getpeercert())
        seen.versions.append(sock.version())
        seen.ciphers.append((sock.cipher() or ("",))[0])
        with contextlib.suppress(ssl.SSLEOFError):  # it has gone, as ConnectionError says without TLS
            script(peer)
        with contextlib.suppress(OSError):
            sock.unwrap()

    with serving(secured) as server:
        yield SecureServer(server, seen)
