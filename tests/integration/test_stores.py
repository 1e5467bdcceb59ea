"""Keys in real etcd, Consul and ZooKeeper: what they say, and what happens when the stores are killed, or hang."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from tests.integration.test_docker import Watch, api, ask, becomes, points
from tests.support.command import run_command
from tests.support.instance import Instance, eventually, running
from tests.support.ports import free_port
from tests.support.stores import Consul, Etcd, Store, ZooKeeper
from tests.support.traefik import start
from tests.support.valve import Valve

KINDS = {"etcd": Etcd, "consul": Consul, "zookeeper": ZooKeeper}
NAMES = list(KINDS)
SERVICE = {"traefik/http/services/s/loadBalancer/servers/0/url": "http://127.0.0.1:1"}


def router(name: str, **more: str) -> dict[str, str]:
    values = {"rule": f"Host(`{name}`)", "service": "s", **more}
    return {f"traefik/http/routers/{name}/{key}": value for key, value in values.items()}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    """Started when they are first asked for."""
    found: dict[str, Store] = {}
    yield found
    for each in found.values():
        each.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> Store:
    name = request.param
    if name not in stores:
        stores[name] = KINDS[name](tmp_path_factory.mktemp(name))
    stores[name].clear()
    return stores[name]


@contextlib.contextmanager
def follows(folder: Path, store: Store, throttle: str = "0s", **settings: Any) -> Iterator[Instance]:
    static = {
        "entryPoints": points(),
        "api": {"insecure": True},
        "providers": {"providersThrottleDuration": throttle, store.key: {**store.settings, **settings}},
    }
    with running(folder, None, workers=1, static=static) as lb:
        yield lb


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_keys_are_followed_over_restarts(tmp_path: Path, store: Store) -> None:
    store.put({**router("one"), **SERVICE})
    with follows(tmp_path, store) as lb:
        becomes(lb, "one", 502)
        store.put(router("two"))
        becomes(lb, "two", 502)
        watch = Watch(lb, "one")
        store.kill()
        lb.logged(f"provider {store.name}: .*what runs stays")
        store.start()
        if not store.again:
            lb.logged("is empty: what runs stays")
        store.put({**router("one"), **router("three"), **SERVICE})
        becomes(lb, "three", 502)
        # Changes are seen by the new connection, too.
        store.put(router("four"))
        becomes(lb, "four", 502)
        store.delete(router("four"))
        becomes(lb, "four", 404)
        assert watch.end() == {502}
        [state] = api(lb, "/api/providers")
        assert (state["name"], state["problems"]) == (store.name, [])


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_what_keys_say_beside_traefik(tmp_path: Path, store: Store) -> None:
    """The same keys in both: the same objects, but for what is wrong in Traefik's."""
    values = {
        **router("list", **{f"middlewares/{n}": f"m{n}" for n in range(8)}),
        **router("commas", middlewares="m1,m2"),
        **router("plain", tls="false"),
        **router("tls", tls="true"),
        **router("CASE", priority="7"),
        **{f"traefik/http/middlewares/m{n}/addPrefix/prefix": f"/{n}" for n in range(8)},
        "traefik/http/services/w/weighted/services/0/name": "s",
        "traefik/http/services/w/weighted/services/0/weight": "3",
        "traefik/http/services/w/weighted/services/1/name": "s",
        "traefik/tcp/routers/t/rule": "HostSNI(`*`)",
        "traefik/tcp/routers/t/service": "t",
        "traefik/tcp/services/t/loadBalancer/servers/0/address": "127.0.0.1:1",
        "traefik/other": "1",
        "traefik2/http/routers/none/rule": "Host(`none`)",
        **SERVICE,
    }
    store.put(values)
    ports = {name: (free_port(), free_port()) for name in ("traefik", "lbcore")}
    shown = {}
    for name, (web, admin) in ports.items():
        static = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{admin}"}},
            "api": {"insecure": True},
            "providers": {store.key: store.settings},
        }
        process = start(name, tmp_path, static)
        try:
            shown[name] = eventually(partial(seen, admin, len(routers_in(values))), f"the objects in {name}")
        finally:
            process.kill()
            process.wait(30)
    assert shown["lbcore"] == shown["traefik"]


def routers_in(values: Mapping[str, str]) -> set[str]:
    return {key.split("/")[3] for key in values if key.startswith("traefik/http/routers/")}


def seen(port: int, routers: int) -> Any:
    """What an API shows of the objects of stores, as soon as all are there."""
    found: dict[str, Any] = {}
    with contextlib.suppress(httpx.HTTPError, ValueError):
        for kind in ("http/routers", "http/services", "http/middlewares", "tcp/routers", "tcp/services"):
            for each in httpx.get(f"http://127.0.0.1:{port}/api/{kind}?per_page=100", trust_env=False).json():
                if not each["name"].endswith("@internal"):
                    keys = ("rule", "service", "middlewares", "status", "addPrefix", "weighted", "tls", "entryPoints")
                    found[f"{kind}/{each['name']}"] = {key: each[key] for key in keys if key in each}
    is_all = sum(key.startswith("http/routers/") for key in found) == routers
    return found if is_all else None


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_only_the_object_of_a_bad_key_is_refused(tmp_path: Path, store: Store) -> None:
    many = {f"middlewares/{n}": f"m{n}" for n in range(12)}
    store.put(
        {
            **router("good", **many),
            **router("bad", priority="abc"),
            **router("late"),
            **SERVICE,
            **{f"traefik/http/middlewares/m{n}/addPrefix/prefix": f"/{n}" for n in range(12)},
            "traefik/http/routes/x/rule": "Host(`x`)",
        }
    )
    store.delete(["traefik/http/routers/late/service"])
    with follows(tmp_path, store) as lb:
        becomes(lb, "good", 502)
        shown = api(lb, f"/api/http/routers/good@{store.name}")
        assert shown["middlewares"] == [f"m{n}@{store.name}" for n in range(12)]
        bad = api(lb, f"/api/http/routers/bad@{store.name}")["error"]
        assert "traefik/http/routers/bad/priority: 'abc' is not a whole number" in bad[0]
        lb.logged(r"traefik/http/routes/x/rule: unknown key 'routes' \(did you mean routers\?\)")
        # A value that is wrong later on leaves the object as it runs; one that is half written begins when it is whole.
        store.put({"traefik/http/routers/good/priority": "many"})
        lb.logged(f"router good@{store.name} is broken, the version that runs stays")
        assert (ask(lb.port, "good")[0], ask(lb.port, "late")[0]) == (502, 404)
        store.put({"traefik/http/routers/late/service": "s", "traefik/http/routers/bad/priority": "7"})
        becomes(lb, "late", 502)
        assert api(lb, f"/api/http/routers/bad@{store.name}")["priority"] == 7
        # Values as large as the store takes them.
        value = {"traefik/http/middlewares/large/headers/customRequestHeaders/X-Large": "x" * (store.value_limit - 200)}
        store.put({**router("large", middlewares="large"), **value})
        becomes(lb, "large", 502)


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_an_empty_store_is_believed_when_it_stays_so(tmp_path: Path, store: Store) -> None:
    store.put({**router("one"), **SERVICE})
    with follows(tmp_path, store) as lb:
        becomes(lb, "one", 502)
        store.clear()
        lb.logged("is empty: what runs stays until that is certain")
        assert ask(lb.port, "one")[0] == 502
    store.put({**router("one"), **SERVICE})
    (tmp_path / "sure").mkdir()
    with follows(tmp_path / "sure", store, allowEmpty=True) as lb:
        becomes(lb, "one", 502)
        store.clear()
        becomes(lb, "one", 404)


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_a_store_that_is_not_there_at_the_start(tmp_path: Path, store: Store) -> None:
    store.put({**router("one"), **SERVICE})
    store.kill()
    try:
        with follows(tmp_path, store) as lb:
            lb.logged(f"provider {store.name}: .*nothing of it runs")
            store.start()
            store.put({**router("one"), **SERVICE})
            becomes(lb, "one", 502)
    finally:
        if not store.answers():
            store.start()


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_check_shows_what_a_store_has(tmp_path: Path, store: Store) -> None:
    store.put({**router("one"), **router("bad", priority="x"), **SERVICE})
    file = tmp_path / "static.yml"
    file.write_text(yaml.safe_dump({"providers": {store.key: store.settings}}))
    for more in ([str(file)], ["--endpoint", store.settings["endpoints"][0]]):
        found = run_command("check", "--provider", store.name, *more)
        assert "router one: Host(`one`) -> s (http://127.0.0.1:1)" in found.stdout + found.stderr
        assert "traefik/http/routers/bad/priority: 'x' is not a whole number" in found.stdout + found.stderr
        assert found.returncode == 1


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_many_keys_at_once(tmp_path: Path, store: Store) -> None:
    store.put({**router("one"), **SERVICE})
    with follows(tmp_path, store, "400ms") as lb:
        becomes(lb, "one", 502)
        start, before = time.monotonic(), api(lb, "/api/state")["reload"]["generation"]
        hosts = [f"h{number}" for number in range(150)]
        for host in hosts:
            store.put(router(host))
        becomes(lb, hosts[-1], 502)
        reloads = api(lb, "/api/state")["reload"]["generation"] - before
        assert reloads <= (time.monotonic() - start) / 0.4 + 2
        end = time.monotonic()
    assert time.monotonic() - end < 20  # it stops while it watches


# What each of them has of its own


def test_a_user_of_etcd_loses_a_permission_and_gets_it_back(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path / "etcd")
    try:
        etcd.put({**router("one"), **SERVICE})
        for path, data in (
            ("/auth/user/add", {"name": "root", "password": "ROOT-SECRET"}),
            ("/auth/user/grant", {"user": "root", "role": "root"}),
            ("/auth/user/add", {"name": "lb", "password": "LB-SECRET"}),
            ("/auth/role/add", {"name": "reader"}),
            ("/auth/user/grant", {"user": "lb", "role": "reader"}),
        ):
            if data.get("role") == "root":
                etcd.ask("/auth/role/add", {"name": "root"})
            etcd.ask(path, data)
        range_ = {"key": "dHJhZWZpay8=", "range_end": "dHJhZWZpazA="}  # traefik/ to traefik0
        grant = {"name": "reader", "perm": {"permType": "READ", **range_}}
        etcd.ask("/auth/role/grant", grant)
        etcd.ask("/auth/enable", {})
        etcd.token = etcd.ask("/auth/authenticate", {"name": "root", "password": "ROOT-SECRET"})["token"]
        with follows(tmp_path, etcd, username="lb", password="LB-SECRET") as lb:
            becomes(lb, "one", 502)
            etcd.ask("/auth/role/revoke", {"role": "reader", **range_})
            etcd.put(router("two"))
            lb.logged("provider etcd: .*permission denied, what runs stays")
            assert ask(lb.port, "one")[0] == 502
            etcd.ask("/auth/role/grant", grant)
            becomes(lb, "two", 502)
            # Its tokens are gone with a restart.
            etcd.kill()
            etcd.token = ""
            etcd.start()
            etcd.token = etcd.ask("/auth/authenticate", {"name": "root", "password": "ROOT-SECRET"})["token"]
            etcd.put(router("three"))
            becomes(lb, "three", 502)
            assert "SECRET" not in lb.log + str(api(lb, "/api/rawdata")) + str(api(lb, "/api/providers"))
    finally:
        etcd.close()


def test_a_cluster_of_etcd_loses_members(tmp_path: Path) -> None:
    peers = {name: free_port() for name in "abc"}
    members = {name: Etcd(tmp_path / name, name, peers) for name in peers}
    try:
        eventually(lambda: all(member.answers() for member in members.values()), "a cluster")
        endpoints = [f"127.0.0.1:{member.port}" for member in members.values()]
        members["a"].put({**router("r"), **SERVICE})
        with follows(tmp_path, members["a"], endpoints=endpoints) as lb:
            becomes(lb, "r", 502)
            for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
                members[name].kill()
                eventually(partial(puts, members[other], router(f"without-{name}")), "the others are a cluster")
                becomes(lb, f"without-{name}", 502)
                members[name].start()
                eventually(members[name].answers, "it is back")
            assert ask(lb.port, "r")[0] == 502
    finally:
        for member in members.values():
            member.close()


@pytest.mark.timeout(900)
def test_an_ensemble_of_zookeeper_loses_members(tmp_path: Path) -> None:
    """Each in turn: one is that to which lbcore is connected, and one leads."""
    peers = {number: (free_port(), free_port()) for number in (1, 2, 3)}
    members = {number: ZooKeeper(tmp_path / str(number), number, peers) for number in peers}
    try:
        eventually(lambda: all(member.answers() for member in members.values()), "an ensemble", 120)
        endpoints = [f"127.0.0.1:{member.port}" for member in members.values()]
        eventually(partial(puts, members[1], {**router("r"), **SERVICE}), "it takes keys", 120)
        with follows(tmp_path, members[1], endpoints=endpoints) as lb:
            becomes(lb, "r", 502)
            for number, other in ((1, 2), (2, 3), (3, 1)):
                members[number].kill()
                eventually(partial(puts, members[other], router(f"without-{number}")), "the others are one", 120)
                becomes(lb, f"without-{number}", 502)
                members[number].start()
                eventually(members[number].answers, "it is back", 120)
            # Nor does one keep lbcore that is there, and says nothing.
            for number, other in ((1, 2), (2, 3), (3, 1)):
                members[number].pause()
                eventually(partial(puts, members[other], router(f"beside-{number}")), "the others are one", 120)
                becomes(lb, f"beside-{number}", 502)
                members[number].go_on()
                eventually(members[number].answers, "it goes on", 120)
            assert ask(lb.port, "r")[0] == 502
    finally:
        for member in members.values():
            member.close()


class Overheard(Valve):
    """A way to a ZooKeeper that keeps what goes there."""

    def __init__(self, port: int) -> None:
        self.said = b""
        super().__init__(port)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        if sink.getpeername()[1] != self._to:
            return super()._pass(source, sink)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.said += data
                sink.sendall(data)
        return None

    @property
    def asked(self) -> list[int]:
        """The kinds of requests after the first one, which makes the session."""
        frames, at = [], 0
        while at + 4 <= len(self.said):
            length = int.from_bytes(self.said[at : at + 4])
            frames.append(int.from_bytes(self.said[at + 8 : at + 12]))
            at += 4 + length
        return frames[1:]


def test_a_server_of_zookeeper_catches_up_before_it_is_asked(tmp_path: Path) -> None:
    """A member of an ensemble may lag behind the one to which the connection was before."""
    sync, of_nodes = 9, {3, 4, 8, 12}  # exists, and the questions for a node and its children
    zookeeper = ZooKeeper(tmp_path / "zookeeper")
    way = Overheard(zookeeper.port)
    try:
        zookeeper.put({**router("one"), **SERVICE})
        with follows(tmp_path, zookeeper, endpoints=[way.endpoint]) as lb:
            becomes(lb, "one", 502)
            assert next(kind for kind in way.asked if kind == sync or kind in of_nodes) == sync
            way.said = b""
            way.cut()
            zookeeper.put(router("two"))
            becomes(lb, "two", 502)
            assert next(kind for kind in way.asked if kind == sync or kind in of_nodes) == sync
    finally:
        way.close()
        zookeeper.close()


def puts(store: Store, values: Mapping[str, str]) -> bool:
    with contextlib.suppress(AssertionError, httpx.HTTPError, KazooException, KazooTimeoutError):
        store.put(values)
        return True
    return False


def test_a_token_of_consul_loses_a_permission_and_gets_it_back(tmp_path: Path) -> None:
    master = "00000000-0000-0000-0000-00000000beef"
    text = f'acl {{ enabled = true\n default_policy = "deny"\n tokens {{ master = "{master}" }} }}'
    consul = Consul(tmp_path / "consul", text, master)
    try:
        consul.put({**router("one"), **SERVICE})
        rules = 'key_prefix "traefik" { policy = "read" }'
        policy = consul.ask("PUT", "/acl/policy", {"Name": "p", "Rules": rules})
        token = consul.ask("PUT", "/acl/token", {"Policies": [{"Name": "p"}]})["SecretID"]
        with follows(tmp_path, consul, token=token) as lb:
            becomes(lb, "one", 502)
            # Consul leaves out of lists what a token may not read: that is no empty store.
            changed = {"ID": policy["ID"], "Name": "p", "Rules": 'key_prefix "other" { policy = "read" }'}
            consul.ask("PUT", f"/acl/policy/{policy['ID']}", changed)
            consul.put(router("two"))
            lb.logged("provider consul: .*Permission denied, what runs stays")
            assert ask(lb.port, "one")[0] == 502
            consul.ask("PUT", f"/acl/policy/{policy['ID']}", {**changed, "Rules": rules})
            becomes(lb, "two", 502)
            assert token not in lb.log + str(api(lb, "/api/rawdata"))
    finally:
        consul.close()


def test_a_user_of_zookeeper_loses_a_permission_and_gets_it_back(tmp_path: Path) -> None:
    from kazoo.security import make_digest_acl

    zookeeper = ZooKeeper(tmp_path / "zookeeper")
    try:
        zookeeper.put({**router("one"), **SERVICE})
        mine, others = (make_digest_acl(user, "ZK-SECRET", all=True) for user in ("lb", "other"))
        rule = "/traefik/http/routers/one/rule"
        zookeeper.client.set_acls(rule, [mine])
        with follows(tmp_path, zookeeper, username="lb", password="ZK-SECRET") as lb:
            becomes(lb, "one", 502)
            zookeeper.client.add_auth("digest", "lb:ZK-SECRET")
            zookeeper.client.add_auth("digest", "other:ZK-SECRET")
            zookeeper.client.set_acls(rule, [others])
            zookeeper.client.set(rule, b"Host(`two`)")
            # It does not tell those who may not read. With a new connection all nodes are asked for.
            zookeeper.kill()
            zookeeper.start()
            lb.logged(f"provider zookeeper: .*{rule} may not be read by this user, what runs stays")
            assert ask(lb.port, "one")[0] == 502
            zookeeper.client.set_acls(rule, [mine])
            becomes(lb, "two", 502)
            assert "SECRET" not in lb.log + str(api(lb, "/api/rawdata"))
    finally:
        zookeeper.close()


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_a_store_that_hangs(tmp_path: Path, store: Store) -> None:
    """Its connections stay open and it says nothing: what changes meanwhile is seen when it goes on."""
    store.put({**router("one"), **SERVICE})
    with follows(tmp_path, store) as lb:
        becomes(lb, "one", 502)
        store.pause()
        try:
            assert ask(lb.port, "one")[0] == 502
        finally:
            store.go_on()
        store.put(router("two"))
        becomes(lb, "two", 502)
