"""Middlewares that say who may come in, in real Traefik and in lbcore: the same pass, the others are told the same."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from lbcore.middleware.digest_auth import parameters_of
from tests.differential.test_traefik import IGNORED
from tests.support.instance import eventually
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Peer, Server, config_for
from tests.wire.test_digest_auth import line_of, response

# Of an answer: what differs from run to run, or on purpose (see docs/differences.md).
VARYING = {"date", "content-length"}
# Of a request at the server: who sent it.
OF_THE_PROXY = {*IGNORED, "x-forwarded-server", "x-forwarded-port", "x-forwarded-host", "host"}

HASHES = {
    "bcrypt": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode(),
    "apr1": "$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/",  # test
    "sha1": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "remote": {},
    "depth1": {"depth": 1},
    "depth2": {"depth": 2},
    "excluded": {"excludedIPs": ["198.51.100.0/24", "2001:db8:ffff::/48"]},
    "subnet": {"depth": 1, "ipv6Subnet": 64},
    "both": {"excludedIPs": ["198.51.100.0/24"], "ipv6Subnet": 64},
    "unread": {"depth": 1, "excludedIPs": ["nonsense"]},
    "below": {"depth": -1},
}
MIDDLEWARES: dict[str, Any] = {
    **{
        f"list-{name}": {"ipAllowList": {"sourceRange": ["10.0.0.0/8", "2001:db8::", "::/127"], "ipStrategy": strategy}}
        for name, strategy in STRATEGIES.items()
    },
    "local": {"ipAllowList": {"sourceRange": ["127.0.0.1"]}},
    "white": {"ipWhiteList": {"sourceRange": ["127.0.0.0/8"]}},
    "black": {"ipWhiteList": {"sourceRange": ["10.0.0.0/8"]}},
    "users": {
        "basicAuth": {"users": [f"{name}:{stored}" for name, stored in HASHES.items()], "usersFile": "{folder}/users"}
    },
    "named": {
        "basicAuth": {"users": [f"ann:{HASHES['sha1']}"], "headerField": "X-User", "removeHeader": True, "realm": "a b"}
    },
    "twice-named": {
        "basicAuth": {"users": [f"ann:{HASHES['sha1']}"], "headerField": "Authorization", "removeHeader": True}
    },
    "digest": {"digestAuth": {"users": [line_of("ann", "secret")], "headerField": "X-User", "removeHeader": True}},
    "none-at-once": {"inFlightReq": {"amount": 0}},
    "some-at-once": {"inFlightReq": {"amount": 2, "sourceCriterion": {"requestHeaderName": "X-Key"}}},
    **{
        f"code{code}": {"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": code}}
        for code in (404, 414, 416, 422, 204)
    },
}


ADDRESSES = {
    "text": "x y|z?a=b",
    "port": "http://a.test:x/",
    "percent": "/100%",
    "nowhere": "",
    "scheme": "mailto:a@b.test",
}


def forwarding(url: str) -> dict[str, Any]:
    """forwardAuth with a server that answers 200 with what it was asked, or as its path says."""
    seen = {"address": f"{url}/asked?a=b", "authResponseHeaders": ["X-Seen", "X-User"]}
    few = {"authRequestHeaders": ["X-One", "X-Forwarded-Port"]}
    kinds: dict[str, dict[str, Any]] = {
        "unset": seen,
        "trusts": {**seen, "trustForwardHeader": True},
        "trusts-not": {**seen, "trustForwardHeader": False},
        "unset-few": {**seen, **few},
        "trusts-few": {**seen, **few, "trustForwardHeader": True},
        "trusts-not-few": {**seen, **few, "trustForwardHeader": False},
        "method": {**seen, "preserveRequestMethod": True},
        "regex": {"address": url, "authResponseHeadersRegex": "^X-(Seen|User)$"},
        "denies": {"address": f"{url}/status/401"},
        "breaks": {"address": f"{url}/status/500"},
        "leads": {"address": f"{url}/status/302"},
        "leads-on": {"address": f"{url}/status/302", "preserveLocationHeader": True},
        "sign-in": {"address": f"{url}/status/401", "authSigninURL": "https://login.test/?a=1&b=2"},
        "cookies": {"address": f"{url}/cookies", "addAuthCookiesToResponse": ["sid"]},
        "body": {**seen, "forwardBody": True, "maxBodySize": 100},
        "body-long": {**seen, "forwardBody": True, "maxBodySize": 4},
        "long": {"address": f"{url}/status/401", "maxResponseBodySize": 2},
        "nobody": {"address": "http://127.0.0.1:1"},
        "nobody-short": {"address": "http://127.0.0.1:1", "maxResponseBodySize": 2},
        "empty": {"address": f"{url}/empty", "authResponseHeaders": ["X-User"], "authResponseHeadersRegex": "^X-Em"},
        "twice": {"address": f"{url}/twice"},
        **{
            f"to-{name}{'-kept' if kept else ''}": {"address": f"{url}/to/{name}", "preserveLocationHeader": kept}
            for name in ADDRESSES
            for kept in (False, True)
        },
    }
    return {f"fwd-{name}": {"forwardAuth": options} for name, options in kinds.items()}


def authority(peer: Peer) -> None:
    """The server that forwardAuth asks."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            first, headers, body = peer.message()
            path = first.split()[1]
            head = b"HTTP/1.1 200 OK\r\nX-User: ann\r\n"
            if path.startswith("/status/"):
                head = (
                    b"HTTP/1.1 %s X\r\nLocation: /login?a=b\r\nX-A: 1\r\nWWW-Authenticate: Basic\r\n"
                    % path[8:].encode()
                )
                head += b"Keep-Alive: x\r\nContent-Type: text/x\r\nSet-Cookie: a=b\r\n"
            if path == "/empty":
                head = b"HTTP/1.1 200 OK\r\nX-User:\r\nX-Empty: \r\n"
            if path == "/twice":
                head = b"HTTP/1.1 302 Found\r\nLocation: /login\r\nLocation: http://other.test/\r\n"
            if path.startswith("/to/"):
                head = b"HTTP/1.1 303 See Other\r\nLocation: %s\r\n" % ADDRESSES[path[4:]].encode()
            if path == "/cookies":
                head += b"Set-Cookie: sid=auth; Path=/\r\nSet-Cookie: other=1\r\n"
            asked = {name: value for name, value in headers.items() if name not in OF_THE_QUESTION}
            head += b"X-Seen: %s\r\n" % json.dumps([first, asked, body.decode()], sort_keys=True).encode()
            text = b"" if first.startswith("HEAD ") else b"what"
            peer.send(head + b"Content-Length: 4\r\n\r\n" + text)


# What Go adds to a question, and lbcore does not: that it takes gzip, its own name, for POST that there is no body.
OF_THE_QUESTION = {"accept-encoding", "user-agent", "x-forwarded-server", "host", "content-length"}


def configuration(url: str, auth: str) -> dict[str, Any]:
    middlewares = MIDDLEWARES | forwarding(auth)
    routers = {
        name: {"rule": f"PathPrefix(`/{name}/`)", "service": "app", "middlewares": [name]} for name in middlewares
    }
    routers["up"] = {"rule": "Path(`/`)", "service": "app"}
    services = {"app": {"loadBalancer": {"servers": [{"url": url}]}}}
    return {"http": {"routers": routers, "services": services, "middlewares": middlewares}}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    server, auth = Server(describe), Server(authority)
    points = {"web": {}, "trusting": {"forwardedHeaders": {"trustedIPs": ["127.0.0.0/8"]}}}
    folder = tmp_path_factory.mktemp("access")
    (folder / "users").write_text(f"# of a file\nfay:{HASHES['apr1']}\n")
    static = {"entryPoints": points, "accessLog": {"filePath": str(folder / "access-{name}"), "format": "json"}}
    text = json.dumps(configuration(server.url, auth.url)).replace("{folder}", str(folder))
    try:
        with twins(folder, static, json.loads(text)) as found:
            yield found
    finally:
        server.close()
        auth.close()


def outcome(both: Twins, name: str, point: str, request: bytes) -> dict[str, Any]:
    """Of an answer by a server what the server has seen; of any other all but what varies."""
    with contextlib.closing(both.client(name, point)) as client:
        client.send(request)
        first, headers, body = client.message(body=not request.startswith(b"HEAD "))
    if headers.get("x-up") and request.startswith(b"HEAD "):
        return {"status": first.split(" ", 1)[1]}
    if headers.get("x-up"):
        seen = json.loads(body)
        return {"seen": {key: value for key, value in seen["headers"].items() if key not in OF_THE_PROXY}} | {
            "first": seen["first"]
        }
    return {
        "status": first.split(" ", 1)[1],
        "headers": {key: value for key, value in headers.items() if key not in VARYING},
        "body": body,
    }


FORWARDED = [
    [],
    ["10.0.0.1"],
    ["203.0.113.5"],
    ["10.0.0.1, 203.0.113.5"],
    ["203.0.113.5, 10.0.0.1"],
    ["10.0.0.1,198.51.100.7"],
    ["10.0.0.1 , 203.0.113.5,198.51.100.7"],
    ["10.0.0.1:8080"],
    ["[2001:db8::]:443"],
    ["2001:db8::5"],
    ["2001:db8::"],
    ["::1"],
    ["junk, 198.51.100.1"],
    ["10.0.0.1,"],
    ["10.0.0.1,,198.51.100.1"],
    [",,,"],
    ["::ffff:10.1.2.3"],
    ["fe80::1%eth0"],
    ["10.0.0.256"],
]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("forwarded", FORWARDED, ids=str)
@pytest.mark.parametrize("point", ["web", "trusting"])
def test_same_addresses_pass(both: Twins, strategy: str, forwarded: list[str], point: str) -> None:
    request = get(f"/list-{strategy}/", "a.test", *(f"X-Forwarded-For: {line}" for line in forwarded))
    assert outcome(both, "lbcore", point, request) == outcome(both, "traefik", point, request)


@pytest.mark.parametrize("name", ["local", "white", "black", "code404", "code414", "code416", "code422", "code204"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_same_lists(both: Twins, name: str, method: str) -> None:
    request = get(f"/{name}/", method=method, body="x" if method == "POST" else "")
    if method == "HEAD" and name in ("local", "white"):
        request = get(f"/{name}/")
    assert outcome(both, "lbcore", "web", request) == outcome(both, "traefik", "web", request)


def test_several_lines_are_one_list(both: Twins) -> None:
    """Traefik reads the first line alone, which a client may have sent in front of that of a proxy."""
    request = get("/list-depth1/", "a.test", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 203.0.113.5")
    assert outcome(both, "lbcore", "trusting", request)["status"] == "403 Forbidden"


CREDENTIALS = {
    "none": [],
    **{name: [f"{name}:{'test' if name == 'apr1' else 'secret'}"] for name in HASHES},
    "of a file": ["fay:test"],
    "wrong": ["bcrypt:wrong"],
    "nobody": ["eve:secret"],
    "ann": ["ann:secret"],
    "no colon": ["bcrypt"],
    "empty": [""],
    "more colons": ["bcrypt:secret:x"],
    "NUL": ["bcrypt:secret\0"],
    "odd": ['e"v\\e\t:x'],
}


@pytest.mark.parametrize("name", ["users", "named", "twice-named"])
@pytest.mark.parametrize("case", CREDENTIALS)
def test_same_users_pass(both: Twins, name: str, case: str) -> None:
    lines = [f"Authorization: Basic {base64.b64encode(text.encode()).decode()}" for text in CREDENTIALS[case]]
    path = f"/{name}/{case.replace(' ', '-')}"
    request = get(path, "a.test", *lines)
    assert outcome(both, "lbcore", "web", request) == outcome(both, "traefik", "web", request)
    assert logged_user(both, "lbcore", path) == logged_user(both, "traefik", path)


@pytest.mark.parametrize(
    "line",
    [
        "Basic",
        "Basic ",
        "Bearer x",
        "Basic ***",
        "basic YW5uOnNlY3JldA==",
        "Basic YW5uOnNlY3JldA",
        "Basic  YW5uOnNlY3JldA==",
    ],
)
def test_same_headers_are_read(both: Twins, line: str) -> None:
    request = get("/named/", "a.test", f"Authorization: {line}")
    assert outcome(both, "lbcore", "web", request) == outcome(both, "traefik", "web", request)


def logged_user(both: Twins, name: str, path: str) -> str:
    """The user in the line of the access log for that path."""
    log = both.folder / f"access-{name}"

    def found() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return next((line for line in lines if line["RequestPath"] == path), None)

    line = eventually(found, "a line of the log")
    assert line is not None
    user: str = line["ClientUsername"]
    return user


ASKED = {
    "plain": get("/{path}/a?b=c", "shop.test:81", "X-One: 1", "X-Two: 2", "User-Agent: x"),
    "post": get("/{path}/", "shop.test", "X-One: 1", method="POST", body="hello"),
    "head": get("/{path}/", method="HEAD"),
    "spoofed": get("/{path}/", "shop.test", "X-User: root", "X-Seen: root", "Cookie: a=b", "Authorization: Basic x"),
    "hops": get(
        "/{path}/", "a", "Connection: X-Two, keep-alive", "X-Two: 2", "Proxy-Authorization: p", "Keep-Alive: 1"
    ),
    "forwarded": get(
        "/{path}/",
        "a",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-For: 10.0.0.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: h",
        "X-Forwarded-Port: 9",
        "X-Forwarded-Uri: /u",
        "X-Forwarded-Method: M",
        "X-Real-Ip: 10.0.0.3",
        "X-Forwarded-Prefix: /p",
    ),
    "behind TLS": get("/{path}/", "shop.test", "X-Forwarded-Proto: https"),
    "behind TLS, at a port": get("/{path}/", "shop.test:81", "X-Forwarded-Proto: wss"),
    "escaped": get("/{path}/a%20b%2Fc/../d;e?f=%zz;g#".rstrip("#"), "a"),
}
FORWARDING = list(forwarding(""))


@pytest.mark.parametrize("name", FORWARDING)
@pytest.mark.parametrize("case", ASKED)
@pytest.mark.parametrize("point", ["web", "trusting"])
def test_same_questions_and_answers(both: Twins, name: str, case: str, point: str) -> None:
    request = ASKED[case].replace(b"{path}", name.encode())
    theirs, ours = outcome(both, "traefik", point, request), outcome(both, "lbcore", point, request)
    assert ours == theirs


def test_none_at_once(both: Twins) -> None:
    request = get("/none-at-once/")
    assert outcome(both, "lbcore", "web", request) == outcome(both, "traefik", "web", request)
    request = get("/some-at-once/")
    assert outcome(both, "lbcore", "web", request) == outcome(both, "traefik", "web", request)


def test_so_many_at_once_over_all_workers(tmp_path: Path) -> None:
    """Connections go to either of two workers, which count together."""
    released = threading.Event()
    under_way: list[str] = []

    def holds(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                first, _, _ = peer.message()
                if " /held" in first:
                    under_way.append(first)
                    released.wait(60)
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = Server(holds)
    config = config_for(server.url)
    config["http"]["middlewares"] = {
        "few": {"inFlightReq": {"amount": 3, "sourceCriterion": {"requestHeaderName": "X-Key"}}}
    }
    config["http"]["routers"]["all"]["middlewares"] = ["few"]
    try:
        with twins(tmp_path, {"entryPoints": {"web": {}}}, config) as both:
            for name in NAMES:
                with contextlib.ExitStack() as stack:
                    clients = [stack.enter_context(contextlib.closing(both.client(name, "web"))) for _ in range(12)]
                    before = len(under_way)
                    for client in clients[:3]:
                        client.send(get("/held", "a", "X-Key: one"))
                    eventually(lambda before=before: len(under_way) == before + 3, "three are under way")  # type: ignore[misc]
                    refused = [client.ask(get("/", "a", "X-Key: one"))[0] for client in clients[3:]]
                    assert refused == ["HTTP/1.1 429 Too Many Requests"] * 9
                    assert clients[4].ask(get("/", "b", "X-Key: two"))[0] == "HTTP/1.1 200 OK"
                    released.set()
                    assert [client.message()[0] for client in clients[:3]] == ["HTTP/1.1 200 OK"] * 3
                    assert clients[3].ask(get("/", "a", "X-Key: one"))[0] == "HTTP/1.1 200 OK"
                    released.clear()
    finally:
        released.set()
        server.close()


DIGESTS: dict[str, dict[str, Any]] = {
    "right": {},
    "wrong": {"password": "other"},
    "nobody": {"user": "eve"},
    "nobody, and the hash of nothing": {"user": "eve", "secret": ""},
    "another method": {"method": "POST"},
    "another target": {"target": "/other"},
    "another nonce": {"nonce": "0123456789abcdef"},
    "another opaque": {"opaque": "x"},
    "no quality": {"qop": ""},
    "another algorithm": {"algorithm": "SHA-256"},
    "no count": {"count": ""},
}


@pytest.mark.parametrize("case", DIGESTS)
def test_same_digests_pass(both: Twins, case: str) -> None:
    found = {}
    for name in NAMES:
        with contextlib.closing(both.client(name, "web")) as client:
            first, headers, body = client.ask(get("/digest/a?b=c"))
            assert (first, body) == ("HTTP/1.1 401 Unauthorized", b"401 Unauthorized\n")
            asked = parameters_of(headers["www-authenticate"].encode())
            assert asked is not None
            found[name] = [{key: value for key, value in asked.items() if key not in (b"nonce", b"opaque")}]
            known = {key.decode(): value.decode() for key, value in asked.items()}
            line = f"Authorization: {response(known, **({'target': '/digest/a?b=c'} | DIGESTS[case]))}"
        answer = outcome(both, name, "web", get("/digest/a?b=c", "a.test", line))
        answer.get("headers", {}).pop("www-authenticate", None)
        found[name].append(answer)
    assert found["lbcore"] == found["traefik"]
    assert ("seen" in found["lbcore"][1]) == (case == "right")
