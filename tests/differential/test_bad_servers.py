"""A server that cannot be asked beside one that can: in real Traefik and in lbcore, the other one serves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.differential.test_services import servers
from tests.support.instance import Backend, eventually
from tests.support.ports import free_port
from tests.support.traefik import NAMES, Process, start
from tests.support.twins import connect, get
from tests.support.udp import UdpClient, UdpServer

# URLs of the other server. Traefik sends it requests, which fail.
LEFT_OUT = (
    "ftp://127.0.0.1:1", "localhost:8080", "my-app:8080", "http//127.0.0.1:1", "http:///x", "http:127.0.0.1", "ws://a",
    "tcp://a:1", "HTTTP://a", "a//b:1",
)  # fmt: skip
# With these, both leave the service out.
REFUSED = ("127.0.0.1:8080", "http://[::1", "http://a b", "http://127.0.0.1:x", "my_app:8080", ":80")
ADDRESSES = ("127.0.0.1", "a.test", "", "127.0.0.1:1:2", "[::1]")


class Both:
    """`ports`: of the entry points, by name of the program."""

    def __init__(self, folder: Path, backend: Backend, udp: UdpServer) -> None:
        good, port = f"{backend.url}/", backend.url.rpartition(":")[2]
        urls = dict(enumerate((*LEFT_OUT, *REFUSED)))
        http: dict[str, Any] = {
            "routers": {f"r{n}": {"rule": f"Host(`h{n}`)", "service": f"s{n}"} for n in urls},
            "services": {f"s{n}": servers(good, url) for n, url in urls.items()},
        }
        streams: dict[str, dict[str, Any]] = {layer: {"routers": {}, "services": {}} for layer in ("tcp", "udp")}
        for n, address in enumerate(ADDRESSES):
            for layer, to in (("tcp", port), ("udp", udp.port)):
                name = f"{layer}{n}"
                members = [{"address": f"127.0.0.1:{to}"}, {"address": address}]
                streams[layer]["services"][name] = {"loadBalancer": {"servers": members}}
                streams[layer]["routers"][name] = {"entryPoints": [name], "service": name}
            streams["tcp"]["routers"][f"tcp{n}"]["rule"] = "HostSNI(`*`)"
        (folder / "dynamic.yml").write_text(yaml.safe_dump({"http": http, **streams}))
        names = ["web", *(f"{layer}{n}" for layer in ("tcp", "udp") for n in range(len(ADDRESSES)))]
        self.ports = {name: {point: free_port() for point in names} for name in NAMES}
        self.processes: list[Process] = []
        for name, ports in self.ports.items():
            points = {
                point: {"address": f"127.0.0.1:{to}{'/udp' if point.startswith('udp') else ''}"}
                for point, to in ports.items()
            }
            file = {"filename": str(folder / "dynamic.yml"), "watch": False}
            self.processes.append(start(name, folder, {"entryPoints": points, "providers": {"file": file}}))

    def status(self, name: str, number: int) -> str:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(connect(self.ports[name]["web"])) as client:
            return client.ask(get("/", f"h{number}"))[0].split(" ")[1]
        return ""

    def statuses(self, name: str, number: int) -> set[str]:
        return {self.status(name, number) for _ in range(4)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("bad")
    backend, udp = Backend("good"), UdpServer("good")
    found = Both(folder, backend, udp)
    try:
        for name in NAMES:
            eventually(lambda name=name: found.status(name, 0) in ("200", "500"), f"{name} routes")  # type: ignore[misc]
        yield found
    finally:
        for process in found.processes:
            process.terminate()
            process.wait(30)
        backend.close()
        udp.close()


@pytest.mark.parametrize("url", LEFT_OUT)
def test_a_url_that_leads_nowhere(both: Both, url: str) -> None:
    number = LEFT_OUT.index(url)
    assert both.statuses("traefik", number) == {"200", "500"}
    assert both.statuses("lbcore", number) == {"200"}


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_cannot_be_read(both: Both, url: str) -> None:
    number = len(LEFT_OUT) + REFUSED.index(url)
    assert [both.statuses(name, number) for name in NAMES] == [{"404"}, {"404"}]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_layer_4(both: Both, address: str) -> None:
    number = ADDRESSES.index(address)
    for name in NAMES:
        for _ in range(4):
            with contextlib.closing(connect(both.ports[name][f"tcp{number}"])) as client:
                assert client.ask(get("/"))[0] == "HTTP/1.1 200 OK", name
            client = UdpClient(both.ports[name][f"udp{number}"])
            with contextlib.closing(client):
                assert client.ask(b"x"), name
