"""The edge of real Traefik and of lbcore: PROXY protocol headers that come in, connections that are limited."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.differential.test_traefik import TRAEFIK, connect, describe, free_port, get
from tests.support.instance import eventually
from tests.support.wire import Peer, Server, config_for
from tests.unit.transport.test_proxy_protocol import BROKEN, GOOD, TLVS, V1, block4, v2
from tests.wire.test_tcp import address, echoes, tcp

NAMES = ("traefik", "lbcore")
# Read as the specification and HAProxy do: Traefik takes the address of a datagram, refuses a header of an unspecified
# family, a LOCAL one whose family is to be ignored, and more than 4 KiB.
READ_OTHERWISE = {
    b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n",
    v2(0x20, 0xFF, b"anything"),
    v2(family=0x00),
    v2(family=0x00, block=TLVS),
    v2(family=0x12, block=block4()),
    v2(family=0x31, block=bytes(216)),
    v2(block=block4() + bytes(16384 - 12)),
}


class Twins:
    """Traefik and lbcore with the same configuration; `files` in `folder` end in the name of each."""

    def __init__(self, folder: Path, static: dict[str, Any], dynamic: dict[str, Any]) -> None:
        self.folder = folder
        self.ports: dict[str, dict[str, int]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
        for name in NAMES:
            self.ports[name] = {point: free_port() for point in static["entryPoints"]}
            text = json.dumps(static).replace("{name}", name)
            own = json.loads(text)
            for point, settings in own["entryPoints"].items():
                settings["address"] = f"127.0.0.1:{self.ports[name][point]}"
            own["providers"] = {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}}
            own["log"] = {"filePath": str(folder / f"log-{name}")}
            file = folder / f"static-{name}.yml"
            file.write_text(yaml.safe_dump(own))
            command = [str(TRAEFIK), f"--configFile={file}"]
            if name == "lbcore":
                command = [sys.executable, "-m", "lbcore", "run", "--workers", "2", "--config", str(file)]
            self.processes[name] = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)

    def client(self, name: str, point: str) -> Peer:
        return connect(self.ports[name][point])

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
            process.wait(15)


@contextlib.contextmanager
def twins(folder: Path, static: dict[str, Any], dynamic: dict[str, Any], only: str = "") -> Iterator[Twins]:
    """Both, once they answer requests on each entry point, or on one."""
    both = Twins(folder, static, dynamic)

    def is_ready(name: str, point: str) -> bool:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(both.client(name, point)) as client:
            return client.ask(get("/"))[0].startswith(("HTTP/1.1 200", "HTTP/1.1 418"))
        return False

    try:
        for name in NAMES:
            for point in [only] if only else static["entryPoints"]:
                eventually(lambda name=name, point=point: is_ready(name, point), f"{name} serves {point}", 30)  # type: ignore[misc]
        yield both
    finally:
        both.close()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    server = Server(describe)
    points = {
        "trusted": {"proxyProtocol": {"trustedIPs": ["127.0.0.0/8"]}},
        "untrusted": {"proxyProtocol": {"trustedIPs": ["192.0.2.0/24"]}},
        "insecure": {"proxyProtocol": {"insecure": True}},
        "off": {},
    }
    try:
        with twins(tmp_path_factory.mktemp("proxied"), {"entryPoints": points}, config_for(server.url)) as both:
            yield both
    finally:
        server.close()


def seen(both: Twins, name: str, point: str, header: bytes) -> str:
    """Whom the server takes for the client; empty when the connection is closed."""
    with contextlib.closing(both.client(name, point)) as client:
        try:
            client.send(header + get("/"))
            first, _, body = client.message()
        except (EOFError, ConnectionError):
            return ""
        if not first.startswith("HTTP/1.1 200"):
            return first.split()[1]
        headers = json.loads(body)["headers"]
        return f"{headers['x-real-ip']} {headers['x-forwarded-for']}"


@pytest.mark.parametrize("point", ["trusted", "untrusted", "insecure"])
@pytest.mark.parametrize("header", [header for header in GOOD if header not in READ_OTHERWISE] + [b""])
def test_same_client_address(proxied: Twins, point: str, header: bytes) -> None:
    assert seen(proxied, "lbcore", point, header) == seen(proxied, "traefik", point, header) != ""


@pytest.mark.parametrize("header", BROKEN)
def test_a_header_that_traefik_refuses_is_refused(proxied: Twins, header: bytes) -> None:
    for point in ("trusted", "untrusted"):
        assert seen(proxied, "lbcore", point, header) == ""


def test_without_the_setting_a_header_is_no_request(proxied: Twins) -> None:
    assert seen(proxied, "lbcore", "off", V1) == seen(proxied, "traefik", "off", V1) == "400"


@pytest.mark.parametrize("amount", [0, 1, 3])
def test_same_number_of_connections_of_one_client(tmp_path: Path, amount: int) -> None:
    with echoes("a") as (a,):
        dynamic = tcp([address(a)], "ClientIP(`127.0.0.1`)")
        del dynamic["tcp"]["services"]["all"]["loadBalancer"]["servers"][0]["weight"]
        dynamic["tcp"]["routers"]["all"] |= {"middlewares": ["few"], "entryPoints": ["stream"]}
        dynamic["tcp"]["middlewares"] = {"few": {"inFlightConn": {"amount": amount}}}
        dynamic["http"] = {"routers": {"up": {"rule": "Path(`/`)", "service": "noop@internal", "entryPoints": ["web"]}}}
        with twins(tmp_path, {"entryPoints": {"web": {}, "stream": {}}}, dynamic, only="web") as both:
            greeted: dict[str, list[bytes]] = {}
            clients = []
            for name in NAMES:
                for _ in range(amount + 2):
                    client = both.client(name, "stream")
                    clients.append(client)
                    client.send(b"x")
                    with contextlib.suppress(EOFError, ConnectionError):
                        greeted.setdefault(name, []).append(client.until(b"\n"))
            for client in clients:
                client.close()
            assert greeted.get("lbcore") == greeted.get("traefik")
            assert len(greeted.get("lbcore", [])) == amount
