"""apiKey over the wire: keys in clear and as hashes, of files, in Authorization; what servers and clients learn."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lbcore.middleware.users import Users
from tests.support.instance import eventually
from tests.support.problems import errors_of
from tests.support.wire import Edge, config_for, edge, serving
from tests.wire.test_basic_auth import GET, echo

KEY = "0123456789abcdef"
HASHED = "{SHA256}" + hashlib.sha256(b"another key of bob").hexdigest()


def guarded(url: str, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"auth": {"apiKey": options}}
    config["http"]["routers"]["all"]["middlewares"] = ["auth"]
    return config


def status(proxy: Edge, lines: bytes = b"") -> str:
    return proxy.ask(GET % lines)[0].split()[1]


def test_who_passes() -> None:
    keys = [f"ann:{KEY}", f"bob:{HASHED}"]
    with serving(echo) as server, edge(guarded(server.url, keys=keys, headerField="X-User")) as proxy:
        spoofed = b"X-User: root\r\nX_User: root\r\n"
        for key, name in ((KEY.encode(), "ann"), (b"another key of bob", "bob")):
            first, _, body = proxy.ask(GET % (b"x-api-key: %s\r\n" % key + spoofed))
            assert first == "HTTP/1.1 200 OK"
            seen = json.loads(body)
            assert seen["x-user"] == name
            assert not {"x-api-key", "x_user"} & set(seen)
        for lines in (
            b"",
            b"X-Api-Key: \r\n",
            b"X-Api-Key: wrong\r\n",
            b"X-Api-Key: %s0\r\n" % KEY.encode(),
            b"X_Api_Key: " + KEY.encode() + b"\r\n",
            b"X-Api-Key: " + HASHED.encode() + b"\r\n",
            b"X-Api-Key: " + b"0" * 100_000 + b"\r\n",
        ):
            first, headers, body = proxy.ask(GET % lines)
            assert (first, body) == ("HTTP/1.1 401 Unauthorized", b"401 Unauthorized\n")
            assert headers["www-authenticate"] == 'ApiKey realm="lbcore"'


def test_in_authorization_and_kept() -> None:
    options = {"keys": [f"ann:{KEY}"], "headerName": "Authorization", "keepKey": True, "realm": "shop"}
    with serving(echo) as server, edge(guarded(server.url, **options)) as proxy:
        line = b"Authorization: bearer %s\r\n" % KEY.encode()
        seen = json.loads(proxy.ask(GET % line)[2])
        assert seen["authorization"] == f"bearer {KEY}"
        first, headers, _ = proxy.ask(GET % line.replace(b"bearer ", b""))
        assert (first.split()[1], headers["www-authenticate"]) == ("401", 'Bearer realm="shop"')


def test_keys_of_a_file_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of people\nann:{KEY}\n")
    mine, other = (b"X-Api-Key: %s\r\n" % key for key in (KEY.encode(), b"the other one"))
    with serving(echo) as server, edge(guarded(server.url, keysFile=str(file))) as proxy:
        assert (status(proxy, mine), status(proxy, other)) == ("200", "401")
        file.write_text("ann:short\n")  # a mistake: what was there stays
        file.write_text("bob:the other one\n")
        eventually(lambda: status(proxy, other) == "200", "the other key is known")
        assert status(proxy, mine) == "401"


def test_no_request_waits_for_the_file_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file system may hang."""
    looking, again = threading.Event(), threading.Event()

    def hangs(users: Users) -> bool:
        looking.set()
        assert again.wait(60)
        return False

    monkeypatch.setattr(Users, "refresh", hangs)
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    try:
        with serving(echo) as server, edge(guarded(server.url, keysFile=str(file))) as proxy:
            assert status(proxy, b"X-Api-Key: %s\r\n" % KEY.encode()) == "200"
            assert looking.wait(60)
            assert status(proxy, b"X-Api-Key: %s\r\n" % KEY.encode()) == "200"
    finally:
        again.set()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"realm": "x"}, "no users found"),
        ({"keys": ["ann"]}, "error parsing user 'ann'"),
        ({"keys": ["ann:short"]}, "the key of 'ann' does not have 8 to 4096 bytes"),
        ({"keys": ["ann:{SHA256}abc"]}, "the key of 'ann' is not {SHA256} and 64"),
        ({"keys": [f"ann:{KEY}"], "headerField": "Host"}, "cannot be set"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    assert any(text in error for error in errors_of({"apiKey": options}))
