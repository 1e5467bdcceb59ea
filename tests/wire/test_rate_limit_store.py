"""rateLimit in a store: several instances with one limit, by real servers; and what counts while the store is away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.store import redis
from lbcore.store.redis import slot_of
from tests.support.certificates import authority, signed
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.problems import errors_of
from tests.support.recorder import GET, recorders, through
from tests.support.redis_servers import StoreServer
from tests.support.wire import Edge, Peer, deaf, edge
from tests.wire.test_rate_limit import statuses

LIMIT: dict[str, Any] = {"average": 1, "period": "1h", "burst": 5}
KEY = "rate:m0@file:127.0.0.1"


def limited(url: str, endpoint: str, **options: Any) -> dict[str, Any]:
    """`LIMIT`, with these options of `redis`."""
    return through(url, {"rateLimit": {**LIMIT, "redis": {"endpoints": [endpoint], **options}}})


def missed(lb: Edge) -> int:
    assert lb.proxy._region is not None
    return lb.proxy._region.stores_missed


def asked(source: str) -> bytes:
    return GET.replace(b"\r\n\r\n", f"\r\nX-User: {source}\r\n\r\n".encode())


@contextlib.contextmanager
def instances(count: int, dynamic: dict[str, Any]) -> Iterator[list[Edge]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(edge(dynamic)) for _ in range(count)]


def test_instances_have_one_limit_and_a_bucket_as_traefik_has(store: StoreServer) -> None:
    with recorders("a") as (a,), instances(3, limited(a.url, store.endpoint)) as edges:
        clients = [lb.client() for lb in edges]
        found = [statuses(clients[number % 3], 1)[0] for number in range(12)]
        assert found == [200] * 5 + [429] * 7
        assert len(a.requests) == 5
        assert [missed(lb) for lb in edges] == [0, 0, 0]
        bucket = store.client.hgetall(KEY)
        assert sorted(bucket) == [b"last", b"tokens"] and float(bucket[b"tokens"]) < 0.1
        assert 5 * 3600 - 60 < store.client.ttl(KEY) <= 5 * 3600 + 1  # by then it is full
        first, headers, text = clients[0].ask(GET)
        assert (first.split()[1], text) == ("429", b"Too Many Requests")
        assert 3500 < int(headers["retry-after"]) <= 3600 and headers["x-retry-in"].startswith("59m")


def test_the_clock_is_the_stores(store: StoreServer) -> None:
    """Two hours ago by the store the bucket was empty: two requests pass. From the future none comes."""
    with recorders("a") as (a,), edge(limited(a.url, store.endpoint)) as lb:
        client = lb.client()
        for ago_s, tokens, passes in ((7200, 0, 2), (-7200, 1, 1), (0, 0, 0), (10**6, 0, 5), (0, 100, 5)):
            now_s, micros = store.client.time()
            last = str((now_s - ago_s) * 10**6 + micros)
            store.client.hset(KEY, mapping={"last": last, "tokens": str(tokens)})
            assert statuses(client, 7).count(200) == passes, (ago_s, tokens)


def test_a_request_that_is_a_little_early_waits(store: StoreServer) -> None:
    dynamic = through("", {"rateLimit": {"average": 1, "period": "60s", "redis": {"endpoints": [store.endpoint]}}})
    with recorders("a") as (a,):
        dynamic["http"]["services"]["all"]["loadBalancer"]["servers"] = [{"url": a.url}]
        with edge(dynamic) as lb:
            lb.drive()
            client = lb.client()
            now_s, micros = store.client.time()
            # A minute will be over in 0.4 s: half a second may be waited for.
            store.client.hset(KEY, mapping={"last": str(now_s * 10**6 + micros - 59_600_000), "tokens": "0"})
            client.send(GET)
            eventually(lambda: float(store.client.hget(KEY, "tokens") or 0) < -0.001, "it has taken a token")
            lb.settle()
            assert a.requests == []
            lb.drive(500)
            assert client.message()[2] == b"a"
            assert statuses(client, 1) == [429]


def test_sources_and_middlewares_are_apart_and_routers_are_not(store: StoreServer) -> None:
    by_user = {"sourceCriterion": {"requestHeaderName": "X-User"}, "redis": {"endpoints": [store.endpoint]}}
    names = ["one", "two {braces}", "é" * 10, "x" * 5000]
    with recorders("a") as (a,):
        dynamic = through(a.url, {"rateLimit": {**LIMIT, "burst": 2, **by_user}})
        other = {**dynamic["http"]["routers"]["all"], "rule": "PathPrefix(`/other`)"}
        dynamic["http"]["routers"]["other"] = other
        with edge(dynamic) as lb:
            client = lb.client()
            for name in names:
                assert statuses(client, 1, asked(name)) == [200]
                assert statuses(client, 2, asked(name).replace(b"/x", b"/other")) == [200, 429]
            assert statuses(client, 3) == [200, 200, 429]  # without one
        found = store.client.keys("*")
        assert len(found) == 5 and b"rate:m0@file:one" in found and b"rate:m0@file:" in found
        assert max(map(len, found)) < 300  # of a long source a hash
        dynamic["http"]["middlewares"]["another"] = dynamic["http"]["middlewares"]["m0"]
        dynamic["http"]["routers"]["all"]["middlewares"] = ["another"]
        with edge(dynamic) as lb:
            assert statuses(lb.client(), 3, asked("one")) == [200, 200, 429]


def test_a_store_by_its_name(store: StoreServer) -> None:
    with recorders("a") as (a,), edge(limited(a.url, f"localhost:{store.port}")) as lb:
        assert statuses(lb.client(), 7) == [200] * 5 + [429] * 2
        assert missed(lb) == 0 and store.client.exists(KEY)
    with recorders("a") as (a,), edge(limited(a.url, f"store.invalid:{store.port}", whenAway="refuse")) as lb:
        assert statuses(lb.client(), 2) == [503] * 2


def test_a_script_that_the_store_has_forgotten_is_sent_again(store: StoreServer) -> None:
    with recorders("a") as (a,), edge(limited(a.url, store.endpoint)) as lb:
        client = lb.client()
        assert statuses(client, 2) == [200] * 2
        store.client.script_flush()
        assert statuses(client, 4) == [200] * 3 + [429]
        assert missed(lb) == 0


AWAY = {
    "local": [200] * 5 + [429] * 3,
    "pass": [200] * 8,
    "refuse": [503] * 8,
}


@pytest.mark.parametrize("when_away", AWAY)
def test_a_store_that_is_away(when_away: str) -> None:
    with (
        recorders("a") as (a,),
        edge(limited(a.url, f"127.0.0.1:{free_port()}", whenAway=when_away)) as lb,
    ):
        client = lb.client()
        assert statuses(client, 8) == AWAY[when_away]
        assert missed(lb) == 8
        if when_away == "refuse":
            first, headers, text = client.ask(GET)
            assert (first.split()[1], headers["retry-after"], text) == ("503", "1", b"Service Unavailable")


def test_by_default_the_limit_of_the_instance_counts_while_the_store_is_away() -> None:
    with recorders("a") as (a,), edge(limited(a.url, f"127.0.0.1:{free_port()}")) as lb:
        assert statuses(lb.client(), 8) == AWAY["local"]


def test_a_store_that_dies_and_comes_back_under_traffic(tmp_path: Path) -> None:
    dynamic: dict[str, Any] = {"average": 1, "period": "1h", "burst": 100_000}
    store = StoreServer(tmp_path, "redis")
    used = {"endpoints": [store.endpoint], "whenAway": "pass", "maxWait": "200ms"}
    with recorders("a") as (a,), edge(through(a.url, {"rateLimit": {**dynamic, "redis": used}})) as lb:
        client = lb.client()
        for _ in range(2):
            assert statuses(client, 5) == [200] * 5
            store.stop()
            before = missed(lb)
            assert statuses(client, 20) == [200] * 20
            assert missed(lb) - before >= 15  # nobody waits, except those that were first to see it
            store.start()

            def counts() -> bool:
                return statuses(client, 1) == [200] and bool(store.client.exists(KEY))

            eventually(counts, "the store is used again")
    store.stop()


def test_nothing_waits_longer_than_a_set_time(tmp_path: Path) -> None:
    """By the clock of the data plane, which the test drives: a store that hangs is given up after `maxWait`."""
    store = StoreServer(tmp_path, "redis")
    settings = {"whenAway": "refuse", "maxWait": "20s", "readTimeout": "0s"}
    with recorders("a") as (a,), edge(limited(a.url, store.endpoint, **settings)) as lb:
        lb.drive()
        client, gone = lb.client(), lb.client()
        assert statuses(client, 1) == [200]
        with store.hanging():
            client.send(GET)
            gone.send(GET)
            lb.settle()
            lb.drive(19_000)
            lb.settle()
            assert missed(lb) == 0
            gone.close()
            eventually(lambda: lb.open_connections == 1, "one has gone")
            lb.drive(1_200)
            assert client.message()[0].split()[1] == "503"
            assert missed(lb) == 1
        eventually(lambda: statuses(client, 1) == [200], "it replies again")
    store.stop()


@pytest.mark.parametrize(
    ("options", "idle", "busy"),
    [
        ({}, 1, 10),
        ({"poolSize": 2}, 1, 2),
        ({"maxActiveConns": 1}, 1, 1),
        ({"poolSize": 5, "maxActiveConns": 2}, 1, 2),
        ({"minIdleConns": 3}, 3, 10),
        ({"minIdleConns": 4, "poolSize": 2}, 2, 2),
    ],
)
def test_connections(
    store: StoreServer, options: dict[str, Any], idle: int, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "BUSY", 1)
    eventually(lambda: store.connections() == 0, "those of other cases have gone")
    patient = {"maxWait": "60s", "readTimeout": "60s"}
    with recorders("a") as (a,), edge(limited(a.url, store.endpoint, **options, **patient)) as lb:
        assert statuses(lb.client(), 1) == [200]
        eventually(lambda: store.connections() == idle, "connections that stay are open")
        store.client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")  # scripts wait, and nothing else does
        clients: list[Peer] = []

        def asked_more() -> bool:
            clients.append(lb.client())
            clients[-1].send(GET)
            lb.settle()
            return store.connections() >= busy

        eventually(asked_more, "more are opened")
        for _ in range(6):
            asked_more()
        assert store.connections() == busy
        store.client.execute_command("CLIENT", "UNPAUSE")
        found = [client.message()[0].split()[1] for client in clients]
        assert found.count("200") == min(4, len(clients)) and set(found) <= {"200", "429"}
        assert (store.connections(), missed(lb)) == (busy, 0)
    eventually(lambda: store.connections() == 0, "they are closed with the proxy")


def test_users_passwords_and_databases(tmp_path: Path) -> None:
    store = StoreServer(tmp_path, "valkey", "--requirepass", "sesame", password="sesame")
    rights = ["+@all", "-@dangerous", "~rate:*"]
    store.client.execute_command("ACL", "SETUSER", "limits", "on", ">key", *rights)
    cases = [
        ({"password": "sesame"}, 0, 0),
        ({"username": "limits", "password": "key", "db": 3}, 3, 0),
        ({"password": "wrong"}, 0, 6),
        ({"username": "limits", "password": "sesame"}, 0, 6),
        ({}, 0, 6),
        ({"password": "sesame", "db": 9999}, 0, 6),
    ]
    try:
        for options, db, lost in cases:
            store.client.flushall()
            with recorders("a") as (a,), edge(limited(a.url, store.endpoint, **options)) as lb:
                assert statuses(lb.client(), 6) == [200] * 5 + [429]  # also by the buckets of the instance
                assert missed(lb) == lost, options
            store.client.execute_command("SELECT", db)
            assert store.client.exists(KEY) == (not lost)
            store.client.execute_command("SELECT", 0)
    finally:
        store.stop()


def test_tls(tmp_path: Path) -> None:
    ca, other = authority(tmp_path, "ca"), authority(tmp_path, "other")
    own, client = signed(tmp_path, ca, "own", "IP:127.0.0.1"), signed(tmp_path, ca, "client")
    port = free_port()
    secure = ["--tls-port", str(port), "--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)]
    secure += ["--tls-ca-cert-file", str(ca.certificate), "--tls-auth-clients"]
    trusted: dict[str, Any] = {"ca": str(ca.certificate)}
    pair = {"cert": str(client.certificate), "key": str(client.key)}
    texts = {"cert": client.certificate.read_text(), "key": client.key.read_text(), "ca": ca.certificate.read_text()}
    for mutual, cases in (
        ("no", [(trusted, 0), ({"insecureSkipVerify": True}, 0), ({"ca": str(other.certificate)}, 6), ({}, 6)]),
        ("yes", [({**trusted, **pair}, 0), (texts, 0), (trusted, 6)]),
    ):
        store = StoreServer(tmp_path, "redis", *secure, mutual)
        try:
            for tls, lost in cases:
                store.client.flushall()
                with recorders("a") as (a,), edge(limited(a.url, f"127.0.0.1:{port}", tls=tls)) as lb:
                    assert statuses(lb.client(), 6) == [200] * 5 + [429]
                    assert missed(lb) == lost, (mutual, tls)
                assert store.client.exists(KEY) == (not lost)
        finally:
            store.stop()


def test_a_cluster_and_a_key_that_moves(tmp_path: Path) -> None:
    nodes = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        port = free_port()
        bus = ["--cluster-port", str(free_port())]
        nodes.append(StoreServer(folder, "redis", "--cluster-enabled", "yes", *bus, port=port))
    one, two = nodes
    try:
        one.client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        two.client.execute_command("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        one.client.execute_command("CLUSTER", "MEET", "127.0.0.1", two.port, two.command[-1])
        for node in nodes:
            eventually(lambda node=node: node.client.cluster("info")["cluster_state"] == "ok", "the cluster is made")  # type: ignore[misc]
        cluster = {"endpoints": [one.endpoint, two.endpoint]}
        by_user = {"sourceCriterion": {"requestHeaderName": "X-User"}}
        with recorders("a") as (a,):
            dynamic = through(a.url, {"rateLimit": {**LIMIT, **by_user, "burst": 2, "redis": cluster}})
            with edge(dynamic) as lb:
                client = lb.client()
                for name in "abcdefgh":
                    assert statuses(client, 3, asked(name)) == [200, 200, 429]
                assert missed(lb) == 0
                keys = [node.client.keys("*") for node in nodes]
                assert len(keys[0]) + len(keys[1]) == 8 and min(map(len, keys)) > 0
                # The slot of one key moves to the other server.
                key = keys[0][0]
                slot, source = slot_of(key), key.rpartition(b":")[2].decode()
                ids = [node.client.execute_command("CLUSTER", "MYID") for node in nodes]
                two.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
                one.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
                assert statuses(client, 1, asked(source)) == [429]
                one.client.execute_command("MIGRATE", "127.0.0.1", two.port, key, 0, 5000)
                assert statuses(client, 1, asked(source)) == [429]  # ASK
                for node in (two, one):
                    node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
                assert statuses(client, 1, asked(source)) == [429]  # MOVED
                assert missed(lb) == 0
                one.stop()
                assert statuses(client, 1, asked(source)) == [429]  # the other one is asked as before
                assert missed(lb) == 0
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.stop()


def test_a_store_that_cannot_be_dialed_delays_nobody_for_long() -> None:
    with recorders("a") as (a,), deaf() as port:
        with edge(limited(a.url, f"127.0.0.1:{port}", dialTimeout="100ms", maxWait="60s")) as lb:
            client = lb.client()
            assert statuses(client, 6) == [200] * 5 + [429]  # the first one waits for `dialTimeout`, and no other one


def test_a_reload_keeps_connections_and_another_store_gets_others(store: StoreServer) -> None:
    eventually(lambda: store.connections() == 0, "those of other cases have gone")
    with recorders("a") as (a,), edge(limited(a.url, store.endpoint)) as lb:
        client = lb.client()
        assert statuses(client, 2) == [200] * 2
        (before,) = [each["id"] for each in store.client.client_list() if each["cmd"] != "client|list"]
        lb.apply(limited(a.url, store.endpoint))
        assert statuses(client, 1) == [200]
        assert [each["id"] for each in store.client.client_list() if each["cmd"] != "client|list"] == [before]
        lb.apply(limited(a.url, store.endpoint, db=1))
        assert statuses(client, 1) == [200]
        eventually(lambda: store.connections() == 1, "the connections of the former store are closed")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"endpoints": ["somewhere"]}, "'somewhere' is no address: write host:port"),
        ({"endpoints": ["a:0"]}, "'a:0' is no address"),
        ({"whenAway": "never"}, "'never'"),
        ({"maxWait": "0s"}, "at least 1ms is needed"),
        ({"db": -1}, "-1"),
        ({"sentinel": {}}, "sentinel"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    found = errors_of({"rateLimit": {**LIMIT, "redis": options}})
    assert any(text in error for error in found), found


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    from lbcore.api.shape import shape
    from lbcore.config.middlewares.rate_limit import RateLimit

    config = RateLimit.model_validate({"average": 1, "redis": {"password": "sesame", "username": "ann"}})
    assert "sesame" not in repr(config) and shape(config)["redis"] == {
        "endpoints": ["127.0.0.1:6379"],
        "username": "ann",
        "password": "xxxx",
        "readTimeout": "3s",
        "writeTimeout": "3s",
        "dialTimeout": "5s",
    }


def test_time_is_not_spent_on_a_store_that_is_away() -> None:
    """A thousand requests while the store refuses connections: none of them waits for a dial."""
    dynamic = limited("http://127.0.0.1:1", f"127.0.0.1:{free_port()}", whenAway="refuse", maxWait="20s")
    with edge(dynamic) as lb:
        client = lb.client()
        begun = time.monotonic()
        assert statuses(client, 1000) == [503] * 1000
        assert time.monotonic() - begun < 20
