"""basicAuth over the wire: who passes, what the others are told, hostile credentials, waits, floods, files of users."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest
from passlib import hash as crypts

from lbcore.middleware.users import Follower, Users
from lbcore.passwords import checker as checking
from lbcore.passwords.checker import Checker, Done, Job
from tests.support.instance import eventually
from tests.support.problems import errors_of, warnings_of
from tests.support.wire import Edge, Peer, config_for, edge, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"
FAST = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
OTHER = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
KINDS = {
    "bcrypt": FAST,
    "apr1": crypts.apr_md5_crypt.hash(b"secret"),
    "sha1": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "sha256": crypts.sha256_crypt.using(rounds=1000).hash(b"secret"),
    "sha512": crypts.sha512_crypt.using(rounds=1000).hash(b"secret"),
    "argon2": argon2.PasswordHasher(1, 64, 1).hash(b"secret"),
}


def echo(peer: Peer) -> None:
    """Answers with the headers that came."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            _, headers, _ = peer.message()
            text = json.dumps(headers).encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def guarded(url: str, *users: str, of_service: bool = False, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"auth": {"basicAuth": {"users": list(users), **options}}}
    config["http"]["services" if of_service else "routers"]["all"]["middlewares"] = ["auth"]
    config["http"]["routers"]["open"] = {"rule": "Path(`/open`)", "service": "open", "priority": 99}
    config["http"]["services"]["open"] = {"loadBalancer": {"servers": [{"url": url}]}}
    return config


def basic(user: bytes, password: bytes = b"", colon: bytes = b":") -> bytes:
    return b"Authorization: Basic %s\r\n" % base64.b64encode(user + colon + password)


def ask(proxy: Edge, lines: bytes = b"") -> tuple[str, dict[str, str], bytes]:
    return proxy.ask(GET % lines)


def status(proxy: Edge, lines: bytes = b"") -> str:
    return ask(proxy, lines)[0].split()[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """What passwords were checked, against what."""
    found: list[tuple[bytes, bytes]] = []
    check = Checker.check

    def watched(self: Checker, user: bytes, stored: bytes, password: bytes, done: Done) -> Job | None:
        found.append((stored, password))
        return check(self, user, stored, password, done)

    monkeypatch.setattr(Checker, "check", watched)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of_service", [False, True])
def test_who_passes(kind: str, of_service: bool) -> None:
    with serving(echo) as server:
        config = guarded(server.url, f"ann:{KINDS[kind]}", f"bob:{OTHER}", of_service=of_service)
        with edge(config) as proxy:
            assert status(proxy, basic(b"ann", b"secret")) == "200"
            assert status(proxy, basic(b"bob", b"other")) == "200"
            for user, password in (
                (b"ann", b"other"),
                (b"bob", b"secret"),
                (b"eve", b"secret"),
                (b"ann", b""),
                (b"", b""),
            ):
                assert status(proxy, basic(user, password)) == "401"
            assert status(proxy) == "401"


@pytest.mark.parametrize("realm", ["", "the realm"])
def test_what_the_others_are_told(realm: str) -> None:
    with edge(guarded("http://127.0.0.1:1", f"ann:{FAST}", realm=realm)) as proxy:
        for lines in (b"", basic(b"ann", b"wrong")):
            first, headers, body = ask(proxy, lines)
            assert first == "HTTP/1.1 401 Unauthorized"
            assert headers["www-authenticate"] == f'Basic realm="{realm or "traefik"}"'
            assert headers["content-type"] == "text/plain"
            assert body == b"401 Unauthorized\n"


HOSTILE = {
    "another scheme": b"Authorization: Bearer abc\r\n",
    "no credentials": b"Authorization: Basic\r\n",
    "empty credentials": b"Authorization: Basic \r\n",
    "no base64": b"Authorization: Basic ***\r\n",
    "half of base64": b"Authorization: Basic YW5uOnNlY3JldA=\r\n",
    "text behind": b"Authorization: Basic YW5uOnNlY3JldA==YQ==\r\n",
    "no colon": basic(b"ann", b"secret", b""),
    "NUL behind the password": basic(b"ann", b"secret\0"),
    "NUL behind the user": basic(b"ann\0", b"secret"),
    "not UTF-8": basic(b"\xff\xfe", b"\xff\xfe"),
    "a line": basic(b"ann\r\nX-User: root", b"secret"),
    "a megabyte": b"Authorization: Basic %s\r\n" % (b"A" * 1_000_000),
    "a long password": basic(b"ann", b"secret" * 1000),
    "several": b"Authorization: Bearer x\r\n" + basic(b"ann", b"secret"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_credentials(case: str) -> None:
    with serving(echo) as server, edge(guarded(server.url, f"ann:{FAST}", headerField="X-User")) as proxy:
        assert status(proxy, HOSTILE[case]) == "401"
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        assert status(proxy, HOSTILE[case]) == "401"


def test_a_password_with_colons_and_a_scheme_in_any_case() -> None:
    stored = bcrypt.hashpw(b"a:b:", bcrypt.gensalt(4)).decode()
    with serving(echo) as server, edge(guarded(server.url, f"ann:{stored}")) as proxy:
        assert status(proxy, basic(b"ann", b"a:b:")) == "200"
        assert status(proxy, basic(b"ann", b"a:b:").replace(b"Basic", b"bASIC")) == "200"


def test_what_the_server_learns() -> None:
    credentials = basic(b"ann", b"secret")
    spoofed = b"x-USER: root\r\nX_User: root\r\nX.User: root\r\n"
    with serving(echo) as server:
        with edge(guarded(server.url, f"ann:{FAST}")) as proxy:
            seen = json.loads(ask(proxy, credentials + spoofed)[2])
            assert seen["authorization"].startswith("Basic ")
            assert seen["x-user"] == "root"  # nobody has said that this header says who it is
        with edge(guarded(server.url, f"ann:{FAST}", headerField="X-User", removeHeader=True)) as proxy:
            for _ in range(2):  # checked, and remembered
                seen = json.loads(ask(proxy, credentials + spoofed)[2])
                assert seen["x-user"] == "ann"
                assert not {"authorization", "x_user", "x.user"} & set(seen)


def test_a_pair_that_was_right_is_remembered(asked: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(echo) as server:
        config = guarded(server.url, f"ann:{FAST}")
        with edge(config) as proxy:
            for _ in range(3):
                assert status(proxy, basic(b"ann", b"secret")) == "200"
                assert status(proxy, basic(b"ann", b"wrong")) == "401"
            assert asked.count((FAST.encode(), b"secret")) == 1
            assert asked.count((FAST.encode(), b"wrong")) == 3
            proxy.apply(config)
            assert status(proxy, basic(b"ann", b"secret")) == "200"
            assert asked.count((FAST.encode(), b"secret")) == 1  # a reload has kept it
            # With another hash of the user it is worth nothing.
            proxy.apply(guarded(server.url, f"ann:{OTHER}"))
            assert status(proxy, basic(b"ann", b"secret")) == "401"
            assert status(proxy, basic(b"ann", b"other")) == "200"
            proxy.apply(guarded(server.url, f"bob:{FAST}"))
            assert status(proxy, basic(b"ann", b"other")) == "401"


def test_an_unknown_user_costs_what_a_known_one_costs(asked: list[tuple[bytes, bytes]]) -> None:
    users = {b"ann": FAST, b"bob": KINDS["argon2"], b"cy": KINDS["sha512"]}
    plain = "dan:secret"  # no hash: as if there were no such user
    with edge(guarded("http://127.0.0.1:1", *(f"{u.decode()}:{h}" for u, h in users.items()), plain)) as proxy:
        for user in [b"eve%d" % i for i in range(20)] + [b"dan"]:
            for _ in range(2):
                assert status(proxy, basic(user, b"secret")) == "401"
    assert len(asked) == 42
    assert {stored.decode() for stored, _ in asked} == set(users.values())
    assert asked[::2] == asked[1::2]  # one name, one hash


def test_users_of_a_file_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []
    refresh = Users.refresh
    monkeypatch.setattr(Users, "refresh", lambda self: looked.append(refresh(self)) or looked[-1])
    file = tmp_path / "users"
    file.write_text(f"# people\n\n  ann:{FAST}  \n")
    with serving(echo) as server, edge(guarded(server.url, f"own:{OTHER}", usersFile=str(file))) as proxy:

        def look() -> None:
            """Return when the file has been looked at."""
            before = len(looked)
            eventually(lambda: status(proxy) == "401" and len(looked) > before, "the file is looked at")

        assert status(proxy, basic(b"ann", b"secret")) == "200"
        assert status(proxy, basic(b"own", b"other")) == "200"
        file.write_text(f"bob:{FAST}\n")
        look()
        assert status(proxy, basic(b"bob", b"secret")) == "200"
        assert status(proxy, basic(b"ann", b"secret")) == "401"  # though it was remembered
        for text in ("nonsense\n", "bob:a:b\n"):
            file.write_text(text)
            look()
            assert status(proxy, basic(b"bob", b"secret")) == "200"
        file.unlink()
        look()
        assert status(proxy, basic(b"own", b"other")) == "200"
        file.write_text(f"cy:{FAST}\n")
        look()
        assert status(proxy, basic(b"cy", b"secret")) == "200"


def test_no_request_waits_for_the_file_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs holds one thread. Nobody looks any more when no configuration names a file."""
    looking, again = threading.Event(), threading.Event()

    def hangs(users: Users) -> bool:
        looking.set()
        again.wait(60)
        return False

    def threads() -> int:
        return sum(thread.name == "users" for thread in threading.enumerate())

    def followers() -> bool:
        gc.collect()
        return any(isinstance(item, Follower) for item in gc.get_objects())

    monkeypatch.setattr(Users, "refresh", hangs)
    file = tmp_path / "users"
    file.write_text(f"ann:{FAST}\n")
    with serving(echo) as server, edge(guarded(server.url, usersFile=str(file))) as proxy:
        assert looking.wait(60)
        assert [status(proxy, basic(b"ann", b"secret")) for _ in range(3)] == ["200"] * 3
        proxy.apply(guarded(server.url, usersFile=str(file)))
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        assert threads() == 1
        again.set()
        proxy.apply(guarded(server.url, f"ann:{FAST}"))
        eventually(lambda: not followers(), "nobody follows a file")
        assert status(proxy, basic(b"ann", b"secret")) == "200"


class Slow:
    """Stands for the process: checks wait until the test lets them go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[tuple[Any, Done]] = []
        self.forgotten = 0
        self.come = threading.Semaphore(0)
        monkeypatch.setattr(Checker, "check", self.check)
        monkeypatch.setattr(Checker, "forget", self.forget)

    def check(self, user: bytes, stored: bytes, password: bytes, done: Done) -> object:
        self.waiting.append((password, done))
        self.come.release()
        return object()

    def forget(self, job: Job, done: Done) -> None:
        self.forgotten += 1
        self.waiting = [item for item in self.waiting if item[1] != done]

    def settle(self, proxy: Edge, decide: Callable[[bytes], bool | None]) -> None:
        def go_on() -> None:
            waiting, self.waiting = self.waiting, []
            for password, done in waiting:
                done(decide(password))

        proxy._loop.call_soon_threadsafe(go_on)

    def wait(self) -> None:
        assert self.come.acquire(timeout=30)


def test_a_request_waits_for_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with serving(echo) as server:
        config = guarded(server.url, f"ann:{FAST}")
        with edge(config) as proxy:
            clients = [proxy.client() for _ in range(3)]
            for client, password in zip(clients, (b"secret", b"wrong", b"lost")):
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n%s\r\nhello" % basic(b"ann", password))
                slow.wait()
            gone = proxy.client()
            gone.send(GET % basic(b"ann", b"gone"))
            slow.wait()
            gone.close()
            eventually(lambda: slow.forgotten == 1, "the check of a client that has gone is given up")
            proxy.apply(config)
            slow.settle(proxy, {b"secret": True, b"wrong": False, b"lost": None}.__getitem__)
            assert [client.message()[0].split()[1] for client in clients] == ["200", "401", "503"]


def test_a_check_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with edge(guarded("http://127.0.0.1:1", f"ann:{FAST}")) as proxy:
        proxy.drive()
        client = proxy.client()
        client.send(GET % basic(b"ann", b"secret"))
        slow.wait()
        proxy.drive(9_000)
        assert slow.forgotten == 0
        proxy.drive(2_000)
        assert client.message()[0].split()[1] == "503"
        assert slow.forgotten == 1
        assert proxy.proxy._region.passwords_shed == 1


def test_a_flood_of_wrong_passwords_delays_no_other_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST_WAITING", 4)
    costly = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    with serving(echo) as server, edge(guarded(server.url, f"ann:{costly}")) as proxy:
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        flood = [proxy.client() for _ in range(8)]
        for number, client in enumerate(flood):
            client.send(GET % basic(b"ann", b"wrong%d" % number))
        open_client, times = proxy.client(), []
        for _ in range(100):
            began = time.monotonic()
            assert open_client.ask(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")[0].endswith("200 OK")
            times.append(time.monotonic() - began)
        # The remembered pair needs no check, either.
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        answers = [client.message() for client in flood]
        assert {first.split()[1] for first, _, _ in answers} == {"401", "503"}
        assert all(headers["retry-after"] == "1" for first, headers, _ in answers if " 503 " in first)
        assert (
            sorted(times)[50] < 2.0
        )  # a check alone takes 50 ms; eight in this thread would take more than these hundred
        assert proxy.proxy._region.passwords_shed == sum(" 503 " in first for first, _, _ in answers) > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"realm": "x"}, "no users found in"),
        ({"users": ["ann"]}, "error parsing user 'ann': a user is name:hash"),
        ({"users": ["ann:a:b"]}, "error parsing user 'ann': a user is name:hash"),
        ({"usersFile": "/nowhere/at/all"}, "/nowhere/at/all: No such file or directory"),
        ({"users": [f"ann:{FAST}"], "headerField": "a b"}, "'a b' is not the name of a header"),
        ({"users": [f"ann:{FAST}"], "headerField": "Content-Length"}, "cannot be set"),
        ({"users": [f"ann:{FAST}"], "headerField": "Host"}, "cannot be set"),
        ({"users": [f"ann:{FAST}"], "realm": "a\nb"}, "the realm has control characters"),
        ({"users": [f"an\nn:{FAST}"]}, "control characters"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    found = errors_of({"basicAuth": options})
    assert any(text in error for error in found), found
    assert FAST not in str(found)


def test_a_user_whom_no_password_lets_in_is_named() -> None:
    (text,) = warnings_of({"basicAuth": {"users": [f"ann:{FAST}", "bob:secret"]}})
    assert "no password lets 'bob' in" in text and "secret" not in text


@pytest.mark.parametrize("form", ["common", "json"])
def test_the_log_names_the_user(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    hostile = b'e"v\\e\n\x1b[31m\xff'
    settings = {"accessLog": {"filePath": str(path), "format": form}}
    with serving(echo) as server, edge(guarded(server.url, f"ann:{FAST}"), static=settings) as proxy:
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        assert status(proxy, basic(b"ann", b"secret")) == "200"
        assert status(proxy, basic(hostile, b"x")) == "401"
        assert status(proxy) == "401"
        assert proxy.ask(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")[0].endswith("200 OK")
    lines = eventually(lambda: len(text := path.read_text().splitlines()) >= 5 and text, "five lines")
    assert len(lines) == 5
    if form == "json":
        assert [json.loads(line)["ClientUsername"] for line in lines] == ["ann", "ann", 'e"v\\e\n\x1b[31m�', "", "-"]
    else:
        assert [line.split(" ")[2] for line in lines] == ["ann", "ann", 'e\\"v\\\\e\\x0a\\x1b[31m\\xff', "-", "-"]
    assert "\x1b" not in "".join(lines)
