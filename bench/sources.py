"""Where the routers of `bench.providers` stand: in stores, in files, and in what answers as Docker and Kubernetes do.

Each of them gives all proxies the same routers, `r0`, `r1`, ..., each with a service of its own and one rule, a host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from bench.containers import Containers
from bench.process import LOAD_CORE, ended, pin, start, wait_until
from tests.support.kubernetes import Kubernetes, route, service, slice_of
from tests.support.ports import free_port
from tests.support.stores import Etcd

AT_ONCE = 1500  # routers of one write, since transactions have limits
OF_A_FILE = 100  # routers of a file in a directory


@dataclass(frozen=True, slots=True)
class Source:
    """settings  the section of `providers`.
    put       creates routers, by number, or changes their hosts.
    """

    settings: dict[str, Any]
    put: Callable[[Mapping[int, str]], None]


class _Keys:
    """Routers as keys, of which those that have other values are written."""

    def __init__(self, write: Callable[[Mapping[str, str]], None], server: str) -> None:
        self._write, self._server = write, server
        self._known: dict[str, str] = {}

    def put(self, hosts: Mapping[int, str]) -> None:
        numbers = list(hosts)
        for first in range(0, len(numbers), AT_ONCE):
            values: dict[str, str] = {}
            for number in numbers[first : first + AT_ONCE]:
                values |= self._of(number, hosts[number])
            fresh = {key: value for key, value in values.items() if self._known.get(key) != value}
            self._known |= fresh
            self._write(fresh)

    def _of(self, number: int, host: str) -> dict[str, str]:
        return {
            f"traefik/http/routers/r{number}/rule": f"Host(`{host}`)",
            f"traefik/http/routers/r{number}/service": f"s{number}",
            f"traefik/http/services/s{number}/loadBalancer/servers/0/url": f"http://{self._server}",
        }


@contextlib.contextmanager
def redis(folder: Path, server: str) -> Iterator[Source]:
    import redis as library

    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with ended(start(command, LOAD_CORE, folder)):
        client = library.Redis(port=port)

        def answers() -> bool:
            with contextlib.suppress(library.RedisError):
                return bool(client.ping())
            return False

        wait_until(answers, "redis-server answers")
        keys = _Keys(lambda values: client.mset(dict(values)), server)
        yield Source({"redis": {"endpoints": [f"127.0.0.1:{port}"]}}, keys.put)
        client.close()


@contextlib.contextmanager
def etcd(folder: Path, server: str) -> Iterator[Source]:
    store = Etcd(folder / "etcd")
    try:
        yield Source({"etcd": store.settings}, _Keys(store.put, server).put)
    finally:
        store.close()


class _Files:
    """Routers in files, each written beside its place and moved there. `size`: routers of a file; 0: there is one."""

    def __init__(self, folder: Path, server: str, size: int) -> None:
        self._folder, self._server, self._size = folder, server, size
        self._hosts: dict[int, dict[int, str]] = {}  # by number of the file

    def put(self, hosts: Mapping[int, str]) -> None:
        touched: dict[int, None] = {}
        for number, host in hosts.items():
            at = number // self._size if self._size else 0
            self._hosts.setdefault(at, {})[number] = host
            touched[at] = None
        for at in touched:
            beside = self._folder / f".{at}"
            beside.write_text(self._text(self._hosts[at]))
            beside.replace(self._folder / f"{at}.yml")

    def _text(self, hosts: Mapping[int, str]) -> str:
        lines = ["http:", "  routers:"]
        for number, host in hosts.items():
            lines += (f"    r{number}:", f"      rule: Host(`{host}`)", f"      service: s{number}")
        lines.append("  services:")
        for number in hosts:
            lines += (f"    s{number}:", "      loadBalancer:", f"        servers: [{{url: 'http://{self._server}'}}]")
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def file(folder: Path, server: str) -> Iterator[Source]:
    place = folder / "dynamic"
    place.mkdir()
    yield Source({"file": {"filename": str(place / "0.yml")}}, _Files(place, server, 0).put)


@contextlib.contextmanager
def files(folder: Path, server: str) -> Iterator[Source]:
    place = folder / "dynamic"
    place.mkdir()
    yield Source({"file": {"directory": str(place)}}, _Files(place, server, OF_A_FILE).put)


class _Cluster(Kubernetes):
    """An API server in another process, with a service of its own for each route."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._host, _, self._at = server.partition(":")
        self._known: set[int] = set()

    def address(self) -> str:
        return self.url

    def put(self, hosts: Mapping[int, str]) -> None:
        for number, host in hosts.items():
            name, port = f"s{number}", int(self._at)
            if number not in self._known:
                self._known.add(number)
                self.apply(service(name, port))
                self.apply(slice_of(name, [self._host], port))
            self.apply(route(f"r{number}", f"Host(`{host}`)", [{"name": name, "port": port}]))


class _Beside(BaseManager):
    """A process of its own for what answers in the place of a server, so that it takes no time of the client."""


_Beside.register("Containers", Containers)
_Beside.register("Cluster", _Cluster)


@contextlib.contextmanager
def _beside() -> Iterator[Any]:
    manager: Any = _Beside()
    manager.start(pin, (LOAD_CORE,))
    try:
        yield manager
    finally:
        manager.shutdown()


@contextlib.contextmanager
def docker(folder: Path, server: str) -> Iterator[Source]:
    with _beside() as beside:
        containers = beside.Containers(int(server.rpartition(":")[2]))
        yield Source({"docker": {"endpoint": f"tcp://127.0.0.1:{containers.port()}"}}, containers.put)


@contextlib.contextmanager
def kubernetes(folder: Path, server: str) -> Iterator[Source]:
    with _beside() as beside:
        cluster = beside.Cluster(server)
        yield Source({"kubernetesCRD": {"endpoint": cluster.address(), "token": "any"}}, cluster.put)


SOURCES = {
    "redis": redis,
    "etcd": etcd,
    "docker": docker,
    "kubernetes": kubernetes,
    "file": file,
    "files": files,
}
