"""`providers.redis` beside a real Redis: what its keys say, and what happens when it restarts, or loses events."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from lbcore.config.middlewares.shared_redis import address_of
from lbcore.config.static.providers import RedisProvider
from lbcore.errors import ConfigError
from lbcore.provider import redis as provider
from tests.integration.test_docker import api, ask, becomes, instance
from tests.support.certificates import authority, signed
from tests.support.instance import Instance, eventually
from tests.support.keys import reading_of
from tests.support.ports import free_port
from tests.support.redis_servers import PROGRAMS

ROUTER = {"traefik/http/routers/{0}/rule": "Host(`{0}`)", "traefik/http/routers/{0}/service": "s"}
SERVICE = {"traefik/http/services/s/loadBalancer/servers/0/url": "http://127.0.0.1:1"}


class Server:
    """A server of Redis or Valkey, which may be stopped and started."""

    def __init__(self, folder: Path, *more: str, kind: str = "redis") -> None:
        self.port = free_port()
        self.command = [
            PROGRAMS[kind],
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
            *more,
        ]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port)

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        eventually(answers, "redis-server answers")

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(30)

    def put(self, *hosts: str) -> None:
        with self.client.pipeline(transaction=True) as together:
            for host in hosts:
                together.mset({key.format(host): value.format(host) for key, value in ROUTER.items()})
            together.mset(SERVICE)
            together.execute()


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, kind=getattr(request, "param", "redis"))
    yield found
    found.stop()


@contextlib.contextmanager
def follows(folder: Path, server: Server, **settings: Any) -> Iterator[Instance]:
    options = {"endpoints": [f"127.0.0.1:{server.port}"], **settings}
    with instance(folder, "", providers={"providersThrottleDuration": "0s", "redis": options}) as lb:
        yield lb


@pytest.mark.parametrize("server", PROGRAMS, indirect=True)
def test_keys_are_followed_over_restarts(tmp_path: Path, server: Server) -> None:
    server.put("one")
    with follows(tmp_path, server) as lb:
        becomes(lb, "one", 502)
        server.put("two")
        becomes(lb, "two", 502)
        # A server that restarts forgets its events and its data: what runs stays, and changes are seen again.
        server.stop()
        lb.logged("provider redis: .*what runs stays")
        assert ask(lb.port, "one")[0] == 502
        server.start()
        lb.logged("is empty: what runs stays")
        server.put("one", "three")
        becomes(lb, "three", 502)
        server.put("four")
        becomes(lb, "four", 502)
        server.client.delete(*[key.format("four") for key in ROUTER])
        becomes(lb, "four", 404)


def test_only_the_object_of_a_bad_key_is_refused(tmp_path: Path, server: Server) -> None:
    server.put("good", "bad")
    server.client.set("traefik/http/routers/bad/priority", "abc")
    server.client.set("traefik/http/routes/x/rule", "Host(`x`)")
    server.client.rpush("traefik/http/routers/list/rule", "a")
    with follows(tmp_path, server) as lb:
        becomes(lb, "good", 502)
        assert ask(lb.port, "bad")[0] == 404
        assert (
            "traefik/http/routers/bad/priority: 'abc' is not a whole number"
            in api(lb, "/api/http/routers/bad@redis")["error"][0]
        )
        lb.logged(r"traefik/http/routes/x/rule: unknown key 'routes' \(did you mean routers\?\)")
        server.client.set("traefik/http/routers/bad/priority", "7")
        becomes(lb, "bad", 502)
        assert api(lb, "/api/http/routers/bad@redis")["priority"] == 7


def test_a_server_that_restarts_at_once_is_told_to_send_events_again(tmp_path: Path, server: Server) -> None:
    server.put("one")
    with follows(tmp_path, server) as lb:
        becomes(lb, "one", 502)
        server.stop()
        server.start()

        def sends() -> bool:
            return bool(server.client.config_get("notify-keyspace-events")["notify-keyspace-events"])

        eventually(sends, "events are turned on")
        server.put("two")
        becomes(lb, "two", 502)


@pytest.mark.parametrize("server", PROGRAMS, indirect=True)
def test_keys_that_expire_go(tmp_path: Path, server: Server) -> None:
    server.put("one", "two")
    with follows(tmp_path, server) as lb:
        becomes(lb, "two", 502)
        for key in ROUTER:
            server.client.pexpire(key.format("two"), 20)
        becomes(lb, "two", 404)
        assert ask(lb.port, "one")[0] == 502


def test_what_no_event_tells_is_read_after_a_while(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUSHALL tells nothing of keys."""

    async def readings() -> None:
        store = provider.RedisStore(RedisProvider(endpoints=[f"127.0.0.1:{server.port}"]))
        changes = store.changes()
        assert isinstance(changes, AsyncGenerator)
        await anext(changes)
        try:
            first = await store.read()
            assert [*first.config.http.routers] == ["one"]
            assert first.again_s is not None and first.again_s <= provider.AGAIN_S * 1.1
            server.client.flushall()
            monkeypatch.setattr(provider, "AGAIN_S", 0.0)
            assert (await store.read()).config.is_empty
        finally:
            await changes.aclose()

    server.put("one")
    asyncio.run(readings())


def test_an_object_that_is_half_written_does_not_take_the_place_of_what_runs(tmp_path: Path, server: Server) -> None:
    server.put("one")
    with follows(tmp_path, server) as lb:
        becomes(lb, "one", 502)
        server.client.set("traefik/http/routers/one/service", "later")
        lb.logged('the service "later@redis" does not exist')
        server.put("two")  # which is read after that
        becomes(lb, "two", 502)
        assert ask(lb.port, "one")[0] == 502
        server.client.set("traefik/http/services/later/loadBalancer/servers/0/url", "http://127.0.0.1:1")
        eventually(lambda: api(lb, "/api/http/routers/one@redis")["service"] == "later", "it is complete")
        becomes(lb, "one", 502)


def test_a_user_loses_a_permission_and_gets_it_back(tmp_path: Path, server: Server) -> None:
    server.put("one")
    rights: dict[str, Any] = {"enabled": True, "channels": ["*"], "commands": ["+@all"]}
    server.client.acl_setuser("lb", passwords=["+of-a-test"], keys=["*"], **rights)
    with follows(tmp_path, server, username="lb", password="of-a-test") as lb:
        becomes(lb, "one", 502)
        server.client.acl_setuser("lb", reset_keys=True, keys=["other:*"], **rights)
        server.put("two")
        lb.logged("provider redis: .*(NOPERM|permission).*what runs stays")
        assert (ask(lb.port, "one")[0], ask(lb.port, "two")[0]) == (502, 404)
        assert any(state["problems"] for state in api(lb, "/api/state")["providers"])
        server.client.acl_setuser("lb", keys=["*"], **rights)
        becomes(lb, "two", 502)
        eventually(lambda: not any(state["problems"] for state in api(lb, "/api/state")["providers"]), "it can be read")
        assert "of-a-test" not in lb.log


def test_values_of_any_size_and_type_hurt_their_object_alone(tmp_path: Path, server: Server) -> None:
    server.put("good", "large", "binary", "hash")
    client = server.client
    client.set("traefik/http/routers/large/rule", " || ".join(f"Host(`h{n}`)" for n in range(60_000)))
    client.set("traefik/http/routers/binary/rule", b"Host(`binary`)\x00\xff\xfe")
    client.delete("traefik/http/routers/hash/rule")
    client.hset("traefik/http/routers/hash/rule", "a", "Host(`hash`)")
    client.set("traefik/http/middlewares/wide/headers/customRequestHeaders/X-Wide", "x" * (1 << 20))
    client.set("traefik/http/routers/" + "n" * (1 << 20) + "/rule", "Host(`name`)")
    client.set("traefik/" + "/".join("d" * 2000) + "/rule", "deep")
    with follows(tmp_path, server) as lb:
        becomes(lb, "good", 502)
        becomes(lb, "hash", 404)
        assert ask(lb.port, "binary")[0] == 404
        client.set("traefik/http/routers/binary/rule", "Host(`binary`)")
        becomes(lb, "binary", 502)
        assert ask(lb.port, "good")[0] == 502


def test_many_changes_are_few_readings(tmp_path: Path, server: Server) -> None:
    server.put("one")
    with follows(tmp_path, server) as lb:
        becomes(lb, "one", 502)
        before = server.client.info("commandstats")["cmdstat_mget"]["calls"]
        for number in range(600):
            server.put(f"h{number}")
        becomes(lb, "h599", 502)
        calls = server.client.info("commandstats")["cmdstat_mget"]["calls"] - before
        assert calls < 300  # of at most 1,200 events


def test_a_server_without_events_is_polled(tmp_path: Path) -> None:
    server = Server(tmp_path, "--rename-command", "CONFIG", "")
    try:
        server.put("one")
        with follows(tmp_path, server) as lb:
            becomes(lb, "one", 502)
            lb.logged("does not let events be turned on .*: changes are seen within 30 s")
        assert provider.AGAIN_S == 30
    finally:
        server.stop()


def test_a_user_who_may_not_listen_to_events_is_served_by_polling(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """New users of Redis may use no channel, unless that is allowed."""
    server.put("one")
    rights = ("on", ">of-a-test", "~*", "resetchannels", "+@all")
    server.client.execute_command("ACL", "SETUSER", "lb", *rights)

    async def follow() -> None:
        settings = RedisProvider(endpoints=[f"127.0.0.1:{server.port}"], username="lb", password="of-a-test")
        changes = provider.RedisStore(settings).changes()
        await anext(changes)
        with pytest.raises(TimeoutError):  # and no failure, after which all would begin again
            async with asyncio.timeout(2):
                await anext(changes)

    asyncio.run(follow())
    (line,) = (record.getMessage() for record in caplog.records if "listen to events" in record.getMessage())
    assert "changes are seen within 30 s" in line and "of-a-test" not in line


def test_what_is_refused_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """First a user may neither listen nor turn events on, then the one, then the other."""
    caplog.set_level("INFO")
    monkeypatch.setattr(provider, "REFUSED_S", 0.1)
    monkeypatch.setattr(provider, "QUIET_S", 0.1)
    server.put("one")
    acl = ("ACL", "SETUSER", "lb")
    server.client.execute_command(*acl, "on", ">of-a-test", "~*", "resetchannels", "+@all", "-config")

    async def follow() -> None:
        settings = RedisProvider(endpoints=[f"127.0.0.1:{server.port}"], username="lb", password="of-a-test")
        store = provider.RedisStore(settings)
        changes = store.changes()
        assert isinstance(changes, AsyncGenerator)
        await anext(changes)
        await store.read()
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.5)
        assert not following.done()
        server.client.execute_command(*acl, "allchannels")
        await asyncio.sleep(0.5)
        assert not following.done()  # there are no events yet
        server.client.execute_command(*acl, "+config")
        await following
        server.put("two")
        await anext(changes)
        assert "two" in (await store.read()).config.http.routers
        await changes.aclose()

    asyncio.run(asyncio.wait_for(follow(), 60))
    said = " ".join(record.getMessage() for record in caplog.records)
    for text in ("listen to events (", "events be turned on (", "sends events now", "lets this user listen to events"):
        assert said.count(text) == 1, text


@pytest.mark.parametrize("before", ["redis://:of-a-test@", "lb:of-a-test@", "rediss://of-a-test@"])
def test_a_password_in_an_address_is_refused_and_not_told(before: str) -> None:
    with pytest.raises(ConfigError) as error:
        provider.RedisStore(RedisProvider(endpoints=[f"{before}127.0.0.1:6379"]))
    assert "127.0.0.1:6379" in str(error.value) and "of-a-test" not in str(error.value)
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:6379.*username and password are options") as refusal:
        address_of(f"{before}127.0.0.1:6379")
    assert "of-a-test" not in str(refusal.value)


def test_a_password_and_a_database(tmp_path: Path) -> None:
    protected = Server(tmp_path)
    try:
        other = redis.Redis(port=protected.port, db=3)
        other.mset(
            {**{key.format("a").replace("traefik", "my*root"): value.format("a") for key, value in ROUTER.items()}}
        )
        other.set("my*root/http/services/s/loadBalancer/servers/0/url", "http://127.0.0.1:1")
        protected.client.config_set("requirepass", "secret")
        with follows(tmp_path, protected, password="secret", db=3, rootKey="my*root") as lb:
            becomes(lb, "a", 502)
            assert "secret" not in lb.log
            protected.client.auth("secret")
            other.close()
            protected.client.config_set("requirepass", "changed")
            protected.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            lb.logged("provider redis: .*(invalid|WRONGPASS).*what runs stays")
            assert ask(lb.port, "a")[0] == 502
            assert "secret" not in lb.log
    finally:
        protected.stop()


def test_tls_both_ways(tmp_path: Path) -> None:
    """A server that wants a certificate of its clients, which trust its own; killed and brought back."""
    ca = authority(tmp_path, "ca")
    of_server, of_client = signed(tmp_path, ca, "server", "IP:127.0.0.1"), signed(tmp_path, ca, "client")
    stranger = authority(tmp_path, "stranger")
    port = free_port()
    options = {"tls-port": port, "tls-cert-file": of_server.certificate, "tls-key-file": of_server.key}
    more = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    server = Server(tmp_path, *more, "--tls-ca-cert-file", str(ca.certificate), "--tls-auth-clients", "yes")
    tls = {"ca": str(ca.certificate), "cert": str(of_client.certificate), "key": str(of_client.key)}
    endpoint = {"endpoints": [f"127.0.0.1:{port}"]}
    try:
        server.put("one")
        with follows(tmp_path, server, **endpoint, tls=tls) as lb:
            becomes(lb, "one", 502)
            server.stop()
            lb.logged("provider redis: .*what runs stays")
            server.start()
            server.put("one", "two")
            becomes(lb, "two", 502)
        for name, wrong, reason in (
            ("distrusted", {**tls, "ca": str(stranger.certificate)}, "certificate verify failed"),
            ("nameless", {"ca": str(ca.certificate)}, "nothing of it runs"),
        ):
            (tmp_path / name).mkdir()
            with follows(tmp_path / name, server, **endpoint, tls=wrong) as lb:
                lb.logged(f"provider redis: .*{reason}")
        (tmp_path / "any").mkdir()
        with follows(tmp_path / "any", server, **endpoint, tls={**tls, "ca": "", "insecureSkipVerify": True}) as lb:
            becomes(lb, "one", 502)
    finally:
        server.stop()


def test_sentinel_leads_to_the_master(tmp_path: Path) -> None:
    main = Server(tmp_path)
    replica = Server(tmp_path, "--replicaof", "127.0.0.1", str(main.port))
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 {main.port} 1\nsentinel down-after-milliseconds m 500\n"  # noqa: E501
        "sentinel failover-timeout m 2000\n"
    )
    sentinel = subprocess.Popen(
        ["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        main.put("one")
        watch = redis.Redis(port=port)

        def knows_replica() -> bool:
            with contextlib.suppress(redis.RedisError):
                return len(watch.execute_command("SENTINEL", "REPLICAS", "m")) == 1
            return False

        eventually(knows_replica, "the sentinel knows the replica")
        eventually(lambda: replica.client.exists(*SERVICE), "the replica has the keys")
        settings = {"endpoints": [f"127.0.0.1:{port}"], "sentinel": {"masterName": "m"}}
        with follows(tmp_path, main, **settings) as lb:
            becomes(lb, "one", 502)
            main.process.kill()

            def promoted() -> bool:
                with contextlib.suppress(redis.RedisError):
                    replica.put("two")
                    return True
                return False

            eventually(promoted, "the replica is the master")
            becomes(lb, "two", 502)
            assert ask(lb.port, "one")[0] == 502
    finally:
        sentinel.kill()
        sentinel.wait(30)
        main.stop()
        replica.stop()


def test_what_keys_mean() -> None:
    values = {
        **{f"traefik/http/routers/a/middlewares/{n}": f"m{n}" for n in range(12)},
        "traefik/http/routers/a/rule": "Host(`a`)",
        "traefik/HTTP/routers/A/service": "s",
        "traefik/http/routers/b/middlewares": "m1,m2",
        "traefik/http/routers/b/tls": "true",
        "traefik/http/routers/c/tls": "false",
        "traefik/http/routers/123/rule": "Host(`n`)",
        "traefik/http/services/s/weighted/services/1/name": "x",
        "traefik/http/services/s/weighted/services/0/name": "y",
        "traefik/http/services/s/weighted/services/0/weight": "42",
        "traefik/httpx/y": "1",
        "traefik/other": "1",
    }
    found = reading_of(values, "traefik", "redis")
    routers = found.config.http.routers
    assert routers["A"].middlewares == [f"m{n}" for n in range(12)]
    assert (routers["A"].rule, routers["A"].service) == ("Host(`a`)", "s")
    assert routers["b"].middlewares == ["m1", "m2"]
    assert (routers["b"].tls is None, routers["c"].tls is None) == (False, True)
    assert routers["123"].rule == "Host(`n`)"
    weighted = found.config.http.services["s"].weighted
    assert weighted is not None
    assert [(child.name, child.weight) for child in weighted.services] == [("y", 42), ("x", 1)]
    assert found.problems == ()
    many = {f"traefik/http/routers/r{n}/{key}": "Host(`a`)" for n in range(20_000) for key in ("rule", "service")}
    begin = time.process_time()
    assert len(reading_of(many, "traefik", "redis").config.http.routers) == 20_000
    assert time.process_time() - begin < 60
