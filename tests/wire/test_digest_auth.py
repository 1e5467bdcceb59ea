"""digestAuth over the wire: responses that are right, old, repeated, for another request, or by nobody."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lbcore.middleware import digest_auth as module
from lbcore.middleware.digest_auth import parameters_of
from lbcore.state.holdings import State
from lbcore.state.region import Region
from tests.support.problems import errors_of, warnings_of
from tests.support.wire import Edge, config_for, edge, serving
from tests.wire.test_basic_auth import echo

REALM = "traefik"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def line_of(user: str, password: str, realm: str = REALM) -> str:
    return f"{user}:{realm}:{md5(f'{user}:{realm}:{password}')}"


def guarded(url: str, *users: str, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"auth": {"digestAuth": {"users": list(users), **options}}}
    config["http"]["routers"]["all"]["middlewares"] = ["auth"]
    return config


def challenge(proxy: Edge, header: str = "", target: str = "/") -> dict[str, str]:
    """What a request without a right response is told."""
    first, headers, body = request(proxy, header, target)
    assert (first, body) == ("HTTP/1.1 401 Unauthorized", b"401 Unauthorized\n")
    assert headers["content-type"] == "text/plain"
    found = parameters_of(headers["www-authenticate"].encode())
    assert found is not None
    return {name.decode(): value.decode() for name, value in found.items()}


def request(proxy: Edge, header: str = "", target: str = "/", method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    lines = f"Authorization: {header}\r\n" if header else ""
    return proxy.ask(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())


def response(
    asked: dict[str, str],
    user: str = "ann",
    password: str = "secret",
    *,
    count: str = "00000001",
    target: str = "/",
    method: str = "GET",
    secret: str | None = None,
    **changed: str,
) -> str:
    """The header of a client that knows the password, or, with `secret`, the hash."""
    first = md5(f"{user}:{asked['realm']}:{password}") if secret is None else secret
    values = {
        "nonce": asked["nonce"],
        "cnonce": "abc",
        "qop": "auth",
        "opaque": asked["opaque"],
        "algorithm": "MD5",
        **changed,
    }
    digest = md5(f"{first}:{values['nonce']}:{count}:{values['cnonce']}:{values['qop']}:{md5(f'{method}:{target}')}")
    values = {"username": user, "realm": asked["realm"], "uri": target, "nc": count, "response": digest, **values}
    bare = {"nc", "qop", "algorithm"}
    return "Digest " + ", ".join(f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in values.items() if v)


def test_who_passes() -> None:
    with serving(echo) as server:
        config = guarded(
            server.url, line_of("ann", "secret"), line_of("bob", "other"), headerField="X-User", removeHeader=True
        )
        with edge(config) as proxy:
            asked = challenge(proxy)
            assert (asked["realm"], asked["algorithm"], asked["qop"]) == (REALM, "MD5", "auth")
            for count in ("00000001", "00000002", "0000000a", "ffffffff"):
                first, _, body = request(proxy, response(asked, count=count))
                assert first == "HTTP/1.1 200 OK"
                assert json.loads(body)["x-user"] == "ann"
                assert "authorization" not in json.loads(body)
            assert request(proxy, response(challenge(proxy), "bob", "other"))[0] == "HTTP/1.1 200 OK"
            proxy.apply(config)
            asked = challenge(proxy)
            assert request(proxy, response(asked, target="/a?b=c"), "/a?b=c")[0] == "HTTP/1.1 200 OK"
            assert request(proxy, response(asked, target="/a", count="2"), "/a?b=c")[0] == "HTTP/1.1 200 OK"
            head = response(asked, method="POST", count="3")
            assert proxy.ask(
                f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {head}\r\nContent-Length: 2\r\n\r\nhi".encode()
            )[0].endswith("OK")


def test_who_does_not() -> None:
    with edge(guarded("http://127.0.0.1:1", line_of("ann", "secret"), line_of("bob", "other", "elsewhere"))) as proxy:
        asked = challenge(proxy)
        wrong = {
            "another password": response(asked, password="wrong"),
            "nobody, and the hash of nothing": response(asked, "eve", secret=""),
            "a user of another realm": response(asked, "bob", "other"),
            "another method": response(asked, method="POST"),
            "another target": response(asked, target="/other"),
            "a prefix of the target": response(asked, target="/"[:0]),
            "another opaque": response(asked, opaque="x"),
            "another algorithm": response(asked, algorithm="SHA-256"),
            "no quality of protection": response(asked, qop=""),
            "a nonce of nobody": response(asked, nonce="0" * 64),
            "a nonce of another form": response(asked, nonce="abc"),
            "no count": response(asked, count=""),
            "a count of zero": response(asked, count="0"),
            "a count that is none": response(asked, count="xyz"),
            "a count below zero": response(asked, count="-1"),
            "a name twice": response(asked) + ', username="bob"',
            "another scheme": response(asked).replace("Digest", "Basic"),
            "half a quote": response(asked)[:-1] + '"x',
        }
        for case, header in wrong.items():
            found = challenge(proxy, header)
            assert found["nonce"] != asked["nonce"], case
        assert challenge(proxy, response(asked, target="/a"), "/a/b")["qop"] == "auth"


def test_a_count_is_used_once_and_an_old_nonce_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(echo) as server, edge(guarded(server.url, line_of("ann", "secret"))) as proxy:
        asked = challenge(proxy)
        again = response(asked, count="5")
        assert request(proxy, again)[0].endswith("200 OK")
        for count in ("5", "4", "1"):
            assert challenge(proxy, response(asked, count=count))["stale"] == "true"
        assert "stale" not in challenge(proxy, response(asked, password="wrong", count="9"))
        now = module.time.time
        monkeypatch.setattr(module.time, "time", lambda: now() + 299)
        assert request(proxy, response(asked, count="6"))[0].endswith("200 OK")
        monkeypatch.setattr(module.time, "time", lambda: now() + 302)
        assert challenge(proxy, response(asked, count="7"))["stale"] == "true"
        assert request(proxy, response(challenge(proxy)))[0].endswith("200 OK")


def test_a_nonce_is_of_one_instance_and_of_all_of_its_workers() -> None:
    region = Region.create(2)
    assert State(region, 0).secret == State(region, 1).secret != State(Region.create(1), 0).secret


def test_parameters() -> None:
    assert parameters_of(b'digest a="b, \\"c\\\\", d = e,F=""') == {b"a": b'b, "c\\', b"d": b"e", b"f": b""}
    for text in (b"", b"Digest", b"Basic a=b", b'Digest a="b', b"Digest a=b c=d", b"Digest =b", b"Digest a=b, a=c"):
        assert not parameters_of(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"users": ["ann:x"]}, "error parsing user 'ann': a user is name:realm:hash"),
        ({"users": [line_of("ann", "x")], "realm": 'a"b'}, "the realm has quotes"),
        ({"usersFile": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    assert any(text in error for error in errors_of({"digestAuth": options}))


def test_users_without_effect_are_named() -> None:
    users = [line_of("ann", "x"), line_of("bob", "x", "other"), "cy:traefik:plain"]
    first, second = warnings_of({"digestAuth": {"users": users}})
    assert "'bob' is of realm 'other'" in first
    assert "no password lets 'cy' in" in second


def test_the_log_names_the_user(tmp_path: Path) -> None:
    path = tmp_path / "log"
    settings = {"accessLog": {"filePath": str(path), "format": "json"}}
    with serving(echo) as server, edge(guarded(server.url, line_of("ann", "secret")), static=settings) as proxy:
        asked = challenge(proxy)
        assert request(proxy, response(asked))[0].endswith("200 OK")
        challenge(proxy, response(asked, "eve"))
    assert [json.loads(line)["ClientUsername"] for line in path.read_text().splitlines()] == ["-", "ann", "eve"]
