"""The network between lbcore and a store is cut without a word: what runs stays, and what changed meanwhile is seen."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.support.instance import eventually, running
from tests.support.networks import THERE, Wire
from tests.support.redis_servers import StoreServer
from tests.support.stores import Consul, Etcd, Store, ZooKeeper
from tests.support.valve import Valve


class Redis:
    name = key = "redis"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._server = StoreServer(folder, "redis")
        self.port = self._server.port

    def put(self, values: dict[str, str]) -> None:
        self._server.client.mset(values)

    def close(self) -> None:
        self._server.stop()


def status(path: Path, host: str) -> int:
    """Of an answer, by a socket that no network is needed for."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := client.recv(65536):
            data += part
    return int(data.split(b" ")[1])


def put(store: Redis | Store, host: str) -> None:
    """Add a router, to a server that is not there."""
    router, service = f"traefik/http/routers/{host}", "traefik/http/services/s/loadBalancer/servers/0/url"
    store.put({f"{router}/rule": f"Host(`{host}`)", f"{router}/service": "s", service: "http://127.0.0.1:1"})


@pytest.mark.parametrize("kind", [Redis, Etcd, Consul, ZooKeeper])
def test_the_network_of_a_store_is_cut(tmp_path: Path, kind: type[Redis | Store]) -> None:
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Wire())
        store = kind(tmp_path / "store")
        stack.callback(store.close)
        way = Valve(store.port, wire.there.listener(THERE))
        stack.callback(way.close)
        put(store, "one")
        place = tmp_path / "web.sock"
        static = {
            "entryPoints": {"web": {"address": f"unix:{place}"}},
            "providers": {"providersThrottleDuration": "0s", store.key: {"endpoints": [way.endpoint]}},
        }
        lb = stack.enter_context(running(tmp_path, None, workers=1, static=static, prefix=wire.here.prefix))
        lb.runs(1)
        eventually(lambda: status(place, "one") == 502, "its routes are there")
        wire.cut()
        put(store, "two")
        lb.logged(rf"provider {store.name}: .*what runs stays")
        assert (status(place, "one"), status(place, "two")) == (502, 404)
        wire.join()
        eventually(lambda: status(place, "two") == 502, "what has changed meanwhile")
