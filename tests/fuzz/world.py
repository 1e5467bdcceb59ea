"""A hostile world around a proxy: clients, servers and configurations that misbehave, drawn from one seed."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from typing import Any

from tests.fuzz.encrypted import EncryptedClient, Secrets
from tests.fuzz.http2 import Http2Client
from tests.support.wire import Peer, Server

# What a client writes into its heads. A line of the log that carries two of them tells one client about another.
TOKEN = b"tk%dq"
# Bodies carry these, heads never do.
REQUEST_BODY = b"BODYOFREQUEST"
ANSWER_BODY = b"BODYOFANSWER"
# What `tests.support.steps` can do with a request, and with its answer.
WISHES = [b"wait", b"wait", b"early", b"answer", b"late-answer"]
WISHES += [b"tries", b"tries", b"hedge", b"hedge"]
WISHES += [b"back-wait", b"back-wait", b"back-early", b"back-answer", b"back-late-answer", b"back-discard"]
RESET = struct.pack("ii", 1, 0)


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()


class HostileServer:
    """Answers a part of its requests well, the others in every bad way."""

    def __init__(self, seed: int, hostility: float) -> None:
        self.draw = random.Random(seed)
        self.hostility = hostility
        self.lock = threading.Lock()
        self.server = Server(self.serve)

    @property
    def url(self) -> str:
        return self.server.url

    def close(self) -> None:
        self.server.close()

    def serve(self, peer: Peer) -> None:
        peer.sock.settimeout(5)
        with contextlib.suppress(OSError, EOFError, ValueError, UnicodeError):
            while True:
                with self.lock:
                    chance, choice, size = (
                        self.draw.random(),
                        self.draw.random(),
                        self.draw.choice([0, 1, 100, 5000, 300000]),
                    )
                if chance < self.hostility / 2 and choice < 0.2:
                    return reset(peer.sock) if choice < 0.1 else None  # before a request was read
                first, headers = peer.head()
                if headers.get("upgrade") == "websocket" and choice < 0.7:
                    return self.switch(peer, choice)
                if chance < self.hostility:
                    if not self.misbehave(peer, first, choice):
                        return None
                    continue
                self.read_body(peer, headers)
                self.answer(peer, first, choice, size)

    def switch(self, peer: Peer, choice: float) -> None:
        """Say back what comes, in another protocol; break off in the middle at times."""
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := peer.sock.recv(65536):
            peer.send(data)
            if choice < 0.05:
                reset(peer.sock)
            if choice < 0.1:
                break

    def read_body(self, peer: Peer, headers: dict[str, str]) -> None:
        if headers.get("expect") == "100-continue":
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "transfer-encoding" in headers:
            peer.chunks()
        else:
            peer.exactly(int(headers.get("content-length", 0)))

    def answer(self, peer: Peer, first: str, choice: float, size: int) -> None:
        head = b"" if choice < 0.3 else b"X-Served: yes\r\nSet-Cookie: a=b\r\n"
        status = b"200 OK" if choice < 0.8 or not self.hostility else b"503 Service Unavailable"
        body = (ANSWER_BODY * (size // len(ANSWER_BODY) + 1))[:size]
        if first.startswith("HEAD"):
            peer.send(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, head, size))
        elif choice < 0.5:
            peer.send(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, head, size))
            if choice < 0.05:
                time.sleep(0.02)  # the body comes later than its head
            peer.send(body)
        else:
            peer.send(b"HTTP/1.1 %s\r\n%sTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n" % (status, head))
            for at in range(0, size, 4096):
                piece = body[at : at + 4096]
                peer.send(b"%x;e=1\r\n%s\r\n" % (len(piece), piece))
            peer.send(b"0\r\nX-End: yes\r\n\r\n" if choice < 0.75 else b"0\r\n\r\n")

    def misbehave(self, peer: Peer, first: str, choice: float) -> bool:
        """One bad answer. Returns whether the connection goes on."""
        kind = int(choice * 16)
        if kind == 0:
            return False
        if kind == 1:
            reset(peer.sock)
            return False
        if kind == 2:
            peer.send(b"\x00\x01 no HTTP at all \xff\r\n\r\n")
            return False
        if kind == 3:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ANSWER_BODY)
            return False
        if kind == 4:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n")
            return False
        if kind == 5:
            for _ in range(3):
                peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return True
        if kind == 6:
            peer.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + ANSWER_BODY
            )
            with contextlib.suppress(OSError):
                peer.send(peer.sock.recv(65536))
            return False
        if kind == 7:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and some bytes that nobody asked for")
            return True
        if kind == 8:
            peer.send(b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 400 + b"Content-Length: 2\r\n\r\nok")
            return True
        if kind == 9:
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER_BODY * 1000)  # until the end of the connection
            return False
        if kind == 10:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
                peer.send(bytes([byte]))
            return True
        if kind == 11:
            peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")  # body unread
            return False
        if kind == 12:
            peer.send(b"HTTP/1.1 200 OK\r\nX-A : b\r\n folded\r\nContent-Length: 2\r\n\r\nok")
            return True
        if kind == 13:
            peer.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")
            return True
        if kind == 14:
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
                + b"X-T: 1\r\n" * 3000
                + b"\r\n"
            )
            return True
        time.sleep(0.3)  # says nothing for longer than it is given
        return False


def draw_config(draw: random.Random, urls: list[str], secrets: Secrets) -> dict[str, Any]:
    """A tree of services with everything that keeps state or bytes in it; `/good` goes to the first server alone.

    What comes over TLS takes the same ways.

    The middlewares `one` and `two` are `tests.support.steps`, `tap` is that of `tests.support.filters`.
    """
    servers = [{"url": url, "weight": draw.randint(0, 3)} for url in urls[1:]]
    few = draw.sample(servers, k=max(1, len(servers) - 1))
    passive = {"passiveHealthCheck": {"maxFailedAttempts": draw.randint(1, 5), "failureWindow": "200ms"}}
    leaf: dict[str, Any] = {"servers": few, "serversTransport": "quick"}
    if draw.random() < 0.5:
        leaf["sticky"] = {"cookie": {"name": "lb"}}
    if draw.random() < 0.5:
        leaf |= passive
    if draw.random() < 0.4:
        leaf |= {"maxConnections": draw.randint(1, 3), "queue": {"maxRequests": 20, "timeout": "100ms"}}
    other: dict[str, Any] = {"servers": servers, "serversTransport": "quick"}
    if draw.random() < 0.5:
        other["strategy"] = draw.choice(["p2c", "hrw", "leasttime"])
    services: dict[str, Any] = {
        "good": {"loadBalancer": {"servers": [{"url": urls[0]}]}},
        "leaf": {"loadBalancer": leaf},
        "other": {"loadBalancer": other},
        "weighted": {"weighted": {"services": [{"name": "leaf", "weight": 2}, {"name": "other"}]}},
        "failover": {
            "failover": {
                "service": "weighted",
                "fallback": "other",
                "errors": {"status": ["500-599"], "maxRequestBodyBytes": 100_000},
            }
        },
        "mirror": {
            "mirroring": {
                "service": "failover" if draw.random() < 0.5 else "leaf",
                "maxBodySize": draw.choice([-1, 1000, 200_000]),
                "mirrors": [{"name": "other", "percent": 50}, {"name": "leaf", "percent": 30}],
            }
        },
        "guarded": {"weighted": {"services": [{"name": "mirror"}]}, "middlewares": ["mark", "strip"]},
        "waits": {"weighted": {"services": [{"name": "leaf"}, {"name": "other"}]}, "middlewares": ["two", "tap"]},
        "copied": {"mirroring": {"service": "waits", "mirrors": [{"name": "other", "percent": 60}]}},
        "traffic": {
            "weighted": {"services": [{"name": "failover"}, {"name": "leaf"}]},
            "middlewares": draw.sample(["small", "whole", "retry", "breaker", "late", "typed"], k=2),
        },
        "again": {"failover": {"service": "copied", "fallback": "waits", "errors": {"status": ["500-599"]}}},
    }
    middlewares = {
        "mark": {"headers": {"customRequestHeaders": {"X-Mark": "1"}, "customResponseHeaders": {"X-Marked": "2"}}},
        "strip": {"stripPrefix": {"prefixes": ["/a"]}},
        "https": {"redirectScheme": {"scheme": "https"}},
        **{name: {"addPrefix": {"prefix": "/unused"}} for name in ("one", "two", "tap")},
        "small": {"compress": {"minResponseBodyBytes": 1, "defaultEncoding": draw.choice(["gzip", "br", "zstd"])}},
        "typed": {"contentType": {}},
        "whole": {
            "buffering": {
                "maxRequestBodyBytes": draw.choice([0, 5000]),
                "memRequestBodyBytes": draw.choice([0, 100]),
                "maxResponseBodyBytes": draw.choice([0, 5000]),
                "memResponseBodyBytes": draw.choice([0, 100]),
                "retryExpression": draw.choice(["", "IsNetworkError() && Attempts() < 4"]),
            }
        },
        "retry": {
            "retry": {
                "attempts": draw.randint(1, 5),
                "status": draw.choice([[], ["500-599"]]),
                "initialInterval": draw.choice(["0s", "2ms"]),
                "retryNonIdempotentMethod": draw.random() < 0.5,
                "maxRequestBodyBytes": draw.choice([1000, 100_000]),
            }
        },
        "pages": {"errors": {"status": ["400-599"], "service": draw.choice(["good", "other"]), "query": "/{status}"}},
        "breaker": {
            "circuitBreaker": {
                "expression": "NetworkErrorRatio() > 0.7 || LatencyAtQuantileMS(90.0) > 100",
                "fallbackDuration": "50ms",
                "recoveryDuration": "50ms",
            }
        },
        "limit": {"rateLimit": {"average": 100, "burst": draw.randint(1, 50)}},
        "late": {"timeout": {"after": "200ms"}},
        "web": {"grpcWeb": {"allowOrigins": ["*"]}},
    }
    traffic = ["small", "typed", "whole", "retry", "pages", "breaker", "limit", "late", "web", "mark", "tap", "one"]
    routers: dict[str, Any] = {
        "good": {"rule": "Path(`/good`)", "service": "good", "priority": 1000},
        "all": {"rule": "PathPrefix(`/`)", "service": draw.choice(["mirror", "failover", "guarded", "leaf"])},
        "strip": {
            "rule": "PathPrefix(`/a`)",
            "service": draw.choice(["guarded", "weighted"]),
            "middlewares": ["mark", "strip"],
        },
        "https": {"rule": "PathPrefix(`/s`)", "service": "leaf", "middlewares": ["https"]},
        "waits": {
            "rule": "PathPrefix(`/w`)",
            "service": draw.choice(["again", "copied", "waits"]),
            "middlewares": draw.choice([["one"], ["one", "tap"], ["tap", "mark", "one"]]),
        },
        "traffic": {
            "rule": "PathPrefix(`/t`)",
            "service": draw.choice(["traffic", "again", "weighted"]),
            "middlewares": draw.sample(traffic, k=draw.randint(1, 5)),
        },
    }
    routers |= {f"{name}-tls": {**router, "tls": {}} for name, router in routers.items()}
    routers["odd"] = {"rule": "Host(`odd.test`)", "service": "leaf", "tls": {"options": "odd"}}
    raw: dict[str, Any] = {"servers": [{"address": url.removeprefix("http://")} for url in urls[1:]]}
    if draw.random() < 0.3:
        raw["proxyProtocol"] = {"version": draw.choice("12")}
    transports = {
        "quick": {
            "forwardingTimeouts": {"responseHeaderTimeout": "150ms", "dialTimeout": "1s", "idleConnTimeout": "300ms"}
        }
    }
    return {
        "http": {"routers": routers, "services": services, "middlewares": middlewares, "serversTransports": transports},
        "tls": secrets.draw_config(draw),
        "tcp": {
            "routers": {"raw": {"rule": "HostSNI(`*`)", "entryPoints": ["raw"], "service": "raw"}},
            "services": {"raw": {"loadBalancer": raw}},
        },
    }


class HostileClient:
    """One connection after another, each with a token of its own, to one of the entry points.

    Over TLS or not, by HTTP/1 or HTTP/2.

    web: HTTP and TLS on one port. secure: TLS. raw: layer 4 and TLS behind a PROXY header.
    """

    def __init__(self, seed: int, addresses: dict[str, Any], secrets: Secrets, count_from: int) -> None:
        self.draw = random.Random(seed)
        self.addresses = addresses
        self.encrypted = EncryptedClient(self.draw, secrets)
        self.http2 = Http2Client(self.draw, REQUEST_BODY)
        self.next_token = count_from
        self.connections = 0

    def run_once(self) -> None:
        token = TOKEN % self.next_token
        self.next_token += 1
        self.connections += 1
        point = self.draw.choice(["raw", "secure", "secure", *["web"] * 6])
        over_tls = self.draw.random() < {"raw": 0.2, "secure": 0.95, "web": 0.1}[point]
        with contextlib.suppress(OSError):
            sock = socket.create_connection(self.addresses[point], timeout=5)
            with sock:
                if point == "raw":
                    sock.sendall(self.proxy_header())
                if over_tls:
                    self.encrypted.run(sock, token, self.act)
                else:
                    self.act(sock, token)

    def act(self, sock: socket.socket, token: bytes) -> None:
        """Over a connection that stands: by HTTP/2 where that was agreed on, and sometimes where it was not."""
        agreed = isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() == "h2"
        if self.draw.random() < (0.9 if agreed else 0.15):
            self.http2.run(sock, token)
        else:
            self.act_by_http1(sock, token)

    def proxy_header(self) -> bytes:
        """One of layer 4; half of one, or none, at times."""
        v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(1, 13))
        header = self.draw.choice([b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY UNKNOWN\r\n", v2, b""])
        return header if self.draw.random() < 0.8 else header[: self.draw.randrange(len(header) + 1)]

    def request(self, token: bytes) -> bytes:
        """A request, mostly well-formed."""
        draw = self.draw
        method = draw.choice([b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"TRACE"])
        long = b"/" + b"d" * draw.choice([1, 300, 3000])
        path = draw.choice([b"/", b"/a/", b"/s/", b"/w/", b"/t/", b"/t/", long]) + token
        lines = [b"%s %s HTTP/1.%d" % (method, path, draw.random() < 0.9), b"Host: %s.test" % token]
        for _ in range(draw.choice([0, 1, 3, 40, 250] if draw.random() < 0.2 else [0, 1, 3])):
            lines.append(
                draw.choice(
                    [b"X-A: ", b"Cookie: lb=", b"Referer: ", b"X-Forwarded-For: ", b"TE: trailers, ", b"User-Agent: "]
                )
                + token
            )
        if draw.random() < 0.05:
            lines.append(
                draw.choice(
                    [b"bad line", b"X : 1", b"Transfer-Encoding: ,", b"Content-Length: -1", b"Host: twice", b"A: \x00"]
                )
            )
        if draw.random() < 0.01:
            lines += [b"X-A: " + token] * draw.choice([9_900, 10_100])
        if b"/w/" in path and draw.random() < 0.7:
            lines.append(b"X-Step: %s=%s" % (draw.choice([b"one", b"two"]), draw.choice(WISHES)))
            if draw.random() < 0.2:
                lines.append(b"X-Limit: 5000")
            if draw.random() < 0.1:
                lines.append(b"X-Answer-Limit: 3000")
        if draw.random() < 0.1:
            lines += [b"Connection: Upgrade, X-A", b"Upgrade: websocket"]
        body = b""
        if method in (b"POST", b"PUT"):
            size = draw.choice([0, 10, 2000, 70_000, 400_000])
            data = (REQUEST_BODY * (size // len(REQUEST_BODY) + 1))[:size]
            if draw.random() < 0.5:
                lines.append(b"Content-Length: %d" % size)
                body = data
            else:
                lines.append(b"Transfer-Encoding: chunked")
                if draw.random() < 0.5:
                    lines.append(b"Trailer: X-T")
                step = draw.choice([100, 5000, 60_000])
                body = b"".join(
                    b"%x\r\n%s\r\n" % (len(data[at : at + step]), data[at : at + step]) for at in range(0, size, step)
                )
                body += draw.choice([b"0\r\n\r\n", b"0\r\nX-T: " + REQUEST_BODY + b"\r\n\r\n"])
            if draw.random() < 0.2:
                lines.append(b"Expect: 100-continue")
        return b"\r\n".join([*lines, b"", b""]) + body

    def act_by_http1(self, sock: socket.socket, token: bytes) -> None:
        draw = self.draw
        kind = draw.random()
        data = b"".join(self.request(token) for _ in range(draw.choice([1, 1, 1, 2, 5])))
        if kind < 0.1:
            data = data[: draw.randrange(len(data))]  # half of it, then silence or the end
        elif kind < 0.15:
            data = bytes(draw.choices(range(256), k=40)) + b"\r\n\r\n"
        elif kind < 0.2:
            data = b"\r\n" + data
        if draw.random() < 0.15:
            slow, data = data[:600], data[600:]
            for at in range(0, len(slow), 7):
                sock.sendall(slow[at : at + 7])
        sock.sendall(data)
        end = draw.random()
        if end < 0.1:
            return reset(sock)
        if end < 0.25:
            return None
        if end < 0.4:
            sock.shutdown(socket.SHUT_WR)
        if end < 0.45:
            time.sleep(0.2)  # reads nothing for a while
        sock.settimeout(draw.choice([0.05, 0.3, 1]))
        while sock.recv(65536):
            if draw.random() < 0.02:
                return None
        return None
