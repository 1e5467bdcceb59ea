"""Routers of layer 4 that take TLS: by name, by protocol, ended here or at the server, on a port with HTTPS, too."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import Files, certificate
from tests.support.secure import secure_serving
from tests.support.tls import trusting
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving
from tests.unit.transport.test_client_hello import (
    encrypted_hello,
    extension,
    hello,
    in_records,
    with_grease,
    with_more,
)

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "edge": certificate(folder, "edge", "a.test", "*.b.test", "tcp.test"),
        "behind": certificate(folder, "behind", "behind.test"),
        "client": certificate(folder, "client", "client.test"),
    }


def named(text: bytes) -> Any:
    """A server that sends its name, then echoes."""

    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.send(text)
            while data := peer.sock.recv(65536):
                peer.send(data)

    return script


@contextlib.contextmanager
def world(
    made: dict[str, Files],
    routers: dict[str, dict[str, Any]],
    http: dict[str, dict[str, Any]] | None = None,
    tls: dict[str, Any] | None = None,
    middlewares: dict[str, Any] | None = None,
    **entry_point: Any,
) -> Iterator[Edge]:
    """Behind servers `x` and `y` in clear text, `behind` with TLS of its own, and one of HTTP."""
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(serving())
        x, y = stack.enter_context(serving(named(b"x:"))), stack.enter_context(serving(named(b"y:")))
        behind = stack.enter_context(secure_serving(made["behind"], named(b"behind:")))
        dynamic = config_for(web.url)
        dynamic["http"]["routers"] = {name: {"service": "all", **router} for name, router in (http or {}).items()}
        if not http:
            del dynamic["http"]
        ports = {"x": x.port, "y": y.port, "behind": behind.port}
        dynamic["tcp"] = {
            "routers": routers,
            "services": {
                name: {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{port}"}]}} for name, port in ports.items()
            },
        }
        if middlewares:
            dynamic["tcp"]["middlewares"] = middlewares
        dynamic["tls"] = {"certificates": [made["edge"].entry], **(tls or {})}
        yield stack.enter_context(edge(dynamic, **entry_point))


def client_context(client: Files | None = None, *protocols: str) -> ssl.SSLContext:
    context = trusting(client)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def over_tls(lb: Edge, name: str | None, *protocols: str, client: Files | None = None, first: bytes = b"") -> Peer:
    sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
    if first:
        sock.sendall(first)
        assert sock.recv(1) == b"S"
    return Peer(client_context(client, *protocols).wrap_socket(sock, server_hostname=name))


def reached(lb: Edge, name: str | None, *protocols: str, first: bytes = b"", client: Files | None = None) -> str:
    """What answers over TLS: a server, `http` with its status, or `nobody`."""
    try:
        peer = over_tls(lb, name, *protocols, first=first, client=client)
        request = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % (name or "none.test").encode()
        peer.send(request)
        head = peer.until(b"\r\n\r\n")
    except (OSError, EOFError) as error:
        return "nobody" if not isinstance(error, TimeoutError) else "timeout"
    finally:
        with contextlib.suppress(UnboundLocalError):
            peer.close()
    if head.startswith(b"HTTP/1.1 "):
        return f"http {head.split()[1].decode()}"
    who, _, rest = head.partition(b":")
    assert rest == request
    return who.decode()


def test_names_lead_to_servers(made: dict[str, Files]) -> None:
    routers = {
        "x": {"rule": "HostSNI(`x.test`)", "service": "x", "tls": {}},
        "y": {"rule": "HostSNI(`y.test`) || HostSNI(`*.y.test`)", "service": "y", "tls": {}},
        "r": {"rule": r"HostSNIRegexp(`^r\d+\.test$`)", "service": "x", "tls": {}},
        "p": {"rule": "HostSNI(`p.test`) || HostSNI(`q.test`)", "service": "behind", "tls": {"passthrough": True}},
    }
    with world(made, routers) as lb:
        expected = {
            "x.test": "x",
            "X.Test": "x",
            "y.test": "y",
            "a.y.test": "y",
            "a.b.y.test": "http 404",
            "r17.test": "x",
            "rx.test": "http 404",
            "p.test": "behind",
            "q.test": "behind",
            "nobody.test": "http 404",
            None: "http 404",
        }
        assert {name: reached(lb, name) for name in expected} == expected


def test_tls_ends_where_the_router_says(made: dict[str, Files]) -> None:
    routers = {
        "here": {"rule": "HostSNI(`tcp.test`)", "service": "x", "tls": {}},
        "there": {"rule": "HostSNI(`p.test`)", "service": "behind", "tls": {"passthrough": True}},
    }

    def certificate_of(lb: Edge, name: str) -> bytes | None:
        sock = over_tls(lb, name).sock
        assert isinstance(sock, ssl.SSLSocket)
        return sock.getpeercert(True)

    def own(name: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert(made[name].certificate.read_text())

    with world(made, routers) as lb:
        assert certificate_of(lb, "tcp.test") == own("edge")
        assert certificate_of(lb, "p.test") == own("behind")


def test_https_and_layer_4_share_a_port_as_in_traefik(made: dict[str, Files]) -> None:
    """HTTPS for a name, layer 4 for a name, HTTPS for any, layer 4 for any, 404."""
    https = {"a": {"rule": "Host(`a.test`)", "tls": {}}}
    any_https = {**https, "any": {"rule": "PathPrefix(`/`)", "tls": {}}}
    layer_4 = {
        "a": {"rule": "HostSNI(`a.test`)", "service": "x", "tls": {}, "priority": 1000},
        "b": {"rule": "HostSNI(`b.test`)", "service": "x", "tls": {}},
    }
    any_layer_4 = {**layer_4, "any": {"rule": "HostSNI(`*`)", "service": "y", "tls": {}}}
    cases = [
        (https, layer_4, ["http 200", "x", "http 404"]),
        (any_https, layer_4, ["http 200", "x", "http 200"]),
        (https, any_layer_4, ["http 200", "x", "y"]),
        (any_https, any_layer_4, ["http 200", "x", "http 200"]),
    ]
    for http, tcp, expected in cases:
        with world(made, tcp, http) as lb:
            assert [reached(lb, name) for name in ("a.test", "b.test", "c.test")] == expected


def test_what_comes_without_tls_goes_to_the_others(made: dict[str, Files]) -> None:
    routers = {
        "secret": {"rule": "HostSNI(`*`)", "service": "x", "tls": {}},
        "plain": {"rule": "HostSNI(`*`)", "service": "y"},
    }
    with world(made, routers) as lb:
        client = lb.client()
        client.send(b"hello")
        assert client.exactly(7) == b"y:hello"
        assert reached(lb, "any.test") == "x"
    with world(made, {"secret": routers["secret"]}, {"all": {"rule": "PathPrefix(`/`)"}}) as lb:
        assert lb.ask(GET)[0] == "HTTP/1.1 200 OK"


def test_protocols_and_addresses_choose(made: dict[str, Files]) -> None:
    routers = {
        "old": {
            "rule": "HostSNI(`a.test`) && ALPN(`http/1.0`)",
            "service": "x",
            "tls": {"options": "old"},
            "priority": 99,
        },
        "own": {"rule": "HostSNI(`a.test`) && ClientIP(`192.0.2.1`)", "service": "behind", "tls": {}},
        "rest": {"rule": "HostSNI(`a.test`) && ClientIP(`127.0.0.0/8`)", "service": "y", "tls": {}},
    }
    with world(made, routers, tls={"options": {"old": {"alpnProtocols": ["http/1.0"]}}}) as lb:
        assert reached(lb, "a.test") == "y"
        assert reached(lb, "a.test", "http/1.0") == "x"
        assert reached(lb, "a.test", "http/1.0", "http/1.1") == "x"
        assert reached(lb, "a.test", "h2") == "y"
        assert reached(lb, "a.test", "other") == "nobody", "no protocol in common"
        for offered, agreed in ((("h2", "http/1.1"), "h2"), (("http/1.0",), "http/1.0"), ((), None)):
            with over_tls(lb, "a.test", *offered).sock as sock:
                assert isinstance(sock, ssl.SSLSocket)
                assert sock.selected_alpn_protocol() == agreed


def test_options_of_a_router(made: dict[str, Files]) -> None:
    mutual = {
        "clientAuth": {
            "caFiles": [str(made["client"].certificate)],
            "clientAuthType": "RequireAndVerifyClientCert",
        }
    }
    routers = {
        "mutual": {"rule": "HostSNI(`a.test`)", "service": "x", "tls": {"options": "mutual"}},
        "strict": {"rule": "HostSNI(`strict.test`)", "service": "x", "tls": {"options": "strict"}},
    }
    with world(made, routers, tls={"options": {"mutual": mutual, "strict": {"sniStrict": True}}}) as lb:
        assert reached(lb, "a.test") == "nobody"
        assert reached(lb, "a.test", client=made["client"]) == "x"
        assert reached(lb, "strict.test") == "nobody", "there is no certificate of that name"


def test_priorities(made: dict[str, Files]) -> None:
    routers = {
        "long": {"rule": "HostSNI(`a.test`) || HostSNI(`b.test`)", "service": "x", "tls": {}},
        "short": {"rule": "HostSNI(`a.test`)", "service": "y", "tls": {}},
        "first": {"rule": "HostSNI(`b.test`)", "service": "y", "tls": {}, "priority": 100},
    }
    with world(made, routers) as lb:
        assert [reached(lb, name) for name in ("a.test", "b.test")] == ["x", "y"]


def test_middlewares_count_for_tls(made: dict[str, Files]) -> None:
    middlewares = {"away": {"ipAllowList": {"sourceRange": ["192.0.2.0/24"]}}, "one": {"inFlightConn": {"amount": 1}}}
    routers = {
        "away": {"rule": "HostSNI(`a.test`)", "service": "x", "tls": {}, "middlewares": ["away"]},
        "past": {
            "rule": "HostSNI(`p.test`)",
            "service": "behind",
            "tls": {"passthrough": True},
            "middlewares": ["one"],
        },
    }
    with world(made, routers, middlewares=middlewares) as lb:
        assert reached(lb, "a.test") == "nobody"
        first = over_tls(lb, "p.test")
        assert first.exactly(7) == b"behind:"
        assert reached(lb, "p.test") == "nobody"
        first.close()


@pytest.mark.parametrize("size", [1, 3, 100, 1400])
def test_a_hello_in_pieces(made: dict[str, Files], size: int) -> None:
    routers = {
        "p": {"rule": "HostSNI(`p.test`)", "service": "x", "tls": {"passthrough": True}},
    }
    data = hello("p.test")
    with world(made, routers) as lb:
        client = lb.client()
        for at in range(0, len(data), size):
            client.send(data[at : at + size])
            if size < 100:
                time.sleep(0.0001)
        assert client.exactly(2 + len(data)) == b"x:" + data, "the server gets every byte of it"
        split = in_records(data, max(size, 3))
        client = lb.client()
        client.send(split)
        assert client.exactly(2 + len(split)) == b"x:" + split


@pytest.mark.parametrize("size", [1, 500, 20000])
def test_a_hello_with_an_encrypted_one_and_grease_goes_by_its_outer_name(made: dict[str, Files], size: int) -> None:
    routers = {
        "outer": {"rule": "HostSNI(`public.test`)", "service": "x", "tls": {"passthrough": True}},
        "any": {"rule": "HostSNI(`*`)", "service": "y", "tls": {"passthrough": True}},
    }
    http = {"shop": {"rule": "Host(`shop.test`)", "tls": {}}}
    outer = with_grease(with_more(hello("public.test"), encrypted_hello(2000)))
    with world(made, routers, http) as lb:
        for data, server in ((outer, b"x:"), (with_grease(with_more(hello("else.test"), encrypted_hello())), b"y:")):
            client = lb.client()
            for at in range(0, len(data), size):
                client.send(data[at : at + size])
            assert client.exactly(2 + len(data)) == server + data


def test_a_hello_that_is_longer_than_any_leads_to_no_server_of_layer_4(made: dict[str, Files]) -> None:
    routers = {"p": {"rule": "HostSNI(`p.test`)", "service": "x", "tls": {"passthrough": True}}}
    data = in_records(with_more(hello("p.test"), extension(b"\xfe\x0d", bytes(40000))), 16000)
    with world(made, routers, {"shop": {"rule": "Host(`shop.test`)", "tls": {}}}) as lb:
        client = lb.client()
        with contextlib.suppress(OSError):
            client.send(data)
        with contextlib.suppress(ConnectionResetError):
            assert not client.sock.recv(65536).startswith(b"x:")  # it is TLS that answers, or ends the connection
        client.close()
        assert reached(lb, "shop.test") == "http 200"


def test_a_hello_in_records_is_a_handshake_as_any(made: dict[str, Files]) -> None:
    routers = {"here": {"rule": "HostSNI(`tcp.test`)", "service": "x", "tls": {}}}
    with world(made, routers) as lb:
        context = client_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="tcp.test")
        peer = lb.client()
        first = True
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                peer.send(in_records(data, 50) if first else data)
                first = False
                incoming.write(peer.sock.recv(65536))
        peer.send(outgoing.read())
        while True:
            try:
                assert session.read(10) == b"x:"
                break
            except ssl.SSLWantReadError:
                incoming.write(peer.sock.recv(65536))


def test_a_hello_that_does_not_end_is_given_up(made: dict[str, Files]) -> None:
    routers = {"p": {"rule": "HostSNI(`*`)", "service": "x", "tls": {"passthrough": True}}}
    timeouts = {"respondingTimeouts": {"readTimeout": "10s"}}
    with world(made, routers, transport=timeouts) as lb:
        lb.drive()
        silent, slow = lb.client(), lb.client()
        slow.send(hello("p.test")[:100])
        while lb.open_connections < 2:
            time.sleep(0.01)
        lb.drive(9000)
        assert lb.open_connections == 2
        lb.drive(3000)
        assert silent.to_the_end() == slow.to_the_end() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x40\x00\x01\x00\x40\x00" + bytes(9000),
        b"\x16\x03\x01\x00\x00",
        b"\x16GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_hello_is_left_to_tls(made: dict[str, Files], data: bytes) -> None:
    routers = {"b": {"rule": "HostSNI(`b.test`)", "service": "x", "tls": {}}}
    with world(made, routers) as lb:
        client = lb.client()
        client.send(data)
        client.sock.shutdown(socket.SHUT_WR)
        answer = client.to_the_end()
        assert answer == b"" or answer[0] == 0x15, "an alert"
        assert reached(lb, "b.test") == "x"


def test_postgresql_asks_for_tls_first(made: dict[str, Files]) -> None:
    routers = {
        "here": {"rule": "HostSNI(`tcp.test`)", "service": "x", "tls": {}},
        "all": {"rule": "HostSNI(`*`)", "service": "y"},
    }
    with world(made, routers) as lb:
        assert reached(lb, "tcp.test", first=SSL_REQUEST) == "x"
        assert reached(lb, "other.test", first=SSL_REQUEST) == "nobody"
        client = lb.client()
        client.send(SSL_REQUEST)
        assert client.exactly(1) == b"S"
        client.send(b"no")
        assert client.to_the_end() == b""
        # In pieces, and what only begins like it.
        client = lb.client()
        for at in range(8):
            client.send(SSL_REQUEST[at : at + 1])
            time.sleep(0.001)
        assert client.exactly(1) == b"S"
        client = lb.client()
        client.send(SSL_REQUEST[:7] + b"x")
        assert client.exactly(2 + 8) == b"y:" + SSL_REQUEST[:7] + b"x"


def test_postgresql_behind_a_passthrough(made: dict[str, Files]) -> None:
    asked: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made["behind"].certificate, made["behind"].key)

    def server(peer: Peer) -> None:
        asked.append(peer.sock.recv(8))
        peer.send(b"S")
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        named(b"db:")(peer)

    def refusing(peer: Peer) -> None:
        asked.append(peer.sock.recv(8))
        peer.send(b"N")

    for script, expected in ((server, "db"), (refusing, "nobody")):
        with serving(script) as db:
            dynamic = {
                "tcp": {
                    "routers": {"db": {"rule": "HostSNI(`db.test`)", "service": "db", "tls": {"passthrough": True}}},
                    "services": {"db": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{db.port}"}]}}},
                }
            }
            with edge(dynamic) as lb:
                assert reached(lb, "db.test", first=SSL_REQUEST) == expected
    assert set(asked) == {SSL_REQUEST}


def test_a_proxy_header_comes_before_the_hello(made: dict[str, Files]) -> None:
    routers = {
        "own": {"rule": "HostSNI(`a.test`) && ClientIP(`192.0.2.7`)", "service": "x", "tls": {}},
        "rest": {"rule": "HostSNI(`a.test`)", "service": "y", "tls": {}},
    }
    with world(made, routers, proxyProtocol={"insecure": True}) as lb:
        for header, expected in ((b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", b"x:"), (b"", b"y:")):
            sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
            sock.sendall(header)
            assert Peer(client_context().wrap_socket(sock, server_hostname="a.test")).exactly(2) == expected


def test_large_streams_and_half_closed_ends(made: dict[str, Files]) -> None:
    routers = {
        "here": {"rule": "HostSNI(`tcp.test`)", "service": "x", "tls": {}},
        "there": {"rule": "HostSNI(`p.test`)", "service": "behind", "tls": {"passthrough": True}},
    }
    data = bytes(range(256)) * 256
    with world(made, routers) as lb:
        for name, who in (("tcp.test", b"x:"), ("p.test", b"behind:")):
            client = over_tls(lb, name)
            assert client.exactly(len(who)) == who
            for _ in range(32):  # in one thread: an object of OpenSSL is for one at a time
                client.send(data)
                assert client.exactly(len(data)) == data
            client.close()


@pytest.mark.parametrize(
    ("router", "error"),
    [
        ({"rule": "HostSNI(`a.test`)"}, "has HostSNI matcher, but no TLS on router"),
        ({"rule": "HostSNI(`a b`)", "tls": {}}, "is not a valid hostname"),
        ({"rule": "HostSNIRegexp(`(`)", "tls": {}}, "invalid regular expression"),
        ({"rule": "ALPN(`acme-tls/1`)", "tls": {}}, "is not allowed"),
        ({"rule": "HostSNI(`a.test`)", "tls": {"options": "none"}}, "unknown TLS options: none@file"),
    ],
)
def test_routers_that_cannot_run(made: dict[str, Files], router: dict[str, Any], error: str) -> None:
    with world(made, {"bad": {"service": "x", **router}}) as lb:
        (entry,) = lb.proxy.disabled
        assert error in entry.errors[0]
