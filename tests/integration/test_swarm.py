"""`providers.swarm` beside a real Swarm: which servers a service gets, and what stays when the Swarm has no leader.

Nothing is sent to its networks: they may lead out of this machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lbcore.config.static.providers import SwarmProvider
from lbcore.provider.follow import Reading
from lbcore.provider.swarm import SwarmStore
from tests.integration.test_docker import api, ask, becomes, instance
from tests.support.command import run_command
from tests.support.docker import IMAGE, Docker, docker
from tests.support.instance import Instance, eventually
from tests.support.ports import free_port
from tests.support.swarm_api import service, swarm_api, task


@contextmanager
def swarm(engine: Docker, *others: Docker) -> Iterator[None]:
    """A Swarm of managers, which is removed with all that it runs."""
    engine.ask("POST", "/swarm/init", {"ListenAddr": f"127.0.0.1:{free_port()}", "AdvertiseAddr": "127.0.0.1"})
    try:
        token = engine.ask("GET", "/swarm")["JoinTokens"]["Manager"]
        here = engine.ask("GET", "/info")["Swarm"]["RemoteManagers"][0]["Addr"]
        for number, other in enumerate(others, 2):
            own = f"127.0.0.{number}"
            body = {
                "ListenAddr": f"{own}:{free_port()}",
                "AdvertiseAddr": own,
                "RemoteAddrs": [here],
                "JoinToken": token,
            }
            other.ask("POST", "/swarm/join", body)
        yield
    finally:
        for service in engine.ask("GET", "/services"):
            engine.ask("DELETE", f"/services/{service['ID']}")
        end = time.monotonic() + 30
        while engine.ask("GET", "/containers/json", all=1) and time.monotonic() < end:
            time.sleep(0.1)
        for each in (*others, engine):
            each.client.post("/swarm/leave", params={"force": 1})
            each.networks.append("docker_gwbridge")  # Swarm has made it


def spec(name: str, labels: dict[str, str], replicas: int, network: str) -> dict[str, Any]:
    command = ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.1; done"]
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {"Image": IMAGE, "Command": command},
            "Networks": [{"Target": network}],
            "RestartPolicy": {"Condition": "any", "Delay": 100_000_000},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
    }


def test_nodes_that_nobody_may_see_hinder_no_services() -> None:
    labels = {"traefik.http.routers.web.rule": "Host(`web`)"}
    labels["traefik.http.services.web.loadbalancer.server.port"] = "80"
    web = service("web", labels, "vip", {"back": "10.92.0.2/24"})
    tasks = [task(web, 1, {"back": ["10.92.0.3/24"]}), task(web, 2, {"host": []})]

    async def read(url: str) -> Reading:
        store = SwarmStore(SwarmProvider(endpoint=url))
        try:
            return await store.read()
        finally:
            await store.close()

    with swarm_api([web], tasks, ["back", "host"], refuses=("/nodes",)) as url:
        balancer = asyncio.run(read(url)).config.http.services["web"].load_balancer
    assert balancer is not None and [server.url for server in balancer.servers] == ["http://10.92.0.3:80"]


def test_services_and_their_tasks(tmp_path: Path) -> None:
    with docker() as engine, swarm(engine):
        body = {"Name": "lbs", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.91.0.0/24"}]}}
        network = engine.ask("POST", "/networks/create", body)["Id"]
        labels = {
            "traefik.http.routers.web.rule": "Host(`web`)",
            "traefik.http.services.web.loadbalancer.server.port": "8080",
        }
        engine.ask("POST", "/services/create", spec("web", labels, 2, network))
        by_swarm = {
            **{key.replace(".web.", ".vip."): value for key, value in labels.items()},
            "traefik.swarm.lbswarm": "true",
        }
        engine.ask("POST", "/services/create", spec("vip", by_swarm, 1, network))
        engine.ask(
            "POST", "/services/create", spec("none", {"traefik.http.routers.none.rule": "Host(`none`)"}, 1, network)
        )

        providers = {
            "providersThrottleDuration": "0s",
            "swarm": {"endpoint": engine.url, "refreshSeconds": "200ms"},
        }
        with instance(tmp_path, "", providers=providers) as lb:

            def urls(name: str) -> list[str]:
                service = api(lb, f"/api/http/services/{name}@swarm") or {}
                return [each["url"] for each in service.get("loadBalancer", {}).get("servers", [])]

            eventually(lambda: len(urls("web")) == 2, "two tasks")
            assert all(url.startswith("http://10.91.0.") and url.endswith(":8080") for url in urls("web"))
            assert len(urls("vip")) == 1
            inspected = engine.ask("GET", "/services/vip")["Endpoint"]["VirtualIPs"]
            assert urls("vip") == [f"http://{inspected[0]['Addr'].split('/')[0]}:8080"]
            lb.logged(
                r"service none: port is missing: set the label traefik.http.services.NAME.loadbalancer.server.port"
            )
            version = engine.ask("GET", "/services/web")["Version"]["Index"]
            engine.ask("POST", "/services/web/update", spec("web", labels, 0, network), version=version)
            eventually(lambda: urls("web") == [], "no task")
            assert api(lb, "/api/http/routers/web@swarm")["status"] == "enabled"
            shown = run_command("check", "--provider", "swarm", "--endpoint", engine.url)
            assert "router web: Host(`web`) -> web (no server)" in shown.stdout


def connections(process: int, port: int) -> int:
    """How many connections a process has to a port of this machine."""
    held = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            held.add(os.readlink(file))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(f"socket:[{line[9]}]" in held and int(line[2].rpartition(":")[2], 16) == port for line in lines)


def failures(lb: Instance) -> int:
    return int(api(lb, "/api/providers")[0]["failures"])


def test_a_swarm_that_has_lost_its_quorum(tmp_path: Path) -> None:
    with docker() as engine, docker() as other, swarm(engine, other):
        port, node = free_port(), engine.ask("GET", "/info")["Swarm"]["NodeID"]
        labels = {
            "traefik.http.routers.web.rule": "Host(`web`)",
            "traefik.http.services.web.loadbalancer.server.port": str(port),
        }
        service = spec("web", labels, 1, "host")
        service["TaskTemplate"]["ContainerSpec"]["Command"][3] = (
            f"exec /bin/busybox httpd -f -p 127.0.0.1:{port} -h /www"
        )
        service["TaskTemplate"]["Placement"] = {"Constraints": [f"node.id=={node}"]}
        engine.ask("POST", "/services/create", service)
        providers = {
            "providersThrottleDuration": "0s",
            "swarm": {"endpoint": engine.url, "refreshSeconds": "200ms"},
        }
        with instance(tmp_path, "", providers=providers) as lb:
            becomes(lb, "web", 404)  # by the server in the container, which has no such file
            assert ask(lb.port, "web")[1] != ask(lb.port, "other")[1]
            answer = ask(lb.port, "web")
            other.kill()
            lb.logged("provider swarm: .*(does not have a leader|DeadlineExceeded).*what runs stays")
            before = failures(lb)
            eventually(lambda: failures(lb) >= before + 3, "it asks again, and again")
            # It asks over the connection that it has: one for events, one for all else.
            assert connections(lb.process.pid, engine.port) <= 2
            assert ask(lb.port, "web") == answer
            other.start()
            lb.logged("can be read again")
            more = {"traefik.http.routers.new.rule": "Host(`new`)"}
            version = engine.ask("GET", "/services/web")["Version"]["Index"]
            engine.ask("POST", "/services/web/update", {**service, "Labels": labels | more}, version=version)
            eventually(lambda: ask(lb.port, "new") == answer, "a change is followed")
