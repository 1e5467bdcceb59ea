"""Routers of TCP, and clients, that nobody has thought of: the same server, or none, by real Traefik and by lbcore."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.secure import context_of
from tests.support.tls import trusting
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, twins
from tests.support.wire import Peer, Script, Server

SEED = 7
CASES = 40  # entry points, each with routers of its own
CLIENTS = 8  # of each

WAIT_S = 20
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # of PostgreSQL
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # of a PROXY header of version 2
CATCH_ALLS = ("HostSNI(`*`)", 'HostSNI("*")', "hostsni(`*`)", "(HostSNI(`*`))", "HostSNI( `*` )", "!!HostSNI(`*`)")
ATOMS = (
    *CATCH_ALLS[:2],
    *(f"HostSNI(`{name}`)" for name in ("a.test", "A.Test", "a.test.", "b.test", "*.b.test", "x.b.test")),
    *(f"HostSNIRegexp(`{text}`)" for text in ("^.+\\.b\\.test$", ".*", "^$", "A\\.test", "a")),
    *(f"ClientIP(`{text}`)" for text in ("127.0.0.1", "127.0.0.0/30", "10.0.0.0/8", "::1", "2001:db8::/32")),
    *(f"ALPN(`{text}`)" for text in ("h2", "http/1.1", "foo", "H2")),
)
ODD = (
    *CATCH_ALLS,
    *("ALPN(`acme-tls/1`)", "HostSNI(`a b`)", "HostSNI(`é.test`)", "HostSNIRegexp(`[`)", "ClientIP(`x`)", "HostSNI()"),
    *("HostSNI(`a.test`, `b.test`)", "!HostSNI(`*`)", "!HostSNI(`a.test`)", "HostSNI(``)", "HostSNI(`*.`)", " "),
    *("ClientIP(`127.0.0.1/33`)", "ALPN(``)", "Host(`a.test`)", "HostSNI(`a.test:443`)", "HostSNI(`a.test`) &&"),
)
PLAIN = ("HostSNI(`*`)", "ClientIP(`127.0.0.0/30`)", "HostSNI(`*`) && ClientIP(`127.0.0.2`)", "!HostSNI(`a.test`)")
VERSION_2 = (
    *("HostSNI(`a.test`, `x.b.test`)", "HostSNIRegexp(`{x:[a-z]+}.b.test`)", "HostSNI(`*`)", "ALPN(`h2`, `foo`)"),
    *("ClientIP(`127.0.0.1`, `10.0.0.1`)", "HostSNI(`a.test`) && !ClientIP(`127.0.0.1`)"),
    *("HostSNIRegexp(`a.test`, `{x:.*}`)", "HostSNIRegexp(`a.test`)"),
)
HTTP_RULES = (
    *("Host(`a.test`)", "PathPrefix(`/`)", "Host(`x.b.test`) && Path(`/x`)", "Host(`*.b.test`)", "!Host(`a.test`)"),
    *("HostRegexp(`.*\\.b\\.test`)", "Host(`b.test`) && !Host(`x.b.test`)", "ClientIP(`127.0.0.1`)"),
)
SERVICES = {  # and how often they are chosen
    **dict.fromkeys(("s0", "s1", "s2"), 6.0),
    **dict.fromkeys(("pp1", "pp2", "old", "both", "none", "secure", "weighted"), 2.0),
    **dict.fromkeys(("untrusted", "named", "empty", "broken", "missing"), 1.0),
}
TO_SECURE = ("secure", "untrusted", "named")  # those whose servers are spoken to over TLS
MIDDLEWARES: dict[str, Any] = {
    "two": {"ipAllowList": {"sourceRange": ["127.0.0.2"]}},
    "ten": {"ipAllowList": {"sourceRange": ["10.0.0.0/8", "127.0.0.1/32"]}},
    "six": {"ipWhiteList": {"sourceRange": ["2001:db8::/32", "127.0.0.9"]}},
    "nobody": {"inFlightConn": {"amount": 0}},
    "many": {"inFlightConn": {"amount": 100}},
    "wrong": {"ipAllowList": {"sourceRange": []}},
}
TRUST: tuple[dict[str, Any], ...] = (
    *({}, {}, {}, {"insecure": True}, {"trustedIPs": ["127.0.0.1/32"]}, {"trustedIPs": ["10.0.0.0/8"]}),
    {"trustedIPs": ["127.0.0.2"], "insecure": False},
)
ALWAYS = "always.test"  # a host of HTTPS: in Traefik every entry point speaks TLS, in lbcore those with a router of it


def rule(rng: Random, depth: int = 0) -> str:
    if depth == 0 and rng.random() < 0.15:
        return rng.choice(ODD)
    if rng.random() < 0.55 or depth == 2:
        return ("!" if rng.random() < 0.12 else "") + rng.choice(ATOMS)
    text = rng.choice((" && ", "&&", " || ")).join(rule(rng, depth + 1) for _ in range(2))
    return f"({text})" if depth and rng.random() < 0.5 else text


def priority(router: dict[str, Any]) -> int:
    """By which Traefik sorts; the order of equal ones is by chance there."""
    is_last = re.fullmatch(r"[!( ]*hostsni\( *[`\"]\*[`\"] *\)[) ]*", router["rule"], re.IGNORECASE)
    return int(router.get("priority", 0)) or (-1 if is_last else len(router["rule"].encode()))


def router(rng: Random) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": rule(rng), "service": rng.choices(list(SERVICES), list(SERVICES.values()))[0]}
    if rng.random() < 0.08:
        found |= {"ruleSyntax": "v2", "rule": rng.choice(VERSION_2)}
    match rng.randrange(8):
        case 0 | 1:
            found["tls"] = {}
        case 2 | 3:
            found["tls"] = {"passthrough": True}
            if found["service"] in TO_SECURE:
                found["service"] = "s0"  # TLS in TLS: a question of PostgreSQL waits for ever in Traefik
        case 4 | 5:
            found["tls"] = {"options": rng.choice(("strict", "foo", "h2", "mutual", "missing", "default"))}
        case 6:
            found["rule"] = rng.choice(PLAIN)
    if rng.random() < 0.3:
        found["priority"] = rng.choice((1, 5, -5, 100, -1, 9223372036854774807))
    if rng.random() < 0.25:
        found["middlewares"] = rng.sample((*MIDDLEWARES, "missing"), rng.choice((1, 1, 2)))
    return found


@dataclass(frozen=True)
class Client:
    """`told`: the address in a PROXY header of this `header` kind; empty: it sends none."""

    kind: str
    source: str
    name: str | None
    protocols: tuple[str, ...]
    header: str = ""
    told: str = ""

    def proxy_header(self) -> bytes:
        six = ":" in self.told
        own, family = ("2001:db8::1", socket.AF_INET6) if six else ("10.9.9.9", socket.AF_INET)
        match self.header:
            case "1":
                return f"PROXY TCP{6 if six else 4} {self.told} {own} 1234 443\r\n".encode()
            case "2":
                packed = socket.inet_pton(family, self.told) + socket.inet_pton(family, own) + b"\x04\xd2\x01\xbb"
                return SIGNATURE + (b"\x21\x21" if six else b"\x21\x11") + len(packed).to_bytes(2, "big") + packed
            case "unknown":
                return b"PROXY UNKNOWN\r\n"
            case "local":
                return SIGNATURE + b"\x20\x00\x00\x00"
        return b""


def client(rng: Random, trusts: bool, secure: bool) -> Client:
    kinds = ("tls", "tls", "tls", "postgres", "plain", "http") if secure else ("plain", "http")
    header = rng.choice(("1", "2", "2", "local", "unknown", "")) if trusts else ""
    return Client(
        rng.choice(kinds),
        rng.choice(("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.9")),
        rng.choice(("a.test", "A.TEST", "b.test", "x.b.test", "y.x.b.test", "c.test", "a_b.test", None)),
        rng.choice(((), (), ("h2",), ("http/1.1",), ("h2", "http/1.1"), ("foo",), ("foo", "h2"), ("bar",))),
        header,
        rng.choice(("10.1.2.3", "192.0.2.7", "2001:db8::5")) if header else "",
    )


def holds(router: dict[str, Any]) -> bool:
    """Whether a router has a guard, or options, and cannot run."""
    names = router.get("middlewares", ())
    cannot_run = router["service"] in ("broken", "missing") or not MIDDLEWARES.keys() - {"wrong"} >= {*names}
    return cannot_run and bool(names or router.get("tls", {}).get("options"))


class Case:
    """An entry point."""

    def __init__(self, number: int) -> None:
        rng = Random(SEED * 1000 + number)
        self.name = f"p{number}"
        made = [router(rng) for _ in range(rng.choice((1, 2, 3, 3, 4)))]
        apart = {(priority(each), "tls" in each): each for each in made}
        on_point = {"entryPoints": [self.name]}
        self.routers = {f"{self.name}-{at}": {**each, **on_point} for at, each in enumerate(apart.values())}
        self.http: dict[str, dict[str, Any]] = {}
        for at in range(rng.choice((0, 0, 1, 2))):
            self.http[f"{self.name}-{at}"] = {"rule": rng.choice(HTTP_RULES), "service": "web", **on_point}
            if rng.random() < 0.6:
                self.http[f"{self.name}-{at}"]["tls"] = rng.choice(({}, {}, {"options": "strict"}))
        secure = any("tls" in each for each in (*self.routers.values(), *self.http.values()))
        if secure:
            self.http[f"{self.name}-always"] = {"rule": f"Host(`{ALWAYS}`)", "service": "web", "tls": {}, **on_point}
        # As differences.md has it, lbcore passes an SSLRequest on where no router takes TLS, and one clear text.
        takes_plain = any("tls" not in each for each in self.routers.values())
        trust = rng.choice(TRUST)
        # As differences.md has it, such a router keeps its place in lbcore, and nobody comes by another one.
        self.holds = any(map(holds, self.routers.values()))
        self.point: dict[str, Any] = {"proxyProtocol": trust} if trust else {}
        clients = [client(rng, bool(trust), secure) for _ in range(CLIENTS)]
        self.clients = [each for each in clients if not (takes_plain and each.kind == "postgres")]


def hear(sock: socket.socket, end: bytes = b"", count: int = 0) -> bytes:
    """So many bytes, or all up to `end`, and none of what follows, which may be a handshake."""
    data = b""
    while not (data.endswith(end) if end else len(data) == count):
        piece = sock.recv(1 if end else count - len(data))
        if not piece:
            raise EOFError(data)
        data += piece
    return data


def tell(name: str, context: ssl.SSLContext) -> Script:
    """A server that tells its name, whom a PROXY header names, and how it was spoken to."""

    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            sock, told, how = peer.sock, "", ""
            first = sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
            if first.startswith(b"PROXY"):
                told = " ".join(hear(sock, b"\r\n").decode().split()[:3])
            elif first == SIGNATURE[:8]:
                head = hear(sock, count=16)
                rest = hear(sock, count=int.from_bytes(head[14:], "big"))
                told = f"{head[13]:x} {rest[: 16 if head[13] == 0x21 else 4].hex()}"
            if told:
                first = sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
            if first == SSL_REQUEST:
                hear(sock, count=8)
                sock.sendall(b"S")
                how = "postgres "
                first = sock.recv(1, socket.MSG_PEEK)
            if first[:1] == b"\x16":
                sock = context.wrap_socket(sock, server_side=True)
                how += f"tls {sock.selected_alpn_protocol()}"
            peer.sock = sock
            line = hear(sock, b"\n").decode("latin-1").strip()
            sock.sendall(json.dumps([name, told, how, line]).encode() + b"\n")
            sock.recv(1)

    return script


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, list[Case]]]:
    folder: Path = tmp_path_factory.mktemp("layer4")
    own, wild = certificate(folder, "own-pair", "a.test", "b.test"), certificate(folder, "wild-pair", "*.b.test")
    server, authority = certificate(folder, "server-pair", "server.test"), certificate(folder, "client", "client.test")
    context = context_of(server)
    context.set_alpn_protocols(["h2", "foo"])
    cases = [Case(number) for number in range(CASES)]
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(contextlib.closing(Server(describe)))
        at = {
            name: f"127.0.0.1:{stack.enter_context(contextlib.closing(Server(tell(name, context)))).port}"
            for name in ("s0", "s1", "s2")
        }

        def single(name: str, tls: bool = False, **more: Any) -> dict[str, Any]:
            return {"loadBalancer": {"servers": [{"address": at[name], "tls": tls}], **more}}

        services = {name: single(name) for name in at} | {
            "pp1": single("s0", serversTransport="pp1"),
            "pp2": single("s1", serversTransport="pp2"),
            "old": single("s2", proxyProtocol={"version": 1}),
            "both": single("s2", proxyProtocol={"version": 1}, serversTransport="pp2"),
            "none": single("s0", proxyProtocol={"version": 1}, serversTransport="plain"),
            "secure": single("s0", True, serversTransport="trusting"),
            "untrusted": single("s1", True, serversTransport="strict"),
            "named": single("s1", True, serversTransport="named"),
            "empty": {"loadBalancer": {"servers": []}},
            "weighted": {"weighted": {"services": [{"name": "inner", "weight": 2}, {"name": "s1", "weight": 0}]}},
            "inner": {"weighted": {"services": [{"name": "s2"}]}},
            "broken": {"weighted": {"services": [{"name": "s0"}, {"name": "missing"}]}},
        }
        transports: dict[str, Any] = {
            "plain": {},
            "pp1": {"proxyProtocol": {"version": 1}},
            "pp2": {"proxyProtocol": {}},
            "trusting": {"tls": {"insecureSkipVerify": True}},
            "strict": {"tls": {"serverName": "server.test", "rootCAs": [str(own.certificate)]}},
            "named": {"tls": {"serverName": "server.test", "rootCAs": [str(server.certificate)]}},
        }
        mutual = {"caFiles": [str(authority.certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
        dynamic = {
            "http": {
                "routers": {
                    "ready": {"rule": "PathPrefix(`/`)", "service": "web", "entryPoints": ["web"]},
                    **{name: each for case in cases for name, each in case.http.items()},
                },
                "services": {"web": {"loadBalancer": {"servers": [{"url": web.url}]}}},
            },
            "tcp": {
                "routers": {name: each for case in cases for name, each in case.routers.items()},
                "services": services,
                "middlewares": MIDDLEWARES,
                "serversTransports": transports,
            },
            "tls": {
                "certificates": [own.entry, wild.entry],
                "options": {
                    "strict": {"sniStrict": True},
                    "foo": {"alpnProtocols": ["foo"]},
                    "h2": {"alpnProtocols": ["h2"]},
                    "mutual": {"clientAuth": mutual},
                },
            },
        }
        points = {"web": {}, **{case.name: case.point for case in cases}}
        with twins(folder, {"entryPoints": points}, dynamic, only="web") as pair:
            yield pair, cases


def outcome(both: Twins, which: str, point: str, client: Client) -> Any:
    """Who answers a client, by which certificate and protocol."""
    address = ("127.0.0.1", both.ports[which][point])
    certificate, protocol = "", None
    with contextlib.ExitStack() as stack:
        sock = socket.create_connection(address, WAIT_S, (client.source, 0))
        stack.callback(lambda: sock.close())
        try:
            sock.sendall(client.proxy_header())
            if client.kind == "postgres":
                sock.sendall(SSL_REQUEST)
                if sock.recv(1) != b"S":
                    return "closed"
            if client.kind in ("tls", "postgres"):
                context = trusting()
                if client.protocols:
                    context.set_alpn_protocols(list(client.protocols))
                sock = secured = context.wrap_socket(sock, server_hostname=client.name)
                der, protocol = secured.getpeercert(True) or b"", secured.selected_alpn_protocol()
                names = ("own", "wild", "server")
                certificate = next((name for name in names if f"{name}-pair".encode() in der), "default")
            if protocol == "h2":
                sock.sendall(PREFACE)
            elif client.kind == "plain":
                sock.sendall(b"hello, hello\r\n\r\n")
            else:
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {(client.name or 'none.test').lower()}\r\n\r\n".encode())
            first = sock.recv(1)
            if not first:
                return "closed"
            if first in b"[H":
                first += hear(sock, b"\n")
        except (OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                raise
            return "closed"
    # Of HTTP the status, of HTTP/2 that it is spoken.
    who = json.loads(first) if first[:1] == b"[" else first.split()[1] if first[:1] == b"H" else "http/2"
    return certificate, protocol, who


@pytest.mark.parametrize("number", range(CASES))
def test_the_same_for_any_client(both: tuple[Twins, list[Case]], number: int) -> None:
    pair, cases = both
    case = cases[number]
    for client in case.clients:
        theirs, ours = (outcome(pair, which, case.name, client) for which in NAMES)
        assert ours == theirs or (case.holds and ours == "closed"), (client, case.point, case.routers, case.http)
