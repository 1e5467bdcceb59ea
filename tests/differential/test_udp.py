"""UDP by real Traefik and by lbcore: which router and server a client gets, sessions, sizes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import NAMES, Process, start
from tests.support.udp import UdpClient, UdpServer, servers

POINTS = ("one", "two", "weighted", "short", "several", "nobody")


class Both:
    """Traefik and lbcore with the same configuration, each with its ports."""

    def __init__(self, folder: Path, dynamic: dict[str, Any]) -> None:
        self.ports: dict[str, dict[str, int]] = {}
        self.processes: list[Process] = []
        self.clients: list[UdpClient] = []
        (folder / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
        for name in NAMES:
            self.ports[name] = {point: free_port() for point in POINTS}
            settings: dict[str, Any] = {
                point: {"address": f"127.0.0.1:{port}/udp"} for point, port in self.ports[name].items()
            }
            settings["short"]["udp"] = {"timeout": "300ms"}
            static = {
                "entryPoints": settings,
                "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
            }
            self.processes.append(start(name, folder, static, workers=2))

    def client(self, name: str, point: str) -> UdpClient:
        return UdpClient(self.ports[name][point])

    def new_client(self, name: str, point: str) -> UdpClient:
        """A client whose port nobody else is given: to the session of one who had it, it would not be a new one."""
        self.clients.append(client := self.client(name, point))
        return client

    def ask(self, name: str, point: str, data: bytes = b"x") -> str:
        """The name of the server that answers a new client."""
        return self.new_client(name, point).ask(data).partition(b" ")[0].decode()

    def is_ready(self, name: str, point: str) -> bool:
        client = self.new_client(name, point)
        client.sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            return bool(client.ask(b"x"))
        return False

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, UdpServer]]:
    with servers("a", "b", "c") as all:
        yield {server.name.decode(): server for server in all}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, found: dict[str, UdpServer]) -> Iterator[Both]:
    services: dict[str, Any] = {
        name: {"loadBalancer": {"servers": [{"address": server.address}]}} for name, server in found.items()
    }
    services["ab"] = {"loadBalancer": {"servers": [{"address": found[name].address} for name in "ab"]}}
    services["3to1"] = {"weighted": {"services": [{"name": "a", "weight": 3}, {"name": "b"}]}}
    services["nested"] = {"weighted": {"services": [{"name": "3to1", "weight": 1}, {"name": "c", "weight": 1}]}}
    routers = {
        "one": {"entryPoints": ["one"], "service": "a"},
        "two": {"entryPoints": ["two"], "service": "ab"},
        "weighted": {"entryPoints": ["weighted"], "service": "nested"},
        "short": {"entryPoints": ["short", "missing"], "service": "ab"},
        "s1": {"entryPoints": ["several"], "service": "a"},
        "s3": {"entryPoints": ["several"], "service": "c"},
        "s2": {"entryPoints": ["several"], "service": "b"},
        "broken": {"entryPoints": ["nobody"], "service": "nope"},
    }
    running = Both(tmp_path_factory.mktemp("udp"), {"udp": {"routers": routers, "services": services}})
    try:
        for name in NAMES:
            for point in POINTS[:-1]:
                eventually(lambda name=name, point=point: running.is_ready(name, point), f"{name} serves {point}", 30)  # type: ignore[misc]
        yield running
    finally:
        running.close()


@pytest.mark.parametrize("point", ["one", "two", "weighted"])
def test_clients_are_spread_alike(both: Both, point: str) -> None:
    ours, theirs = (Counter(both.ask(name, point) for _ in range(16)) for name in ("lbcore", "traefik"))
    assert ours == theirs


def test_of_several_routers_the_same_one_is_asked(both: Both) -> None:
    assert both.ask("lbcore", "several") == both.ask("traefik", "several")


@pytest.mark.parametrize("name", NAMES)
def test_a_client_stays_with_its_server_until_the_timeout(both: Both, name: str) -> None:
    with contextlib.closing(both.client(name, "two")) as client:
        answers = {client.ask(b"%d" % number).partition(b" ")[0] for number in range(10)}
        assert len(answers) == 1
    with contextlib.closing(both.client(name, "short")) as client:

        def another() -> bool:
            """The session has ended in the pause, and the next one is at the other server."""
            first = client.ask(b"1").partition(b" ")[0]
            pause = UdpClient(client.sock.getpeername()[1])
            pause.sock.settimeout(0.8)
            with contextlib.suppress(TimeoutError):
                pause.receive()
            pause.close()
            return client.ask(b"2").partition(b" ")[0] != first

        eventually(another, f"{name} ends sessions")


@pytest.mark.parametrize("size", [1, 1400, 9000, 60000])
def test_sizes(both: Both, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for name in NAMES:
        with contextlib.closing(both.client(name, "one")) as client:
            assert client.ask(data) == b"a " + data


def test_lbcore_passes_empty_datagrams_on_and_traefik_does_not(both: Both, found: dict[str, UdpServer]) -> None:
    for name, passed in (("lbcore", True), ("traefik", False)):
        with contextlib.closing(both.client(name, "one")) as client:
            client.send(b"")
            client.send(b"then")
            answers = [client.receive()]
            if passed:
                answers.append(client.receive())
            assert answers == ([b"a ", b"a then"] if passed else [b"a then"])
