"""jwtAuth over the wire: tokens that are accepted, and what is wrong with others; servers of keys."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lbcore.middleware import jwt_auth as module
from lbcore.middleware.tokens import Verifier
from tests.support.certificates import authority, certificate, signed
from tests.support.instance import eventually
from tests.support.problems import errors_of
from tests.support.secure import secure_serving
from tests.support.wire import Edge, Peer, Server, config_for, edge, serving
from tests.wire.test_basic_auth import GET, echo

SECRET = "0123456789abcdef" * 4
RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def guarded(url: str, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"auth": {"jwtAuth": options}}
    config["http"]["routers"]["all"]["middlewares"] = ["auth"]
    return config


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    content = {"exp": int(time.time()) + 600, "sub": "ann", **claims}
    return jwt.encode({k: v for k, v in content.items() if v is not None}, key, algorithm, headers)


def ask(proxy: Edge, text: str, more: bytes = b"") -> tuple[str, dict[str, str], bytes]:
    return proxy.ask(GET % (f"Authorization: Bearer {text}\r\n".encode() + more))


def status(proxy: Edge, text: str) -> str:
    return ask(proxy, text)[0].split()[1]


KEYS = {"RS256": RSA, "RS512": RSA, "PS256": RSA, "ES256": EC, "EdDSA": ED}


@pytest.mark.parametrize("algorithm", KEYS)
def test_tokens_by_public_keys(algorithm: str) -> None:
    with (
        serving(echo) as server,
        edge(guarded(server.url, publicKeys=[pem(OTHER_RSA), pem(RSA), pem(EC), pem(ED)])) as proxy,
    ):
        good = token(KEYS[algorithm], algorithm)
        for _ in range(2):
            assert status(proxy, good) == "200"
        head, claims, signature = good.split(".")
        assert status(proxy, f"{head}.{claims}.{signature[:-4]}AAAA") == "401"
        assert status(proxy, f"{head}.{claims}.") == "401"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], sign: bytes | None) -> str:
    """A token whose signature is an HMAC by `sign`, or nothing."""
    text = (
        b64(json.dumps(header).encode())
        + "."
        + b64(json.dumps({"sub": "root", "exp": int(time.time()) + 600}).encode())
    )
    return f"{text}." + ("" if sign is None else b64(hmac.digest(sign, text.encode(), hashlib.sha256)))


def test_confused_algorithms() -> None:
    public = pem(RSA)
    with serving(echo) as server, edge(guarded(server.url, publicKeys=[public])) as proxy:
        assert status(proxy, token(RSA, "RS256")) == "200"
        for name in ("none", "None", "NONE", "nOnE", ""):
            assert status(proxy, forged({"alg": name}, None)) == "401"
        for secret in (public.encode(), public.strip().encode(), b""):
            assert status(proxy, forged({"alg": "HS256"}, secret)) == "401"
        own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public_key()))
        for header in (
            {"jwk": own},
            {"jku": "http://127.0.0.1:1/"},
            {"x5u": "http://127.0.0.1:1/"},
            {"kid": "../../dev/null"},
        ):
            assert status(proxy, token(OTHER_RSA, "RS256", header)) == "401"
        assert status(proxy, token(RSA, "RS256", {"crit": ["exp"]})) == "401"
    with serving(echo) as server, edge(guarded(server.url, secret=SECRET)) as proxy:
        assert status(proxy, token()) == "200"
        assert status(proxy, token(RSA, "RS256")) == "401"
        assert status(proxy, token(algorithm="HS384")) == "200"
    with serving(echo) as server, edge(guarded(server.url, secret=SECRET, algorithms=["HS512"])) as proxy:
        assert status(proxy, token()) == "401"
        assert status(proxy, token(algorithm="HS512")) == "200"


def test_claims() -> None:
    options = {
        "secret": SECRET,
        "issuer": "https://login.test",
        "audience": ["shop", "admin"],
        "requiredClaims": {"tenant": "one", "realm.roles": "staff"},
        "claimsToHeaders": {
            "sub": "X-User",
            "realm.roles": "X-Roles",
            "age": "X-Age",
            "missing": "X-Missing",
            "evil": "X-Evil",
        },
    }
    good = {
        "iss": "https://login.test",
        "aud": "shop",
        "tenant": "one",
        "realm": {"roles": ["user", "staff"]},
        "age": 7,
        "evil": "a\r\nX-B: c",
    }
    spoofed = b"X-User: root\r\nx_user: root\r\nX-Missing: root\r\nX-Evil: root\r\n"
    with serving(echo) as server, edge(guarded(server.url, **options)) as proxy:
        for _ in range(2):  # verified, and remembered
            first, _, body = ask(proxy, token(**good, jti="1"), spoofed)
            assert first == "HTTP/1.1 200 OK"
            seen = json.loads(body)
            assert (seen["x-user"], seen["x-roles"], seen["x-age"]) == ("ann", "user,staff", "7")
            assert not {"x_user", "x-missing", "x-evil", "x-b"} & set(seen)
            assert seen["authorization"].startswith("Bearer ")
        assert status(proxy, token(**good | {"aud": ["other", "admin"]})) == "200"
        now = int(time.time())
        wrong: list[dict[str, Any]] = [
            {"iss": "https://evil.test"},
            {"iss": None},
            {"aud": "other"},
            {"aud": None},
            {"tenant": "two"},
            {"tenant": None},
            {"realm": {"roles": ["user"]}},
            {"realm": "staff"},
            {"exp": None},
            {"exp": now - 60},
            {"nbf": now + 600},
        ]
        for change in wrong:
            first, headers, _ = ask(proxy, token(**good | change))
            assert first == "HTTP/1.1 401 Unauthorized", change
            assert headers["www-authenticate"] == 'Bearer realm="lbcore", error="invalid_token"'
        assert status(proxy, token(**good | {"exp": now - 5})) == "200"  # within the leeway


@pytest.mark.parametrize(("leeway", "found"), [("0s", "401"), ("1h", "200")])
def test_clocks_that_differ(leeway: str, found: str) -> None:
    now = int(time.time())
    with serving(echo) as server, edge(guarded(server.url, secret=SECRET, leeway=leeway)) as proxy:
        assert status(proxy, token(exp=now - 1000 if found == "200" else now - 5)) == found
        assert status(proxy, token(nbf=now + 1000)) == found


def test_what_is_no_token() -> None:
    with edge(guarded("http://127.0.0.1:1", secret=SECRET, realm="shop")) as proxy:
        first, headers, body = proxy.ask(GET % b"")
        assert (first, body) == ("HTTP/1.1 401 Unauthorized", b"401 Unauthorized\n")
        assert headers["www-authenticate"] == 'Bearer realm="shop"'
        for text in ("x", "a.b.c", "..", "\xff.\xfe.\xfd", "e30.e30.e30", "A" * 20_000, "A" * 9_000 + ".a.b"):
            assert status(proxy, text) == "401"
        assert proxy.ask(GET % b"Authorization: Basic YTpi\r\n")[0].split()[1] == "401"


def test_another_header() -> None:
    with (
        serving(echo) as server,
        edge(guarded(server.url, secret=SECRET, headerName="X-Token", removeHeader=True)) as proxy,
    ):
        first, _, body = proxy.ask(GET % f"X-Token: {token()}\r\n".encode())
        assert first == "HTTP/1.1 200 OK" and "x-token" not in json.loads(body)
        assert status(proxy, token()) == "401"


class KeyServer(Server):
    """Has a set of keys."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.body = b""
        self.status = b"200 OK"
        super().__init__(self.serve)

    def have(self, **keys: Any) -> None:
        items = []
        for name, key in keys.items():
            kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            items.append({**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig"})
        secret = {"kty": "oct", "k": b64(SECRET.encode()), "kid": "secret"}
        self.body = json.dumps({"keys": [secret, {"kty": "X"}, 7, *items]}).encode()

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.asked.append(peer.message())
                peer.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (self.status, len(self.body), self.body))


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    server = KeyServer()
    server.have(one=RSA)
    try:
        yield server
    finally:
        server.close()


class Clock:
    """Lets time pass for what is remembered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        monotonic = time.monotonic
        monkeypatch.setattr(module.time, "monotonic", lambda: monotonic() + self.ahead_s)


def test_keys_of_a_server(keys: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    one, two = token(RSA, "RS256", {"kid": "one"}), token(EC, "ES256", {"kid": "two"})
    with serving(echo) as server:
        config = guarded(server.url, jwksURL=f"{keys.url}/keys?v=1")
        with edge(config) as proxy:
            assert [status(proxy, one) for _ in range(3)] == ["200"] * 3
            assert [first for first, _, _ in keys.asked] == ["GET /keys?v=1 HTTP/1.1"]
            headers = keys.asked[0][1]
            assert headers["host"] == keys.url.removeprefix("http://")
            assert not {"authorization", "x-forwarded-for", "x-real-ip"} & set(headers)
            # A secret in the set is none, and a key that there is not is asked for once in a while.
            for _ in range(3):
                assert status(proxy, token(headers={"kid": "secret"})) == "401"
                assert status(proxy, two) == "401"
            assert len(keys.asked) == 1
            keys.have(two=EC)
            clock.ahead_s += 11
            assert status(proxy, two) == "200"
            assert len(keys.asked) == 2
            assert status(proxy, one) == "401"  # its key is gone, though it was remembered
            # A reload keeps them; after a while they are asked for again; while nobody answers, they stay.
            proxy.apply(config)
            assert status(proxy, two) == "200"
            assert len(keys.asked) == 2
            keys.status = b"500 X"
            clock.ahead_s += 301
            assert status(proxy, two) == "200"
            assert len(keys.asked) == 3
            assert status(proxy, two) == "200"
            assert len(keys.asked) == 3
            keys.status, keys.body = b"200 OK", b'{"keys": []}'
            clock.ahead_s += 11
            assert status(proxy, two) == "200"
            keys.have(one=RSA)
            clock.ahead_s += 11
            assert status(proxy, two) == "401"
            assert status(proxy, one) == "200"


def test_keys_are_asked_for_again_when_they_are_as_old_as_is_said(
    keys: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    one = token(RSA, "RS256", {"kid": "one"}, exp=int(time.time()) + 10**6)
    with serving(echo) as server, edge(guarded(server.url, jwksURL=keys.url, cacheFor="1h")) as proxy:
        for ahead_s, asked in ((0, 1), (3500, 1), (90, 1), (20, 2), (3590, 2), (20, 3)):
            clock.ahead_s += ahead_s
            assert status(proxy, one) == "200"
            assert len(keys.asked) == asked, clock.ahead_s


def test_tls_to_the_server_of_keys(keys: KeyServer, tmp_path: Path) -> None:
    ca, mine = authority(tmp_path, "ca"), certificate(tmp_path, "mine", "client.test")
    files = signed(tmp_path, ca, "keys", "IP:127.0.0.1")

    def wants_mine(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(mine.certificate)

    one = token(RSA, "RS256", {"kid": "one"})
    trusting = {"ca": str(ca.certificate)}
    pair = {"cert": str(mine.certificate), "key": str(mine.key)}
    with (
        serving(echo) as server,
        secure_serving(files, keys.serve) as plain,
        secure_serving(files, keys.serve, wants_mine) as strict,
    ):
        for url, tls, found in (
            (plain.url, {}, "503"),
            (plain.url, {"ca": str(mine.certificate)}, "503"),
            (plain.url, trusting, "200"),
            (plain.url, {"insecureSkipVerify": True}, "200"),
            (strict.url, trusting, "503"),
            (strict.url, trusting | pair, "200"),
        ):
            with edge(guarded(server.url, jwksURL=f"{url}/keys", **({"tls": tls} if tls else {}))) as proxy:
                assert status(proxy, one) == found, (url, tls)


def test_without_keys_nobody_passes(keys: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    one = token(RSA, "RS256", {"kid": "one"})
    with serving(echo) as server, edge(guarded(server.url, jwksURL=keys.url)) as proxy:
        good = keys.body
        for body in (
            b"",
            b"{}",
            b"[]",
            b"nonsense",
            b'{"keys": {}}',
            b'{"keys": [{"kty": "RSA", "n": 1}]}',
            b"[" * 100_000,
        ):
            keys.body = body
            first, headers, _ = ask(proxy, one)
            assert (first.split()[1], headers["retry-after"]) == ("503", "1")
            clock.ahead_s += 2
        assert server.connections == 0
        keys.body = good
        eventually(lambda: status(proxy, one) == "200", "keys are there")


def test_a_token_is_remembered_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    verified: list[str] = []
    claims_of = Verifier.claims_of

    def counted(self: Verifier, text: str) -> dict[str, Any]:
        verified.append(text)
        return claims_of(self, text)

    monkeypatch.setattr(Verifier, "claims_of", counted)
    with serving(echo) as server, edge(guarded(server.url, secret=SECRET)) as proxy:
        long, short = token(jti="long"), token(exp=int(time.time()) - 10)  # within the leeway, for some 20 s
        assert [status(proxy, text) for text in (long, short, long, short)] == ["200"] * 4
        assert verified == [long, short]
        clock.ahead_s = 25
        assert [status(proxy, text) for text in (long, short)] == ["200"] * 2
        assert verified == [long, short, short]
        clock.ahead_s = 61
        assert status(proxy, long) == "200"
        assert verified == [long, short, short, long]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"realm": "x"}, "exactly one of jwksURL, publicKeys and secret"),
        ({"secret": SECRET, "publicKeys": ["x"]}, "exactly one of"),
        ({"secret": "short"}, "less than 32 bytes"),
        ({"secret": SECRET, "algorithms": ["RS256"]}, "RS256 do not go with a secret"),
        ({"jwksURL": "http://a", "algorithms": ["HS256"]}, "HS256 do not go with public keys"),
        ({"secret": SECRET, "algorithms": ["none"]}, "'none' is not an algorithm"),
        ({"publicKeys": ["x"]}, "not a public key in PEM"),
        ({"jwksURL": "ftp://a"}, "write http://"),
        ({"secret": SECRET, "claimsToHeaders": {"sub": "Host"}}, "cannot be set"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    found = errors_of({"jwtAuth": options})
    assert any(text in error for error in found), found
    assert SECRET not in str(found)


def test_the_log_names_the_user(tmp_path: Path) -> None:
    path = tmp_path / "log"
    settings = {"accessLog": {"filePath": str(path), "format": "json"}}
    with serving(echo) as server, edge(guarded(server.url, secret=SECRET, userClaim="mail"), static=settings) as proxy:
        assert status(proxy, token(mail="a@b.test")) == "200"
    assert json.loads(path.read_text())["ClientUsername"] == "a@b.test"
